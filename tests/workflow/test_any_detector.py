"""Any detector with any descriptor, by configuration alone: the workflow's own rules on a tiny town."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.datasets.manifest import read_manifest
from descbench.features.images import load_image
from descbench.features.point_images import load_point_image, to_point_tensor
from descbench.features.store import ShardReader
from descbench.models.checkpoints import load_network

RANDOM = {"weights": {"source": "random", "seed": 1}}
R2D2 = {"architecture": "r2d2", "mchan": 1, "min_size": 0, "min_scale": 0.5, "repeatability": 0.3, **RANDOM}
MODELS = {
    "superpoint": {"architecture": "superpoint", **RANDOM},
    "r2d2": R2D2,
    "hndesc": {"architecture": "hndesc", "backbone": "r2d2", **RANDOM},
    "hndesc_caps": {"architecture": "hndesc", **RANDOM},
    "hardnet": {"architecture": "hardnet", **RANDOM},
    "disk": {"architecture": "disk", **RANDOM},
    "aliked": {"architecture": "aliked", "variant": "t16", **RANDOM},
    "caps": {"architecture": "caps", **RANDOM},
}
DIMS = {"superpoint": 256, "pixels": 1024, "aliked": 64, "caps": 256}
PAIRS = [
    ("sift", "hndesc"),
    ("sift", "r2d2"),
    ("superpoint", "superpoint"),
    ("superpoint", "hndesc_caps"),
    ("superpoint", "hardnet"),
    ("superpoint", "rootsift"),
    ("r2d2", "r2d2"),
    ("r2d2", "hndesc"),
    ("disk", "disk"),
    ("aliked", "aliked"),
    ("aliked", "rootsift"),
    ("sift", "disk"),
    ("disk", "caps"),
]


def block(detector, describer, **more):
    found = {"kind": "keypoints", "max_features": 40, "image_size": 90, **more}
    found |= {"detector": "network", "detector_model": detector} if detector in MODELS else {"detector": detector}
    named = {"describe": "network", "model": describer} if describer in MODELS else {"describe": describer}
    return {**found, **named}


FEATURES = {
    **{f"{detector}_{describer}": block(detector, describer) for detector, describer in PAIRS},
    "as_hndesc": block("superpoint", "superpoint", reading="hndesc"),
    "full_size": block("superpoint", "superpoint", reading="hndesc", image_size=None),
}
TOWN = {"models": MODELS, "features": FEATURES}
ROLE = "query"  # which has crops


def shard_of(name):
    return f"results/features/{name}/alderford/{ROLE}/00000.h5"


@pytest.fixture(scope="module")
def extracted(base):
    bench = base.copy("any_detector")
    ran = bench.make(*map(shard_of, FEATURES), overlay=TOWN)
    assert ran.count("extract_features") == len(FEATURES)
    return bench


def read(bench, name):
    with ShardReader(bench.folder / shard_of(name)) as shard:
        return shard.read(0, 1)


def network(bench, name):
    model = TypeAdapter(Model).validate_python(MODELS[name])
    return load_network(bench.folder / f"results/checkpoints/{name}.pt", model)


def first_image(bench, load, size=90):
    (row, *_) = read_manifest(bench.folder / "results/manifests/alderford.csv").of_role(ROLE).rows
    return load(bench.folder / "data/datasets" / row.path, size, row.box)


@pytest.mark.parametrize(("detector", "describer"), PAIRS)
def test_any_pair_gives_features(extracted, detector, describer):
    found = read(extracted, f"{detector}_{describer}")
    assert 0 < len(found.descriptors) <= 40
    assert found.descriptors.shape[1] == DIMS.get(describer, 128)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-3)
    assert (np.diff(found.strengths) <= 0).all()


def test_descriptors_at_points_of_another_detector(extracted):
    """HNDesc reads its map at the very points that SuperPoint found."""
    image = first_image(extracted, load_image)
    found, describer = read(extracted, "superpoint_hndesc_caps"), network(extracted, "hndesc_caps")
    points = (found.keypoints - image.offset) / image.ratio - 0.5
    np.testing.assert_allclose(points, np.round(points), atol=1e-3)
    with torch.inference_mode():
        places = torch.from_numpy(np.round(points).astype(np.float32))
        expected = describer.describe_points(to_point_tensor(image, describer), places)
    np.testing.assert_allclose(found.descriptors, expected, atol=1e-4)
    np.testing.assert_allclose(found.scales, 8 * np.mean(image.ratio), rtol=1e-6)


def test_r2d2_reads_each_descriptor_at_its_own_level(extracted):
    image, describer = first_image(extracted, load_image), network(extracted, "r2d2")
    found = read(extracted, "r2d2_r2d2")
    with torch.inference_mode():
        expected = describer.find_points(to_point_tensor(image, describer), 40)
        whole = describer.describe_points(to_point_tensor(image, describer), expected.points)
    np.testing.assert_allclose(found.scales, expected.sizes * np.mean(image.ratio), rtol=1e-4)
    assert len(set(found.scales.tolist())) > 1
    np.testing.assert_allclose(found.descriptors, expected.descriptors, atol=1e-4)
    assert np.abs(found.descriptors - whole.numpy()).max() > 0.01


def test_images_are_read_as_asked(extracted):
    """Grey pixels of a way of their own, crops reduced by their own size, full size on request."""
    plain = read(extracted, "superpoint_superpoint")
    for name, size in (("as_hndesc", 90), ("full_size", None)):
        found, finder = read(extracted, name), network(extracted, "superpoint")
        image = first_image(extracted, load_point_image, size)
        with torch.inference_mode():
            expected = finder.find_points(to_point_tensor(image, finder), 40)
        order = torch.sort(expected.scores, descending=True, stable=True).indices
        np.testing.assert_allclose(found.strengths, expected.scores[order], rtol=1e-3)
        assert found.strengths.shape != plain.strengths.shape or not np.allclose(found.strengths, plain.strengths)
