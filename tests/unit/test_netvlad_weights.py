"""NetVLAD's network and the stages that make its weights: initialisation, clusters, PCA-whitening."""

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from descbench.config.networks import NetVladModel
from descbench.config.weights import RandomWeights
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import DataError, StaleFileError
from descbench.features.images import load_image, to_tensor
from descbench.models.checkpoints import checkpoint_digest, convert_checkpoint, load_network
from descbench.models.levels import ImageTooSmallError
from descbench.models.netvlad import NetVladNet, NetVladPooling
from descbench.models.netvlad_init import assignment_by_angle, assignment_by_distance
from descbench.training.clusters import cluster_descriptors, initialise_checkpoint
from descbench.training.pca import learn_pca, pca_checkpoint

CLUSTERED = {"source": "clustered", "start": "s", "dataset": "d", "images": 6, "descriptors": 9, "iterations": 5}
PCA = {"source": "pca", "start": "s", "dataset": "d", "images": 12}


def model(weights, **changes):
    small = {"backbone": "alexnet", "clusters": 4}
    return NetVladModel.model_validate({"architecture": "netvlad", "weights": weights, **small, **changes})


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Fourteen images of different sizes and their manifest."""
    folder, rng = tmp_path_factory.mktemp("town"), np.random.default_rng(0)
    names = [f"{i}.png" for i in range(14)]
    for i, name in enumerate(names):
        coarse = rng.integers(0, 255, (9, 12, 3), np.uint8)
        Image.fromarray(coarse).resize((100 + i, 84), Image.Resampling.BICUBIC).save(folder / name)
    write_manifest(Manifest(tuple(rows_of("database", names))), folder / "town.csv")
    return folder


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """Drawn checkpoint of a model, made when first asked for."""
    folder = tmp_path_factory.mktemp("starts")

    def get(**changes):
        drawn = model(RandomWeights(source="random", seed=0), **changes)
        path = folder / f"{hash(tuple(sorted(changes.items())))}.pt"
        if not path.exists():
            convert_checkpoint(drawn, None, path)
        return path

    return get


def plain_descriptors(start, block, town, i):
    """(h*w, 256) local descriptors of unit length of one image."""
    network = load_network(start, block)
    pixels = load_image(town / f"{i}.png", 640).pixels
    with torch.inference_mode():
        found = network.encoder(to_tensor(pixels, network.mean, network.std)[None])[0].flatten(1).T.numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


# --- network -----------------------------------------------------------------------------------


def test_layer_is_the_sum_over_clusters():
    torch.manual_seed(0)
    layer, x = NetVladPooling(5, 7, bias=True), torch.randn(2, 7, 3, 4)
    unit = x / x.norm(dim=1, keepdim=True)
    shares = layer.assign(unit)
    rows = []
    for k in range(5):
        difference = unit.flatten(2) - layer.centroids[k][None, :, None]
        v = (shares[:, k, None] * difference).sum(2)
        rows.append(v / v.norm(dim=1, keepdim=True))
    flat = torch.cat(rows, 1)
    torch.testing.assert_close(layer(x), flat / flat.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("backbone", "first", "encoder"),
    [
        ("vgg16", "pool", ()),
        ("vgg16", "conv5", (24, 26, 28)),
        ("vgg16", "conv4", (17, 19, 21, 24, 26, 28)),
        ("vgg16", "conv2", (5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        ("alexnet", "conv4", (8, 10)),
        ("alexnet", "conv2", (3, 6, 8, 10)),
        ("alexnet", "conv1", (0, 3, 6, 8, 10)),
    ],
)
def test_what_trains(backbone, first, encoder):
    """Blocks as in Table 1 of the paper; never the whitening."""
    with torch.device("meta"):
        network = NetVladNet(backbone, clusters=2, bias=True, whitening=3)
    wanted = [f"encoder.{i}.{kind}" for i in encoder for kind in ("weight", "bias")]
    pool = ["pool.centroids", "pool.conv.weight", "pool.conv.bias"]
    assert list(network.trained_parameters(first)) == [*wanted, *pool]


@torch.inference_mode()
def test_a_pyramid_is_the_mean_of_its_levels(starts):
    network = load_network(starts(), model({"source": "random"}))
    picture = torch.randn(1, 3, 120, 100, generator=torch.Generator().manual_seed(0))
    half = F.interpolate(picture, scale_factor=0.5, mode="bilinear", align_corners=False)
    expected = F.normalize(network(picture) + network(half))
    torch.testing.assert_close(network.describe(picture, [1.0, 0.5]), expected)
    assert torch.equal(network.describe(picture), network(picture))
    assert network(picture).norm().item() == pytest.approx(1)
    with pytest.raises(ImageTooSmallError, match="network needs 31"):
        network.describe(picture[:, :, :30])


# --- initialisation ----------------------------------------------------------------------------


def unit_rows(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_initialisation_gives_the_second_cluster_a_hundredth():
    """By both rules: where the gap is the mean one, the shares of the two nearest are as 100 to 1."""
    rng = np.random.default_rng(0)
    clusters, descriptors = rng.standard_normal((6, 8)).astype(np.float32), unit_rows(rng, 9000, 8)
    angle = assignment_by_angle(clusters, descriptors)
    cosines = np.sort(descriptors @ (clusters / np.linalg.norm(clusters, axis=1, keepdims=True)).T, 1)
    assert np.exp(-angle.alpha * (cosines[:, -1] - cosines[:, -2]).mean()) == pytest.approx(0.01, rel=1e-4)
    assert angle.bias is None
    distance = assignment_by_distance(clusters, descriptors)
    squares = ((descriptors[:, None] - clusters) ** 2).sum(2)
    gaps = np.diff(np.sort(squares, 1)[:, :2])
    assert np.exp(-distance.alpha * gaps.mean()) == pytest.approx(0.01, rel=1e-4)
    # Scores are -alpha * squared distance, but for what all clusters share.
    scores = descriptors @ distance.weight.T + distance.bias + distance.alpha * squares
    np.testing.assert_allclose(scores - scores[:, :1], 0, atol=1e-3)


def test_the_slips_of_pytorch_netvlad():
    rng = np.random.default_rng(1)
    clusters, descriptors = unit_rows(rng, 3, 5) * 0.5, unit_rows(rng, 40, 5)
    found = assignment_by_distance(clusters, descriptors, "pytorch")
    nearest = np.argsort(((clusters[:, None] - descriptors) ** 2).sum(2), 1)[:, :2]
    alpha = -np.log(0.01) / np.mean(nearest[:, 1] ** 2 - nearest[:, 0] ** 2)
    assert found.alpha == pytest.approx(alpha)
    np.testing.assert_allclose(found.bias, -alpha * 0.5, rtol=1e-5)
    assert found.alpha != pytest.approx(assignment_by_distance(clusters, descriptors).alpha, rel=0.1)


# --- clusters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
def test_clusters_and_their_checkpoint(tmp_path, town, starts, bias):
    block, start = model(CLUSTERED, bias=bias), starts(bias=bias)
    for name, workers in (("one.h5", 0), ("two.h5", 2)):
        cluster_descriptors(start, town / "town.csv", town, block, tmp_path / name, device="cpu", workers=workers)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        assert (file["descriptors"].shape, file["centroids"].shape) == ((54, 256), (4, 256))
        descriptors, centroids = file["descriptors"][:], file["centroids"][:]
        assert file.attrs["checkpoint"].decode() == checkpoint_digest(start)
    # Nine rows of each image that the generator draws, all of them from that image.
    chosen = np.random.RandomState(123).choice(14, 6, replace=False)
    found = set()
    for part in descriptors.reshape(6, 9, 256):
        (source,) = [i for i in chosen if (part @ plain_descriptors(start, block, town, i).T).max(1).min() > 1 - 1e-5]
        found.add(int(source))
    assert found == set(chosen.tolist())
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    initialise_checkpoint(start, tmp_path / "one.h5", block, tmp_path / "out.pt")
    before, after = load_network(start, block).state_dict(), load_network(tmp_path / "out.pt", block).state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if key.startswith("pool.")}
    np.testing.assert_array_equal(after["pool.centroids"], centroids)
    rule = assignment_by_distance if bias else assignment_by_angle
    np.testing.assert_allclose(after["pool.conv.weight"][:, :, 0, 0], rule(centroids, descriptors).weight)


def test_another_seed_draws_others(tmp_path, town, starts):
    drawn = []
    for seed in (1, 2):
        block = model({**CLUSTERED, "seed": seed})
        cluster_descriptors(starts(), town / "town.csv", town, block, tmp_path / "c.h5", device="cpu", workers=0)
        with h5py.File(tmp_path / "c.h5") as file:
            drawn.append(file["descriptors"][:])
    assert not np.array_equal(*drawn)


def test_clusters_of_other_weights_or_settings(tmp_path, town, starts):
    block = model(CLUSTERED)
    cluster_descriptors(starts(), town / "town.csv", town, block, tmp_path / "c.h5", device="cpu", workers=0)
    with pytest.raises(StaleFileError, match=r"c\.h5: made with another weights"):
        initialise_checkpoint(starts(bias=True), tmp_path / "c.h5", model(CLUSTERED, bias=True), tmp_path / "o.pt")
    with pytest.raises(StaleFileError, match=r"c\.h5: made with another settings"):
        initialise_checkpoint(starts(), tmp_path / "c.h5", model({**CLUSTERED, "seed": 5}), tmp_path / "o.pt")
    with pytest.raises(DataError, match="carries no checksum"):
        initialise_checkpoint(starts(), town / "0.png", block, tmp_path / "o.pt")
    assert not (tmp_path / "o.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 15}, r"14 database images, of which 15 cannot be drawn; lower `images`"),
        ({"descriptors": 200}, r"\d+\.png: its map has \d\d locations, of which 200 cannot be drawn"),
        ({"image_size": 24}, r"\d+\.png: its map has 0 locations"),
        ({"images": 1, "descriptors": 3}, r"3 descriptors are too few for 4 clusters"),
        ({"role": "train"}, r"0 of 0 train images"),
    ],
)
def test_too_little_to_cluster(tmp_path, town, starts, changes, message):
    block = model(CLUSTERED)
    block = block.model_copy(update={"weights": block.weights.model_copy(update=changes)})
    with pytest.raises(DataError, match=message):
        cluster_descriptors(starts(), town / "town.csv", town, block, tmp_path / "c.h5", device="cpu", workers=0)
    assert not (tmp_path / "c.h5").exists()


# --- PCA-whitening -----------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["netvlad", "max"])
def test_pca_checkpoint(tmp_path, town, starts, pooling):
    """Projections of the images that it was learned from have no mean, unit variance, and no correlation."""
    block, plain = model(PCA, pooling=pooling, whitening=5), model({"source": "random"}, pooling=pooling)
    start = starts(pooling=pooling)
    pca_checkpoint(start, town / "town.csv", town, block, tmp_path / "out.pt", device="cpu", workers=0)
    before, after = load_network(start, plain), load_network(tmp_path / "out.pt", block)
    assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
    assert (after.dim, after.mean) == (5, before.mean)
    found, whitened = [], []
    with torch.inference_mode():
        for i in range(12):
            image = to_tensor(load_image(town / f"{i}.png", 640).pixels, before.mean, before.std)[None]
            found.append(before.describe(image)[0].numpy())
            whitened.append(after.describe(image)[0].numpy())
    (convolution,) = after.WPCA
    projected = found @ convolution.weight.detach().numpy()[:, :, 0, 0].T + convolution.bias.detach().numpy()
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(projected.T), np.eye(5), atol=1e-3)
    np.testing.assert_allclose(whitened, projected / np.linalg.norm(projected, axis=1, keepdims=True), atol=1e-4)


def test_too_few_images_for_a_whitening(tmp_path, town, starts):
    block = model(PCA, whitening=11).model_copy(update={"whitening": 12})
    with pytest.raises(DataError, match=r"12 descriptors of 1024 dimensions are too few for a whitening to 12"):
        pca_checkpoint(starts(), town / "town.csv", town, block, tmp_path / "o.pt", device="cpu")
    with pytest.raises(ValueError, match="no 4 principal ones"):
        learn_pca(np.ones((4, 9), np.float32), 4)


def test_both_ways_to_a_whitening_agree():
    """By covariance, and by products of descriptors: as many of them as dimensions, and one fewer."""
    x = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32) * np.linspace(1, 3, 40, dtype=np.float32)
    covariance, products = learn_pca(x.copy(), 6), learn_pca(np.pad(x, ((0, 0), (0, 1))), 6)
    signs = np.sign((covariance.weight * products.weight[:, :40]).sum(1))[:, None]
    np.testing.assert_allclose(products.weight[:, :40] * signs, covariance.weight, atol=1e-4)
    np.testing.assert_allclose(products.bias * signs[:, 0], covariance.bias, atol=1e-4)
