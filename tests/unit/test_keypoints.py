"""Patches cut around keypoints, and what is described of them; real photographs where they are at hand."""

from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from descbench.config.keypoint_features import KeypointFeatures
from descbench.errors import ConfigError
from descbench.features.classical_patches import describe_rootsift
from descbench.features.detectors import network_detector, opencv_detector
from descbench.features.images import load_image
from descbench.features.keypoint_features import keypoint_extractor, point_describer
from descbench.features.keypoints import Keypoints, cut_patches
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.retrieval.geometry import Frames, verify


def draw_image(side=200, seed=0):
    random = np.random.default_rng(seed)
    rough = random.uniform(0, 255, (side // 8, side // 8)).astype(np.float32)
    return np.clip(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def detect(image, detector, most):
    return opencv_detector(detector, most)(np.stack([image] * 3, axis=2))


def has_akaze():
    return hasattr(cv2, "AKAZE_create") or hasattr(getattr(cv2, "xfeatures2d", None), "AKAZE_create")


def test_a_detector_that_this_opencv_lacks(monkeypatch):
    monkeypatch.delattr(cv2, "AKAZE_create", raising=False)
    monkeypatch.delattr(cv2, "xfeatures2d", raising=False)
    with pytest.raises(ConfigError, match=r"akaze.*opencv-contrib-python-headless"):
        opencv_detector("akaze", 10)


@pytest.mark.parametrize("detector", ["sift", "orb", "akaze"])
def test_strongest_keypoints_in_an_order_of_their_own(detector):
    if detector == "akaze" and not has_akaze():
        pytest.skip("this build of OpenCV has no AKAZE; requirements/base.txt names one that has")
    image = draw_image()
    found = detect(image, detector, 50)
    assert 20 < len(found.points) <= 50 if detector == "orb" else len(found.points) == 50
    assert (np.diff(found.strengths) <= 0).all()
    again = detect(image, detector, 50)
    assert all((a == b).all() for a, b in zip(arrays(found), arrays(again), strict=True))
    fewer = detect(image, detector, 10)
    assert 0 < len(fewer.points) <= 10
    every = detect(image, detector, None)
    assert len(every.points) > 50
    if detector != "orb":  # which spreads as many as are asked for over its levels
        assert all((a[:50] == b).all() for a, b in zip(arrays(every), arrays(found), strict=True))


def arrays(keypoints):
    return [keypoints.points, keypoints.sizes, keypoints.angles, keypoints.strengths]


class Corners(torch.nn.Module):
    """A network that finds the brightest pixels, of equal ones in no order of its own, and describes grey values."""

    mean, std, dim, channels = (0.0,), (1.0,), 2, 1

    def find_points(self, image, most):
        rows, columns = torch.nonzero(image[0, 0] > 0.5, as_tuple=True)
        points = torch.stack([columns, rows], 1).flip(0).float()
        scores = image[0, 0][rows, columns].flip(0)
        kept = torch.sort(scores, descending=True, stable=True).indices[:most]
        points, scores = points[kept], scores[kept]
        return FoundPoints(points, torch.full_like(scores, 8), scores, self.describe_points(image, points) + 1)

    def describe_points(self, image, points):
        x, y = points.long().T
        return torch.stack([image[0, 0, y, x], points[:, 0]], 1)


FoundPoints = namedtuple("FoundPoints", "points sizes scores descriptors")


@pytest.mark.parametrize("described", [True, False])
def test_a_network_finds_and_describes(described):
    image = np.zeros((20, 30, 3), np.uint8)
    for place, grey in (((3, 9), 200), ((5, 7), 250), ((5, 4), 200), ((9, 9), 100)):
        image[place] = grey
    cpu = torch.device("cpu")
    found = network_detector(Corners(), 2, cpu, described=described)(image)
    assert found.points.tolist() == [[7, 5], [4, 5]]
    assert found.sizes.tolist() == [8, 8]
    assert found.angles.tolist() == [0, 0]
    descriptors = point_describer(Corners(), cpu).describe(image, found)
    assert np.allclose(descriptors, np.array([[250 / 255, 7], [200 / 255, 4]]) + described)
    every = network_detector(Corners(), None, cpu, described=described)(image)
    assert every.points.tolist() == [[7, 5], [4, 5], [9, 3]]


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
    block = KeypointFeatures(kind="keypoints", describe="rootsift", **settings)
    return keypoint_extractor({}, block).describe(load_image(path, block.image_size), str(path))


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
