"""Blocks of section `cross_tables`: all rows on all datasets, where a method of the row fits the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from descbench.config.base import NOTE, Block, Label, MethodName, Problem, ScoredName, Text
from descbench.config.checks import no_metric


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"{value!r} is written twice")
    return values


Methods = Annotated[tuple[MethodName, ...], Field(min_length=1), AfterValidator(_distinct)]
MetricNames = Annotated[tuple[Label, ...], Field(min_length=1), AfterValidator(_distinct)]


@dataclass(frozen=True)
class CrossCell:
    """What a row has on a dataset.

    Attributes:
        row: label of the row.
        dataset: dataset or patch set.
        method: the first method of the row that fits; None: none does.
        why: what each method of the row lacks, where none fits.
    """

    row: str
    dataset: str
    method: str | None
    why: str | None


class CrossTable(Block):
    """One cross table: a row a method, or a descriptor that several methods use, on every dataset that fits."""

    title: Label
    rows: dict[Label, Methods | None] = Field(
        description="Name of a row -> its methods, of which each dataset takes the first that fits; null: no such row."
    )
    datasets: dict[ScoredName, MetricNames | None] = Field(
        description="Dataset or patch set -> metrics of its scores, a column each; null: it is left out."
    )
    note: Annotated[Text | None, NOTE] = Field(None, description="Printed under the table.")

    @model_validator(mode="after")
    def _something_is_shown(self) -> CrossTable:
        for key in ("rows", "datasets"):
            if not any(value is not None for value in getattr(self, key).values()):
                raise ValueError(f"`{key}` has nothing to show")
        return self

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Dataset and metric of each column."""
        return tuple((dataset, metric) for dataset, metrics in self.datasets.items() for metric in metrics or ())

    def cells(self, config: Any) -> list[CrossCell]:
        """What each row has on each dataset, row by row."""
        shown = [dataset for dataset, metrics in self.datasets.items() if metrics is not None]
        return [
            _cell(label, methods, dataset, config)
            for label, methods in self.rows.items()
            if methods is not None
            for dataset in shown
        ]

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its columns are scored, something fits, and no file has a name twice."""
        if f"{name}.tests" in config.cross_tables:
            yield (), f"its tests and the table {name + '.tests'!r} would have the same name; rename one"
        unscored = False
        for dataset, metrics in self.datasets.items():
            for number, metric in enumerate(metrics or ()):
                if why := no_metric(config, dataset, metric):
                    unscored = True
                    yield ("datasets", dataset, number), why
        if unscored:
            return
        cells = self.cells(config)
        if all(cell.method is None for cell in cells):
            yield ("rows",), f"none of the methods fits any of the datasets, such as: {cells[0].why}"


def _cell(label: str, methods: tuple[str, ...], dataset: str, config: Any) -> CrossCell:
    reasons = []
    for method in methods:
        why = why_unfit(method, dataset, config)
        if why is None:
            return CrossCell(label, dataset, method, None)
        reasons.append(f"{method}: {why}")
    return CrossCell(label, dataset, None, "; ".join(reasons))


def why_unfit(method: str, dataset: str, config: Any) -> str | None:
    """Why a method cannot be scored on a dataset or patch set, as the blocks say; None: it can."""
    block = config.methods[method]
    if dataset not in getattr(config, block.SCORED_ON):
        return f"it is scored on {block.SCORED_ON.replace('_', ' ')}, and {dataset!r} is none of them"
    return block.unfit(dataset, config) or _without_features(method, dataset, config)


def _without_features(method: str, dataset: str, config: Any) -> str | None:
    """Why there are no features of a dataset that a method, or the one whose ranking it starts from, searches."""
    block = config.methods[method]
    if block.SCORED_ON != "datasets":
        return None
    for features in block.all_features[:1]:
        for name in config.datasets[dataset].searched_as(dataset):
            searched = config.datasets[name]
            for role in searched.roles():
                if role in ("query", searched.searched_role()) and (
                    problem := config.features[features].missing(features, config, name, role)
                ):
                    return problem[1]
    return _without_features(block.based_on, dataset, config) if block.based_on else None
