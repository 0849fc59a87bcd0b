"""Descriptors of a patch set that are scored under choices, and how they are scored.

Definition: docs/protocols/choices.md, Patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from descbench.datasets.patch_sets import PatchLabels
from descbench.metrics.score_patches import PatchProtocol, ScoredPatches


@dataclass(frozen=True)
class DescribedParts:
    """Descriptors of a patch set, and how they are scored.

    Attributes:
        descriptors: (N, D) of the patches of each part.
        labels: of the same parts.
        protocol: how.
    """

    descriptors: Mapping[str, np.ndarray]
    labels: Mapping[str, PatchLabels]
    protocol: PatchProtocol

    @cached_property
    def ours(self) -> ScoredPatches:
        """What they score as they are."""
        return self.protocol.score(self.descriptors, self.labels)
