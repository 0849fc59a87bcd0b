"""Command line: images of your own, and what is wanted of a workflow beside it. ``descbench --help``.

Exit codes: 0 done, 1 refused (one line on stderr), 2 a command or option that there is none of, 128 plus the number of
the signal that stopped it. The commands are in :mod:`descbench.commands`.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from descbench.commands import interop, own_data, patches, results
from descbench.commands.app import app, repeat_configfile
from descbench.commands.shown import printable
from descbench.errors import DescbenchError, for_user
from descbench.signals import leave, on_stop

# In the order of the help.
for module in (own_data, results, patches, interop):
    app.add_typer(module.commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, after one line on stderr where that is not 0."""
    _prepare_output()
    given = sys.argv[1:] if arguments is None else arguments
    # As a path it would be the folder one is in.
    if "" in given:
        print("descbench: an argument is empty (perhaps a variable of the shell that is not set).", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    # It tells of each build that it tries to load.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    if repeated := _given_twice(given):
        print(f"descbench: {repeated} is given twice, and takes one value; give it once.", file=sys.stderr)
        return 2
    try:
        with on_stop(leave):
            # A command returns nothing; a number is what typer ends with, of help for one.
            ended = get_command(app).main(
                repeat_configfile(given) or ["--help"], prog_name="descbench", standalone_mode=False
            )
            sys.stdout.flush()
    except typer.TyperException as error:
        print(f"descbench: {_in_one_line(error, given)}", file=sys.stderr)
        return error.exit_code
    except (DescbenchError, OSError) as error:
        message = for_user(error)
        if message is None:  # an error of no file is of what the command prints
            return _leave_output(error)
        print("descbench:", "\n".join(map(printable, message.split("\n"))), file=sys.stderr)
        return 1
    return ended or 0


def _given_twice(arguments: Sequence[str]) -> str | None:
    """An option that is there twice and takes one value, of which the last would count in silence."""
    command = get_command(app).commands.get(arguments[0]) if arguments else None
    for parameter in command.params if command else ():
        # `--configfile` takes several files, see `repeat_configfile`.
        if parameter.param_type_name == "option" and not parameter.multiple:
            names = {*parameter.opts, *parameter.secondary_opts}
            options = arguments[: arguments.index("--")] if "--" in arguments else arguments
            if sum(argument.split("=", 1)[0] in names for argument in options) > 1:
                return parameter.opts[0]
    return None


def _prepare_output() -> None:
    """Have names printed that the terminal has no letters for, and nothing where an output is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_output(error: Exception) -> int:
    """End where standard output takes no more: its disk is full, or its reader (such as ``head``) has left."""
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)  # or Python would try again as it ends
    if not isinstance(error, BrokenPipeError):
        print(f"descbench: standard output cannot be written ({error.strerror}).", file=sys.stderr)
    return 1


def _in_one_line(error: typer.TyperException, given: Sequence[str]) -> str:
    """What is wrong with a command line, and where it says what is right."""
    context = getattr(error, "ctx", None)
    command = "descbench" if context is None else context.command_path
    message = " ".join(error.format_message().split())
    if message.startswith("Missing argument") and "--configfile" in given:
        message = f"{message.rstrip('.')} (--configfile takes all names that follow it: put others before it)."
    return f"{message.rstrip('.')}; see `{command} --help`."


if __name__ == "__main__":
    sys.exit(main())
