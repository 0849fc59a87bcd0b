"""The kinds of tables: which files each has, whose scores it shows, and the stage that writes it from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from descbench.choices.protocol_table import build_protocol_table
from descbench.config.base import close_names
from descbench.config.cross_tables import CrossCell
from descbench.errors import ConfigError
from descbench.paths import Paths
from descbench.plan import Plan
from descbench.tables.cross_table import build_cross_table
from descbench.tables.notes import Cell, Restricted
from descbench.tables.table import build_table
from descbench.targets import configuration_of


@dataclass(frozen=True)
class Inputs:
    """Files that a table is written from, by ``(method, dataset)``.

    Attributes:
        scores, provenance: of all its cells.
        rescored: of those that have choices of scoring.
        pages: addresses of the pages of pictures that its Markdown links to.
    """

    scores: Mapping[Cell, Path]
    provenance: Mapping[Cell, str]
    rescored: Mapping[Cell, Path] = field(default_factory=dict)
    pages: Mapping[Cell, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableKind:
    """A kind of tables.

    Attributes:
        stage: that writes them; a rule and a script of its name.
        section: of the configuration that has them.
        title: what is said of the title of their block.
        files: of the paths and a name, its files: the CSV first.
        needed: of the plan and a name, the scores that are computed for it.
        cells: likewise, those that it shows: also those on demand that are there.
        rescored: likewise, those of them whose scores under other choices it shows.
        build: writes its files again: the plan, its name, what it is written from, files to write.
    """

    stage: str
    section: str
    title: str
    files: Callable[[Paths, str], tuple[str, ...]]
    needed: Callable[[Plan, str], list[Cell]]
    cells: Callable[[Plan, str], list[Cell]]
    rescored: Callable[[Plan, str], list[Cell]]
    build: Callable[[Plan, str, Inputs, Sequence[Path]], None]

    def block(self, plan: Plan, name: str) -> Any:
        """Block of the configuration of one of them."""
        return plan.config.block(self.section, name)


def all_tables(plan: Plan) -> list[tuple[TableKind, str]]:
    """Kind and name of every table, those of papers first."""
    return [(kind, name) for kind in KINDS for name in getattr(plan.config, kind.section)]


def known_table(plan: Plan, target: str) -> tuple[TableKind, str] | None:
    """Kind and name of the table that a target is, by its name or one of its files; None: it is none."""
    place = Path(target).resolve()
    for kind, name in all_tables(plan):
        if place in [Path(file).resolve() for file in kind.files(plan.paths, name)]:
            return kind, name
    return next(((kind, name) for kind, name in all_tables(plan) if target == name), None)


def find_table(plan: Plan, target: str) -> tuple[TableKind, str]:
    """:func:`known_table`.

    Raises:
        ConfigError: it is none.
    """
    if found := known_table(plan, target):
        return found
    check_configuration(plan, target)
    close = close_names(Path(target).stem, dict.fromkeys(name for _, name in all_tables(plan)))
    raise ConfigError(f"{target!r} is not a table of this configuration; {close}. Others need their --configfile.")


def check_configuration(plan: Plan, target: str) -> None:
    """Refuse a target that is of another configuration than the plan's, with what is to be added to the command.

    Raises:
        ConfigError: it lies below the results or data of a configuration that is not given.
    """
    if (other := configuration_of(target, plan)) is not None:
        raise ConfigError(f"{target} is of the configuration {other}, which is not given: add `--configfile {other}`.")


def _there(plan: Plan, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if Path(plan.paths.scores(*cell)).is_file()]


def _table_cells(plan: Plan, name: str) -> list[Cell]:
    return [*plan.table_cells(name), *_there(plan, plan.on_demand_cells(name))]


def _protocol_needed(plan: Plan, name: str) -> list[Cell]:
    return list(dict.fromkeys([*plan.table_cells(name), *plan.variant_cells(name, on_demand=False)]))


def _protocol_cells(plan: Plan, name: str) -> list[Cell]:
    extra = plan.on_disk.find_scores(plan.variant_cells(name, on_demand=True))
    return list(dict.fromkeys([*_protocol_needed(plan, name), *((cell.method, cell.dataset) for cell in extra)]))


def _restricted(plan: Plan, inputs: Inputs) -> Restricted:
    return plan.lineage.restricted_behind(inputs.scores)


def _build_table(plan: Plan, name: str, inputs: Inputs, outputs: Sequence[Path]) -> None:
    given = inputs.scores, inputs.provenance, *outputs, _restricted(plan, inputs), inputs.pages
    build_table(name, plan.config.tables[name], *given)


def _build_cross_table(plan: Plan, name: str, inputs: Inputs, outputs: Sequence[Path]) -> None:
    csv, markdown, tests = outputs
    rows = plan.cross_table_rows(name)
    learned = [(row["row"], row["dataset"]) for row in rows if row.pop("learned")]
    cells, block = [CrossCell(**row) for row in rows], plan.config.cross_tables[name]
    given = inputs.scores, inputs.provenance, (csv, tests, markdown), learned, _restricted(plan, inputs), inputs.pages
    build_cross_table(name, block, cells, *given)


def _build_protocol_table(plan: Plan, name: str, inputs: Inputs, outputs: Sequence[Path]) -> None:
    given = inputs.scores, inputs.rescored, *outputs, _restricted(plan, inputs), inputs.pages
    build_protocol_table(name, plan.config.tables[name], *given)


# Tables come first: where a cross table has the name of one, the name alone is the table.
KINDS = (
    TableKind(
        "build_table",
        "tables",
        "{}",
        lambda paths, name: (paths.table(name), paths.table_markdown(name)),
        lambda plan, name: plan.table_cells(name),
        _table_cells,
        lambda plan, name: [],
        _build_table,
    ),
    TableKind(
        "build_cross_table",
        "cross_tables",
        "{}",
        lambda paths, name: (paths.cross_table(name), paths.cross_table_markdown(name), paths.cross_tests(name)),
        lambda plan, name: plan.cross_table_cells(name),
        lambda plan, name: plan.cross_table_cells(name),
        lambda plan, name: [],
        _build_cross_table,
    ),
    TableKind(
        "build_protocol_table",
        "tables",
        "{} (under other choices of scoring)",
        lambda paths, name: (paths.protocol_table(name), paths.protocol_table_markdown(name)),
        _protocol_needed,
        _protocol_cells,
        lambda plan, name: plan.table_cells(name),
        _build_protocol_table,
    ),
)
