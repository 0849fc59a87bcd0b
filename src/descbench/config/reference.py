"""The page that lists every key of the configuration, from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_INTRODUCTION = """# Configuration

`config.yaml` holds the site's own settings; the catalogue files hold what can be computed. Files given with
`--configfile` overlay both: mappings merge, everything else replaces. Unknown keys and names that lead nowhere are
refused before any job starts. Editors find the JSON schema in `schemas/`.

`config/config.yaml` is read from the working directory, with a line that says so if there is none: then the workflow's
own is read, and its catalogue. Results lie in the working directory either way. `~` is expanded in paths, environment
variables are not. Anchors, aliases and merge keys (`<<`) of YAML work, a key written twice is refused. YAML 1.1 reads
`on`, `off`, `yes`, `no` and dates as such: names like these want quotes. Snakemake reads `--configfile` before the
workflow has a say, and does not name the line of broken YAML; `descbench check mine.yaml` does.

This page lists every key of the pydantic models in `src/descbench/config`; it is written, with the schema, by
`python -m descbench.config.schemas`.
"""
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true/false", "null": "null"}
_LONGEST_DEFAULT = 60


def reference_page(schema: dict[str, Any]) -> str:
    """Markdown: the top level first, then every kind of block in alphabetical order."""
    sections = [("Top level", {**schema, "description": None}), *sorted(schema["$defs"].items())]
    return "\n".join([_INTRODUCTION, *(line for name, block in sections for line in _section(name, block))])


def _section(name: str, block: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}\n"
    if block.get("description"):
        yield f"{block['description']}\n"
    yield "| key | kind | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in block["properties"].items():
        cells = (f"`{key}`", _kind(value), _default(key, value, block), value.get("description", ""))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _kind(value: dict[str, Any] | bool) -> str:
    if value is True:
        return "anything"
    for options in ("anyOf", "oneOf"):
        if options in value:
            return " or ".join(map(_kind, value[options]))
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value or "enum" in value:
        return " / ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    if value["type"] == "array":
        return f"list of {_kind(value.get('items') or value['prefixItems'][0])}"
    if value["type"] == "object":
        (values,) = value.get("patternProperties", {"": value.get("additionalProperties")}).values()
        return f"mapping to {_kind(values)}"
    return _KINDS[value["type"]]


def _default(key: str, value: dict[str, Any], block: dict[str, Any]) -> str:
    if key in block.get("required", ()):
        return "required"
    text = json.dumps(value.get("default"))
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else ""
