"""Write the JSON schema and the list of all keys: ``python -m descbench.config.schemas``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from descbench.config.models import Config
from descbench.config.published import PublishedFigure
from descbench.config.reference import reference_page
from descbench.io.atomic import write_json, write_text

SCHEMA_FILE = "config.schema.json"
REFERENCE_FILE = "README.md"


def config_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of config.yaml, of its overlays and of the catalogue files."""
    schema = Config.model_json_schema()
    schema["title"] = "descbench configuration"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def figures_schema() -> dict[str, Any]:
    """JSON schema of a line of references.csv."""
    return PublishedFigure.model_json_schema()


def write_schemas(folder: Path) -> None:
    """Write ``schemas/`` and ``README.md`` below the configuration's folder."""
    write_json(folder / "schemas" / SCHEMA_FILE, config_schema())
    write_text(folder / REFERENCE_FILE, reference_page(config_schema(), figures_schema()))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "config"))
