"""Hessian-Affine keypoints: what is made of pyhesaff's ellipses, with the package and with its answers told."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from descbench.config.keypoint_features import KeypointFeatures
from descbench.errors import ConfigError
from descbench.features.hesaff import THRESHOLD, hesaff_detector
from descbench.features.keypoint_features import build_detector
from descbench.features.keypoints import cut_patches

HEIGHT, SIGMA = 160, 6.0
# A blob as wide as that, and a lower one of the same area that is twice as long as it is wide.
PLACES = ((60.0, 70.0, 1.0, 160), (140.0, 120.0, np.sqrt(2), 100))


def draw() -> np.ndarray:
    y, x = np.mgrid[:200, :200]
    blobs = [
        height * np.exp(-(((x - u) * stretch) ** 2 + ((y - v) / stretch) ** 2) / (2 * SIGMA**2))
        for u, v, stretch, height in PLACES
    ]
    return np.rint(40 + sum(blobs)).astype(np.uint8)


def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A pyhesaff that knows both blobs; the thresholds that it is given."""
    thresholds: list[float] = []

    def detect_feats_in_image(image: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        thresholds.append(threshold)
        reach = 3 * np.sqrt(3) * SIGMA
        rows = [(u, v, reach / s, 0, reach * s, 0) for u, v, s, _ in PLACES[::-1]]
        return np.array(rows, np.float32), np.zeros((2, 128), np.uint8)

    monkeypatch.setitem(sys.modules, "pyhesaff", SimpleNamespace(detect_feats_in_image=detect_feats_in_image))
    return thresholds


@pytest.mark.parametrize("threshold", [None, 20.0])
def test_ellipses_become_keypoints(monkeypatch, threshold):
    """The stronger blob first; a Gaussian of height h has strength h / 4, a long one less; it is round in its patch."""
    thresholds = told(monkeypatch)
    image = draw()
    block = {"kind": "keypoints", "detector": "hesaff", "threshold": threshold, "describe": "sift"}
    found = build_detector({}, KeypointFeatures.model_validate(block), "cpu")(np.stack([image] * 3, 2))
    assert thresholds == [THRESHOLD if threshold is None else threshold]
    assert found.points.tolist() == [[60, 70], [140, 120]]
    assert found.sizes == pytest.approx([2 * SIGMA] * 2, rel=1e-6)
    assert found.strengths == pytest.approx([160 / 4, 100 / 4.5], rel=0.1)
    assert np.linalg.det(found.axes()) == pytest.approx([1, 1])
    wide, turned = cut_patches(image, found, 5.2)[1].astype(float), cut_patches(image, found, 5.2)[1].T.astype(float)
    assert np.abs(wide - turned).max() < 6
    assert len(hesaff_detector(None, 1)(np.stack([image] * 3, 2)).points) == 1


def test_the_package_finds_the_blobs():
    pytest.importorskip("pyhesaff", reason="Hessian-Affine needs requirements/hesaff.txt")
    found = hesaff_detector(None, 2)(np.stack([draw()] * 3, 2))
    assert found.points == pytest.approx(np.array([[60, 70], [140, 120]]), abs=1)
    assert found.sizes == pytest.approx([2 * SIGMA] * 2, rel=0.15)
    assert found.shapes[1, 1, 1] / found.shapes[1, 0, 0] == pytest.approx(2, rel=0.3)
    assert len(hesaff_detector(200.0, None)(np.stack([draw()] * 3, 2)).points) == 0


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyhesaff", None)
    with pytest.raises(ConfigError, match=r"needs the package pyhesaff.*requirements/hesaff.txt"):
        hesaff_detector(None, 10)
