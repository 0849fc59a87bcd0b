"""HNDesc's networks and SuperPoint against what the original gave: keys, maps, descriptors, keypoints, images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import standin
import torch
from goldens import golden_cases, golden_files
from PIL import Image
from torch import nn

from descbench.features.images import LoadedImage, to_tensor
from descbench.features.point_images import load_point_image
from descbench.models.folding import prepare_for_inference
from descbench.models.hndesc import HNDescCaps, HNDescR2D2, read_nearest
from descbench.models.levels import IMAGENET_MEAN, IMAGENET_STD
from descbench.models.superpoint import SuperPoint, suppress

NETWORKS = {"caps": HNDescCaps, "r2d2": HNDescR2D2, "superpoint": SuperPoint}
PREPARATIONS = pytest.mark.parametrize("prepare", [nn.Module.eval, prepare_for_inference], ids=["plain", "folded"])


def cases(pattern: str) -> list:
    return [pytest.param(path, id=path.stem) for path in golden_files("hndesc", pattern)]


def filled(name: str) -> nn.Module:
    network = NETWORKS[name]()
    standin.fill_(network.state_dict())
    return network


def picture(golden: Any) -> torch.Tensor:
    pixels = standin.image(int(golden["image_seed"]), *golden["hw"].tolist())
    return to_tensor(pixels, IMAGENET_MEAN, IMAGENET_STD)[None]


@pytest.mark.parametrize("path", cases("state_dict_keys*.json"))
def test_state_dict(path):
    golden = json.loads(path.read_text())
    for name, expected in golden.items():
        state = NETWORKS[name]().state_dict()
        found = [[key, list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()]
        assert found == expected["entries"]
        assert len(found) == expected["n_entries"]
        assert sum(value.numel() for value in NETWORKS[name]().parameters()) == expected["n_params"]


@PREPARATIONS
@pytest.mark.parametrize("path", cases("caps_dense*.npz") + cases("r2d2_dense*.npz"))
def test_maps_and_descriptors(path, prepare):
    golden, backbone = np.load(path), path.stem.split("_")[0]
    network, image = prepare(filled(backbone)), picture(golden)
    points = torch.from_numpy(golden["kpts"])
    with torch.inference_mode():
        (dense,) = network.level(image)
        np.testing.assert_allclose(dense[0], golden["dense"], atol=1e-4 if backbone == "caps" else 1e-5)
        np.testing.assert_allclose(network.describe_points(image, points), golden["desc"], atol=1e-5)
        if "desc_train_window" in golden:
            nearest = read_nearest(dense, torch.from_numpy(golden["kpts_round"]))
            np.testing.assert_allclose(nearest, golden["desc_train_window"], atol=1e-5)


@pytest.mark.parametrize("path", cases("caps_sampled*.npz") + cases("r2d2_sampled*.npz"))
def test_larger_images(path):
    golden = np.load(path)
    network, image = prepare_for_inference(filled(path.stem.split("_")[0])), picture(golden)
    with torch.inference_mode():
        (dense,) = network.level(image)
        found = network.describe_points(image, torch.from_numpy(golden["kpts"]))
    assert list(dense.shape[1:]) == golden["dense_shape"].tolist()
    np.testing.assert_allclose(dense.mean(), golden["dense_mean"], rtol=1e-4)
    np.testing.assert_allclose(dense.abs().max(), golden["dense_absmax"], rtol=1e-4)
    np.testing.assert_allclose(found, golden["desc"], atol=1e-5)


# --- SuperPoint --------------------------------------------------------------------------------


def superpoint(golden: Any, sampling: str = "aligned") -> SuperPoint:
    settings = [golden[name].item() for name in ("nms_radius", "keypoint_threshold", "remove_borders")]
    network = SuperPoint(*settings, sampling)
    standin.fill_(network.state_dict())
    network.convPb.weight.data.mul_(golden["scale_convPb_weight"].item())
    return network.eval()


def most_of(golden: Any) -> int | None:
    most = int(golden["max_keypoints"])
    return None if most < 0 else most


@PREPARATIONS
@pytest.mark.parametrize("path", cases("superpoint*.npz"))
def test_heatmap(path, prepare):
    golden = np.load(path)
    network = prepare(superpoint(golden))
    with torch.inference_mode():
        heatmap, dense = network.level(to_tensor(golden["gray"][..., None], network.mean, network.std)[None])
    np.testing.assert_allclose(heatmap[0], golden["heatmap_pre_nms"], atol=1e-5)
    np.testing.assert_allclose(dense[0], golden["dense_desc"], atol=1e-5)
    suppressed = suppress(torch.from_numpy(golden["heatmap_pre_nms"]), int(golden["nms_radius"]))
    np.testing.assert_array_equal(suppressed, golden["heatmap_nms"])


@pytest.mark.parametrize("path", cases("superpoint*.npz"))
def test_keypoints_of_a_heatmap(path):
    """From the original's own heat map, keypoints are the original's in its order, but for equal scores."""
    golden = np.load(path)
    points, scores = superpoint(golden).select(torch.from_numpy(golden["heatmap_nms"]), most_of(golden))
    np.testing.assert_array_equal(scores, golden["scores"])
    if len(np.unique(golden["scores"])) == len(scores) or most_of(golden) is None:
        np.testing.assert_array_equal(points, golden["keypoints"])


@pytest.mark.parametrize("path", cases("superpoint*.npz"))
def test_keypoints_and_descriptors(path):
    golden = np.load(path)
    image = to_tensor(golden["gray"][..., None], (0.0,), (1.0,))[None]
    with torch.inference_mode():
        found = superpoint(golden).find_points(image, most_of(golden))
        ours, theirs = ({tuple(point) for point in points.tolist()} for points in (found.points, golden["keypoints"]))
        # A score within rounding of another, or of a limit, may fall on either side.
        assert len(ours & theirs) >= 0.98 * len(ours | theirs)
        for sampling, name in (("swapped", "desc_first"), ("aligned", "desc_first_align_true")):
            points = torch.from_numpy(golden["keypoints"][: len(golden[name])])
            descriptors = superpoint(golden, sampling).describe_points(image, points)
            np.testing.assert_allclose(descriptors, golden[name], atol=1e-5)


# --- images ------------------------------------------------------------------------------------


def prepared_cases() -> list:
    return [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path, name in golden_cases(
            "hndesc",
            "preprocessing*.npz",
            lambda path: [
                n.removesuffix("_original_size") for n in np.load(path).files if n.endswith("_original_size")
            ],
        )
    ]


@pytest.mark.parametrize(("path", "case"), prepared_cases())
def test_images(path, case, tmp_path):
    """Whole images to the bit; reduced ones within a grey level of another version of Pillow or OpenCV."""
    golden = np.load(path)
    file = tmp_path / "image.ppm"
    Image.fromarray(standin.image(int(golden["image_seed"]), *golden["hw"].tolist())).save(file)
    box, most = golden[f"{case}_bbox"].tolist() or None, int(golden[f"{case}_resize_max"])
    # What a case brings every image to first stands in its size alone.
    whole = golden[f"{case}_original_size"].tolist()
    first = tuple(whole) if box is None and whole != golden["hw"].tolist()[::-1] else None
    found = load_point_image(file, None if most < 0 else most, box, resize=first and first[::-1])
    grey = to_tensor(found.grey[..., None], (0.0,), (1.0,))[0].numpy()
    colours = to_tensor(found.pixels, IMAGENET_MEAN, IMAGENET_STD).numpy()
    assert [grey.shape[1], grey.shape[0]] == golden[f"{case}_new_size"].tolist()
    reduced = whole != golden[f"{case}_new_size"].tolist() or first is not None
    if f"{case}_gray" in golden:
        np.testing.assert_allclose(grey, golden[f"{case}_gray"], atol=0.004 if reduced else 1e-6)
        np.testing.assert_allclose(colours, golden[f"{case}_rgb"], atol=0.02 if reduced else 1e-6)
        return
    rows, columns = golden[f"{case}_gray_crop"].shape
    np.testing.assert_allclose(grey[:rows, :columns], golden[f"{case}_gray_crop"], atol=0.004)
    np.testing.assert_allclose(colours[:, :rows, :columns], golden[f"{case}_rgb_crop"], atol=0.02)
    # A mean is within what each value may be off by.
    np.testing.assert_allclose(grey.mean(dtype=np.float64), golden[f"{case}_gray_sum"] / grey.size, atol=0.004)
    np.testing.assert_allclose(colours.mean(dtype=np.float64), golden[f"{case}_rgb_sum"] / colours.size, atol=0.02)


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in golden_files("hndesc", "preprocessing*.npz")]
)
def test_points_of_the_original_image(path):
    golden = np.load(path)
    ratio = tuple((golden["rescale_orig"] / golden["rescale_new"]).tolist())
    image = LoadedImage(np.zeros((1, 1, 3), np.uint8), (0, 0), ratio)
    # Ours are half a pixel further: the middle of the first pixel is 0.5, 0.5.
    found = image.to_original(golden["rescale_in"] + np.float32(0.5)) - 0.5
    np.testing.assert_allclose(found, golden["rescale_out"], rtol=1e-6)
