"""Files of NetVLAD: those that others published, their way onto our keys, and what is refused."""

import json

import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F

from descbench.config.networks import NetVladModel
from descbench.config.training import NetVladTraining
from descbench.errors import DataError
from descbench.features.images import to_tensor
from descbench.models.checkpoints import build_network, convert_checkpoint, load_network
from descbench.models.levels import IMAGENET_MEAN
from descbench.models.netvlad_files import RunState, model_of_run, read_netvlad_file, write_run

OFFICIAL = {"source": "official", "file": "netvlad.pth.tar"}
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
K = 3


def netvlad(**changes):
    small = {"backbone": "alexnet", "clusters": K}
    return NetVladModel.model_validate({"architecture": "netvlad", "weights": OFFICIAL, **small, **changes})


def drawn_state(model, seed=1):
    torch.manual_seed(seed)
    return build_network(model).state_dict()


def image(side=48):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def convert(tmp_path, weights, model):
    convert_checkpoint(model, weights, tmp_path / "ours.pt")
    return load_network(tmp_path / "ours.pt", model)


def saved(tmp_path, content):
    torch.save(content, tmp_path / "netvlad.pth.tar")
    return tmp_path / "netvlad.pth.tar"


def run_state(model, epoch, seed):
    return RunState(epoch, drawn_state(model, seed), {1: 0.5, 5: 0.25 * epoch}, 0.5, {"state": {}})


@pytest.mark.parametrize("changes", [{}, {"bias": True}, {"pooling": "max"}, {"pooling": "avg"}])
def test_runs_go_there_and_back(tmp_path, changes):
    """Best and latest, bias (vladv2) from the flags, and the network that comes of it."""
    model = netvlad(**changes)
    latest, best = run_state(model, 4, 1), run_state(model, 2, 2)
    training = NetVladTraining(recipe="netvlad", dataset="d", learning_rate=1e-3, optimiser="adam", epochs=7)
    write_run(tmp_path / "run", model, latest, best, training)
    assert model_of_run(tmp_path / "run", OFFICIAL) == (model if model.pooling == "netvlad" else netvlad_default(model))
    flags = json.loads((tmp_path / "run/checkpoints/flags.json").read_text())
    assert (flags["arch"], flags["lr"], flags["optim"], flags["nEpochs"]) == ("alexnet", 1e-3, "ADAM", 7)
    assert (flags["vladv2"], flags["num_clusters"]) == (model.bias, K)
    checkpoints = tmp_path / "run/checkpoints"
    for place, expected in (
        (tmp_path / "run", best),
        (checkpoints, best),
        (checkpoints / "model_best.pth.tar", best),
        (checkpoints / "checkpoint.pth.tar", latest),
    ):
        found = convert(tmp_path, place, model).state_dict()
        assert all(torch.equal(found[key], value) for key, value in expected.state_dict.items())
    content = torch.load(checkpoints / "checkpoint.pth.tar", weights_only=True)
    assert list(content) == ["epoch", "state_dict", "recalls", "best_score", "optimizer", "parallel"]
    assert (content["epoch"], content["recalls"], content["best_score"]) == (4, {1: 0.5, 5: 1.0}, 0.5)
    assert content["parallel"] is False


def netvlad_default(model):
    """Of a run without clusters their number is not read."""
    return model.model_copy(update={"clusters": 64})


def test_a_run_without_a_best_epoch_has_the_latest(tmp_path):
    write_run(tmp_path, netvlad(), run_state(netvlad(), 1, 1))
    (best, latest) = ((tmp_path / f"checkpoints/{n}.pth.tar") for n in ("model_best", "checkpoint"))
    found = [read_netvlad_file(netvlad(), path).state["pool.centroids"] for path in (best, latest)]
    assert torch.equal(*found)
    best.unlink()
    assert read_netvlad_file(netvlad(), tmp_path).file == latest
    latest.unlink()
    with pytest.raises(DataError, match=r"no model_best\.pth\.tar and no checkpoint\.pth\.tar in this folder"):
        read_netvlad_file(netvlad(), tmp_path)


def test_a_run_has_no_whitening(tmp_path):
    with pytest.raises(ValueError, match="knows no whitening"):
        write_run(tmp_path, netvlad(whitening=2), run_state(netvlad(), 1, 1))


@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
def test_weights_of_several_gpus(tmp_path, prefix):
    state = drawn_state(netvlad(bias=True))
    wrapped = {prefix + key.replace(".", ".module.", 1): value for key, value in state.items()}
    assert f"{prefix}encoder.module.0.weight" in wrapped
    network = convert(tmp_path, saved(tmp_path, {"state_dict": wrapped, "parallel": True}), netvlad(bias=True))
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert network.mean == pytest.approx(IMAGENET_MEAN)


def test_flags_beside_a_linked_file_are_compared(tmp_path):
    write_run(tmp_path / "run", netvlad(), run_state(netvlad(), 1, 1))
    link = tmp_path / "raw.pth.tar"
    link.symlink_to(tmp_path / "run/checkpoints/model_best.pth.tar")
    assert convert(tmp_path, link, netvlad()).dim == K * 256
    with pytest.raises(DataError, match=r"flags\.json: backbone is alexnet there, the configuration says vgg16"):
        convert(tmp_path, link, netvlad(backbone="vgg16"))
    with pytest.raises(DataError, match=r"flags\.json: pooling is netvlad there, the configuration says max"):
        convert(tmp_path, link, netvlad(pooling="max"))
    with pytest.raises(DataError, match=r"flags\.json: bias is False there, the configuration says True"):
        convert(tmp_path, link, netvlad(bias=True))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"arch": "vgg16", "pooling": "netvlad", "num_clusters": "many"}'])
def test_bad_flags(tmp_path, content):
    write_run(tmp_path, netvlad(), run_state(netvlad(), 1, 1))
    (tmp_path / "checkpoints/flags.json").write_text(content)
    with pytest.raises(DataError, match=r"flags\.json: not the options of a run of pytorch-NetVlad"):
        read_netvlad_file(netvlad(), tmp_path)
    (tmp_path / "checkpoints/flags.json").unlink()
    assert read_netvlad_file(netvlad(), tmp_path).file.name == "model_best.pth.tar"
    with pytest.raises(DataError, match=r"flags\.json: is missing"):
        model_of_run(tmp_path, OFFICIAL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clusters": 4}, "clusters is 3 there, the configuration says 4; correct the model block"),
        ({"bias": True}, "bias is False there, the configuration says True"),
        ({"whitening": 8}, "whitening is None there, the configuration says 8"),
        ({"pooling": "avg"}, "pooling is netvlad there, the configuration says avg"),
        ({"backbone": "vgg16"}, r"key 'encoder\.0\.weight' has shape \(64, 3, 11, 11\)"),
    ],
)
def test_checkpoints_of_another_network(tmp_path, changes, message):
    path = saved(tmp_path, {"state_dict": drawn_state(netvlad())})
    with pytest.raises(DataError, match=message):
        convert(tmp_path, path, netvlad(**changes))
    assert not (tmp_path / "ours.pt").exists()


def test_bad_checkpoints(tmp_path):
    state = drawn_state(netvlad())
    with pytest.raises(DataError, match=r"no dictionary of tensors in this checkpoint \(it has epoch\)"):
        convert(tmp_path, saved(tmp_path, {"epoch": 3}), netvlad())
    without = {key: value for key, value in state.items() if key != "pool.centroids"}
    with pytest.raises(DataError, match=r"key 'pool\.centroids' \(3, 256\) is missing"):
        convert(tmp_path, saved(tmp_path, {"state_dict": without}), netvlad())
    with pytest.raises(DataError, match=r"unknown key 'classifier\.weight'"):
        convert(tmp_path, saved(tmp_path, {"state_dict": {**state, "classifier.weight": torch.ones(1)}}), netvlad())
    with pytest.raises(DataError, match=r"nothing\.pth\.tar: no such checkpoint"):
        convert(tmp_path, tmp_path / "nothing.pth.tar", netvlad())
    for content in (b"", b"MATLAB", b"no checkpoint at all"):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(DataError, match=r"bad: .*fetch it again"):
            convert(tmp_path, tmp_path / "bad", netvlad(backbone="vgg16", whitening=2))


def test_whitening_of_patch_netvlad(tmp_path):
    """Its keys, and what it computes: 1x1 convolution of the descriptor, then L2."""
    model, generator = netvlad(whitening=5), torch.Generator().manual_seed(3)
    plain = drawn_state(netvlad())
    weight = torch.randn(5, K * 256, 1, 1, generator=generator)
    bias = torch.randn(5, generator=generator)
    path = saved(tmp_path, {"state_dict": {**plain, "WPCA.0.weight": weight, "WPCA.0.bias": bias}, "num_pcs": 5})
    network, before = convert(tmp_path, path, model), build_network(netvlad())
    before.load_state_dict(plain)
    with torch.inference_mode():
        expected = F.normalize(F.conv2d(before(image())[:, :, None, None], weight, bias).flatten(1))
        torch.testing.assert_close(network.describe(image()), expected)
    assert (network.dim, before.dim) == (5, K * 256)
    with pytest.raises(DataError, match="whitening is 5 there, the configuration says None"):
        convert(tmp_path, path, netvlad())


# --- Matlab ------------------------------------------------------------------------------------

MATLAB = {"backbone": "vgg16", "whitening": 6}
AVERAGE = np.array([123.5, 116.25, 103.0])


@pytest.fixture(scope="module")
def matlab():
    """Arrays of the authors' network as they lie in the .mat, by layer."""
    state = drawn_state(netvlad(backbone="vgg16"))
    rng = np.random.default_rng(0)
    layers = [()] * 35
    for i in CONVOLUTIONS:
        # A larger gain than drawn, or nothing would reach the last layer.
        weight = 2.5 * state[f"encoder.{i}.weight"].numpy().transpose(2, 3, 1, 0)
        layers[i] = (weight, state[f"encoder.{i}.bias"].numpy()[None])
    layers[30] = (8 * rng.standard_normal((512, K)), -rng.standard_normal((512, K)) / 20)
    layers[33] = (rng.standard_normal((1, 1, 512 * K, 6)), rng.standard_normal((1, 6)) / 9)
    return layers


def write_mat(path, layers, average=AVERAGE[None, None], **others):
    cells = np.empty((1, len(layers)), object)
    for i, arrays in enumerate(layers):
        weights = np.empty((1, len(arrays)), object)
        for j, array in enumerate(arrays):
            weights[0, j] = np.asarray(array, np.float32)
        cells[0, i] = {"type": "layer", **({"weights": weights} if i % 2 or arrays else {})}
    net = {"layers": cells, "meta": {"normalization": {"averageImage": average}}, **others}
    scipy.io.savemat(path, {"net": net})
    return path


def plain_matlab(layers, pixels):
    """The authors' network as they wrote it, values of (d, k) at d * K + k."""
    x = torch.from_numpy((pixels - AVERAGE).astype(np.float32)).permute(2, 0, 1)[None]
    pools = (4, 9, 16, 23)
    for i in range(29):
        if i in pools:
            x = F.max_pool2d(x, 2)
        elif i in CONVOLUTIONS:
            weight = torch.from_numpy(layers[i][0].transpose(3, 2, 0, 1).copy())
            x = F.conv2d(x, weight, torch.from_numpy(layers[i][1][0]), padding=1)
        else:
            x = F.relu(x)
    x = F.normalize(x)[0].flatten(1).numpy().astype(float)
    assignment, minus_centres = layers[30]
    scores = assignment.T @ x
    shares = np.exp(scores - scores.max(0)) / np.exp(scores - scores.max(0)).sum(0)
    vlad = np.stack([(shares[k] * (x + minus_centres[:, [k]])).sum(1) for k in range(K)], 1)
    vlad /= np.linalg.norm(vlad, axis=0)
    flat = vlad.ravel() / np.linalg.norm(vlad)
    out = flat @ layers[33][0][0, 0] + layers[33][1][0]
    return out / np.linalg.norm(out)


@pytest.mark.parametrize("average", [AVERAGE, AVERAGE[None, None], np.broadcast_to(AVERAGE, (7, 5, 3))])
def test_matlab(tmp_path, matlab, average):
    network = convert(tmp_path, write_mat(tmp_path / "net.mat", matlab, average), netvlad(**MATLAB))
    assert network.mean == pytest.approx(AVERAGE / 255)
    assert network.std == pytest.approx([1 / 255] * 3)
    pixels = np.random.default_rng(1).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    with torch.inference_mode():
        found = network.describe(to_tensor(pixels, network.mean, network.std)[None])[0]
    expected = plain_matlab(matlab, pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    wrong = np.linalg.norm(expected - plain_matlab(matlab, pixels[:, ::-1]))
    assert wrong > 0.01, "the comparison would not notice another picture"


def test_matlab_of_another_network(tmp_path, matlab):
    path = write_mat(tmp_path / "net.mat", matlab)
    for changes, message in (
        ({"clusters": 5}, "clusters is 3 there, the configuration says 5"),
        ({"whitening": None}, "whitening is 6 there, the configuration says None"),
        ({"backbone": "alexnet"}, "backbone is vgg16 there, the configuration says alexnet"),
        ({"bias": True}, "bias is False there"),
    ):
        with pytest.raises(DataError, match=message):
            read_netvlad_file(netvlad(**{**MATLAB, **changes}), path)
    unwhitened = write_mat(tmp_path / "short.mat", matlab[:33])
    assert "WPCA.0.weight" not in read_netvlad_file(netvlad(backbone="vgg16"), unwhitened).state


def test_bad_matlab(tmp_path, matlab):
    model = netvlad(**MATLAB)

    def refusal(**changes):
        layers = list(matlab)
        for key, value in changes.items():
            layers[int(key.removeprefix("layer"))] = value
        with pytest.raises(DataError) as caught:
            read_netvlad_file(model, write_mat(tmp_path / "bad.mat", layers))
        return str(caught.value)

    assert "not the network of NetVLAD's authors" in refusal(layer30=())
    assert "layer 5 has weights of shape (3, 4)" in refusal(layer5=(np.ones((3, 4)), np.ones((1, 4))))
    assert "not D x K both" in refusal(layer30=(np.ones((512, K)), np.ones((512, K + 1))))
    assert "whitening of shape (7, 6), not 1 x 1 x 1536 x dimensions" in refusal(layer33=(np.ones((7, 6)), np.ones(6)))
    with pytest.raises(DataError, match="averageImage has shape"):
        read_netvlad_file(model, write_mat(tmp_path / "bad.mat", matlab, np.ones((4, 4))))
    scipy.io.savemat(tmp_path / "bad.mat", {"other": 1})
    with pytest.raises(DataError, match="no variable 'net' in it"):
        read_netvlad_file(model, tmp_path / "bad.mat")


def test_damaged_matlab(tmp_path, matlab):
    content = write_mat(tmp_path / "net.mat", [layer if len(layer) < 1 else () for layer in matlab]).read_bytes()
    rng = np.random.default_rng(0)
    for length in (6, 100, 127, 128, 130, 200, len(content) // 2, len(content) - 9):
        (tmp_path / "cut.mat").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut\.mat"):
            read_netvlad_file(netvlad(**MATLAB), tmp_path / "cut.mat")
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(6, len(content), 4):
            damaged[place] = rng.integers(256)
        (tmp_path / "cut.mat").write_bytes(damaged)
        with pytest.raises(DataError, match=r"cut\.mat"):
            read_netvlad_file(netvlad(**MATLAB), tmp_path / "cut.mat")


# --- ImageNet and random weights ----------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_imagenet_weights(tmp_path, backbone):
    """The convolutions of torchvision's file; its classifier is left out, the pooling drawn."""
    model = netvlad(backbone=backbone, weights={"source": "imagenet", "file": "f.pth"})
    expected = {k: v for k, v in drawn_state(model).items() if k.startswith("encoder.")}
    content = {key.replace("encoder.", "features."): value for key, value in expected.items()}
    torch.save({**content, "classifier.6.bias": torch.ones(1000)}, tmp_path / "f.pth")
    network = convert(tmp_path, tmp_path / "f.pth", model)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in expected.items())
    del content["features.0.bias"]
    torch.save(content, tmp_path / "f.pth")
    with pytest.raises(DataError, match=r"key 'encoder\.0\.bias' \(64,\) is missing"):
        convert(tmp_path, tmp_path / "f.pth", model)


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_drawn_networks_tell_images_apart(tmp_path, backbone):
    """Other images have other descriptors, the same one a little shifted has nearly the same."""
    model = netvlad(backbone=backbone, weights={"source": "random", "seed": 0}, clusters=8)
    network = convert(tmp_path, None, model)
    noise = torch.randn(4, 3, 12, 15, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(noise, (120, 150), mode="bicubic")
    with torch.inference_mode():
        found = network(torch.cat((images, images.roll(2, -1))))
    products = (found @ found.T).numpy()
    others = products[:4, :4][~np.eye(4, dtype=bool)]
    assert others.max() < 0.7
    assert products[:4, 4:].diagonal().min() > others.max() + 0.1
