"""Batches of pairs of crops: images, stylised copies and keypoints as a network learns from them.

Definition: docs/protocols/hndesc.md, Training pairs. What is drawn for an image is decided by the seed of the training,
a place in it, and the image's place in its batch, so that it is the same whichever process loads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from descbench.config.crop_training import HNDescTraining
from descbench.datasets.contents import content_of
from descbench.datasets.crop_labels import Extras, read_crop_labels, read_keypoints
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.errors import DataError
from descbench.features.images import load_image, to_tensor
from descbench.features.store import ShardReader, check_shard
from descbench.signals import ignore_interrupts
from descbench.training.colours import change_colours
from descbench.training.homographies import CropPair, draw_pair
from descbench.training.images import training_manifest

_WHOLE = 1 << 20  # images are read as large as they are


@dataclass(frozen=True)
class CropBatch:
    """Pairs of crops.

    Attributes:
        first, second: (B, 3, S, S) float32, normalised.
        points: of each pair, the (n, 2) float32 x, y of its keypoints in the first and in the second crop.
    """

    first: torch.Tensor
    second: torch.Tensor
    points: list[tuple[torch.Tensor, torch.Tensor]]

    def to(self, device: torch.device) -> CropBatch:
        """The same on a device."""
        points = [(one.to(device), other.to(device)) for one, other in self.points]
        return CropBatch(self.first.to(device), self.second.to(device), points)


@dataclass(frozen=True)
class CropImages:
    """The images of a role, with what they come with.

    Attributes:
        paths: of every image, by image id.
        extras: files of each, relative to ``root``.
        root: of the manifest.
        shards: features with the keypoints of each image, position by position; empty: those of the extras count.
        mean, std: of the network's normalisation.
        settings: block of the training.
        validating: nothing is stylised, and no colour changed.
    """

    paths: tuple[Path, ...]
    extras: tuple[Extras, ...]
    root: Path
    shards: tuple[tuple[ShardReader, int], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    settings: HNDescTraining
    validating: bool = False

    def keypoints(self, image: int) -> np.ndarray:
        """(N, 2) float32 x, y in pixels of the image (0, 0 is the first centre), in the order of what found them."""
        if not self.shards:
            return read_keypoints(self.root / self.extras[image].keypoints)
        reader, position = self.shards[image]
        # Stored are places whose first pixel has its centre at 0.5, 0.5.
        return reader.read(position, position + 1).keypoints - np.float32(0.5)

    def keypoint_contents(self) -> list[str]:
        """Hashes of the files that keypoints are read from; none of features, whose shards are hashed as they are."""
        return [] if self.shards else [content_of(self.root / item.keypoints) for item in self.extras]

    def draw(self, image: int, place: Sequence[int]) -> tuple[CropPair, list[torch.Tensor]]:
        """A pair of crops, and both as tensors (3, S, S).

        Args:
            image: its id.
            place: whole numbers that, with the training's seed, decide what is drawn.
        """
        settings, random = self.settings, np.random.default_rng([self.settings.seed, *place])
        pixels = load_image(self.paths[image], _WHOLE).pixels
        copy = self.extras[image].stylised
        styled = random.random() < settings.stylised and copy is not None and not self.validating
        second = self._copy(image, pixels.shape) if styled else pixels
        pair = draw_pair(
            pixels, second, self.keypoints(image), settings.crop, random, settings.fallback, settings.points
        )
        changed = settings.colours and not self.validating
        crops = [change_colours(crop, random) if changed else crop for crop in pair.crops]
        return pair, [to_tensor(crop, self.mean, self.std) for crop in crops]

    def _copy(self, image: int, shape: tuple[int, ...]) -> np.ndarray:
        path = self.root / self.extras[image].stylised
        pixels = load_image(path, _WHOLE).pixels
        if pixels.shape != shape:
            found, wanted = ("{1} x {0}".format(*sides[:2]) for sides in (pixels.shape, shape))
            raise DataError(f"{path}: {found} pixels, but {self.paths[image]} has {wanted}; a copy has the same size.")
        return pixels

    def batch(self, images: Sequence[int], place: Sequence[int]) -> CropBatch:
        """Pairs of so many images; ``place`` as in :meth:`draw`, to which the place in the batch is added."""
        drawn = [self.draw(image, (*place, number)) for number, image in enumerate(images)]
        first, second = (torch.stack([crops[side] for _, crops in drawn]) for side in range(2))
        points = [tuple(map(torch.from_numpy, pair.points)) for pair, _ in drawn]
        return CropBatch(first, second, points)

    def loader(
        self, batches: Sequence[Sequence[int]], places: Sequence[Sequence[int]], *, workers: int
    ) -> Iterable[CropBatch]:
        """Batches one after the other; ``workers`` processes load them, without effect on what comes out."""
        return DataLoader(
            _Batches(self, batches, places),
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_is,
            worker_init_fn=ignore_interrupts,
        )


class _Batches(Dataset):
    def __init__(self, images: CropImages, batches: Sequence[Sequence[int]], places: Sequence[Sequence[int]]) -> None:
        self._images, self._batches, self._places = images, batches, places

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> CropBatch:
        return self._images.batch(self._batches[index], self._places[index])


def _as_is(batch: CropBatch) -> CropBatch:
    return batch


def read_crop_images(
    manifest: Path,
    labels: Path,
    root: Path,
    shards: Sequence[Path],
    normalisation: tuple[Sequence[float], Sequence[float]],
    settings: HNDescTraining,
    role: str = "train",
) -> CropImages:
    """The images of a role, all of which are there.

    Args:
        manifest: of the dataset.
        labels: its file of stylised copies and keypoints.
        root: that paths are relative to.
        shards: of features whose keypoints are used, in order; empty: the dataset's own.
        normalisation: mean and deviation of the colours.
        settings: block of the training.
        role: ``train``, or ``val`` for the validation.

    Raises:
        DataError: images are missing or too few, or shards are of other images or have no keypoints.
    """
    rows = training_manifest(manifest, role, root, settings.validation.images if role == "val" else None)
    extras = read_crop_labels(labels, whole := read_manifest(manifest)).of_role(whole, role)
    if len(rows) < 2:
        raise DataError(f"{manifest}: {len(rows)} image of role {role}; a keypoint is compared with those of others.")
    found = _read_shards(shards, whole.of_role(role)) if shards else ()
    mean, std = (tuple(values) for values in normalisation)
    paths = tuple(root / row.path for row in rows.rows)
    return CropImages(paths, extras, root, found, mean, std, settings, validating=role == "val")


def _read_shards(shards: Sequence[Path], rows: Manifest) -> tuple[tuple[ShardReader, int], ...]:
    """Shard and position of every image; a shard stays open, and is read where it is needed."""
    found: list[tuple[ShardReader, int]] = []
    for path in shards:
        reader = ShardReader(path)
        slice_ = rows.slice(len(found), len(found) + reader.num_images)
        check_shard(reader, images=slice_.digest())
        if reader.read(0, 0).keypoints is None:
            raise DataError(f"{path}: these features have no keypoints; name others in `keypoints` of the training.")
        found += [(reader, position) for position in range(reader.num_images)]
    if len(found) != len(rows):
        raise DataError(f"{shards[0]} and others hold {len(found)} images, not the {len(rows)} of the manifest.")
    return tuple(found)
