"""Normalisations of HPatches' descriptors against plain forms of them."""

from __future__ import annotations

import numpy as np
import pytest

from descbench.config.patch_methods import PatchMethod
from descbench.errors import DataError
from descbench.metrics.hpatches_normalisation import whiten_and_root, whiten_by_energy

TEST, TRAIN = ("i_a", "v_b"), ("i_d", "v_e")
close = np.testing.assert_allclose


def made(dim: int = 6) -> dict[str, np.ndarray]:
    """Descriptors (16, N, dim) of all sequences, their dimensions mixed and of different spread."""
    random = np.random.default_rng(5)
    mixed = random.normal(size=(dim, dim)) * np.geomspace(1, 0.1, dim)[:, None]
    counts = zip((*TEST, *TRAIN), (7, 9, 30, 40), strict=True)
    return {name: (random.normal(size=(16, count, dim)) @ mixed + 3).astype(np.float32) for name, count in counts}


def test_whitening_makes_training_patches_white():
    descriptors = made()
    found = whiten_and_root(descriptors, TRAIN, TEST)
    assert found.keys() == set(TEST)
    for array in found.values():
        lengths = np.linalg.norm(array, axis=2)
        close(lengths, 1, atol=1e-12)
    with pytest.raises(DataError, match="no training sequences"):
        whiten_and_root(descriptors, (), TEST)
    equal = {name: np.ones((16, 5, 6), np.float32) for name in TEST}
    blank = whiten_and_root({**descriptors, **equal}, TRAIN, TEST)
    assert not any(array.any() for array in blank.values())


@pytest.mark.parametrize(("clipped", "raised"), [(0.0, 0), (0.25, 4), (0.6, 5)])
def test_eigenvalues_are_clipped_by_their_energy(clipped, raised):
    """All views are learnt from, and the mean is the training's."""
    descriptors = made()
    learnt = np.concatenate([descriptors[name].reshape(-1, 6) for name in TRAIN]).astype(float)
    values, vectors = np.linalg.eigh(np.cov(learnt.T, bias=True))
    share, kept = 0.0, 0
    for value in values[::-1]:
        share, kept = share + value / values.sum(), kept + 1
        if share >= 1 - clipped - 1e-12:
            break
    assert 6 - kept == raised
    values = np.maximum(values, values[::-1][kept - 1])
    turned = (descriptors["v_b"][3] - learnt.mean(0)) @ vectors @ np.diag(values**-0.5) @ vectors.T
    expected = np.sign(turned) * np.abs(turned) ** 0.5
    found = whiten_by_energy(descriptors, TRAIN, TEST, clipped)
    assert found.keys() == set(TEST)
    close(found["v_b"][3], expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_there_is_something_to_whiten_by():
    descriptors = made()
    with pytest.raises(DataError, match="no training sequences"):
        whiten_by_energy(descriptors, (), TEST, 0.25)
    equal = {name: np.ones((16, 5, 6), np.float32) for name in TRAIN}
    with pytest.raises(DataError, match="all descriptors of the training sequences are equal"):
        whiten_by_energy({**descriptors, **equal}, TRAIN, TEST, 0.25)


def test_a_share_belongs_to_one_normalisation():
    block = {"describe": "sift", "clipped_energy": 0.4}
    whole = PatchMethod.model_validate({"describe": "sift"})
    for made in (PatchMethod.model_validate({**block, "normalisation": "matlab_zca"}), whole):
        assert PatchMethod.model_validate(made.model_dump(mode="json")) == made
    with pytest.raises(ValueError, match="belongs to normalisation matlab_zca"):
        PatchMethod.model_validate({**block, "normalisation": "pca_power"})
