"""Build one part of a patch set, whatever its official format."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from descbench.config.patch_sets import PatchSet
from descbench.datasets.hpatches_patches import read_hpatches_patches
from descbench.datasets.patch_sets import PatchSource, write_patches
from descbench.datasets.phototour import read_phototour
from descbench.errors import DataError

PATCH_READERS: dict[str, Callable[[Path], PatchSource]] = {
    "phototour": read_phototour,
    "hpatches_patches": read_hpatches_patches,
}


def build_patches(name: str, patch_set: PatchSet, part: str, datasets_dir: Path, path: Path) -> None:
    """Write the patches and labels of one part.

    Args:
        name: of the patch set.
        patch_set: its block of the configuration.
        part: one of its parts.
        datasets_dir: ``<data_dir>/datasets``.
        path: the file, see :mod:`descbench.datasets.patch_sets`.

    Raises:
        DataError: the official files are damaged, do not fit each other, or hold another number of patches than the
            block says.
    """
    folder = datasets_dir / patch_set.folder / part
    source = PATCH_READERS[patch_set.format](folder)
    found = len(source.labels.points)
    if (count := patch_set.counts.get(part, found)) != found:
        said = f"`counts` of patch set {name!r} says {count}"
        raise DataError(f"{folder}: {found} patches, {said}; fetch the archive again.")
    write_patches(source, name, part, path)
    labels = source.labels
    logging.info("%s, %s: %d patches, %d test pairs", name, part, len(labels.points), len(labels.pairs))
