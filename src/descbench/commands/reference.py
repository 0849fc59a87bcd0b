"""docs/cli.md, written from the commands themselves: ``python -m descbench.commands.reference``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from typer import Context
from typer.main import get_command

from descbench.cli import app

PAGE = "docs/cli.md"
_HEAD = """\
# Command line

This page is generated from `descbench --help` (`python -m descbench.commands.reference`).
`descbench --install-completion` completes commands, options and names of the configuration in your shell.
`--configfile` takes several files, as that of Snakemake does: `--configfile a.yaml b.yaml`.
"""


def reference() -> str:
    """The page, in Markdown."""
    group = get_command(app)
    parts = [_HEAD, *_paragraphs(group.help)]
    for heading, commands in _panels(group).items():
        parts.append(f"## {heading}")
        for name, command in commands.items():
            parts += [f"### descbench {name}", *_paragraphs(command.help), _parameters(name, command)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _panels(group: Any) -> dict[str, dict[str, Any]]:
    """Commands by the heading that the help has them under, in its order."""
    panels: dict[str, dict[str, Any]] = {}
    for name, command in group.commands.items():
        panels.setdefault(command.rich_help_panel, {})[name] = command
    return panels


def _paragraphs(text: str) -> list[str]:
    """Paragraphs of a help text; what is indented is a block of commands."""
    found = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.split("\n")
        shown = [line for line in lines if line.startswith("  ")]
        if not shown:
            found.append(paragraph)
            continue
        place = lines.index(shown[0])
        before, after = lines[:place], lines[place + len(shown) :]
        found += [*before, "\n".join(["```console", *(line[2:] for line in shown), "```"]), *after]
    return found


def _parameters(name: str, command: Any) -> str:
    """A table of arguments and options, with which are required."""
    context = Context(command, info_name=name)
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or parameter.name == "help":
            continue
        what, text = record
        required = "" if not parameter.required else "required"
        text = text.replace("[required]", "").strip().replace("|", "\\|")
        rows.append(f"| `{what}` | {text} | {required} |".replace("|  |", "| |"))
    return "\n".join(["| | | |", "|---|---|---|", *rows]) if rows else ""


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(reference(), encoding="utf-8")
