"""Blocks of code on the pages of the documentation: commands, configuration and Python."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))((?:    .*\n|\n)+)")
# Commands or data below a configuration.
_PARTS = re.compile(r"\n\n(?=snakemake |descbench |\{)")
_COMMENT = re.compile(r"\s+# .*$|\s{2,}#.*$")
_YAML = re.compile(r"(?:#.*\n)*[a-z_]+:(?:\s|$)")
_PYTHON = re.compile(r">>> |import |from ")
_COMMANDS = ("snakemake ", "descbench ")


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        page: where it stands.
        kind: ``python``, ``yaml`` or ``console`` (anything else is shown, and not checked).
        text: without its indentation.
    """

    page: Path
    kind: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """Its lines that start ``snakemake`` or ``descbench``, as words, without comments behind them."""
        lines = self.text.replace("\\\n", " ").split("\n")
        return [shlex.split(_COMMENT.sub("", line)) for line in lines if line.startswith(_COMMANDS)]

    @property
    def statements(self) -> list[str]:
        """Its lines of Python's prompt, or all of it if it is Python."""
        prompt = [line.removeprefix(">>> ") for line in self.text.split("\n") if line.startswith(">>> ")]
        return prompt or ([self.text] if self.kind == "python" else [])


def blocks(page: Path) -> list[Block]:
    """All blocks of a page in Markdown, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = [(match.start(), match[1], match[2]) for match in _FENCED.finditer(text)]
    plain = _FENCED.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in _INDENTED.finditer(plain):
        start = match.start()
        for part in _PARTS.split(textwrap.dedent(match[1])):
            found.append((start, "", part))
            start += 1
    return [
        Block(page, kind or _kind(text), text.strip("\n") + "\n") for _, kind, text in sorted(found) if text.strip()
    ]


def _kind(text: str) -> str:
    if text.lstrip().startswith(_COMMANDS):
        return "console"
    if _PYTHON.match(text.lstrip()):
        return "python"
    return "yaml" if _YAML.match(text.strip() + "\n") else ""
