"""Why a cell is not the published figure: which choice of scoring brings it closest, or that none does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from descbench.choices.choice import read_rescored
from descbench.choices.protocol_table import OURS, CellChoices, Outcome, protocol_cells
from descbench.command_files import made, named, read_configuration
from descbench.config.base import close_names
from descbench.errors import ConfigError
from descbench.plan import Plan
from descbench.tables.notes import Cell

_SHOWN = 20
HINT = (
    "A choice that comes close is a hint, not a proof: the published figure may rest on other features, weights or "
    "data (`causes` of the table in the report)."
)


def explain_cells(
    target: str,
    row: str | None,
    dataset: str | None,
    metric: str | None,
    configfiles: Sequence[Path],
) -> tuple[list[str], list[Outcome]]:
    """Sentences on the cells of a table, or of the tables that show a scores file.

    Args:
        target: name of a table, one of its files (also of its choices), or the scores file of a cell (or its choices).
        row: label of a row, or the method of one; None: any.
        dataset, metric: of the cells; None: any.
        configfiles: overlays.

    Returns:
        the sentences, and of a single cell what it scores under each choice: the nearest to the published figure first
        or, where nothing is published, the largest.

    Raises:
        ConfigError: names that no table has, or a target that is neither.
        DataError: choices that are not there yet.
    """
    plan = Plan(read_configuration(configfiles))
    tables = _names_of_files(plan)
    table = target if target in plan.config.tables else tables.get(Path(target).resolve())
    cells = _of_scores(plan, target, configfiles) if table is None else _of_table(plan, table, configfiles)
    for key, value in (("row", _label(plan, cells, row)), ("dataset", dataset), ("metric", metric)):
        cells = _kept(cells, key, value)
    if row is dataset is metric is None and any(cell.line.verdict == "off" for cell in cells):
        cells = [cell for cell in cells if cell.line.verdict == "off"]
    lines = [line for cell in cells[:_SHOWN] for line in explain(cell)]
    if len(cells) > _SHOWN:
        lines.append(f"{len(cells) - _SHOWN} more cells; name a row, a dataset and a metric.")
    if any(cell.closest is not None and cell.closest.choice != OURS for cell in cells):
        lines.append(HINT)
    return lines, _sorted(cells[0]) if len(cells) == 1 else []


def _sorted(cell: CellChoices) -> list[Outcome]:
    known = cell.line.reference
    return sorted(cell.outcomes, key=lambda found: -found.value if known is None else abs(found.value - known))


def explain(cell: CellChoices) -> Iterator[str]:
    """Sentences on one cell."""
    line, closest = cell.line, cell.closest
    where = f"{line.table}, {line.row}, {line.metric} of {line.dataset}"
    if not cell.outcomes:
        yield f"{where}: ours {line.ours:.2f}; no choice of scoring concerns it."
        return
    spread = f"{cell.lowest.value:.2f} ({cell.lowest.choice}) to {cell.highest.value:.2f} ({cell.highest.choice})"
    spread = (
        f"{len(cell.used)} choices of other code give {spread}"
        if cell.used
        else "no code base is known to score it otherwise"
    )
    if closest is None:
        yield f"{where}: ours {line.ours:.2f}, nothing published; {spread}."
        return
    known = f"{where}: ours {line.ours:.2f}, published {line.reference:.2f} ({line.difference:+.2f}, {line.verdict})"
    yield f"{known}; {spread}."
    if closest.choice == OURS:
        yield "  No choice of other code brings it closer."
    else:
        yield (
            f"  {closest.choice} comes closest: {closest.value:.2f}, {_left(cell, closest)} instead of "
            f"{line.difference:+.2f} ({closest.text}; so scores {closest.used_by})."
        )
    nearest = cell.closest_of_all
    if not nearest.used_by and nearest.choice != OURS:
        yield (
            f"  {nearest.choice} would come closer still: {nearest.value:.2f}, {_left(cell, nearest)} "
            f"({nearest.text}), but nobody is known to score so."
        )


def _left(cell: CellChoices, outcome: Outcome) -> str:
    return f"{round(outcome.value - cell.line.reference, 2):+.2f} of the published figure"


def _names_of_files(plan: Plan) -> dict[Path, str]:
    """Tables by the absolute paths of their files."""
    paths = plan.paths
    kinds = (paths.table, paths.table_markdown, paths.protocol_table, paths.protocol_table_markdown)
    return {Path(path_of(name)).resolve(): name for name in plan.config.tables for path_of in kinds}


def _of_table(plan: Plan, name: str, configfiles: Sequence[Path]) -> list[CellChoices]:
    made(Path(plan.paths.protocol_table(name)), configfiles)
    cells = plan.table_cells(name)
    scores = {cell: made(Path(plan.paths.scores(*cell)), configfiles) for cell in cells}
    rescored = {cell: made(Path(plan.paths.rescored(*cell)), configfiles) for cell in cells}
    return protocol_cells(name, plan.config.tables[name], scores | _variants(plan, name), rescored)


def _variants(plan: Plan, name: str) -> dict[Cell, Path]:
    """Scores of a table's results that were made otherwise and are there."""
    cells = [cell for on_demand in (False, True) for cell in plan.variant_cells(name, on_demand=on_demand)]
    return {(found.method, found.dataset): Path(found.scores) for found in plan.on_disk.find_scores(cells)}


def _of_scores(plan: Plan, target: str, configfiles: Sequence[Path]) -> list[CellChoices]:
    """Cells of all tables that show a scores file of one method."""
    shown = {
        Path(path).resolve(): cell
        for name in plan.config.tables
        for cell in (*plan.table_cells(name), *plan.on_demand_cells(name))
        for path in (plan.paths.scores(*cell), plan.paths.rescored(*cell))
    }
    cell = shown.get(Path(target).resolve())
    if cell is None:
        known = [*plan.config.tables, *map(plan.paths.table, plan.config.tables)]
        raise ConfigError(f"{target}: no table, and no scores file that a table shows; {close_names(target, known)}.")
    scores, rescored = (
        made(Path(plan.paths.scores(*cell)), configfiles),
        made(Path(plan.paths.rescored(*cell)), configfiles),
    )
    read_rescored(rescored, " on ".join(cell), scores)
    found = []
    for name, table in plan.config.tables.items():
        rows = [row for row in table.rows if row.methods_on(cell[1]) == (cell[0],) and cell[1] not in row.leave_empty]
        columns = [column for column in table.columns if column.dataset == cell[1]]
        if rows and columns:
            small = table.model_copy(update={"rows": tuple(rows), "columns": tuple(columns)})
            found += protocol_cells(name, small, {**_variants(plan, name), cell: scores}, {cell: rescored})
    return found


def _label(plan: Plan, cells: list[CellChoices], row: str | None) -> str | None:
    """Label of the row whose method has that name; where none has, it is a label itself."""
    tables = {cell.line.table for cell in cells}
    labels = {known.method: known.label for name in tables for known in plan.config.tables[name].rows}
    return row if row is None or row in labels.values() else labels.get(row, row)


def _kept(cells: list[CellChoices], key: str, value: str | None) -> list[CellChoices]:
    """Cells of that row, dataset or metric."""
    if value is None:
        return cells
    named({getattr(cell.line, key): cell for cell in cells}, f"{key} in these cells", value)
    return [cell for cell in cells if getattr(cell.line, key) == value]
