"""The program `descentlab`, also as `python -m descentlab`."""

import sys

from descentlab import interrupts

__all__ = ["program"]


def program() -> int:
    """Carry out the command that the process was started with.

    Returns:
        The exit code: 0 done, 1 nobody reads the output, 2 a user's mistake; 130 where the user stopped it.
    """
    interrupts.watch()
    from descentlab.cli import main  # the command line takes longer to import than an impatient user waits

    try:
        return main()
    finally:
        interrupts.finish()


if __name__ == "__main__":
    sys.exit(program())
