"""Studies: a module or package here with an attribute `study` is one."""
