"""Training images: loaded in sets (a tuple, or a single image), as the network wants them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from descbench.datasets.manifest import Manifest, missing_files, read_manifest
from descbench.datasets.missing import what_to_do
from descbench.errors import DataError
from descbench.features.images import load_image, to_tensor
from descbench.listing import listed
from descbench.progress import progress
from descbench.signals import ignore_interrupts
from descbench.training.distributed import is_main


@dataclass(frozen=True)
class TrainingImages:
    """The images that training draws from.

    Attributes:
        paths: of every image, by image id.
        image_size: longer side in pixels.
        mean, std: of the network's normalisation.
    """

    paths: tuple[Path, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Manifest, root: Path, image_size: int, network: nn.Module) -> TrainingImages:
        """The images of a manifest below ``root``, normalised as the network wants them."""
        paths = tuple(root / row.path for row in manifest.rows)
        return cls(paths, image_size, tuple(network.mean), tuple(network.std))

    def load(self, image: int, flip: bool = False) -> torch.Tensor:
        """One image: (1, 3, H, W) float32, mirrored left to right if ``flip``."""
        tensor = to_tensor(load_image(self.paths[image], self.image_size).pixels, self.mean, self.std)[None]
        return tensor.flip(-1) if flip else tensor

    def loader(
        self,
        sets: Sequence[Sequence[int]],
        flips: torch.Tensor | None = None,
        *,
        workers: int,
        label: str | None = None,
    ) -> Iterable[list[torch.Tensor]]:
        """Load sets of images one after the other.

        Args:
            sets: image ids of each set.
            flips: bool, of the same shape: which images are mirrored; None: none of them.
            workers: processes; no effect on what comes out.
            label: what they are loaded for, to be told with how many are done; None: nothing is told.

        Returns:
            Iterable over lists of (1, 3, H, W) tensors.
        """
        found = _Sets(self, sets, flips)
        loader = DataLoader(
            found, batch_size=None, num_workers=workers, collate_fn=_as_is, worker_init_fn=ignore_interrupts
        )
        return progress(loader, len(sets), label, unit="sets of images") if label and is_main() else loader


class _Sets(Dataset):
    def __init__(self, images: TrainingImages, sets: Sequence[Sequence[int]], flips: torch.Tensor | None) -> None:
        self._images, self._sets, self._flips = images, sets, flips

    def __len__(self) -> int:
        return len(self._sets)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        chosen = self._sets[index]
        flips = [False] * len(chosen) if self._flips is None else self._flips[index].tolist()
        return [self._images.load(int(image), flip) for image, flip in zip(chosen, flips, strict=True)]


def training_manifest(manifest: Path, role: str, root: Path, images: int | None = None) -> Manifest:
    """The (first) images of a role, all of which are there.

    Raises:
        DataError: images are missing; the first five are named.
    """
    rows = read_manifest(manifest).of_role(role).slice(0, images)
    missing = missing_files(rows, root)
    if missing or not len(rows):
        shown = f": {listed(missing, 5)}" if missing else ""
        advice = f" {what_to_do(missing, Path(root))}." if missing else ""
        raise DataError(
            f"{manifest}: {len(missing)} of {len(rows)} {role} images are not below {root}{shown}. Training needs "
            f"all of them.{advice}"
        )
    return rows


def _as_is(images: list[torch.Tensor]) -> list[torch.Tensor]:
    return images
