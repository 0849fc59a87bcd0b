"""The catalogue with everything resolved that its files leave out, in a form that is stored and compared.

``PYTHONPATH=src python tests/unit/resolved.py`` stores it anew, from the root of the project, where the catalogue has
changed on purpose; the difference of the stored file then shows what has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.lineage import Lineage

STORED = Path(__file__).with_name("resolved_catalog.json")


def resolved(config: Config) -> dict[str, dict[str, Any]]:
    """Sections and their blocks: values that are not defaults; by cell, figures and lengths of rankings."""
    sections = {
        section: {name: _values(block, "top_k") for name, block in getattr(config, section).items()}
        for section in ("datasets", "patch_sets", "models", "training", "features", "methods")
    }
    for method in sections["methods"].values():
        method.get("query", {}).pop("top_k", None)
    cells = [(name, row, column) for name, t in config.tables.items() for row in t.rows for column in t.columns]
    lineage = Lineage(config)
    return {
        **sections,
        "figures": {
            f"{name} | {row.label} | {column.dataset} {column.metric}": _values(figure)
            for name, row, column in cells
            for figure in row.reference_results
            if (figure.dataset, figure.metric) == (column.dataset, column.metric)
        },
        "ranked": {
            f"{row.method} | {column.dataset}": lineage.ranked(row.method, column.dataset)
            for _, row, column in cells
            if config.methods[row.method].family == "retrieval"
        },
        "tables": {
            name: {**_values(table, "rows"), "rows": [[row.label, row.method] for row in table.rows]}
            for name, table in config.tables.items()
        },
    }


def _values(block: Any, *without: str) -> dict[str, Any]:
    return block.model_dump(mode="json", exclude_defaults=True, exclude=set(without))


def _text(sections: dict[str, dict[str, Any]]) -> str:
    """JSON with a line for each block."""
    parts = []
    for section, blocks in sections.items():
        lines = [
            f"    {json.dumps(name)}: {json.dumps(block, sort_keys=True)}" for name, block in sorted(blocks.items())
        ]
        parts.append(f"  {json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    STORED.write_text(_text(resolved(load_config_files("config/config.yaml"))), encoding="utf-8")
