"""R2D2 with its published weights, where they are at hand, at few and small levels."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest

from descbench.config.keypoint_features import KeypointFeatures
from descbench.config.models import Backend
from descbench.config.point_networks import R2D2Model
from descbench.features.extractor import Network
from descbench.models.checkpoints import convert_checkpoint

# Three levels of an image instead of eight or more.
MODEL = R2D2Model(
    architecture="r2d2",
    min_size=0,
    min_scale=0.49,
    scale_factor=2**0.5,
    weights={"source": "official", "file": "published.pt"},
)


@dataclass(frozen=True)
class RealR2D2:
    """What extraction needs.

    Attributes:
        networks: by name.
        backend: the fastest that is installed.
    """

    networks: dict[str, Network]
    backend: Backend

    def features(self, image_size: int, most: int) -> KeypointFeatures:
        """R2D2's keypoints of images of at most so many pixels, and its descriptors."""
        return KeypointFeatures(
            kind="keypoints",
            detector="network",
            detector_model="r2d2",
            describe="network",
            model="r2d2",
            image_size=image_size,
            max_features=most,
        )


def real_r2d2(real_data: Path, folder: Path) -> RealR2D2:
    """The network; skips where its weights are absent."""
    weights = real_data / "r2d2" / "r2d2_WASF_N16.pt"
    if not weights.is_file():
        pytest.skip(f"no {weights}: R2D2's weights are third-party, not shipped, see docs/contributing.md")
    convert_checkpoint(MODEL, weights, folder / "r2d2.pt")
    installed = all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))
    return RealR2D2({"r2d2": Network(folder / "r2d2.pt", MODEL)}, "onnxruntime" if installed else "torch")
