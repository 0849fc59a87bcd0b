"""Published figures: tidy CSV files of the catalogue that rows of tables refer to by the name of a result."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from descbench.config.base import Label, Name, Problem, Strict, close_names
from descbench.config.checks import scored_metrics
from descbench.config.models import Config
from descbench.config.tables import ReferenceResult, Table, TableRow
from descbench.config.yaml_files import at_home, read_text
from descbench.errors import refusal

SUFFIX = ".csv"
# Wrong lines that are named: a file of another kind is wrong in all of them.
_MOST_TOLD = 20
Cell = tuple[str, str]


def _decimal(text: str | None) -> str | None:
    """A number as papers print it: Python would read 7_0 as 70."""
    if text is not None and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError("must be a plain decimal number, such as 75.1")
    return text


class PublishedFigure(Strict):
    """A row of such a file: one figure, with the key of where it was read. Other columns are refused."""

    result: Name = Field(description="What `reference` of a table's row names.")
    dataset: Name = Field(description="Dataset or patch set of the catalogue.")
    metric: Label = Field(description="Key of the scores.")
    kind: Literal["paper", "released"] = Field(
        description="Printed in the paper, or stated by the authors for the released weights."
    )
    value: Annotated[float, BeforeValidator(_decimal)] = Field(ge=0, le=100, description="In points (percent).")
    tolerance: Annotated[float | None, BeforeValidator(_decimal)] = Field(
        ge=0, description="Largest difference called a match; empty = the row's or table's."
    )
    source: Name = Field(description="Key of section `references`.")


COLUMNS = tuple(PublishedFigure.model_fields)


@dataclass(frozen=True)
class Published:
    """All figures of the catalogue, each with its file and line."""

    figures: tuple[tuple[str, PublishedFigure], ...] = ()

    def results(self) -> set[str]:
        """Names that rows can refer to."""
        return {figure.result for _, figure in self.figures}

    def of(self, result: str | None, cells: Iterable[Cell]) -> Iterator[list[PublishedFigure]]:
        """The figures of a result in cells ``(dataset, metric)`` of a table, cell by cell."""
        for cell in cells:
            found = [f for _, f in self.figures if f.result == result and (f.dataset, f.metric) == cell]
            if found:
                yield found


def read_published(paths: Iterable[Path]) -> Published:
    """Read files of published figures.

    Raises:
        ConfigError: with the first problems, each as ``file, line N: what is wrong``.
    """
    figures: list[tuple[str, PublishedFigure]] = []
    problems: list[str] = []
    for path in paths:
        _read(path, figures, problems)
    first: dict[tuple[str, ...], str] = {}
    for where, figure in figures:
        key = (figure.result, figure.dataset, figure.metric, figure.kind)
        if key in first:
            problems.append(f"{where}: a second figure of {', '.join(key)}; the first is in {first[key]}")
        first.setdefault(key, where)
    if problems:
        more = [f"... and {len(problems) - _MOST_TOLD} more"] if len(problems) > _MOST_TOLD else []
        raise refusal([*problems[:_MOST_TOLD], *more])
    return Published(tuple(figures))


def _read(path: Path, figures: list[tuple[str, PublishedFigure]], problems: list[str]) -> None:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            problems.append(f"{path}, line 1: the columns must be {','.join(COLUMNS)}, not {','.join(header):.200}")
            return
        line = reader.line_num + 1  # of the first line of a row, which quotes may spread over several
        for cells in reader:
            if cells:
                _add(f"{path}, line {line}", cells, figures, problems)
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(f"{path}, line {reader.line_num}: not valid CSV: {error}")


def _add(where: str, cells: Sequence[str], figures: list[tuple[str, PublishedFigure]], problems: list[str]) -> None:
    if len(cells) != len(COLUMNS):
        problems.append(f"{where}: {len(cells)} cells instead of {len(COLUMNS)}")
        return
    row: dict[str, str | None] = dict(zip(COLUMNS, cells, strict=True))
    row["tolerance"] = row["tolerance"] or None
    try:
        figures.append((where, PublishedFigure.model_validate(row)))
    except ValidationError as error:
        for detail in error.errors():
            problems.append(f"{where}: {detail['loc'][0]}: {detail['msg']}, not {detail['input']!s:.80}")


def figures_on(config: Config, dataset: str, home: str | Path = ".") -> list[dict[str, Any]]:
    """All published figures of a dataset as plain values, with the source in words; of drawn images there are none.

    Args:
        config: the configuration.
        dataset: one of it.
        home: folder in which a file is looked for that is not in the working directory.

    Raises:
        ConfigError: a file that cannot be read.
    """
    if config.datasets[dataset].generator is not None:
        return []
    paths = [at_home(path, Path(home)) for path in config.catalog if path.suffix.lower() == SUFFIX]
    found = [figure for _, figure in read_published(paths).figures if figure.dataset == dataset]
    keys = {"result", "metric", "kind", "value"}
    return [figure.model_dump(include=keys) | {"source": config.references[figure.source]} for figure in found]


def check_figures(config: Config, published: Published) -> Iterator[str]:
    """Yield ``file, line N: what is wrong`` for every name of a figure that leads nowhere."""
    for where, figure in published.figures:
        if figure.source not in config.references:
            yield f"{where}: there is no source {figure.source!r} in section `references`" + _hint(
                figure.source, config.references
            )
        if figure.dataset not in (scored := {*config.datasets, *config.patch_sets}):
            yield f"{where}: there is no {figure.dataset!r} in section `datasets` or `patch_sets`" + _hint(
                figure.dataset, scored
            )
        elif figure.metric not in (known := scored_metrics(config, figure.dataset).names):
            yield f"{where}: scores on {figure.dataset!r} have no {figure.metric!r}" + _hint(figure.metric, known)


def check_rows(config: Config, published: Published) -> Iterator[Problem]:
    """Yield ``(path, message)`` for every row that refers to a result that no file has."""
    known = published.results()
    for name, table in config.tables.items():
        for number, row in enumerate(table.rows):
            if row.reference is not None and row.reference not in known:
                where = f"no published figures of {row.reference!r} in the {SUFFIX} files of `catalog`"
                yield ("tables", name, "rows", number, "reference"), where + _hint(row.reference, known)


def _hint(name: str, known: Iterable[str]) -> str:
    return f"; {close_names(name, known)}"


def with_figures(config: Config, published: Published) -> Config:
    """The configuration whose rows hold the figures that they refer to, those of the table's columns."""
    tables = {name: _with_figures(config, table, published) for name, table in config.tables.items()}
    return config.model_copy(update={"tables": tables})


def _with_figures(config: Config, table: Table, published: Published) -> Table:
    cells = dict.fromkeys((column.dataset, column.metric) for column in table.columns)
    rows = []
    for row in table.rows:
        inline = {(figure.dataset, figure.metric) for figure in row.reference_results}
        found = published.of(row.reference, (cell for cell in cells if cell not in inline))
        figures = [*row.reference_results, *(_joined(config, figures) for figures in found)]
        rows.append(row.model_copy(update={"reference_results": tuple(_tolerant(row, f) for f in figures)}))
    return table.model_copy(update={"rows": tuple(rows)})


def _tolerant(row: TableRow, figure: ReferenceResult) -> ReferenceResult:
    return figure if row.tolerance is None else figure.model_copy(update={"tolerance": row.tolerance})


def _joined(config: Config, figures: Sequence[PublishedFigure]) -> ReferenceResult:
    """The figures of one cell; the tolerance is that of the figure that ours is compared with, the released one."""
    values = {figure.kind: figure for figure in figures}
    compared = values.get("released") or values["paper"]
    return ReferenceResult(
        dataset=compared.dataset,
        metric=compared.metric,
        tolerance=compared.tolerance,
        source=_source(config, figures),
        **{kind: figure.value for kind, figure in values.items()},
    )


def _source(config: Config, figures: Sequence[PublishedFigure]) -> str:
    """Where a cell's figures were read, in the order of the file."""
    if len({figure.source for figure in figures}) == 1:
        return config.references[figures[0].source]
    return "; ".join(f"{figure.kind}: {config.references[figure.source]}" for figure in figures)
