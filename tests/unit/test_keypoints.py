"""Patches cut around keypoints, and what is described of them; real photographs where they are at hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from descbench.config.features import PatchFeatures
from descbench.features.classical_patches import describe_rootsift
from descbench.features.images import load_image
from descbench.features.keypoints import Keypoints, cut_patches, detect_keypoints
from descbench.features.patch_features import patch_extractor
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.retrieval.geometry import Frames, verify


def draw_image(side=200, seed=0):
    random = np.random.default_rng(seed)
    rough = random.uniform(0, 255, (side // 8, side // 8)).astype(np.float32)
    return np.clip(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("detector", ["sift", "orb"])
def test_strongest_keypoints_in_an_order_of_their_own(detector):
    image = draw_image()
    found = detect_keypoints(image, detector, 50)
    assert len(found.points) == 50 if detector == "sift" else 20 < len(found.points) <= 50
    assert (np.diff(found.strengths) <= 0).all()
    again = detect_keypoints(image, detector, 50)
    assert all((a == b).all() for a, b in zip(vars(found).values(), vars(again).values(), strict=True))
    fewer = detect_keypoints(image, detector, 10)
    assert 0 < len(fewer.points) <= 10


def test_a_patch_is_the_image_turned_and_scaled():
    image = draw_image()
    keypoint = Keypoints(np.array([[99.5, 99.5]]), np.array([20.0]), np.array([0.0]), np.ones(1))
    (plain,) = cut_patches(image, keypoint, 2.0, 40)
    assert (plain == image[80:120, 80:120]).all()
    turned = Keypoints(keypoint.points, keypoint.sizes, np.array([np.pi / 2]), keypoint.strengths)
    (patch,) = cut_patches(image, turned, 2.0, 40)
    # The keypoint points down; in its patch that is to the right.
    assert np.abs(patch.astype(int) - np.rot90(plain)).max() <= 1
    (half,) = cut_patches(image, keypoint, 4.0, 40)
    assert (
        np.abs(half.astype(int) - cv2.resize(image[60:140, 60:140], (40, 40), interpolation=cv2.INTER_AREA)).mean() < 8
    )
    (edge,) = cut_patches(image, Keypoints(np.zeros((1, 2)), np.array([20.0]), np.zeros(1), np.ones(1)), 2.0, 40)
    assert (edge[:19, :19] == image[0, 0]).all()


def test_sift_of_a_patch_is_nearly_that_of_the_image():
    """So that place, orientation and region of a patch are those that OpenCV's SIFT has."""
    image = draw_image(400)
    sift = cv2.SIFT_create()
    found = [k for k in sift.detect(image, None) if 3 < k.size < 20 and all(60 < v < 340 for v in k.pt)]
    found, theirs = sift.compute(image, found)
    rows = np.array([(*k.pt, k.size, np.deg2rad(k.angle), k.response) for k in found])
    keypoints = Keypoints(rows[:, :2], rows[:, 2], rows[:, 3], rows[:, 4])
    ours = describe_rootsift(cut_patches(image, keypoints, 5.303))
    theirs = np.sqrt(theirs / theirs.sum(1, keepdims=True))
    assert len(found) > 30
    assert np.median((ours * theirs).sum(1)) > 0.9


def features_of(path, **settings):
    block = PatchFeatures(kind="patches", describe="rootsift", **settings)
    return patch_extractor(None, None, block).describe(load_image(path, block.image_size), str(path))


def test_places_and_sizes_are_those_of_the_original(tmp_path):
    Image.fromarray(draw_image(400)).save(tmp_path / "a.png")
    whole, half = (features_of(tmp_path / "a.png", max_features=40, image_size=size) for size in (400, 200))
    assert np.ptp(whole.keypoints) > 200 < np.ptp(half.keypoints)
    distances = np.linalg.norm(half.keypoints[:, None] - whole.keypoints, axis=2)
    near = distances.min(1) < 3
    assert near.sum() >= 10
    ratio = half.scales[near] / whole.scales[distances.argmin(1)[near]]
    assert 0.7 < np.median(ratio) < 1.4
    assert np.abs(whole.orientations).max() < 6.3


def match(one, two):
    """Mutual nearest descriptors of two images, verified."""
    pairs, _ = mutual_nearest_neighbours(one.descriptors, two.descriptors)
    frames = [Frames(f.keypoints, f.scales, f.orientations) for f in (one, two)]
    return verify(*frames, pairs, 12.0)


def test_sift_finds_the_homography_of_the_graffiti(real_data: Path):
    folder = real_data / "vgg_graf"
    one, two = (features_of(folder / f"img{number}.png", max_features=2000) for number in (1, 2))
    found = match(one, two)
    assert len(found.pairs) > 100
    homography = np.loadtxt(folder / "H1to2p")
    points = np.column_stack([one.keypoints[found.pairs[:, 0]] - 0.5, np.ones(len(found.pairs))]) @ homography.T
    errors = np.linalg.norm(points[:, :2] / points[:, 2:] + 0.5 - two.keypoints[found.pairs[:, 1]], axis=1)
    assert (errors < 5).mean() > 0.9


def test_a_building_is_verified_in_its_own_views(real_data: Path):
    """Eight and eleven photographs of two buildings: the view beside it has more inliers than any of the other."""
    images = [sorted((real_data / "strecha" / name / "images").iterdir()) for name in ("Herz-Jesus-P8", "fountain-P11")]
    found = [[features_of(path, max_features=500, image_size=640) for path in paths[:4]] for paths in images]
    for own, other in (found, found[::-1]):
        for number, query in enumerate(own):
            beside = own[number + 1 if number + 1 < len(own) else number - 1]
            counts = [len(match(query, image).pairs) for image in other]
            assert len(match(query, beside).pairs) > max(counts)
