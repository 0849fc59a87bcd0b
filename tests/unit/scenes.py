"""Small noisy views of drawn scenes, for training sets of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def draw_scenes(
    folder: Path, scenes: int, views: int, *, noise: float, size: tuple[int, int]
) -> Iterator[tuple[int, int, str]]:
    """Write ``<scene>_<view>.png`` into a new folder; yields scene, view and file name of each."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for scene in range(scenes):
        coarse = rng.integers(0, 255, (6, 8, 3))
        for view in range(views):
            noisy = np.clip(coarse + rng.normal(0, noise, coarse.shape), 0, 255).astype(np.uint8)
            name = f"{scene}_{view}.png"
            Image.fromarray(noisy).resize(size, Image.Resampling.BICUBIC).save(folder / name)
            yield scene, view, name
