"""Training of HardNet: pairs of patches, anchors and positives each through the network by themselves.

Definition: docs/protocols/hardnet.md, Training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from descbench.config.training import HardNetTraining
from descbench.errors import DataError
from descbench.features.classical_patches import describe_sift
from descbench.features.describe_patches import BLOCK, run_network
from descbench.features.patch_pixels import resize_patches
from descbench.losses import hardnet as losses
from descbench.models.patches import PatchNetwork
from descbench.training.classical_mining import CLASSICAL, SIFT_INIT, mine_negatives
from descbench.training.distributed import local_slice
from descbench.training.loop import Plan
from descbench.training.patches import Preparation, TrainingPatches, draw_flips, flip
from descbench.training.random_state import seed_everything
from descbench.training.triplets import draw_triplets

_NAMED = 4  # patches that a message names
_SIFT_SIDE = 65
_MINED = {"classical": CLASSICAL, "classical_sift": SIFT_INIT}


@dataclass(frozen=True)
class PatchBatch:
    """Patches of a step, (n, 1, S, S) each: anchors, positives and, where they are used, random negatives."""

    anchors: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor | None


class HardNetRecipe:
    """SGD with dampening (or Adam) on triplets of patches.

    All that is drawn goes on from draw to draw over the whole training, from generators seeded here: triplets from
    numpy's, flips from Python's, dropout and random negatives of a batch from torch's.

    Args:
        network: on its device.
        patches: to learn from.
        settings: block of the configuration.
        device: where the network is.
    """

    def __init__(
        self, network: PatchNetwork, patches: TrainingPatches, settings: HardNetTraining, device: torch.device
    ) -> None:
        self.network, self.settings, self.device = network, settings, device
        self._patches = patches
        self._preparation = Preparation(network.side, network.mean, network.std, settings.augmentation)
        self._needs_negatives = settings.sampling in ("random_global", *_MINED) or settings.spread_out > 0
        self.optimiser = _OPTIMISERS[settings.optimiser](network.parameters(), settings)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimiser, linear_decay(settings))
        self.schedule, self.pieces, self.memory = "step", 1, {}
        seed_everything(settings.seed)

    def plan(self, epoch: int, piece: int) -> Plan:
        """Draw the triplets of an epoch, and which pairs are flipped."""
        settings, figures = self.settings, {}
        triplets = self._draw()
        if settings.sampling in _MINED:
            triplets, figures["hard_negatives"] = self._mined(triplets, epoch)
        count = len(triplets)
        flips = draw_flips(count) if settings.fliprot else np.zeros((count, 2), bool)
        tensors = {
            "triplets": triplets,
            "flips": torch.from_numpy(flips),
            # Augmentation is drawn step by step, from a generator of its own for each.
            "seed": torch.tensor([settings.seed, epoch]),
        }
        return Plan(tensors, math.ceil(count / settings.batch), figures)

    def _draw(self) -> torch.Tensor:
        """Triplets of an epoch, (n, 3) int32."""
        settings = self.settings
        if "triplets" in self.memory:
            return self.memory["triplets"]
        stream = np.random.RandomState()
        stream.set_state(np.random.get_state())  # noqa: NPY002 - the loop keeps the state of this generator
        try:
            drawn = draw_triplets(self._patches.labels, settings.triplets, settings.batch, stream, settings.bounds)
        except ValueError as error:
            raise DataError(f"patches of {self._patches.name(0)} and others: {error}; lower `batch`.") from error
        np.random.set_state(stream.get_state())  # noqa: NPY002
        triplets = torch.from_numpy(drawn).int()
        if not settings.redraw:
            self.memory["triplets"] = triplets
        return triplets

    def _mined(self, triplets: torch.Tensor, epoch: int) -> tuple[torch.Tensor, float]:
        """Triplets with hard negatives, by descriptors of the network as it is now, and the share of these.

        With ``classical_sift`` the first epoch has SIFT's descriptors, and triplets are shuffled.
        """
        by_sift = self.settings.sampling == "classical_sift"
        describe = _sift if by_sift and epoch == 1 else self._describe
        self.network.eval()
        total = len(self._patches.labels)
        blocks = [np.arange(start, min(start + BLOCK, total)) for start in range(0, total, BLOCK)]
        rows = np.concatenate([describe(self._patches.take(block)) for block in blocks])
        try:
            drawn = triplets.long().numpy(), self._patches.labels, rows
            found, share = mine_negatives(*drawn, _MINED[self.settings.sampling])
        except ValueError as error:
            raise DataError(f"patches of {self._patches.name(0)} and others: {error}; train on more.") from error
        mined = torch.from_numpy(found).int()
        return mined[torch.randperm(len(mined))] if by_sift else mined, share

    def _describe(self, patches: np.ndarray) -> np.ndarray:
        return run_network(self.network, patches, self.device, self._preparation.plain)

    def batches(self, plan: Plan, first: int) -> Iterator[list[PatchBatch]]:
        """The steps of an epoch, each a single item, which one process has: batch statistics are of a whole batch."""
        self.network.train()
        for step in range(first, plan.steps):
            yield [self._batch(plan, step)] if [step][local_slice()] else []

    def _batch(self, plan: Plan, step: int) -> PatchBatch:
        size = self.settings.batch
        rows = slice(step * size, (step + 1) * size)
        triplets, flips = plan.tensors["triplets"][rows].long().numpy(), plan.tensors["flips"][rows]
        stream = np.random.default_rng([*plan.tensors["seed"].tolist(), step])
        towers = [
            flip(self._preparation.drawn(self._patches.take(triplets[:, column]), stream), flips).to(self.device)
            for column in range(3 if self._needs_negatives else 2)
        ]
        return PatchBatch(*towers, *(() if self._needs_negatives else (None,)))

    def loss(self, item: PatchBatch) -> torch.Tensor:
        """Mean over the pairs, with the penalties that are asked for."""
        settings = self.settings
        anchors, positives = self.network(item.anchors), self.network(item.positives)
        negatives = None if item.negatives is None else self.network(item.negatives)
        loss = self._distances(anchors, positives, negatives)
        if settings.spread_out:
            loss = loss + settings.spread_out * losses.spread_out_penalty(anchors, negatives)
        if settings.decorrelation:
            loss = loss + settings.decorrelation * losses.correlation_penalty(anchors)
        return loss

    def _distances(
        self, anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor | None
    ) -> torch.Tensor:
        settings = self.settings
        if settings.sampling == "l2net":
            return losses.l2net_loss(anchors, positives, anchor_swap=settings.anchor_swap)
        how: dict[str, Any] = {
            "kind": settings.loss,
            "margin": settings.margin,
            "anchor_swap": settings.anchor_swap,
        }
        if settings.sampling == "classical":
            return F.triplet_margin_loss(
                positives, anchors, negatives, margin=settings.margin, swap=settings.anchor_swap
            )
        if settings.sampling in ("random_global", "classical_sift"):
            return losses.random_negatives_loss(anchors, positives, negatives, **how)
        drawn = torch.randperm(len(anchors)).to(anchors.device) if settings.sampling == "random" else None
        return losses.hardnet_loss(anchors, positives, sampling=settings.sampling, permutation=drawn, **how)

    def recorded(self, values: list[float]) -> list[float]:
        """The step's."""
        return values

    def names(self, plan: Plan, step: int) -> list[str]:
        """The first patches of a step."""
        chosen = plan.tensors["triplets"][step * self.settings.batch :][:_NAMED, 0].tolist()
        return [self._patches.name(patch) for patch in chosen]


def _sift(patches: np.ndarray) -> np.ndarray:
    """SIFT of patches of the side that the original gives it."""
    return describe_sift(resize_patches(patches, _SIFT_SIDE))


def linear_decay(settings: HardNetTraining) -> Callable[[int], float]:
    """Factor of the learning rate after so many steps: from 1, at which two steps are done, to about 0 at the end.

    After step k, from 0, it is 1 - k * batch / (triplets * epochs), so that the step after the first has 1 again.
    """
    total = settings.triplets * settings.epochs
    return lambda done: max(0.0, 1.0 - max(done - 1, 0) * settings.batch / total)


def _sgd(parameters: Iterator[torch.nn.Parameter], settings: HardNetTraining) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters,
        settings.learning_rate,
        momentum=settings.momentum,
        dampening=settings.dampening,
        weight_decay=settings.weight_decay,
    )


def _adam(parameters: Iterator[torch.nn.Parameter], settings: HardNetTraining) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, settings.learning_rate, weight_decay=settings.weight_decay)


_OPTIMISERS = {"sgd": _sgd, "adam": _adam}
