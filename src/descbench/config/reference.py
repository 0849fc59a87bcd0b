"""The page that lists every key of the configuration, from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from descbench.config.examples import EXAMPLES, FIGURES

_INTRODUCTION = """# Configuration

`config.yaml` holds the site's own settings; the catalogue files hold what can be computed. Files given with
`--configfile` overlay both: mappings merge, everything else replaces; so does `patches` of a training and of its
validation, which name all that is meant. Unknown keys and names that lead nowhere are
refused before any job starts. Editors find the JSON schema in `schemas/`.

`config/config.yaml` is read from the working directory, with a line that says so if there is none: then the workflow's
own is read, and its catalogue. Results lie in the working directory either way. `~` is expanded in paths, environment
variables are not. Anchors, aliases and merge keys (`<<`) of YAML work, a key written twice is refused. YAML 1.1 reads
`on`, `off`, `yes`, `no` and dates as such: names like these want quotes. Snakemake reads `--configfile` before the
workflow has a say, and does not name the line of broken YAML; `descbench check mine.yaml` does.

This page lists every key of the pydantic models in `src/descbench/config`, section by section; it is written, with the
schema, by `python -m descbench.config.schemas`. The examples together are a configuration.
"""
_LEFT_OUT = """## What may be left out

* **Features of a model** need no block where the model's defaults do: a method whose `features` is the name of a model
  uses them. A block that has a model's name says only what differs, such as `{image_size: 512}`. Local features are the
  1000 strongest of an image; those of GeM have the scales of its whitening, those of NetVLAD images of 640 pixels.
* **`features` of a method**, where features or a model have the method's own name.
* **`features` of a codebook**: the local features of its method at scale 1, called `<features>_single`. A block of that
  name says what else differs. Released descriptors have to be named.
* **`top_k`**: rankings are as long as the protocol of the dataset needs.
* **Published figures** of a row: `reference` names a result of `references.csv`, and the figures of the table's columns
  are taken from there.
"""
_FIGURES = """Published figures are tidy CSV files in `catalog`, with one figure a line. Rows of tables refer to the
`result`; figures for columns that a table does not have are left out.
"""
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true/false", "null": "null"}
_LONGEST_DEFAULT = 60


def reference_page(schema: dict[str, Any], figures: dict[str, Any]) -> str:
    """Markdown: the site's own keys, then each section with an example and its blocks, in the order of the schema.

    Args:
        schema: JSON schema of the configuration; what has an example is a section.
        figures: JSON schema of a line of published figures.
    """
    keys = schema["properties"]
    site = {key: value for key, value in keys.items() if "examples" not in value}
    lines = [_INTRODUCTION, _LEFT_OUT, "## The site\n", *_table({**schema, "properties": site})]
    shown: set[str] = set()
    for key, value in keys.items():
        if key not in site:
            lines += _section(key, value, schema["$defs"], shown)
    lines += ["## references.csv\n", _FIGURES, "```csv", ",".join(figures["properties"])]
    lines += [*(",".join(line) for line in FIGURES), "```\n", *_table(figures)]
    return "\n".join(lines)


def _section(key: str, value: dict[str, Any], blocks: dict[str, Any], shown: set[str]) -> Iterator[str]:
    """A section: what it is, an example, and the blocks that no section before has shown."""
    yield f"## {key}\n"
    yield f"{value['description']}\n"
    text = yaml.safe_dump({key: EXAMPLES[key]}, sort_keys=False, default_flow_style=None, width=110)
    yield f"```yaml\n{text}```\n"
    for name in _blocks(value, blocks):
        if name not in shown:
            shown.add(name)
            yield f"### {name}\n"
            yield f"{blocks[name]['description']}\n"
            yield from _table(blocks[name])


def _blocks(value: Any, blocks: dict[str, Any]) -> Iterator[str]:
    """Names of the blocks that a value is made of, each before those in it."""
    if isinstance(value, dict):
        if "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            yield name
            yield from _blocks(blocks[name]["properties"], blocks)
        for part in value.values():
            yield from _blocks(part, blocks)
    elif isinstance(value, list):
        for part in value:
            yield from _blocks(part, blocks)


def _table(block: dict[str, Any]) -> Iterator[str]:
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
