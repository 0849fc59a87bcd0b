"""Checks of what was made from features, for the stages that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from descbench.features.checks import digests_of_images
from descbench.io.digests import check_digest
from descbench.io.hdf5 import opened
from descbench.retrieval import FORMAT_VERSION


def check_images(
    paths: Sequence[str], kind: Literal["index shard", "words shard"], images: Sequence[str | Mapping[str, Any]]
) -> None:
    """Refuse files that were made from features of other images, such as another dataset's.

    Args:
        paths: the files.
        kind: what they are.
        images: what is expected of each, as of :func:`descbench.features.checks.check_shard_files`.

    Raises:
        StaleFileError: names the file and both digests.
        DataError: a damaged file, or one of another kind.
    """
    for path, expected in zip(map(Path, paths), digests_of_images(images), strict=True):
        with opened(path, kind, FORMAT_VERSION) as file:
            found = file.text("images")
        check_digest(path, "list of images", found, expected)
