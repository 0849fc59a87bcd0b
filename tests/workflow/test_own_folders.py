"""Folders of the user's own photographs, from the block of configuration to scores: tiny networks, executed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw(path: Path, seed: int, **options) -> Path:
    """A small image that only its seed decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), np.uint8)
    Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(path, **options)
    return path


VLAD = {
    "models": {
        "drawn": {"architecture": "netvlad", "backbone": "alexnet", "clusters": 4, "weights": {"source": "random"}}
    },
    "features": {"vlad": {"kind": "global", "model": "drawn", "image_size": 64}},
    "methods": {"vlad": {"search": "inner_product", "features": "vlad"}},
}


def with_datasets(**datasets) -> dict:
    return VLAD | {"datasets": datasets}


def test_scores_without_ground_truth_are_refused_while_planning(workplace, tmp_path):
    draw(tmp_path / "photos/a.png", 1)
    overlay = with_datasets(mine={"format": "folder", "database": str(tmp_path / "photos")})
    for target in ("results/scores/vlad/mine.json", "results/scores/vlad/toytown_sfm.json"):
        result = workplace.run("-n", target, overlay=overlay, check=False)
        assert result.returncode != 0
        assert "rankings of it cannot be scored" in result.stdout + result.stderr
    assert workplace.planned("results/rankings/vlad/mine.h5", overlay=overlay)["merge_rankings"] == 1
