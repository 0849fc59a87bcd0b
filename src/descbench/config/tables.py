"""Blocks of section `tables`: rows of methods, columns of metrics, published figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from descbench.config.base import (
    NOTE,
    Block,
    DatasetName,
    Label,
    MethodName,
    Name,
    Names,
    Problem,
    ScoredName,
    Strict,
    Text,
)
from descbench.config.checks import no_metric


class ReferenceResult(Strict):
    """One published figure, with where it was read."""

    dataset: Name
    metric: Label
    paper: float | None = Field(None, description="Figure printed in the paper.")
    released: float | None = Field(None, description="Figure stated by the authors for the released weights.")
    source: Label = Field(description="Where the figure was read.")
    tolerance: float | None = Field(None, ge=0, description="Largest difference called a match; null = the table's.")

    @model_validator(mode="after")
    def _some_figure(self) -> ReferenceResult:
        if self.paper is None and self.released is None:
            raise ValueError("has neither `paper` nor `released`; leave it out, or give one of them")
        return self


class TableRow(Strict):
    """One method of a table, or several that differ in the seed of their training alone."""

    label: Label = Field(description="Name of the row as the paper writes it.")
    method: MethodName
    repeats: tuple[MethodName, ...] = Field(
        (),
        description="Methods like `method` that were trained with other seeds: cells are means over all of them, with "
        "their standard deviation.",
    )
    elsewhere: dict[DatasetName, MethodName] = Field(
        {}, description="Datasets whose cells another method fills, such as the same one with words of another city."
    )
    reference: Name | None = Field(
        None, description="Result whose published figures stand beside ours (column `result` of references.csv)."
    )
    reference_results: tuple[ReferenceResult, ...] = Field(
        (),
        description="Published figures that are in no such file; in their cells they go before those of `reference`.",
    )
    tolerance: float | None = Field(
        None, ge=0, description="Largest difference called a match in this row; null = that of each figure."
    )
    leave_empty: Names = Field(
        (), description="Datasets whose cells stay empty, such as those that the network was trained on."
    )

    @property
    def methods(self) -> tuple[str, ...]:
        """The method and its repeats, and the methods of other datasets."""
        return (self.method, *self.repeats, *self.elsewhere.values())

    def methods_on(self, dataset: str) -> tuple[str, ...]:
        """The methods whose scores on a dataset its cells show: one, or the method and its repeats."""
        return (self.elsewhere[dataset],) if dataset in self.elsewhere else (self.method, *self.repeats)


class Column(Strict):
    """One column of a table: a metric of a dataset."""

    dataset: ScoredName = Field(description="A dataset, or a patch set for methods that describe patches.")
    metric: Label = Field(description="Key of the scores file, such as map_medium.")
    label: Label = Field(description="Heading as the paper writes it.")
    on_demand: bool = Field(
        False, description="Shown where its scores are there already, else empty; this table never has them computed."
    )


class Cause(Strict):
    """Why ours may differ from what was published."""

    text: Text = Field(description="In one or two sentences, with where it is known from.")
    datasets: Names = Field((), description="Datasets whose cells it concerns; none = all columns.")


class Variant(Strict):
    """The cells of a table from results that were made otherwise, for the table of choices of scoring."""

    choice: Name = Field(description="Its name there.")
    text: Label = Field(description="What is done otherwise.")
    used_by: Label | None = Field(None, description="Who is known to do so.")
    datasets: dict[ScoredName, ScoredName] = Field({}, description="Datasets whose place another one takes, by name.")
    methods: dict[MethodName, MethodName] = Field({}, description="Methods whose place another one takes, by name.")
    on_demand: bool = Field(
        True,
        description="Shown where its scores are there already; false: they are computed with the table of choices.",
    )

    def cell(self, method: str, dataset: str) -> tuple[str, str] | None:
        """Method and dataset that stand in for these; None where it has no others."""
        found = self.methods.get(method, method), self.datasets.get(dataset, dataset)
        return None if found == (method, dataset) else found


class Table(Block):
    """One table: rows of methods, columns of metrics, published figures beside ours."""

    title: Label
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[TableRow, ...] = Field(min_length=1)
    tolerance: float = Field(
        0.5, ge=0, description="Largest difference from the published figure called a match, in points."
    )
    other_engine: bool = Field(
        False,
        description="The published figures are of another, unreleased engine: no difference from them is judged.",
    )
    synthetic: bool = Field(False, description="Made of drawn images: no published figures belong beside it.")
    note: Text | None = Field(None, description="Printed under the table.")
    causes: tuple[Cause, ...] = Field(
        (), description="Known causes of a difference from the published figures, shown with each cell of the report."
    )
    variants: Annotated[tuple[Variant, ...], NOTE] = Field(
        (), description="Results that were made otherwise, beside ours in results/protocols/<table>.csv."
    )
    on_demand: bool = Field(
        False, description="Built only when its own file is asked for: no part of `all` and of the report."
    )

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its columns are scored, its rows and figures are there once."""
        if name.casefold() == "remeasured":
            yield (
                (),
                "results/remeasured.csv holds published counts beside ours (section `remeasured`); rename the table",
            )
        shown = [(column.dataset, column.metric) for column in self.columns]
        headings = [column.label for column in self.columns]
        for number, column in enumerate(self.columns):
            if shown.index(shown[number]) < number:
                yield ("columns", number), f"{column.metric} of {column.dataset!r} has a column before this one"
            if headings.index(column.label) < number:
                yield ("columns", number, "label"), f"two columns are headed {column.label!r}"
            if why := no_metric(config, column.dataset, column.metric):
                yield ("columns", number, "metric"), why
        for number, cause in enumerate(self.causes):
            for name in sorted(set(cause.datasets) - {column.dataset for column in self.columns}):
                yield ("causes", number, "datasets"), f"{name!r} is in no column of this table"
        yield from self._variants_fit(config)
        labels = [row.label for row in self.rows]
        for number, row in enumerate(self.rows):
            path = ("rows", number)
            if labels.count(row.label) > 1:
                yield (*path, "label"), f"two rows are called {row.label!r}"
            for key, why in (*self._inline_figures(row), *self._cells_fit(row, config)):
                yield (*path, *key), why
            if self.synthetic and (row.reference_results or row.reference):
                yield (), "a table of drawn images has no published figures"

    def _cells_fit(self, row: TableRow, config: Any) -> Iterator[Problem]:
        """The method is for what the columns show."""
        shown = {column.dataset for column in self.columns}
        own, filled = (row.method, *row.repeats), shown - set(row.leave_empty)
        paths = (("method",), *(("repeats", number) for number in range(len(row.repeats))))
        for path, name in zip(paths, own, strict=True):
            for why in _unfit(name, sorted(filled - row.elsewhere.keys()), config):
                yield path, why
            if own.count(name) > 1:
                yield path, f"{name!r} stands twice in this row"
        for dataset, name in row.elsewhere.items():
            unfilled = [f"{dataset!r} is not a filled column"]
            for why in _unfit(name, [dataset], config) if dataset in filled else unfilled:
                yield ("elsewhere", dataset), why
        for number, name in enumerate(row.leave_empty):
            if name not in shown:
                yield ("leave_empty", number), f"{name!r} is in no column of this table"

    def _variants_fit(self, config: Any) -> Iterator[Problem]:
        """Each has results of its own, scored by the metrics that the columns show."""
        names = [variant.choice for variant in self.variants]
        for number, variant in enumerate(self.variants):
            path = ("variants", number)
            if names.index(variant.choice) < number:
                yield (*path, "choice"), f"a second variant {variant.choice!r}"
            if not variant.datasets and not variant.methods:
                yield path, "has neither `datasets` nor `methods`, so that it is the table itself"
            shown = [c for c in self.columns if c.dataset in variant.datasets]
            for name in sorted(set(variant.datasets) - {column.dataset for column in shown}):
                yield (*path, "datasets", name), f"{name!r} is in no column of this table"
            for column in shown:
                if why := no_metric(config, variant.datasets[column.dataset], column.metric):
                    yield (*path, "datasets", column.dataset), why
            for method, dataset in variant_cells(self, (variant,)):
                for why in _unfit(method, [dataset], config):
                    yield path, why

    def _inline_figures(self, row: TableRow) -> Iterator[Problem]:
        """One figure of a column at most."""
        shown = {(column.dataset, column.metric) for column in self.columns}
        cells = [(figure.dataset, figure.metric) for figure in row.reference_results]
        for number, cell in enumerate(cells):
            path, what = ("reference_results", number), f"{cell[1]} of {cell[0]}"
            if cells.index(cell) < number:
                yield path, f"a second figure for {what}"
            if cell not in shown:
                yield path, f"{what} is not a column of this table"


def variant_cells(table: Table, variants: Iterable[Variant]) -> list[tuple[str, str]]:
    """Method and dataset of all scores that variants of a table show, each once."""
    cells = [
        variant.cell(method, column.dataset)
        for variant in variants
        for row in table.rows
        for column in table.columns
        if not column.on_demand and column.dataset not in row.leave_empty
        for method in row.methods_on(column.dataset)
    ]
    return list(dict.fromkeys(cell for cell in cells if cell is not None))


def _unfit(method: str, datasets: list[str], config: Any) -> Iterator[str]:
    """Why a method cannot be scored on some of the datasets."""
    block = config.methods[method]
    for name in datasets:
        if name not in getattr(config, block.SCORED_ON):
            yield f"{method!r} is scored on {block.SCORED_ON.replace('_', ' ')}, and {name!r} is none of them"
        elif why := block.unfit(name, config):
            yield why
