"""What a user did wrong, told apart from what is wrong in the program."""

__all__ = ["Mistake"]


class Mistake(ValueError):
    """What was asked for cannot be done: a sentence for the user of what was wanted, what came, what to do.

    A command says it and ends with exit code 2; any other exception but that of an operating system is a bug and keeps
    its traceback.
    """
