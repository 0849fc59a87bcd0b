"""Validation of a network of patches: FPR95 of listed pairs (docs/protocols/hardnet.md, Validation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from descbench.datasets.patch_sets import Patches
from descbench.features.describe_patches import BLOCK, run_network
from descbench.metrics.fpr95 import fpr95
from descbench.models.patches import PatchNetwork
from descbench.training.loop import Score
from descbench.training.patches import Preparation


@dataclass(frozen=True)
class PatchValidator:
    """Scores a network on the pairs of several parts.

    Attributes:
        parts: each with pairs.
        preparation: of their patches.
        device: where the network is.
    """

    parts: Sequence[Patches]
    preparation: Preparation
    device: torch.device

    def __call__(self, network: PatchNetwork) -> Score:
        """Mean FPR95 of the parts, a fraction: lower is better."""
        network.eval()
        return Score(fmean(self._fpr95(network, part) for part in self.parts), "lower")

    def _fpr95(self, network: PatchNetwork, part: Patches) -> float:
        used, places = np.unique(part.labels.pairs, return_inverse=True)
        blocks = [used[start : start + BLOCK] for start in range(0, len(used), BLOCK)]
        rows = np.concatenate(
            [run_network(network, part.patches[block], self.device, self.preparation.plain) for block in blocks]
        )
        left, right = rows[places.reshape(-1, 2)].swapaxes(0, 1)
        return fpr95(np.sqrt(np.square(left - right).sum(1)), part.labels.matches)
