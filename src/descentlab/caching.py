"""Compiled programs are kept between processes."""

import contextlib
from pathlib import Path

import jax
import platformdirs

__all__ = ["use_compilation_cache"]


def use_compilation_cache() -> None:
    """Keep compiled programs, small ones too, in the user's cache folder; go on without where it cannot be made."""
    folder = Path(platformdirs.user_cache_dir("descentlab")) / "jax"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
