"""Stage build_remeasured: published counts beside ours, one line each (docs/protocols/r2d2.md, Re-measured)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.config.remeasured import MatchCounts
from descbench.errors import DataError
from descbench.io.csvfiles import write_csv
from descbench.metrics.counts_file import read_counts
from descbench.tables.text import csv_text

COLUMNS = (
    "name", "model", "sequence", "what", "published", "ours", "difference", "tolerance", "verdict", "source", "licence",
)  # fmt: skip
FEATURES_TOLERANCE = 2
_LEAST, _SHARE = 3, 0.005


@dataclass(frozen=True)
class Remeasured:
    """A block of the configuration, and what was counted for it.

    Attributes:
        block: with the published counts.
        file: of counts.
        settings: digest of the configuration behind them.
        source: where the counts were published.
        licences: of the weights, by model.
    """

    block: MatchCounts
    file: Path
    settings: str
    source: str
    licences: Mapping[str, str]


def matches_tolerance(published: int) -> float:
    """Largest difference of a number of matches that is called a match: 3, or 0.5 % of it."""
    return max(_LEAST, _SHARE * published)


def build_remeasured(measured: Mapping[str, Remeasured], output: Path) -> None:
    """Write published and own counts as CSV, with its checksum.

    Args:
        measured: by name of the block.
        output: the CSV file.

    Raises:
        DataError: a file of counts is damaged, or lacks a model or an image of its block.
        StaleFileError: it was made for another configuration.
    """
    write_csv(output, COLUMNS, [row for name, entry in measured.items() for row in _rows(name, entry)])


def _rows(name: str, entry: Remeasured) -> Iterator[Sequence[object]]:
    found = read_counts(entry.file, name, entry.settings).counts
    for model, published in entry.block.counts.items():
        ours = found.get(model)
        if ours is None or (len(ours.features), len(ours.matches)) != (len(published.features), len(published.matches)):
            raise DataError(f"{entry.file}: lacks counts of {model!r}; delete it and rerun.")
        lines = [
            (f"features of image {number}", wanted, count, FEATURES_TOLERANCE)
            for number, (wanted, count) in enumerate(zip(published.features, ours.features, strict=True), 1)
        ]
        lines += [
            (f"mutual nearest neighbours of images 1 and {number}", wanted, count, matches_tolerance(wanted))
            for number, (wanted, count) in enumerate(zip(published.matches, ours.matches, strict=True), 2)
        ]
        for what, wanted, count, tolerance in lines:
            verdict = "match" if abs(count - wanted) <= tolerance else "off"
            texts = map(csv_text, (entry.source, entry.licences.get(model, "")))
            sequence = csv_text(entry.block.sequence)
            yield name, model, sequence, what, wanted, count, count - wanted, f"{tolerance:g}", verdict, *texts
