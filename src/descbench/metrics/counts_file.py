"""What stage count_matches writes (docs/protocols/r2d2.md, Re-measured), read without what it takes to count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from descbench.errors import DataError, StaleFileError
from descbench.io.jsonfiles import as_record, read_json

_WHAT = "file of counts"


@dataclass(frozen=True)
class Counted:
    """What a network gave on the images of a sequence.

    Attributes:
        features: of each image.
        matches: mutual nearest neighbours of the first image with each of the others.
        checkpoint: SHA-256 of its weights.
    """

    features: tuple[int, ...]
    matches: tuple[int, ...]
    checkpoint: str


@dataclass(frozen=True)
class CountsFile:
    """Content of a file of counts.

    Attributes:
        name: of the block of configuration.
        settings: digest of that block and of those of its models.
        device, backend: where the networks ran, and what ran them.
        counts: by model.
    """

    name: str
    settings: str
    device: str
    backend: str
    counts: dict[str, Counted]


def read_counts(path: Path, name: str, settings: str) -> CountsFile:
    """Read a file of :func:`descbench.metrics.match_counts.count_matches`.

    Raises:
        DataError: absent, damaged, or no file of counts.
        StaleFileError: of another block of configuration, or of the same one as it was.
    """
    found = as_record(CountsFile, read_json(path, _WHAT), path, _WHAT)
    if (found.name, found.settings) != (name, settings):
        raise StaleFileError(f"{path}: counted for {found.name!r} with another configuration; delete it and rerun.")
    if any(count < 0 for counted in found.counts.values() for count in (*counted.features, *counted.matches)):
        raise DataError(f"{path}: holds a negative count; delete it and rerun.")
    return found
