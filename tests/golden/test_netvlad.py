"""NetVLAD against what the originals gave: keys, layer, whole networks, clusters and their initialisation, PCA."""

import json
import re

import numpy as np
import pytest
import standin
import torch
from benchmarks.plain import netvlad as plain_netvlad
from goldens import golden_cases, golden_files

from descbench.features.images import to_tensor
from descbench.models.folding import prepare_for_inference
from descbench.models.levels import IMAGENET_MEAN, IMAGENET_STD
from descbench.models.netvlad import NetVladNet, NetVladPooling
from descbench.models.netvlad_init import assignment_by_angle, assignment_by_distance, initialise_pooling
from descbench.neighbours.kmeans import kmeans
from descbench.training.clusters import draw_images, sample_descriptors, visiting_order
from descbench.training.pca import learn_pca

NAME = re.compile(r"(vgg16|alexnet)_(netvlad|max|avg)(_vladv2)?")


def cases(pattern, system="netvlad"):
    return [pytest.param(path, id=path.stem) for path in golden_files(system, pattern)]


def read(path):
    return json.loads(path.read_text())


def standin_s(network, conv_scale=None):
    """Stand-in weights, scaled so that images differ (docs/protocols/netvlad.md, What was checked)."""
    for key, tensor in standin.fill_(network.state_dict()).items():
        if key.startswith("encoder."):
            tensor *= 2**0.5 if key.endswith("weight") else 0.1
        elif key == "pool.conv.weight" and conv_scale is not None:
            tensor *= conv_scale
    return network.eval()


def picture(seed, height, width):
    return to_tensor(standin.image(int(seed), int(height), int(width)), IMAGENET_MEAN, IMAGENET_STD)[None]


@pytest.mark.parametrize("path", cases("state_dict*.json"))
def test_state_dict(path):
    golden = read(path)
    for name, entry in golden.items():
        if match := NAME.fullmatch(name):
            with torch.device("meta"):
                clusters = entry["keys"].get("pool.centroids", [64])[0]
                network = NetVladNet(match[1], match[2], clusters, bias=match[3] is not None)
            assert {key: list(t.shape) for key, t in network.state_dict().items()} == entry["keys"]
            assert list(network.state_dict()) == list(entry["keys"])
            assert list(network.trained_parameters("conv5")) == entry["optimizer_param_order"]
            assert all(p is network.get_parameter(k) for k, p in network.trained_parameters("conv5").items())
            if name.endswith("netvlad"):
                assert list(network.trained_parameters("conv1")) == golden[f"{match[1]}_fromscratch_trainable"]
        elif name.endswith("_cluster"):
            layers = list(map(str, NetVladNet(name.removesuffix("_cluster"), "max").encoder))
            assert layers == entry["children"][:-1]
        else:
            assert name.endswith("_fromscratch_trainable"), f"nothing here compares {name}"


def layer_cases():
    return [
        pytest.param(path, version, id=f"{path.stem}-{version}")
        for path, version in golden_cases(
            "netvlad", "netvlad_layer*.npz", lambda path: [v for v in ("v1", "v2") if f"{v}_out" in np.load(path)]
        )
    ]


def initialised(golden, version):
    """The layer of a golden, and its alpha."""
    clusters, descriptors = golden["clusters"], golden["traindescs"]
    layer = NetVladPooling(*clusters.shape, bias=version == "v2")
    return layer, initialise_pooling(layer, clusters, descriptors, "pytorch")


@pytest.mark.parametrize(("path", "version"), layer_cases())
def test_layer(path, version):
    golden = np.load(path)
    layer, alpha = initialised(golden, version)
    assert alpha == pytest.approx(float(golden[f"{version}_alpha"]), rel=1e-6)
    np.testing.assert_allclose(layer.conv.weight.detach(), golden[f"{version}_conv_weight"], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(layer.centroids.detach(), golden[f"{version}_centroids"])
    if version == "v2":
        np.testing.assert_allclose(layer.conv.bias.detach(), golden["v2_conv_bias"], rtol=1e-6)
    x = torch.from_numpy(golden["x"]).requires_grad_()
    shares = layer.assign(torch.nn.functional.normalize(x)).detach()
    np.testing.assert_allclose(shares, golden[f"{version}_soft_assign"], atol=1e-5)
    out = layer(x)
    np.testing.assert_allclose(out.detach(), golden[f"{version}_out"], atol=1e-5)
    out.backward(torch.from_numpy(golden["grad_out"]))
    gradients = {"x": x.grad, "centroids": layer.centroids.grad, "conv_weight": layer.conv.weight.grad}
    if version == "v2":
        gradients["conv_bias"] = layer.conv.bias.grad
    for name, gradient in gradients.items():
        # Relative too: an all-zero location has gradients of 1e11, its descriptor being divided by 1e-12.
        np.testing.assert_allclose(gradient, golden[f"{version}_grad_{name}"], atol=1e-4, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("path", "version"), layer_cases())
def test_layer_of_raw_descriptors(path, version):
    golden = np.load(path)
    layer, _ = initialised(golden, version)
    layer.normalise_input = False
    compared = "v1_nonorm_out" if version == "v1" else "v2_alpha_paper"
    if compared not in golden:
        pytest.skip(f"{path.name} has no {compared}; nothing to compare")
    if version == "v1":
        found = layer(torch.from_numpy(golden["x"])).detach()
        np.testing.assert_allclose(found, golden["v1_nonorm_out"], atol=1e-5)
    else:
        paper = assignment_by_distance(golden["clusters"], golden["traindescs"])
        assert paper.alpha == pytest.approx(float(golden["v2_alpha_paper"]), rel=1e-6)


@pytest.mark.parametrize("path", cases("netvlad_layer_full*.npz"))
def test_full_layer(path):
    golden = np.load(path)
    k, d, height, width, n, count = golden["dims"].tolist()
    r = np.random.RandomState(int(golden["seed"]))
    clusters = (r.standard_normal((k, d)) * 0.03).astype(np.float32)
    descriptors = r.standard_normal((count, d)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    x = r.standard_normal((n, d, height, width)).astype(np.float32)
    layer = NetVladPooling(k, d)
    assert initialise_pooling(layer, clusters, descriptors) == pytest.approx(float(golden["alpha"]), rel=1e-5)
    weight = assignment_by_angle(clusters, descriptors).weight
    np.testing.assert_allclose(weight[:2], golden["conv_weight_head"].reshape(2, d), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), golden["out"], atol=1e-5)


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
@pytest.mark.parametrize("path", cases("descriptor_*.npz"))
@torch.inference_mode()
def test_descriptors(path, prepared):
    golden = np.load(path)
    backbone = path.stem.split("_")[1]
    poolings = [name for name in ("netvlad", "max", "avg") if any(key.startswith(f"{name}_") for key in golden)]
    assert poolings
    for pooling in poolings:
        network = NetVladNet(backbone, pooling, int(golden["K"]), bias="vladv2" in path.stem)
        standin_s(network, float(golden["conv_scale"]))
        if prepared:
            prepare_for_inference(network)
        for seed, height, width in golden["cases"].tolist():
            tag = f"{seed}_{height}x{width}"
            image = picture(seed, height, width)
            np.testing.assert_allclose(image.mean((0, 2, 3)), golden[f"input_mean_{tag}"], atol=1e-5)
            found = network.encoder(image)
            assert list(found.shape) == golden[f"map_shape_{tag}"].tolist()
            np.testing.assert_allclose(found[0, :8], golden[f"map_head_{tag}"], atol=2e-4)
            moments = [float(f(found)) for f in (torch.mean, torch.std, torch.min, torch.max)]
            np.testing.assert_allclose(moments, golden[f"map_{tag}"], atol=2e-4)
            np.testing.assert_allclose(network.describe(image)[0], golden[f"{pooling}_{tag}"], atol=1e-5)


@pytest.mark.parametrize("path", cases("cluster_image_choice*.json"))
def test_image_choice(path):
    golden = read(path)
    for draw in golden["draws"]:
        chosen = draw_images(np.random.RandomState(golden["seed"]), draw["n"], len(draw["sorted"]))
        assert chosen[:20].tolist() == draw["first20"]
        assert sorted(chosen.tolist()) == draw["sorted"]
        assert sorted(visiting_order(chosen, golden["seed"])) == draw["sorted"]


def test_visiting_order_follows_its_seed():
    images = np.arange(50)
    orders = [visiting_order(images, seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("path", cases("kmeans*.npz"))
def test_kmeans(path):
    golden = np.load(path)
    n, d, k = (int(golden[key]) for key in ("n", "d", "k"))
    settings = json.loads(str(golden["cp"]))
    others = {"nredo": 1, "spherical": False, "max_points_per_centroid": 256}
    if any(settings.get(key, usual) != usual for key, usual in others.items()):
        pytest.skip(f"{path.name} was made with other settings of faiss than NetVLAD's, {others}")
    r = np.random.RandomState(int(golden["seed"]))
    c = r.standard_normal((k, d)) * 2
    x = (c[r.randint(0, k, n)] + r.standard_normal((n, d)) * 0.7).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = kmeans(x, k, iterations=settings["niter"], seed=settings["seed"])
    np.testing.assert_allclose(found, golden["centroids"], atol=1e-4)
    distances = ((x[:, None] - found) ** 2).sum(2)
    np.testing.assert_array_equal(np.bincount(distances.argmin(1), minlength=k), golden["counts"])
    assert distances.min(1).mean() == pytest.approx(float(golden["mean_sqdist_all"]), rel=1e-4)


@pytest.fixture(scope="module", params=cases("cluster_stage*.npz"))
def cluster_stage(request):
    """The golden, and our descriptors of the same images in the same order of visits."""
    golden = np.load(request.param)
    said = {key: golden[key].item() for key in golden if golden[key].ndim == 0 and golden[key].dtype.kind in "iuf"}
    # What a file does not say is as in the file at hand.
    generator = np.random.RandomState(said.get("seed", 123))
    chosen = draw_images(generator, said.get("n_images", 520), len(golden["image_choice"]))
    np.testing.assert_array_equal(chosen, golden["image_choice"])
    network = standin_s(NetVladNet("alexnet", clusters=len(golden["centroids"])))
    visits = golden["visit_order"].tolist()
    height, width = golden["image_hw"].tolist() if "image_hw" in golden else (176, 184)
    images = (picture(said.get("image_seed0", 20000) + i, height, width) for i in visits)
    found = sample_descriptors(network, images, [str(i) for i in visits], golden["locations"].shape[1], generator)
    return golden, found


def test_sampled_descriptors(cluster_stage):
    """Locations are not handed over: the generator draws them as the original's did."""
    golden, found = cluster_stage
    assert {"descriptors": [list(found.shape), "float32", None, None]}.items() <= read_layout(golden).items()
    np.testing.assert_allclose(found[: golden["locations"].shape[1]], golden["desc_first_image"], atol=1e-5)
    np.testing.assert_allclose(found.sum(1), golden["desc_rowsum"], atol=1e-5)
    np.testing.assert_allclose(found.mean(0), golden["desc_mean"], atol=1e-5)


def read_layout(golden):
    return json.loads(str(golden["hdf5"]))


def test_clusters_and_their_layer(cluster_stage):
    golden, found = cluster_stage
    size = len(golden["centroids"])
    centroids = kmeans(found, size, iterations=100, seed=1234)
    assert read_layout(golden)["centroids"] == [list(centroids.shape), str(centroids.dtype), None, None]
    np.testing.assert_allclose(centroids, golden["centroids"], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), golden["centroid_norm"], atol=1e-3)
    assert assignment_by_angle(centroids, found).alpha == pytest.approx(float(golden["alpha"]), rel=1e-3)


@pytest.mark.parametrize("path", cases("wpca*.npz", "vpr_datasets"))
def test_pca(path):
    golden = np.load(path)
    found = learn_pca(golden["x"].copy(), int(golden["num_pcs"]))
    np.testing.assert_allclose(found.values, golden["lams"], rtol=1e-3)
    np.testing.assert_allclose(found.mean, golden["mu"], atol=1e-5)
    signs = np.sign((found.weight * golden["weight_T"]).sum(1))
    scale = np.abs(golden["weight_T"]).max()
    np.testing.assert_allclose(found.weight * signs[:, None], golden["weight_T"], atol=5e-3 * scale)
    np.testing.assert_allclose(found.bias * signs, golden["bias"], atol=1e-3)
    out = golden["test_in"] @ found.weight.T + found.bias
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    np.testing.assert_allclose(out * signs, golden["test_out"], atol=1e-3)
    np.testing.assert_allclose(out @ out.T, golden["test_gram"], atol=1e-3)


@pytest.mark.parametrize("path", cases("descriptor_*.npz"))
def test_plain_definition(path):
    """What the benchmark calls the plain way is the original's too."""
    golden = np.load(path)
    backbone = path.stem.split("_")[1]
    network = standin_s(
        NetVladNet(backbone, clusters=int(golden["K"]), bias="vladv2" in path.stem), float(golden["conv_scale"])
    )
    plain = plain_netvlad.PlainNetVlad(network.state_dict(), backbone)
    for seed, height, width in golden["cases"].tolist():
        found = plain_netvlad.describe(plain, picture(seed, height, width))
        np.testing.assert_allclose(found[0], golden[f"netvlad_{seed}_{height}x{width}"], atol=1e-5)
