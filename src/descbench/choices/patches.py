"""Choices of how descriptors of patches are scored: FPR95, and the tasks of HPatches.

Definition: docs/protocols/choices.md, Patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from descbench.choices import fpr95, hpatches
from descbench.choices.choice import Choice, rescore
from descbench.choices.described_parts import DescribedParts
from descbench.datasets.patch_sets import PatchLabels
from descbench.metrics.score_patches import Fpr95, HPatches, PatchProtocol, check_descriptors

CHOICES: Mapping[str, Sequence[Choice[DescribedParts]]] = {
    Fpr95.protocol: fpr95.CHOICES,
    HPatches.protocol: hpatches.CHOICES,
}


def rescore_patches(
    descriptors: Mapping[str, np.ndarray],
    labels: Mapping[str, PatchLabels],
    protocol: PatchProtocol,
    scores: Path,
    output: Path,
) -> None:
    """Score descriptors under each choice; :class:`descbench.choices.choice.RescoredCell` says what the file holds.

    Args:
        descriptors, labels, protocol: as :func:`descbench.metrics.score_patches.score_patches` takes them.
        scores: what it made of them.
        output: the file to write.

    Raises:
        StaleFileError: the scores are of other descriptors.
        DataError: descriptors that do not fit their labels, or labels that the protocol cannot score.
    """
    check_descriptors(descriptors, labels)
    results = DescribedParts(descriptors, labels, protocol)
    ours = {name: metric.value for name, metric in results.ours.metrics.items() if metric.value is not None}
    rescore(CHOICES[protocol.protocol], results, scores, ours, output)
