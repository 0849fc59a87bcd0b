"""Files of patch descriptors: one row for each patch of a part of a patch set.

A file holds ``descriptors`` (N, D) float32, and says which patches they are of and what made them, by digests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.datasets.patch_sets import Patches
from descbench.errors import DataError
from descbench.features.finite import all_finite
from descbench.io.digests import check_digest
from descbench.io.hdf5 import created, opened

FORMAT_VERSION = 2
_KIND = "file of patch descriptors"


@dataclass(frozen=True)
class PatchDescriptors:
    """Descriptors of a part of a patch set.

    Attributes:
        patch_set, part: names.
        descriptors: (N, D) float32, mapped from the file.
        patches: digest of the patches and their labels.
        descriptor: name of the kind of descriptor.
        maker: digest of the weights, or the release of the library, that made them, and what was done otherwise.
        device: where they were made.
        configuration: digest of the configuration that they were made by; empty outside the workflow.
    """

    patch_set: str
    part: str
    descriptors: np.ndarray
    patches: str
    descriptor: str
    maker: str
    device: str
    configuration: str


@dataclass(frozen=True)
class Maker:
    """What makes descriptors, for the record; see :class:`PatchDescriptors`."""

    descriptor: str
    dim: int
    digest: str
    device: str = "cpu"
    configuration: str = ""


def write_descriptors(patches: Patches, maker: Maker, blocks: Iterable[np.ndarray], path: Path) -> None:
    """Write descriptors block by block; equal content gives equal bytes.

    Args:
        patches: that they are of.
        maker: of them.
        blocks: (n, dim) float32, in the order of the patches.
        path: the file.

    Raises:
        DataError: NaN or infinity (names the patch), or another number of descriptors than of patches.
    """
    attributes = {
        "patch_set": patches.patch_set,
        "part": patches.part,
        "patches": patches.digest,
        "descriptor": maker.descriptor,
        "maker": maker.digest,
        "device": maker.device,
        "configuration": maker.configuration,
    }
    count, done = len(patches.patches), 0
    with created(path, _KIND, FORMAT_VERSION, attributes) as file:
        stored = file.reserve("descriptors", (count, maker.dim), np.float32)
        for block in blocks:
            if not all_finite(block):
                patch = done + int(np.flatnonzero(~np.isfinite(block).all(1))[0])
                raise DataError(
                    f"patch {patch} of {patches.patch_set}/{patches.part}: its {maker.descriptor} descriptor is not "
                    "finite; the weights are damaged or the training failed."
                )
            stored[done : done + len(block)] = block
            done += len(block)
        if done != count:
            raise DataError(f"{path}: {done} descriptors of {count} patches; run again.")


def read_descriptors(path: Path, patches: Patches | None = None) -> PatchDescriptors:
    """Read a file of :func:`write_descriptors`.

    Args:
        path: the file.
        patches: that the descriptors must be of; None: any.

    Raises:
        DataError: it is absent, damaged, no such file, or holds NaN.
        StaleFileError: it was made of other patches.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        rows = file.mapped("descriptors", np.float32, 2)
        if 0 in rows.shape:
            raise ValueError(f"descriptors of shape {rows.shape}")
        if not all_finite(rows):
            raise ValueError("a descriptor is not finite")
        names = ("patches", "descriptor", "maker", "device", "configuration")
        found = PatchDescriptors(file.text("patch_set"), file.text("part"), rows, *map(file.text, names))
    if patches is not None:
        check_digest(path, f"set of patches than {patches.patch_set}/{patches.part}", found.patches, patches.digest)
    return found
