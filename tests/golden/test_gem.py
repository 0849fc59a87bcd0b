"""GeM against a plain float64 computation (docs/protocols/gem.md); there are no files of the original's for it."""

import numpy as np
import plain_gem
import pytest
import standin
import torch

from descbench.config.networks import GemModel
from descbench.errors import DataError
from descbench.features.images import to_tensor
from descbench.models.checkpoints import build_network, convert_checkpoint, load_network
from descbench.models.gem import GemNet
from descbench.models.levels import IMAGENET_MEAN, IMAGENET_STD

PYRAMIDS = [[1.0], [2**-0.5], [1.0, 2**-0.5, 0.5], [1.0, 2**0.5, 2**-0.5]]
SETS = ("another-set", "retrieval-SfM-120k", "retrieval-SfM-30k")
IMAGES = [(5, 97, 71)]


def picture(seed, height, width):
    return to_tensor(standin.image(seed, height, width), IMAGENET_MEAN, IMAGENET_STD)[None]


def weights(backbone, whitening):
    """Stand-in weights whose GeM power is not the 3 it begins with."""
    state = standin.fill_(build_network(block(backbone, whitening)).state_dict())
    state["pool.p"].fill_(2.7)
    return state


def network_dim(backbone):
    return 512 if backbone == "vgg16" else 2048


def whitenings(dim, kinds=("ss", "ms")):
    """A whitening for each training set and kind, all different."""
    random = np.random.RandomState(7)
    made = {}
    for name in SETS:
        made[name] = {
            kind: {"m": random.standard_normal((dim, 1)) / dim, "P": random.standard_normal((64, dim)) / dim**0.5}
            for kind in kinds
        }
    return made


def block(backbone, whitening, **more):
    source = {"source": "official", "file": "gem.pth"}
    described = {"architecture": "gem", "backbone": backbone, "whitening": whitening, "weights": source}
    return GemModel.model_validate(described | more)


def converted(folder, model, state, meta):
    """The network as a job loads it: from the original's file, through a checkpoint of ours."""
    torch.save({"meta": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **meta}, "state_dict": state}, folder / "gem.pth")
    convert_checkpoint(model, folder / "gem.pth", folder / "ours.pt")
    return load_network(folder / "ours.pt", model)


@pytest.fixture(scope="module", params=["vgg16", "resnet50"])
def backbone(request):
    return request.param


@pytest.mark.parametrize("whitening", ["none", "network", "learned"])
def test_descriptors(backbone, whitening, tmp_path):
    """Pooling, its power over scales, the order of whitening and normalisations; each by one scale and by several."""
    state = weights(backbone, whitening)
    learned = whitenings(network_dim(backbone)) if whitening == "learned" else {}
    meta = {"Lw": learned} if learned else {}
    network = converted(tmp_path, block(backbone, whitening), state, meta)
    features = plain_gem.backbone(backbone, state)
    for image in IMAGES:
        for scales in PYRAMIDS:
            with torch.inference_mode():
                found = network.describe(picture(*image), scales)[0].numpy()
            lw = learned["retrieval-SfM-120k"] if learned else None
            expected = plain_gem.describe(features, state, picture(*image).double(), scales, lw)
            # A unit vector of some hundred values, each off by float32's rounding through fifty layers.
            np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max() + 1e-6)


def test_the_epsilon_of_the_pooling():
    """Cells of nothing count as 1e-6, and a map of nothing has a descriptor that is not a unit vector."""
    net = GemNet("vgg16").eval()
    with torch.inference_mode():
        found = net.pool(torch.tensor([[[[0.0, -3.0]], [[0.0, 2.0]]]])).numpy()
    expected = [(((1e-6**3 + 1e-6**3) / 2) ** (1 / 3)), ((1e-6**3 + 2.0**3) / 2) ** (1 / 3)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_the_training_set_of_the_whitening_is_named(tmp_path):
    state, learned = weights("vgg16", "learned"), whitenings(512)
    features = plain_gem.backbone("vgg16", state)
    image = picture(*IMAGES[0])
    for name in SETS:
        network = converted(tmp_path, block("vgg16", "learned", whitening_set=name), state, {"Lw": learned})
        with torch.inference_mode():
            found = network.describe(image)[0].numpy()
        expected = plain_gem.describe(features, state, image.double(), [1], learned[name])
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_training_set_that_is_not_there(tmp_path):
    named, state = block("vgg16", "learned", whitening_set="sfm-of-mine"), weights("vgg16", "learned")
    message = r"gem\.pth.*another-set, retrieval-SfM-120k.*not of sfm-of-mine.*whitening_set"
    with pytest.raises(DataError, match=message):
        converted(tmp_path, named, state, {"Lw": whitenings(512)})


@pytest.mark.parametrize(("kind", "scales"), [("ss", [1.0, 0.5]), ("ms", [1.0])])
def test_a_whitening_that_is_not_there_is_not_replaced(kind, scales, tmp_path):
    state = weights("vgg16", "learned")
    network = converted(tmp_path, block("vgg16", "learned"), state, {"Lw": whitenings(512, (kind,))})
    with torch.inference_mode(), pytest.raises(DataError, match="learned whitening has no part for"):
        network.describe(picture(*IMAGES[0]), scales)


def test_a_whitening_of_other_dimensions(tmp_path):
    with pytest.raises(DataError, match=r"'ss' has shapes \(60, 1\) and \(64, 60\), the network gives 512"):
        converted(tmp_path, block("vgg16", "learned"), weights("vgg16", "learned"), {"Lw": whitenings(60)})
