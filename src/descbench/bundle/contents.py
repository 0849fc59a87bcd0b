"""What a table rests on, read from the files of its cells."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from descbench.command_files import made
from descbench.config.base import close_names
from descbench.config.sources import Source
from descbench.errors import ConfigError, DataError
from descbench.io.atomic import json_text
from descbench.io.jsonfiles import read_json
from descbench.licences import why_not_commercial
from descbench.metrics.scores import Scores, read_scores
from descbench.plan import Plan
from descbench.report_plan import page_addresses
from descbench.tables.table import build_table


@dataclass(frozen=True)
class CellFiles:
    """One cell: its names, its scores with their file, and its provenance with its file."""

    method: str
    dataset: str
    scores_file: Path
    scores: Scores
    provenance_file: Path
    provenance: Mapping[str, Any]

    @property
    def weights(self) -> set[str]:
        """Names of the sources that weights were read from."""
        blocks = self.provenance["configuration"].get("models", {})
        return {
            block["weights"]["file"]
            for name, block in blocks.items()
            if block.get("weights", {}).get("file") and name not in self.custom_models
        }

    @property
    def custom_models(self) -> list[str]:
        """Names of the networks whose weights are the user's own, in files or in their code."""
        blocks = self.provenance["configuration"].get("models", {})
        return sorted(name for name, block in blocks.items() if block.get("weights", {}).get("source") == "custom")


@dataclass(frozen=True)
class TableFiles:
    """A table with its files and cells."""

    name: str
    title: str
    csv: Path
    markdown: Path
    cells: tuple[CellFiles, ...]

    @property
    def sources(self) -> dict[str, Mapping[str, Any]]:
        """Everything that was downloaded, or put in place by hand, by its name."""
        return {name: entry for cell in self.cells for name, entry in cell.provenance["sources"].items()}

    @property
    def datasets(self) -> dict[str, Mapping[str, Any]]:
        """Blocks of all datasets and patch sets behind the cells, by name."""
        found: dict[str, Mapping[str, Any]] = {}
        for cell in self.cells:
            for section in ("datasets", "patch_sets"):
                found |= cell.provenance["configuration"].get(section, {})
        return found


def read_table(plan: Plan, target: str, configfiles: Sequence[Path]) -> TableFiles:
    """A table and what its cells were made from.

    Args:
        plan: of the configuration.
        target: name of a table, or its file.
        configfiles: what the configuration was read from beside the default, for messages.

    Raises:
        ConfigError: no such table.
        DataError: a file that is not there yet, or is damaged.
    """
    name = table_name(plan, target)
    csv = made(Path(plan.paths.table(name)), configfiles)
    cells = [_read_cell(plan, method, dataset, configfiles) for method, dataset in _cells(plan, name)]
    markdown = Path(plan.paths.table_markdown(name))
    return TableFiles(name, plan.config.tables[name].title, csv, markdown, tuple(cells))


def find_damaged(plan: Plan, target: str) -> Iterator[tuple[Path, str]]:
    """Scores and provenance of a table that are there and cannot be read, with what is wrong.

    Raises:
        ConfigError: no such table.
    """
    for method, dataset in _cells(plan, table_name(plan, target)):
        scores, provenance = Path(plan.paths.scores(method, dataset)), Path(plan.paths.provenance(method, dataset))
        reads = {scores: partial(read_scores, cell=f"{method} on {dataset}"), provenance: read_json}
        for path, read in reads.items():
            try:
                if path.is_file():
                    read(path)
            except DataError as error:
                yield path, str(error)


def _cells(plan: Plan, name: str) -> list[tuple[str, str]]:
    """Those of a table; what it shows only where it is there counts where it is there."""
    shown = [cell for cell in plan.on_demand_cells(name) if Path(plan.paths.scores(*cell)).is_file()]
    return [*plan.table_cells(name), *shown]


def blocks_that_differ(plan: Plan, table: TableFiles) -> Iterator[tuple[Path, str]]:
    """Scores files, and each block that they were made with and that the configuration has otherwise now."""
    for cell in table.cells:
        for block in changed_blocks(plan, cell.method, cell.dataset, cell.provenance):
            yield cell.scores_file, block


def changed_blocks(plan: Plan, method: str, dataset: str, provenance: Mapping[str, Any]) -> Iterator[str]:
    """Names of the blocks that scores were made with, as their provenance says, and that are others now."""
    then = provenance["configuration"]
    # As JSON has it: lists, not tuples.
    now = json.loads(json_text(plan.lineage.blocks_behind(method, dataset)))
    for section in dict.fromkeys([*then, *now]):
        before, after = then.get(section, {}), now.get(section, {})
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                yield f"{section}.{name}"


def files_that_differ(plan: Plan, table: TableFiles) -> list[Path]:
    """The files of a table that are not what its scores give: edited ones, or those of other scores."""
    with tempfile.TemporaryDirectory(prefix="table-") as folder:
        again = write_again(plan, table, Path(folder), _linked_pages(plan, table))
        given = zip((table.csv, table.markdown), again, strict=True)
        return [file for file, rebuilt in given if not file.is_file() or file.read_bytes() != rebuilt.read_bytes()]


def write_again(
    plan: Plan, table: TableFiles, folder: Path, pages: Mapping[tuple[str, str], str] | None = None
) -> tuple[Path, Path]:
    """Write CSV and Markdown of a table into a folder, as its rule does.

    Args:
        plan: of the configuration.
        table: what is written.
        folder: where; the names are those of its files.
        pages: addresses that the Markdown links to, by method and dataset.
    """
    again = folder / table.csv.name, folder / table.markdown.name
    paths = {(cell.method, cell.dataset): cell for cell in table.cells}
    build_table(
        table.name,
        plan.config.tables[table.name],
        {names: cell.scores_file for names, cell in paths.items()},
        {names: str(cell.provenance_file) for names, cell in paths.items()},
        *again,
        pages,
    )
    return again


def _linked_pages(plan: Plan, table: TableFiles) -> dict[tuple[str, str], str]:
    """Addresses of the pages that its Markdown links to; which these are depends on when it was written."""
    try:
        text = table.markdown.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}  # it differs whatever it links to
    cells = [(cell.method, cell.dataset, plan.paths.page(cell.method, cell.dataset)) for cell in table.cells]
    addresses = page_addresses(cells, str(table.markdown))
    return {cell: address for cell, address in addresses.items() if f"]({address})" in text}


def table_name(plan: Plan, target: str) -> str:
    """Name of the table that a target is.

    Raises:
        ConfigError: it is none.
    """
    config, tables = plan.config, plan.config.tables
    place = Path(target).resolve()
    place = place.with_suffix(".csv") if place.name else place
    found = [name for name in tables if target == name or place == Path(plan.paths.table(name)).resolve()]
    if not found:
        others = [*map(plan.paths.protocol_table, config.tables), *map(plan.paths.cross_table, config.cross_tables)]
        if place in [Path(other).resolve() for other in others]:
            raise ConfigError(f"{target!r} is a cross table, or one of other choices of scoring; name a table.")
        close = close_names(Path(target).stem, list(tables))
        raise ConfigError(f"{target!r} is not a table of this configuration; {close}. Others need their --configfile.")
    return found[0]


def _read_cell(plan: Plan, method: str, dataset: str, configfiles: Sequence[Path]) -> CellFiles:
    scores, provenance = Path(plan.paths.scores(method, dataset)), Path(plan.paths.provenance(method, dataset))
    content = read_scores(made(scores, configfiles), f"{method} on {dataset}")
    record = read_json(made(provenance, configfiles), "provenance")
    return CellFiles(method, dataset, scores, content, provenance, record)


def find_not_commercial(
    table: TableFiles, sources: Mapping[str, Source] | None = None, models: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """A sentence for each cell and each of its weights that commercial use cannot rest on.

    Args:
        table: with the licences that were stated when its cells were scored.
        sources: of the configuration, whose licences may have been corrected since; both must allow it.
        models: of the configuration, where custom weights state their licence.
    """
    blocks = models or {}
    for cell in table.cells:
        for name in cell.custom_models:
            stated = getattr(getattr(blocks.get(name), "weights", None), "licence", None)
            if reason := why_not_commercial(stated):
                yield f"{cell.method} on {cell.dataset}: models.{name} {reason} (`licence` of its `weights`)"
        for name in sorted(cell.weights):
            source = cell.provenance["sources"].get(name)
            stated = [source["licence"] if source else None]
            if sources and name in sources:
                stated.append(sources[name].licence)
            if reason := next(filter(None, map(why_not_commercial, stated)), None):
                yield f"{cell.method} on {cell.dataset}: {name} {reason}"
