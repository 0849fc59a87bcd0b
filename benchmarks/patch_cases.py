"""Rows of patches: descriptors of HardNet, and the three tasks of HPatches.

The plain sides are the definitions that the tests use (``benchmarks/plain``: ``hardnet.py``, ``hpatches.py``):
eager modules on all patches at once, one distance and one sort after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.case import Case, Sizes
from benchmarks.plain import hardnet as plain_hardnet
from benchmarks.plain import hpatches as plain
from descbench.config.networks import HardNetModel
from descbench.config.patch_sets import POOLS
from descbench.datasets.hpatches_tasks import Split, draw_retrieval, draw_verification
from descbench.features.describe_patches import network_describer
from descbench.metrics.hpatches_matching import score_matching
from descbench.metrics.hpatches_retrieval import score_retrieval
from descbench.metrics.hpatches_verification import score_verification
from descbench.models.checkpoints import convert_checkpoint

HARDNET = HardNetModel.model_validate({"architecture": "hardnet", "weights": {"source": "random", "seed": 0}})
DIM, VIEWS, SIDE = 128, 16, 64
SPLIT = Split("drawn", ("i_a", "i_b", "v_c", "v_d"))
_TOLERANCE = 1e-9


def patch_cases(sizes: Sizes, folder: Path) -> Iterator[Case]:
    """All rows of this module, in the order of the table; ``folder`` holds a checkpoint meanwhile."""
    yield _extraction(sizes.patches, folder)
    descriptors = _draw(sizes.sequence_patches)
    yield _retrieval(descriptors, sizes)
    yield _verification(descriptors, sizes)
    yield _matching(sizes)


def _extraction(count: int, folder: Path) -> Case:
    checkpoint = folder / "hardnet.pt"
    convert_checkpoint(HARDNET, None, checkpoint)
    network = plain_hardnet.PlainHardNet(torch.load(checkpoint, weights_only=True)["state_dict"])
    ours = network_describer(checkpoint, HARDNET, device="cpu")
    coarse = np.random.default_rng(0).integers(0, 256, (count, SIDE // 8, SIDE // 8), np.uint8)
    patches = np.ascontiguousarray(coarse.repeat(8, 1).repeat(8, 2))
    return Case(
        "extract_hardnet",
        lambda: plain_hardnet.describe(network, patches),
        lambda: ours.describe(patches),
        lambda theirs, found: np.allclose(theirs, found, rtol=0, atol=1e-5),
        f"{count} patches of {SIDE} x {SIDE} pixels, resized to 32 x 32, by torch",
    )


def _retrieval(descriptors: dict[str, np.ndarray], sizes: Sizes) -> Case:
    contrasts = {name: np.full(array.shape[1], 20.0) for name, array in descriptors.items()}
    tasks = draw_retrieval(SPLIT, contrasts, sizes.retrieved, sizes.distractors)
    return Case(
        "hpatches_retrieval",
        lambda: plain.retrieval(descriptors, tasks, POOLS)[0],
        lambda: score_retrieval(descriptors, tasks).ap,
        _close,
        f"{len(tasks.queries)} queries, {len(tasks.distractors)} distractors, {len(POOLS)} pools, 3 noises",
    )


def _verification(descriptors: dict[str, np.ndarray], sizes: Sizes) -> Case:
    tasks = draw_verification(SPLIT, {name: array.shape[1] for name, array in descriptors.items()}, sizes.pairs)

    def plainly() -> list[float]:
        found = plain.verification(descriptors, tasks)
        return [found[key][name] for key in sorted(found) for name in ("imbalanced_ap", "balanced_auc")]

    def ours() -> list[float]:
        found = score_verification(descriptors, tasks)
        return [getattr(found[key], name).mean for key in sorted(found) for name in ("imbalanced_ap", "balanced_auc")]

    return Case("hpatches_verification", plainly, ours, _close, f"{sizes.pairs} pairs of each of 3 kinds, 3 noises")


def _matching(sizes: Sizes) -> Case:
    descriptors = _draw(sizes.matched, SPLIT.test[:1])
    return Case(
        "hpatches_matching",
        lambda: plain.matching(descriptors, list(descriptors))[..., 0],
        lambda: score_matching(descriptors, list(descriptors)).ap,
        _close,
        f"{sizes.matched} patches against {sizes.matched} of each of 15 images",
    )


def _draw(patches: int, sequences: tuple[str, ...] = SPLIT.test) -> dict[str, np.ndarray]:
    """Descriptors (16, N, 128) float32 of unit length: views of a patch are alike, the later the less."""
    random, found = np.random.default_rng(1), {}
    for name in sequences:
        rows = random.standard_normal((1, patches, DIM), np.float32)
        rows = rows + np.linspace(0, 1.5, VIEWS, dtype=np.float32)[:, None, None] * random.standard_normal(
            (VIEWS, patches, DIM), np.float32
        )
        found[name] = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    return found


def _close(theirs: Any, ours: Any) -> bool:
    return np.allclose(theirs, ours, rtol=0, atol=_TOLERANCE)
