"""Why a cell is not the published figure: which choice of scoring brings it closest, or that none does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from descbench.choices.choice import read_rescored
from descbench.choices.cross_cells import as_table
from descbench.choices.protocol_table import OURS, CellChoices, Outcome, protocol_cells
from descbench.command_files import made, named, read_configuration
from descbench.config.base import close_names
from descbench.errors import ConfigError
from descbench.plan import Plan
from descbench.project import snakemake_command
from descbench.table_kinds import all_tables, check_configuration, known_table
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
        target: name of a table or a cross table, one of its files (also of its choices), or the scores file of a cell
            (or its choices).
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
    found = known_table(plan, target)
    if found is None:
        cells, absent = _of_scores(plan, target, configfiles), []
    elif found[0].section == "cross_tables":
        cells, absent = _of_cross_table(plan, found[1], (row, dataset), configfiles)
    else:
        cells, absent = _of_table(plan, found[1], configfiles), []
    for key, value in (("row", _label(plan, cells, row)), ("dataset", dataset), ("metric", metric)):
        cells = _kept(cells, key, value)
    if row is dataset is metric is None and any(cell.line.verdict == "off" for cell in cells):
        cells = [cell for cell in cells if cell.line.verdict == "off"]
    lines = [line for cell in cells[:_SHOWN] for line in explain(cell)]
    if len(cells) > 1:
        more = f"{len(cells) - _SHOWN} more cells. " if len(cells) > _SHOWN else ""
        lines.append(f"{more}Name a row, a dataset and a metric to see every choice of a cell.")
    if absent:
        command = f"{snakemake_command(configfiles)} {plan.paths.rescored(*absent[0])}"
        many = f"{len(absent)} result{'s' * (len(absent) > 1)}"
        lines.append(f"The choices of {many} more are not there yet; `{command}` makes those of the first.")
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
        f"{len(cell.used)} choice{'s' * (len(cell.used) > 1)} of other code: {spread}"
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
    return f"{round(outcome.value - cell.line.reference, 2):+.2f} from the published figure"


def _of_table(plan: Plan, name: str, configfiles: Sequence[Path]) -> list[CellChoices]:
    made(Path(plan.paths.protocol_table(name)), configfiles)
    cells = plan.table_cells(name)
    scores = {cell: made(Path(plan.paths.scores(*cell)), configfiles) for cell in cells}
    rescored = {cell: made(Path(plan.paths.rescored(*cell)), configfiles) for cell in cells}
    return protocol_cells(name, plan.config.tables[name], scores | _variants(plan, name), rescored)


def _of_cross_table(
    plan: Plan, name: str, asked: tuple[str | None, str | None], configfiles: Sequence[Path]
) -> tuple[list[CellChoices], list[Cell]]:
    """Cells whose choices are there, and methods and datasets of those that are asked for and have none yet.

    Nothing makes all of them at once, so that those which are there are enough.

    Args:
        plan: of the configuration.
        name: of the cross table.
        asked: row, by its label or method, and dataset; None: any.
        configfiles: overlays.
    """
    row, dataset = asked
    cells = [cell for cell in plan.config.cross_tables[name].cells(plan.config) if cell.method is not None]
    known = {(cell.method, cell.dataset): Path(plan.paths.rescored(cell.method, cell.dataset)) for cell in cells}
    rescored = {cell: path for cell, path in known.items() if path.is_file()}
    fitting = dict.fromkeys(
        (cell.method, cell.dataset)
        for cell in cells
        if row in (None, cell.row, cell.method) and dataset in (None, cell.dataset)
    )
    absent = [cell for cell in fitting if cell not in rescored]
    if absent and len(absent) == len(fitting):
        made(known[absent[0]], configfiles)
    scores = {cell: made(Path(plan.paths.scores(*cell)), configfiles) for cell in rescored}
    return protocol_cells(name, as_table(plan.config, name, rescored), scores, rescored), absent


def _variants(plan: Plan, name: str) -> dict[Cell, Path]:
    """Scores of a table's results that were made otherwise and are there."""
    cells = [cell for on_demand in (False, True) for cell in plan.variant_cells(name, on_demand=on_demand)]
    return {(found.method, found.dataset): Path(found.scores) for found in plan.on_disk.find_scores(cells)}


def _of_scores(plan: Plan, target: str, configfiles: Sequence[Path]) -> list[CellChoices]:
    """Cells of all tables that show a scores file of one method; of cross tables where no other table does."""
    cells = [c for name in plan.config.tables for c in plan.possible_cells(name)]
    crossed = {cell: name for name in plan.config.cross_tables for cell in plan.cross_table_cells(name)}
    shown = {
        Path(path).resolve(): cell
        for cell in (*cells, *crossed)
        for path in (plan.paths.scores(*cell), plan.paths.rescored(*cell))
    }
    cell = shown.get(Path(target).resolve())
    if cell is None:
        check_configuration(plan, target)
        known = [Path(file).as_posix() for kind, name in all_tables(plan) for file in kind.files(plan.paths, name)[:1]]
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
    if not found:
        table = as_table(plan.config, crossed[cell], [cell])
        return protocol_cells(crossed[cell], table, {cell: scores}, {cell: rescored})
    return found


def _label(plan: Plan, cells: list[CellChoices], row: str | None) -> str | None:
    """Label of the row whose method has that name; where none has, it is a label itself."""
    labels = {cell.line.row for cell in cells}
    if row is None or row in labels:
        return row
    tables = {cell.line.table for cell in cells}
    known = [row for name in tables & plan.config.tables.keys() for row in plan.config.tables[name].rows]
    methods = {found.method: found.label for found in known}
    for name in tables & plan.config.cross_tables.keys():
        crossed = plan.config.cross_tables[name].cells(plan.config)
        methods |= {cell.method: cell.row for cell in crossed if cell.method is not None and cell.row in labels}
    return methods.get(row, row)


def _kept(cells: list[CellChoices], key: str, value: str | None) -> list[CellChoices]:
    """Cells of that row, dataset or metric."""
    if value is None:
        return cells
    named({getattr(cell.line, key): cell for cell in cells}, f"{key} in these cells", value)
    return [cell for cell in cells if getattr(cell.line, key) == value]
