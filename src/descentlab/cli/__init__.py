"""The command line: `descentlab list | run | check | report | certify | landscape | curvature | cost`.

Here a command is chosen and whatever goes wrong is said; every command imports what it needs, so that help and the
list of studies start no JAX. Class names on the command line are mapped to classes in `cli.flags` alone.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from descentlab import __version__, interrupts
from descentlab._check import nearest, printable, short
from descentlab.cli import discovery
from descentlab.mistake import Mistake

__all__ = ["main"]

_COMMANDS = {
    "list": "name the studies that come with the package",
    "run": "train what a study asks for, judge its claims, write its page",
    "check": "judge the claims again on what the store holds, without training; check --store DIR verifies every file",
    "report": "write the page again from what the store holds",
    "certify": "will gradient descent train this? for your own arrays, text or sizes",
    "landscape": "surfaces of the loss around a stored run, or around two of them, and their numbers",
    "curvature": "the Hessian at the end of a stored run block by block, its spectra, its sharpness along training",
    "cost": "what does a model cost to run? arithmetic, memory traffic, bounds, a modelled accelerator",
}

_WITHOUT_STUDY = ("certify", "cost", "curvature", "landscape")
"""Commands in modules of their own name."""

_EPILOG = """\
descentlab run STUDY --help shows every flag of a study; STUDY is a name from `descentlab list` or the path of a
file with an attribute `study`. Exit codes: 0 done, 1 `check --store` found damage, 2 a mistake in what was asked for,
130 stopped.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those after the program's name; `None` takes the process's own.

    Returns:
        The exit code: 0 done, 1 nobody reads the output any more, 2 a user's mistake.
    """
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone; nothing more is to be written there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        name = "" if error.filename is None else f"{short(str(error.filename))}: "
        print(f"error: {printable(name)}{error.strerror or error}", file=sys.stderr)
        return 2
    except Mistake as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, _COMMANDS))
    listed = "\n".join(f"  {name.ljust(width)}  {text}" for name, text in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="descentlab",
        usage="descentlab COMMAND [STUDY] [flags]",
        description=f"A laboratory for the training dynamics of Transformers.\n\ncommands:\n{listed}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"descentlab {__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    flags_alone = not arguments or arguments[0].startswith("-")
    if flags_alone and parser.parse_args([printable(word) for word in arguments]).command is None:
        parser.print_help()
        return 0
    command, *rest = arguments
    if command not in _COMMANDS:
        raise discovery.UsageError(f"there is no command {command!r}; {nearest(command, _COMMANDS)}")
    interrupts.say("stopped; nothing was written")
    # The matrices of a lane are small: for the eigenvalues of 256 rows two threads took 590 ms on busy cores, one 6 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if command == "list":
        return _list(rest)
    if command in _WITHOUT_STUDY:
        return importlib.import_module(f"descentlab.cli.{command}").main(rest)
    if not rest or rest[0] in ("-h", "--help"):
        print(f"usage: descentlab {command} STUDY [flags]\n\n{_COMMANDS[command]}\n\n{_EPILOG}")
        _list([])
        return 0 if rest else 2
    if command == "check" and rest[0].partition("=")[0] == "--store":
        return importlib.import_module("descentlab.cli.stored").check(rest)
    if rest[0].startswith("-"):
        raise discovery.UsageError(f"wanted a study after {command!r}, got {rest[0]!r}; put flags after its name")
    place = discovery.find(rest[0])
    from descentlab.cli import commands

    return commands.main(command, place, rest[1:])


def _list(rest: list[str]) -> int:
    argparse.ArgumentParser(prog="descentlab list", description=_COMMANDS["list"]).parse_args(
        [printable(word) for word in rest]
    )
    studies = discovery.listed()
    width = max(map(len, studies), default=0)
    print("studies:" if studies else "no studies come with this package")
    for name, title in studies.items():
        print(f"  {name.ljust(width)}  {title}")
    return 0
