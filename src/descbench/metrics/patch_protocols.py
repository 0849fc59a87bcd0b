"""What scores a patch set, by its format: its protocol with the lists that it needs, and stored descriptors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.config.patch_methods import PatchMethodBase
from descbench.config.patch_sets import HPatchesPatchSet, PatchSet
from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.hpatches_tasks import (
    Retrieval,
    Split,
    Verification,
    contrast,
    draw_retrieval,
    draw_verification,
    file_names,
    read_retrieval,
    read_splits,
    read_verification,
)
from descbench.datasets.patch_sets import Patches, PatchLabels, read_patches
from descbench.errors import ConfigError, DataError, StaleFileError
from descbench.features.patch_descriptors import PatchDescriptors, read_descriptors
from descbench.io.digests import digest_of
from descbench.metrics.score_patches import Fpr95, HPatches, PatchProtocol


@dataclass(frozen=True)
class Described:
    """A patch set with its descriptors, by part.

    Attributes:
        patches: of each part.
        descriptors: of each part, of these very patches.
        digest: of all patches and their labels.
    """

    patches: Mapping[str, Patches]
    descriptors: Mapping[str, PatchDescriptors]
    digest: str

    def arrays(self) -> dict[str, np.ndarray]:
        """(N, D) float32 of each part."""
        return {part: found.descriptors for part, found in self.descriptors.items()}

    def labels(self) -> dict[str, PatchLabels]:
        """Of each part."""
        return {part: found.labels for part, found in self.patches.items()}


def read_described(
    patches: Sequence[Path],
    descriptors: Sequence[Path],
    patch_set: str | None = None,
    names: Sequence[str] = (),
    configuration: str | None = None,
) -> Described:
    """Read the parts of a patch set and their descriptors, in the same order.

    Args:
        patches, descriptors: files of the parts.
        patch_set, names: that the parts must be of, in order; None: any.
        configuration: digest that the descriptors must have been made by; None: any.

    Raises:
        StaleFileError: a file is of another part, descriptors are of other patches than those beside them or of another
            method, or two parts of other networks.
        DataError: a file is absent or damaged.
    """
    parts: dict[str, Patches] = {}
    described: dict[str, PatchDescriptors] = {}
    for number, (path, other) in enumerate(zip(patches, descriptors, strict=True)):
        found = read_patches(path, None if patch_set is None else (patch_set, names[number]))
        made = read_descriptors(other)
        if configuration is not None and made.configuration != configuration:
            raise StaleFileError(
                f"{other}: made by another configuration, or of another method; delete it and run again."
            )
        if made.patches != found.digest:
            raise StaleFileError(f"{other}: describes other patches than those of {path}; delete it and run again.")
        first = next(iter(described.values()), made)
        if (made.descriptor, made.maker) != (first.descriptor, first.maker):
            raise StaleFileError(f"{other}: made by another network than part {first.part}; delete it and run again.")
        parts[found.part], described[found.part] = found, made
    return Described(parts, described, digest_of([found.digest for found in parts.values()]))


def protocol_of(
    block: PatchSet, method: PatchMethodBase, patches: Mapping[str, Patches], datasets: Path
) -> PatchProtocol:
    """The protocol of a patch set.

    Args:
        block: of the patch set.
        method: whose distance and normalisation are used.
        patches: of all parts.
        datasets: folder of the official layouts.

    Raises:
        ConfigError: the method has a normalisation that the patch set has no training sequences for.
        DataError: a list of the patch set is absent or damaged.
    """
    return _PROTOCOLS[block.format](block, method, patches, datasets)


def _fpr95(block: PatchSet, method: PatchMethodBase, patches: Mapping[str, Patches], datasets: Path) -> PatchProtocol:
    if method.normalisation != "none":
        raise ConfigError(f"normalisation {method.normalisation} is learned on splits of HPatches; set it to none.")
    return Fpr95(method.distance)


def _hpatches(
    block: HPatchesPatchSet, method: PatchMethodBase, patches: Mapping[str, Patches], datasets: Path
) -> PatchProtocol:
    file = datasets / (block.splits or f"{block.folder}/splits.json")
    splits = read_splits(file)
    if block.split not in splits:
        raise DataError(f"{file}: has no split {block.split!r}, only {', '.join(splits)}.")
    split = splits[block.split]
    if method.normalisation != "none" and not split.train:
        raise ConfigError(
            f"split {split.name!r} has no training sequences, which normalisation {method.normalisation} is learned on."
        )
    absent = [name for name in (*split.test, *split.train) if name not in patches]
    if missing := [name for name in absent if name in split.test or method.normalisation != "none"]:
        raise DataError(
            f"{file}: split {split.name!r} has {missing[0]}, which is in no part of the patch set; add it to `parts`."
        )
    tasks = None if block.tasks is None else datasets / block.tasks
    return HPatches(
        split,
        _verification(block, split, patches, tasks),
        _retrieval(block, split, patches, tasks),
        method.distance,
        method.normalisation,
        method.clipped_energy,
    )


def _verification(
    block: HPatchesPatchSet, split: Split, patches: Mapping[str, Patches], tasks: Path | None
) -> Verification:
    lengths = {name: len(_references(patches[name])) for name in split.test}
    if _published(tasks, split, ("positives", "intra", "inter")):
        return read_verification(tasks, split, lengths)
    return draw_verification(split, lengths, block.pairs)


def _retrieval(block: HPatchesPatchSet, split: Split, patches: Mapping[str, Patches], tasks: Path | None) -> Retrieval:
    references = {name: _references(patches[name]) for name in split.test}
    if _published(tasks, split, ("queries", "distractors")):
        return read_retrieval(tasks, split, {name: len(found) for name, found in references.items()})
    contrasts = {name: contrast(found) for name, found in references.items()}
    found = draw_retrieval(split, contrasts, block.queries, block.distractors)
    if not len(found.distractors):
        raise DataError(
            f"split {split.name!r}: {len(found.queries)} patches to retrieve leave none to stand in their way; lower "
            "`queries` of the patch set."
        )
    return found


def _published(tasks: Path | None, split: Split, kinds: Sequence[str]) -> bool:
    """Whether any of the lists is there; where one is, all must be."""
    return tasks is not None and any((tasks / file_names(split.name)[kind]).exists() for kind in kinds)


def _references(patches: Patches) -> np.ndarray:
    """(N, 65, 65) uint8 patches of the first image of a sequence."""
    return patches.patches[: len(patches.patches) // len(STRIPS)]


_PROTOCOLS: Mapping[str, Callable[..., PatchProtocol]] = {"phototour": _fpr95, "hpatches_patches": _hpatches}
