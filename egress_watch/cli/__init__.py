"""The command line: one file a command, one list, one place where errors become exit codes.

In: arguments. Out: 0 fine, 1 an input or database gave nothing, 2 usage or configuration.
Never: a traceback for what a user did.

To add a command: a module with ``HELP``, ``EXAMPLES``, ``arguments(parser)`` and ``run(options)``, and its name in
COMMANDS.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType
from typing import Any, NoReturn

from egress_watch import __version__
from egress_watch.errors import DATA_TROUBLE, EgressWatchError

COMMANDS: tuple[str, ...] = (
    "replay", "watch", "interfaces", "doctor", "status", "metrics", "flows", "alerts", "alert", "devices", "export",
    "forward", "sinks", "inspect", "inventory", "rejudge", "retain", "where", "who", "data", "rules", "policy",
    "config", "tui",
)  # fmt: skip
"""Modules of this folder, in the order of the help; each is loaded only when its turn comes."""

STOPPED = 130
YOUNG = 20_000
"""Objects that are made before the garbage collector looks at them: of Python's 700 most are rows on their way."""
ABOUT = "What leaves the legal zone, whose hands is it in, and how sure are we: from captured traffic."
CODES = "exit codes: 0 fine, 1 trouble in data, 2 usage or configuration, 130 stopped by Ctrl-C"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Threads of NumPy's algebra, which nobody asks, would begin with it and keep the rights that `watch` gives up.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that cannot show ✓ gets \u2713, not a crash
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parser(given).parse_args(given)
        options.words = given
        return int(options.run(options))
    except EgressWatchError as error:
        _say(f"egress-watch: {_safe(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("\negress-watch: stopped; what was committed stays, and the same command begins anew")
        return STOPPED
    except MemoryError:
        _say("egress-watch: out of memory; what was committed stays\n  try: lower flows.limit and names.limit")
        return DATA_TROUBLE


def program() -> NoReturn:
    """Run the command of this process, and end it: what is left in memory is not taken apart piece by piece first."""
    gc.set_threshold(YOUNG, 5, 5)
    code = main()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python says what is wrong with the stream
    os._exit(code)


class _Version(argparse.Action):
    """Prints the version; what it says is looked up only when somebody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, **told: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **told)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and leave."""
        from egress_watch.fast import accelerator

        print(f"egress-watch {__version__}, {'with' if accelerator() else 'without'} the compiled accelerator")
        parser.exit()


def parser(given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; only the command that is asked for is loaded, all of them for the help."""
    top = argparse.ArgumentParser(prog="egress-watch", description=ABOUT, epilog=CODES)
    top.add_argument("-V", "--version", action=_Version, help="show the version, and whether the accelerator is in use")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    wanted = [name for name in given[:1] if name in COMMANDS]
    for name in wanted or COMMANDS:
        module = import_module(f"egress_watch.cli.{name}")
        command = _added(commands, name, module)
        if wanted:  # the list of commands needs no options, and some cost their libraries
            module.arguments(command)
    return top


def _added(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: ModuleType
) -> argparse.ArgumentParser:
    examples = "\n".join(f"  {line}" for line in module.EXAMPLES)
    command = commands.add_parser(
        name, help=module.HELP, description=module.__doc__.partition("\n\nIn:")[0] if module.__doc__ else module.HELP,
        epilog=f"examples:\n{examples}\n\n{CODES}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.set_defaults(run=module.run)
    return command


def _say(text: str) -> None:
    if sys.stderr is not None:  # what Python makes of a descriptor that the caller closed
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def _safe(text: str) -> str:
    from egress_watch.exports.plain import printable

    return "\n".join(map(printable, text.split("\n")))
