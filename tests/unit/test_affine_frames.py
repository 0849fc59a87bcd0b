"""Hessian keypoints, and patches of affine shape; with real weights and photographs where they are at hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from descbench.config.keypoint_features import KeypointFeatures
from descbench.config.networks import Model
from descbench.errors import DataError
from descbench.features.affine_frames import hessian_detector
from descbench.features.extractor import Network
from descbench.features.images import load_image
from descbench.features.keypoint_features import build_detector, keypoint_extractor
from descbench.features.keypoints import Keypoints, cut_patches, to_grey
from descbench.models.architectures import architecture
from descbench.models.checkpoints import build_network, convert_checkpoint
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours

CPU = torch.device("cpu")
REGION = 5.2


def draw_rough(side=200, seed=0):
    rough = np.random.default_rng(seed).uniform(0, 255, (side // 8, side // 8)).astype(np.float32)
    return np.clip(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def draw_blob(side=160, sigma=6.0, height=200.0, place=(70, 90)):
    y, x = np.mgrid[:side, :side]
    blob = height * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * sigma**2))
    return np.stack([np.rint(blob).astype(np.uint8)] * 3, 2)


def one(point, size, shape):
    axes = np.array([shape], np.float64)
    angle = np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
    return Keypoints(np.array([point], np.float64), np.array([size]), angle, np.ones(1), shapes=axes)


def test_a_patch_has_the_shape_of_its_keypoint():
    image = draw_rough()
    (patch,) = cut_patches(image, one((99.5, 99.5), 20.0, [[2, 0], [0, 0.5]]), 2.0, 40)
    wide = cv2.resize(image[90:110, 60:140], (40, 40), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(patch.astype(int) - wide)[2:-2, 2:-2].mean() < 4
    plain = Keypoints(np.array([[99.5, 99.5]]), np.array([20.0]), np.array([0.3]), np.ones(1))
    turned = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    assert (cut_patches(image, plain, 2.0) == cut_patches(image, one((99.5, 99.5), 20.0, turned), 2.0)).all()


def test_a_patch_turns_with_its_image():
    image = draw_rough()
    shape = np.array([[1.2, 0.4], [-0.3, 0.7]])
    shape /= np.sqrt(np.linalg.det(shape))
    (before,) = cut_patches(image, one((80, 120), 18.0, shape), 3.0)
    # Counter-clockwise: a pixel x, y is then at y, 199 - x.
    (after,) = cut_patches(np.rot90(image), one((120, 119), 18.0, [[0, 1], [-1, 0]] @ shape), 3.0)
    assert np.abs(before.astype(int) - after).max() <= 1


def test_strength_and_size_of_a_blob():
    """A Gaussian of that height has the response height / 4, at its own sigma."""
    found = hessian_detector(None, 10, REGION, CPU)(draw_blob())
    assert np.abs(found.points[0] - (70, 90)).max() < 0.5
    assert found.sizes[0] == pytest.approx(12, rel=0.1)
    assert found.strengths[0] == pytest.approx(50, rel=0.1)
    assert (found.angles == 0).all()
    assert len(hessian_detector(60.0, 10, REGION, CPU)(draw_blob()).points) == 0
    assert len(hessian_detector(None, 10, REGION, CPU)(np.full((80, 90, 3), 7, np.uint8)).points) == 0


def test_strongest_or_all_or_above_a_threshold():
    image = np.stack([draw_rough()] * 3, 2)
    every = hessian_detector(None, None, REGION, CPU)(image)
    few = hessian_detector(None, 20, REGION, CPU)(image)
    assert len(few.points) == 20 < len(every.points)
    assert (np.diff(every.strengths) <= 0).all()
    np.testing.assert_allclose(few.strengths, every.strengths[:20], rtol=1e-5)
    limit = float(np.median(every.strengths))
    above = hessian_detector(limit, None, REGION, CPU)(image)
    assert len(above.points) == (every.strengths > limit).sum()


def block(name, file=None):
    weights = {"source": "random"} if file is None else {"source": "official", "file": "x"}
    return TypeAdapter(Model).validate_python({"architecture": name, "weights": weights})


def converted(folder, name, file=None):
    model, path = block(name, file), folder / f"{name}.pt"
    convert_checkpoint(model, file, path, seed=3)
    return Network(path, model)


def test_keypoints_of_keynet():
    """With weights of no use: what is asked of places, sizes and order."""
    torch.manual_seed(0)
    network = build_network(block("keynet")).eval()
    architecture("keynet").initialise(network)
    image = torch.from_numpy(draw_rough(160))[None, None].float() / 255
    every, few = network.find_points(image), network.find_points(image, 5)
    assert len(few.scores) == 5 <= len(every.scores)
    assert (every.scores.diff() <= 0).all()
    assert torch.equal(few.scores, every.scores[:5])
    assert every.points.min() > 0
    assert every.points.max() < 160
    assert (every.sizes / (44 / REGION)).min() == pytest.approx(2**-0.5, rel=0.02)


def test_frames_are_the_same_with_more_threads(tmp_path):
    pixels = np.stack([draw_rough()] * 3, 2)
    networks = {name: converted(tmp_path, name) for name in ("affnet", "orinet")}
    settings = settings_of(shape_model="affnet", orientation_model="orinet", max_features=80)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(build_detector(networks, settings, "cpu")(pixels))
    finally:
        torch.set_num_threads(before)
    for key in ("points", "sizes", "angles", "strengths", "shapes"):
        assert (getattr(found[0], key) == getattr(found[1], key)).all()
    np.testing.assert_allclose(np.linalg.det(found[0].shapes), 1, rtol=1e-9)


def test_an_image_without_keypoints_has_no_frames(tmp_path):
    settings = settings_of(orientation_model="orinet")
    detect = build_detector({"orinet": converted(tmp_path, "orinet")}, settings, "cpu")
    assert len(detect(np.full((64, 64, 3), 9, np.uint8)).points) == 0


def settings_of(**options):
    return KeypointFeatures(kind="keypoints", detector="hessian", describe="rootsift", **options)


@pytest.fixture
def weights(real_data: Path, tmp_path: Path):
    folder = real_data / "weights_small"
    return {name: converted(tmp_path, name, folder / file) for name, file in FILES.items()}


FILES = {"affnet": "AffNet.pth", "orinet": "OriNet.pth"}


def test_weights_of_another_network_are_refused(real_data, tmp_path):
    with pytest.raises(DataError, match=r"OriNet\.pth"):
        converted(tmp_path, "affnet", real_data / "weights_small/OriNet.pth")


@pytest.mark.parametrize("shape_model", [None, "affnet"])
def test_patches_of_a_turned_photograph_are_the_same(weights, real_data, shape_model):
    pixels = load_image(real_data / "vgg_graf/img1.png", 500).pixels
    turned = np.ascontiguousarray(np.rot90(pixels))
    settings = settings_of(orientation_model="orinet", shape_model=shape_model, max_features=300)
    detect = build_detector(weights, settings, "cpu")
    one, other = detect(pixels), detect(turned)
    places = np.stack([one.points[:, 1], pixels.shape[1] - 1 - one.points[:, 0]], 1)
    distances = np.linalg.norm(places[:, None] - other.points, axis=2)
    nearest, near = distances.argmin(1), distances.min(1) < 0.5
    assert near.mean() > 0.9
    turns = np.exp(1j * (other.angles[nearest] - one.angles))[near]
    assert np.angle(np.median(turns.real) + 1j * np.median(turns.imag)) == pytest.approx(-np.pi / 2, abs=0.1)
    patches = [cut_patches(to_grey(image), found, REGION) for image, found in ((pixels, one), (turned, other))]
    rows = [values.reshape(len(values), -1).astype(np.float64) for values in (patches[0], patches[1][nearest])]
    rows = [row - row.mean(1, keepdims=True) for row in rows]
    likeness = (rows[0] * rows[1]).sum(1) / np.sqrt((rows[0] ** 2).sum(1) * (rows[1] ** 2).sum(1))
    # AffNet looks at upright patches, so that what it says of a turned image is not quite the same turned.
    assert np.median(likeness[near]) > (0.95 if shape_model is None else 0.7)


def test_shape_and_orientation_bring_right_matches(weights, real_data):
    """From the first to the fourth photograph of the graffiti, which is seen from a side."""

    def count(**models):
        settings = settings_of(max_features=1000, **models)
        networks = {name: weights[name] for name in settings.networks}
        describe = keypoint_extractor(networks, settings, device="cpu").describe
        folder = real_data / "vgg_graf"
        first, fourth = (describe(load_image(folder / f"img{n}.png", 1024), str(n)) for n in (1, 4))
        pairs, _ = mutual_nearest_neighbours(first.descriptors, fourth.descriptors)
        homography = np.loadtxt(folder / "H1to4p")
        points = np.column_stack([first.keypoints[pairs[:, 0]] - 0.5, np.ones(len(pairs))]) @ homography.T
        errors = np.linalg.norm(points[:, :2] / points[:, 2:] + 0.5 - fourth.keypoints[pairs[:, 1]], axis=1)
        return (errors < 3).sum()

    upright, turned, shaped = count(), count(orientation_model="orinet"), count(**{f"{k}_model": v for k, v in BOTH})
    assert 2 * upright < turned < shaped


BOTH = (("shape", "affnet"), ("orientation", "orinet"))
