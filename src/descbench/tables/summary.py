"""The first screen of the report: how many cells match, and where they were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from descbench.tables.results import Basis, Result
from descbench.tables.shown import ShownTable

# In this order; what the first screen says of each.
VERDICTS: Mapping[str, str] = {
    "match": "The difference from the published figure is within the tolerance of the table.",
    "within noise": "The published figure lies within our 95 % interval, and the difference is above the tolerance.",
    "off": "The published figure lies outside our interval, and the difference is above the tolerance.",
    "other engine": "The published figure is of an engine that was never released: no difference is judged.",
    "no reference": "Nothing is published, or no source of it was at hand.",
    "not measured": "A figure is published, and nothing was measured here.",
}
# What the tables call it.
NO_VALUE = "no value"


@dataclass(frozen=True)
class Summary:
    """What was reproduced, and where.

    Attributes:
        counts: number of cells by verdict, those that no cell has left out; of tables with published figures.
        drawn: number of measured cells in tables of drawn images.
        tables, rows, results: how many there are.
        machines: each machine that scored, in words, and the number of its results.
        devices: where networks ran.
        versions: of packages; of several, each.
        revisions: of the working copy.
        unrecorded: results whose provenance names no machine.
    """

    counts: Mapping[str, int]
    drawn: int
    tables: int
    rows: int
    results: int
    machines: Mapping[str, int]
    devices: Sequence[str]
    versions: Mapping[str, str]
    revisions: Sequence[str]
    unrecorded: int


def summarise(tables: Sequence[ShownTable], results: Iterable[Result]) -> Summary:
    """The first screen of these tables and of what their cells rest on."""
    bases = list({(basis.method, basis.dataset): basis for result in results for basis in result.bases}.values())
    verdicts = [_verdict(cell.line) for table in tables if not table.block.synthetic for cell in table.cells]
    machines = [_machine(basis.record) for basis in bases]
    return Summary(
        counts={verdict: count for verdict in VERDICTS if (count := verdicts.count(verdict))},
        drawn=sum(cell.opens is not None for table in tables if table.block.synthetic for cell in table.cells),
        tables=len(tables),
        rows=sum(len(table.rows) for table in tables),
        results=len(bases),
        machines={name: machines.count(name) for name in dict.fromkeys(machines) if name},
        devices=_each(basis.record.get("features", {}).get("device") for basis in bases),
        versions=_versions(bases),
        revisions=_each(basis.record.get("git_revision") for basis in bases),
        unrecorded=machines.count(""),
    )


def _verdict(line: Any) -> str | None:
    """The verdict of a cell; None of one that is empty and has no reference."""
    if line.verdict == NO_VALUE:
        return "not measured"
    return None if line.verdict == "no reference" and line.ours is None else line.verdict


def _machine(record: Mapping[str, Any]) -> str:
    found = record.get("machine")
    if not found:
        return ""
    return f"{found['processor']}, {found['cores']} cores, {found['memory_gb']:g} GiB memory, {found['system']}"


def _versions(bases: Iterable[Basis]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for basis in bases:
        for package, version in basis.record.get("versions", {}).items():
            found.setdefault(package, []).append(version)
    return {package: " and ".join(_each(versions)) for package, versions in found.items()}


def _each(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
