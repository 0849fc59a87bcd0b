"""What the cells of the report rest on: one entry for each method and dataset, shown when a cell is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from descbench.choices.choice import RescoredCell, read_rescored
from descbench.choices.protocol_table import CellChoices, cell_choices
from descbench.errors import StaleFileError
from descbench.io.jsonfiles import read_json
from descbench.metrics.remarks import rule_of
from descbench.metrics.scores import Scores, read_scores
from descbench.tables.notes import Cell, Restricted
from descbench.tables.shown import Key, ShownCell, ShownTable
from descbench.tables.stage_times import JobTime, StageFiles, StageTime, read_job_times, times_behind
from descbench.tables.text import relative_address

# Longer facts are lists with a value a query, which belong to the scores file.
_LONGEST_FACT = 200


@dataclass(frozen=True)
class Evidence:
    """What the report reads besides scores. All of it may be absent: the report then says less.

    Attributes:
        provenance: file of every ``(method, dataset)`` (:mod:`descbench.tables.provenance`).
        behind: names that a result rests on, by section (:meth:`descbench.lineage.Lineage.names_behind`).
        pages: page of pictures of a result, where one is there.
        command: how Snakemake is called, up to a target.
        page_targets: what is asked for to have one made, where none is there.
        rescored: what a result scores under other choices, where it is there (:mod:`descbench.choices.choice`).
        choice_targets: what is asked for to have it made, by table.
        stages: files that say what jobs took, by rule (:func:`.stage_times.read_job_times`).
        stored: files that a search reads, and how many images they describe.
        figures: published figures of datasets with image pairs (:func:`descbench.config.published.figures_on`).
        restricted: weights that allow no commercial use (:func:`descbench.tables.notes.licence_notes`).
        graph: rules behind the report: how many jobs each has, and the rules that it comes after.
    """

    provenance: Mapping[Cell, Path] = field(default_factory=dict)
    behind: Mapping[Cell, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    pages: Mapping[Cell, Path] = field(default_factory=dict)
    command: str = "snakemake --cores 8"
    page_targets: Mapping[Cell, str] = field(default_factory=dict)
    rescored: Mapping[Cell, Path] = field(default_factory=dict)
    choice_targets: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, StageFiles] = field(default_factory=dict)
    stored: Mapping[Cell, tuple[Sequence[Path], int]] = field(default_factory=dict)
    figures: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    graph: Mapping[str, tuple[int, Sequence[str]]] = field(default_factory=dict)
    restricted: Restricted = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a cell with this result stands.

    Attributes:
        table, row: name of the table and label of the row.
        cell: the cell.
        choices: what it scores under other choices of scoring; None where that was not made.
    """

    table: str
    row: str
    cell: ShownCell
    choices: CellChoices | None = None


@dataclass(frozen=True)
class Basis:
    """What the scores of one method on one dataset rest on.

    Attributes:
        method, dataset: names.
        scores: what was measured.
        rule: what counts as right, in a sentence; None: nothing to say.
        facts: what the protocol recorded, in short.
        links: addresses relative to the report, by what lies there.
        page_command: makes a page of pictures; None: there is one, or can be none.
        record: the provenance; empty where there is none.
        weights, data: downloads by name: what of them the record says (``note``, ``licence``, ``files``).
        blocks: configuration as YAML, by section and name.
        times: of the stages, where they were recorded.
    """

    method: str
    dataset: str
    scores: Scores
    rule: str | None
    facts: Mapping[str, str]
    links: Mapping[str, str]
    page_command: str | None
    record: Mapping[str, Any]
    weights: Mapping[str, Any]
    data: Mapping[str, Any]
    blocks: Sequence[tuple[str, str, str]]
    times: Sequence[StageTime]


@dataclass(frozen=True)
class Result:
    """A dialog of the report.

    Attributes:
        name: its id.
        title: methods and dataset.
        places: where it stands in the tables.
        causes: known causes of a difference from what was published, each once.
        choice_commands: make the choices of scoring that are not there.
        bases: of its methods; more than one where a row repeats a training.
    """

    name: str
    title: str
    places: Sequence[Place]
    causes: Sequence[str]
    choice_commands: Sequence[str]
    bases: Sequence[Basis]

    @property
    def told_choices(self) -> dict[str, str]:
        """The choices of scoring that its table names, with what each is."""
        known = [place.choices for place in self.places if place.choices is not None and place.choices.outcomes]
        named = [outcome for found in known for outcome in (found.lowest, found.highest, found.closest)]
        return {outcome.choice: outcome.text for outcome in named if outcome is not None}


def shown_results(
    tables: Sequence[ShownTable], ids: Mapping[Key, str], scores: Mapping[Cell, Path], evidence: Evidence, output: Path
) -> list[Result]:
    """The results that the cells of tables open.

    Args:
        tables: as shown.
        ids: of the results that they open (:func:`descbench.tables.shown.shown_table`).
        scores: scores files.
        evidence: what else is known.
        output: the report, which links are relative to.

    Raises:
        DataError: a file of scores or provenance is damaged.
    """
    jobs = read_job_times(evidence.stages)
    bases: dict[Cell, Basis] = {}
    for methods, dataset in ids:
        for cell in ((method, dataset) for method in methods):
            if cell not in bases:
                bases[cell] = _basis(cell, scores[cell], jobs, evidence, output)
    choices = _read_choices(bases, scores, evidence)
    results = []
    for key, name in ids.items():
        places = list(_places(tables, key, scores, choices))
        lacking = dict.fromkeys(place.table for place in places if place.choices is None)
        results.append(
            Result(
                name=name,
                title=f"{' and '.join(key[0])} on {key[1]}",
                places=places,
                causes=_causes(tables, key),
                choice_commands=[
                    f"{evidence.command} {evidence.choice_targets[t]}" for t in lacking if t in evidence.choice_targets
                ],
                bases=[bases[method, key[1]] for method in key[0]],
            )
        )
    return results


def _read_choices(cells: Iterable[Cell], scores: Mapping[Cell, Path], evidence: Evidence) -> dict[Cell, RescoredCell]:
    """Choices of scoring that are there. No rule of the report makes them: those of earlier scores count as absent."""
    found = {}
    for cell in cells:
        # Another job of this run may be about to make them anew.
        if cell in evidence.rescored and evidence.rescored[cell].is_file():
            with suppress(StaleFileError):
                found[cell] = read_rescored(evidence.rescored[cell], " on ".join(cell), scores[cell])
    return found


def _places(
    tables: Iterable[ShownTable], key: Key, scores: Mapping[Cell, Path], choices: Mapping[Cell, RescoredCell]
) -> Iterator[Place]:
    for table in tables:
        for row, block in zip(table.rows, table.block.rows, strict=True):
            for cell in row.cells:
                if cell.key == key and cell.opens is not None:
                    found = cell_choices(table.block, block, cell.line, scores, choices)
                    yield Place(table.name, row.label, cell, found)


def _causes(tables: Iterable[ShownTable], key: Key) -> list[str]:
    """Causes that tables name, and notes on what was downloaded are told with the downloads."""
    showing = [table for table in tables if any(cell.key == key and cell.source for cell in table.cells)]
    causes = [cause for table in showing for cause in table.block.causes]
    return list(dict.fromkeys(cause.text for cause in causes if not cause.datasets or key[1] in cause.datasets))


def _basis(cell: Cell, path: Path, jobs: Sequence[JobTime], evidence: Evidence, output: Path) -> Basis:
    scores = read_scores(path, " on ".join(cell))
    provenance, page = evidence.provenance.get(cell), evidence.pages.get(cell)
    record = read_json(provenance, "provenance") if provenance else {}
    weights, data = _downloads(record)
    return Basis(
        method=cell[0],
        dataset=cell[1],
        scores=scores,
        rule=rule_of(cell[1], scores),
        facts=_facts(scores.facts),
        links=_links({"page of pictures": page, "scores": provenance and path, "provenance": provenance}, output),
        page_command=f"{evidence.command} {evidence.page_targets[cell]}" if cell in evidence.page_targets else None,
        record=record,
        weights=weights,
        data=data,
        blocks=_blocks(record.get("configuration", {})),
        times=times_behind(jobs, evidence.behind[cell]) if cell in evidence.behind else [],
    )


def _downloads(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sources of the weights of networks, and all others."""
    models = record.get("configuration", {}).get("models", {}).values()
    named = {value for model in models for value in model["weights"].values() if isinstance(value, str)}
    sources = record.get("sources", {})
    weights = {name: source for name, source in sources.items() if name in named}
    return weights, {name: source for name, source in sources.items() if name not in named}


def _blocks(configuration: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (section, name, yaml.safe_dump(block, sort_keys=False, allow_unicode=True))
        for section, blocks in configuration.items()
        for name, block in blocks.items()
    ]


def _facts(facts: Mapping[str, Any]) -> dict[str, str]:
    texts = {name.replace("_", " "): _text(value) for name, value in facts.items() if value is not None}
    return {name: text for name, text in texts.items() if text and len(text) <= _LONGEST_FACT}


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _links(files: Mapping[str, Path | None], output: Path) -> dict[str, str]:
    """Addresses of files relative to the page, as links hold them; a file that is none has no link."""
    return {name: relative_address(file, output) for name, file in files.items() if file}
