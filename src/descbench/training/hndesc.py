"""Training of HNDesc: keypoints of two crops of each image, against those of the other images of a batch.

Definition: docs/protocols/hndesc.md, Optimisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from descbench.config.crop_training import HNDescTraining
from descbench.errors import DataError
from descbench.losses.average_precision import ap_loss, in_pair_triplet_loss
from descbench.models.hndesc import DenseNetwork, read_nearest
from descbench.models.points import sample_descriptors
from descbench.training.crops import CropBatch, CropImages
from descbench.training.distributed import local_slice
from descbench.training.loop import Plan, Score
from descbench.training.random_state import seed_everything

Sampling = Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor]

# Places of a training that crops are drawn by: those of the validation are apart from all epochs, which count from 1.
_VALIDATION = 0


class HNDescRecipe:
    """Adam on batches of pairs of crops.

    Passes over the images follow each other without regard to epochs; each has an order of its own.

    Args:
        network: on its device.
        sample: how descriptors are read from its maps (:data:`SAMPLINGS`).
        images: to learn from.
        settings: block of the configuration.
        device: where the network is.
    """

    def __init__(
        self,
        network: DenseNetwork,
        sample: Sampling,
        images: CropImages,
        settings: HNDescTraining,
        device: torch.device,
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self._sample, self._images = sample, images
        self.optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimiser, settings.decay_every, settings.decay)
        self.schedule, self.pieces, self.memory = "step", 1, {}

    def plan(self, epoch: int, piece: int) -> Plan:
        """Which images each step of an epoch has; images that fill no whole batch are left out of a pass."""
        settings, total = self.settings, len(self._images.paths)
        if total < settings.batch:
            raise DataError(f"{total} training images are fewer than the {settings.batch} of a batch; lower `batch`.")
        seed_everything(settings.seed + epoch)
        of_a_pass = total // settings.batch
        first = (epoch - 1) * settings.steps
        numbers = range(first, first + settings.steps)
        orders = {number: self._order(number) for number in {step // of_a_pass for step in numbers}}
        rows = [orders[step // of_a_pass][step % of_a_pass] for step in numbers]
        tensors = {"images": torch.from_numpy(np.array(rows, np.int32)), "epoch": torch.tensor(epoch)}
        return Plan(tensors, settings.steps, {})

    def _order(self, number: int) -> np.ndarray:
        """(batches, batch) images of a pass."""
        total, batch = len(self._images.paths), self.settings.batch
        drawn = np.random.default_rng([self.settings.seed, number]).permutation(total)
        return drawn[: total // batch * batch].reshape(-1, batch)

    def batches(self, plan: Plan, first: int) -> Iterator[list[CropBatch]]:
        """The steps of an epoch, each a single item, which one process has: batch statistics are of a whole batch."""
        self.network.train()
        steps = [step for step in range(first, plan.steps) if [step][local_slice()]]
        images, epoch = plan.tensors["images"][steps].tolist(), int(plan.tensors["epoch"])
        loaded = iter(self._images.loader(images, [(epoch, step) for step in steps], workers=self.settings.workers))
        for step in range(first, plan.steps):
            yield [next(loaded).to(self.device)] if [step][local_slice()] else []

    def loss(self, item: CropBatch) -> torch.Tensor:
        """Mean over the keypoints of a batch."""
        return crop_loss(self.network, self._sample, item, self.settings)

    def recorded(self, losses: list[float]) -> list[float]:
        """The step's."""
        return losses

    def names(self, plan: Plan, step: int) -> list[str]:
        """Files of the images of a step."""
        return [str(self._images.paths[image]) for image in plan.tensors["images"][step].tolist()]


@dataclass(frozen=True)
class CropValidator:
    """Mean loss of the batches of validation images, on the same crops each time; smaller is better.

    Attributes:
        sample: how descriptors are read from the network's maps.
        images: to validate with; those that fill no whole batch are left out.
        settings: block of the training.
        device: where the network is.
    """

    sample: Sampling
    images: CropImages
    settings: HNDescTraining
    device: torch.device

    def __call__(self, network: DenseNetwork) -> Score:
        """In eval mode."""
        network.eval()
        total = len(self.images.paths)
        batch = min(self.settings.batch, total)
        batches = np.arange(total // batch * batch).reshape(-1, batch).tolist()
        places = [(_VALIDATION, number) for number in range(len(batches))]
        torch.manual_seed(self.settings.seed)
        with torch.inference_mode():
            losses = [
                crop_loss(network, self.sample, loaded.to(self.device), self.settings).item()
                for loaded in self.images.loader(batches, places, workers=self.settings.workers)
            ]
        return Score(fmean(losses), "lower")


def crop_loss(network: DenseNetwork, sample: Sampling, batch: CropBatch, settings: HNDescTraining) -> torch.Tensor:
    """Loss (scalar) of a batch: first and second crops go through the network one after the other.

    Raises:
        DataError: no two images have two keypoints each that both of their crops show.
    """
    size = tuple(batch.first.shape[-2:])
    first, second = network(batch.first), network(batch.second)
    counts = [len(one) for one, _ in batch.points]
    described = [
        (sample(first[number : number + 1], one, size), sample(second[number : number + 1], other, size))
        for number, (one, other) in enumerate(batch.points)
    ]
    anchors, positives = (torch.cat(rows) for rows in zip(*described, strict=True))
    try:
        return _LOSSES[settings.loss](anchors, positives, counts, settings)
    except ValueError as error:
        raise DataError(f"{len(counts)} pairs of crops teach nothing: {error}; raise `batch` or `crop`.") from error


def _read_nearest(dense: torch.Tensor, points: torch.Tensor, _size: tuple[int, int]) -> torch.Tensor:
    """A map that has a cell for every pixel says its size itself."""
    return read_nearest(dense, points)


# How descriptors are read in training, by backbone (docs/protocols/hndesc.md, Optimisation).
SAMPLINGS: dict[str, Sampling] = {"caps": sample_descriptors, "r2d2": _read_nearest}


def _average_precision(
    anchors: torch.Tensor, positives: torch.Tensor, counts: list[int], settings: HNDescTraining
) -> torch.Tensor:
    return ap_loss(
        anchors,
        positives,
        counts,
        negatives=settings.negatives,
        hardest=settings.hardest,
        bins=settings.bins,
        euclidean=settings.euclidean,
    ).loss


def _triplet_margin(
    anchors: torch.Tensor, positives: torch.Tensor, counts: list[int], settings: HNDescTraining
) -> torch.Tensor:
    return in_pair_triplet_loss(anchors, positives, counts, margin=settings.margin)


_LOSSES = {"average_precision": _average_precision, "triplet_margin": _triplet_margin}
