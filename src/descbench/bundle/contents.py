"""What a table rests on, read from the files of its cells."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from descbench.choices.choice import read_rescored
from descbench.command_files import made
from descbench.config.sources import Source
from descbench.errors import DataError
from descbench.io.atomic import json_text
from descbench.io.jsonfiles import read_json
from descbench.licences import why_not_commercial
from descbench.metrics.scores import Scores, read_scores
from descbench.plan import Plan
from descbench.report_plan import page_addresses
from descbench.table_kinds import Inputs, TableKind, find_table
from descbench.tables.notes import Cell


@dataclass(frozen=True)
class CellFiles:
    """One cell: its names, its scores with their file, and its provenance with its file.

    Attributes:
        rescored: file of its scores under other choices, where the table shows them.
    """

    method: str
    dataset: str
    scores_file: Path
    scores: Scores
    provenance_file: Path
    provenance: Mapping[str, Any]
    rescored: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        known = (self.scores_file, self.provenance_file, self.rescored)
        return tuple(file for file in known if file is not None)

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
    """A table with its files and cells.

    Attributes:
        files: its own, the CSV first.
        results: folder that all files of a table lie below; in a bundle they have the names that they have there.
    """

    name: str
    title: str
    files: tuple[Path, ...]
    cells: tuple[CellFiles, ...]
    kind: TableKind
    results: Path

    @property
    def csv(self) -> Path:
        """The table as CSV."""
        return self.files[0]

    def bundled(self, file: Path) -> str:
        """Name of a file of the table, or of one of its cells, in a bundle."""
        return file.relative_to(self.results).as_posix()

    @property
    def made(self) -> tuple[Path, ...]:
        """All files that stages which a bundle tells of wrote: those of the cells, and the table's own."""
        return (*(file for cell in self.cells for file in cell.files), *self.files)

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
        target: name of a table, or one of its files; of any kind.
        configfiles: what the configuration was read from beside the default, for messages.

    Raises:
        ConfigError: no such table.
        DataError: a file that is not there yet, or is damaged.
    """
    kind, name = find_table(plan, target)
    files = [
        made(Path(file), configfiles) if place == 0 else Path(file)
        for place, file in enumerate(kind.files(plan.paths, name))
    ]
    rescored = kind.rescored(plan, name)
    cells = [_read_cell(plan, cell, configfiles, rescored=cell in rescored) for cell in kind.cells(plan, name)]
    title = kind.title.format(kind.block(plan, name).title)
    return TableFiles(name, title, tuple(files), tuple(cells), kind, Path(plan.paths.results))


def find_damaged(plan: Plan, target: str) -> Iterator[tuple[Path, str]]:
    """Scores and provenance of a table that are there and cannot be read, with what is wrong.

    Raises:
        ConfigError: no such table.
    """
    kind, name = find_table(plan, target)
    rescored = kind.rescored(plan, name)
    for cell in kind.cells(plan, name):
        scores, provenance = Path(plan.paths.scores(*cell)), Path(plan.paths.provenance(*cell))
        reads = {scores: partial(read_scores, cell=" on ".join(cell)), provenance: read_json}
        if cell in rescored:
            reads[Path(plan.paths.rescored(*cell))] = partial(read_rescored, cell=" on ".join(cell), scores=scores)
        for path, read in reads.items():
            try:
                if path.is_file():
                    read(path)
            except DataError as error:
                yield path, str(error)


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
        again = [Path(folder, file.name) for file in table.files]
        write_again(plan, table, again, _linked_pages(plan, table))
        given = zip(table.files, again, strict=True)
        return [file for file, rebuilt in given if not file.is_file() or file.read_bytes() != rebuilt.read_bytes()]


def write_again(
    plan: Plan, table: TableFiles, outputs: Sequence[Path], pages: Mapping[Cell, str] | None = None
) -> None:
    """Write the files of a table anew, as its rule does.

    Args:
        plan: of the configuration.
        table: what is written.
        outputs: files to write, as many as it has.
        pages: addresses that the Markdown links to, by method and dataset.
    """
    cells = {(cell.method, cell.dataset): cell for cell in table.cells}
    inputs = Inputs(
        {names: cell.scores_file for names, cell in cells.items()},
        {names: str(cell.provenance_file) for names, cell in cells.items()},
        {names: cell.rescored for names, cell in cells.items() if cell.rescored is not None},
        pages or {},
    )
    table.kind.build(plan, table.name, inputs, outputs)


def _linked_pages(plan: Plan, table: TableFiles) -> dict[Cell, str]:
    """Addresses of the pages that its Markdown links to; which these are depends on when it was written."""
    markdown = next(file for file in table.files if file.suffix == ".md")
    try:
        text = markdown.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}  # it differs whatever it links to
    cells = [(cell.method, cell.dataset, plan.paths.page(cell.method, cell.dataset)) for cell in table.cells]
    addresses = page_addresses(cells, str(markdown))
    return {cell: address for cell, address in addresses.items() if f"]({address})" in text}


def _read_cell(plan: Plan, names: Cell, configfiles: Sequence[Path], *, rescored: bool) -> CellFiles:
    scores, provenance = Path(plan.paths.scores(*names)), Path(plan.paths.provenance(*names))
    content = read_scores(made(scores, configfiles), " on ".join(names))
    record = read_json(made(provenance, configfiles), "provenance")
    choices = made(Path(plan.paths.rescored(*names)), configfiles) if rescored else None
    if choices is not None:
        read_rescored(choices, " on ".join(names), scores)
    return CellFiles(*names, scores, content, provenance, record, choices)


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
