"""HOW against what the original gave: network, selection, image reading, whitening, loss, mining, training step."""

import functools
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import rounding
import standin
import torch
from benchmarks.plain import how as plain_how
from goldens import golden_files
from PIL import Image

from descbench.features.images import load_image, to_tensor
from descbench.losses.contrastive import contrastive_loss
from descbench.models.architectures.how import upgrade_checkpoint
from descbench.models.folding import prepare_for_inference
from descbench.models.how import HowNet
from descbench.models.levels import IMAGENET_MEAN, IMAGENET_STD
from descbench.models.local import resize, select_local, weighted_sum
from descbench.training.mining import Pairs, mine_tuples
from descbench.training.steps import freeze_batch_norm_statistics, tuple_loss
from descbench.training.whitening import StreamedMoments, pca_whitening, whitening_convolution


def cases(pattern):
    return [pytest.param(path, id=path.stem) for path in golden_files("how", pattern)]


def numbered(data, key):
    """Case numbers i for which ``key_i`` exists."""
    found = sorted(int(m[1]) for name in data.files if (m := re.fullmatch(rf"{key}_(\d+)", name)))
    assert found, f"no {key}_<i> in {data}"
    return found


def network(path, prepared=False) -> HowNet:
    """Stand-in network of the architecture a file is named after: r18, r50- ...; as extraction runs it, if asked."""
    name = re.search(r"_r(\d+)(-*)", path.stem)
    net = HowNet(f"resnet{name[1]}", skip_layer=len(name[2]))
    standin.fill_(net.state_dict())
    return prepare_for_inference(net) if prepared else net.eval()


def picture(seed, height, width) -> torch.Tensor:
    return to_tensor(standin.image(int(seed), int(height), int(width)), IMAGENET_MEAN, IMAGENET_STD)[None]


@pytest.mark.parametrize("path", cases("state_dict_*.json"))
def test_state_dict(path):
    golden = json.loads(path.read_text())
    net = network(path)
    found = [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in net.state_dict().items()]
    assert found == golden["entries"]
    assert {key: net.meta[key] for key in golden["meta"]} == golden["meta"]
    assert sum(p.numel() for p in net.parameters()) == golden["trainable_parameters"]
    groups = net.parameter_groups(1e-6)
    assert [len(group["params"]) for group in groups] == [g["n_tensors"] for g in golden["parameter_groups"]]
    overrides = [None if group["lr"] == 1e-6 else group["lr"] for group in groups]
    assert overrides == [g["lr_override"] for g in golden["parameter_groups"]]
    for key, value in golden["standin_sum"].items():
        assert net.state_dict()[key].double().sum().item() == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
@pytest.mark.parametrize("path", cases("single_scale_*.npz"))
@torch.inference_mode()
def test_single_scale(path, prepared):
    golden, net = np.load(path), network(path, prepared)
    for i in numbered(golden, "seed_h_w"):
        image = picture(*golden[f"seed_h_w_{i}"])
        np.testing.assert_allclose(image[0, :, :4, :4], golden[f"input_corner_{i}"], rtol=1e-6, atol=1e-6)
        features = net.features(image)
        channels = golden[f"channels_{i}"]
        np.testing.assert_allclose(features[0, channels], golden[f"features_{i}"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(features.double().sum().item(), golden[f"features_sum_{i}"], rtol=1e-4)
        smoothed = net.smoothing(features)[0, channels]
        np.testing.assert_allclose(smoothed, golden[f"smoothed_{i}"], rtol=1e-4, atol=1e-4)
        ((reduced, attention),) = net.maps(image, [1.0])
        np.testing.assert_allclose(attention, golden[f"attention_raw_{i}"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(reduced[0], golden[f"reduced_{i}"], rtol=1e-4, atol=2e-4)
        ((_, normalised),) = net.normalised_maps(image, [1.0])
        np.testing.assert_allclose(normalised, golden[f"attention_{i}"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
@pytest.mark.parametrize("path", cases("local_multiscale_*.npz"))
@torch.inference_mode()
def test_local_multiscale(path, prepared):
    golden, net = np.load(path), network(path, prepared)
    scales = golden["scales"].tolist()
    for i in numbered(golden, "seed_h_w_n"):
        *shape, n = golden[f"seed_h_w_n_{i}"].tolist()
        image = picture(*shape)
        sizes = [resize(image, s).shape[-2:] for s in scales]
        np.testing.assert_array_equal(sizes, golden[f"image_sizes_{i}"])
        maps = net.normalised_maps(image, scales)
        np.testing.assert_array_equal([a.shape for _, a in maps], golden[f"map_sizes_{i}"])
        attention = torch.cat([a.flatten() for _, a in maps])
        np.testing.assert_allclose(attention, golden[f"attention_all_{i}"], atol=1e-5, rtol=1e-5)
        compare_selection(net.local(image, scales, n), golden, i, n)


@pytest.mark.parametrize("path", cases("local_multiscale_*.npz"))
def test_plain_definition(path):
    """What the benchmark calls the plain way is the original's too."""
    golden, net = np.load(path), network(path)
    plain = plain_how.PlainHow(net.state_dict(), net.backbone, net.skip_layer)
    for i in numbered(golden, "seed_h_w_n"):
        *shape, n = golden[f"seed_h_w_n_{i}"].tolist()
        found = plain_how.local(plain, picture(*shape), golden["scales"].tolist(), n)
        columns = dict(
            zip(("descriptors", "strengths", "locations", "scales"), map(torch.from_numpy, found), strict=True)
        )
        compare_selection(SimpleNamespace(**columns), golden, i, n)


def compare_selection(found, golden, i, n):
    """Equal after matching on (scale, x, y); cells at the cut may be exchanged within a gap of 1e-5."""
    assert len(found.descriptors) == len(golden[f"vecs_{i}"]) == min(n, len(golden[f"attention_all_{i}"]))
    np.testing.assert_allclose(found.strengths, golden[f"strengths_{i}"], atol=1e-5)
    assert found.scales.dtype == torch.float16
    assert found.locations.dtype == torch.int16
    ours = {key: row for row, key in enumerate(keys(found.scales.numpy(), found.locations.numpy()))}
    theirs = {key: row for row, key in enumerate(keys(golden[f"scales_{i}"], golden[f"locs_{i}"]))}
    weakest = golden[f"strengths_{i}"][-1]
    for key in ours.keys() ^ theirs.keys():
        strength = found.strengths[ours[key]] if key in ours else golden[f"strengths_{i}"][theirs[key]]
        assert abs(float(strength) - weakest) < 1e-5, f"{key} is chosen by one side only"
    common = sorted(ours.keys() & theirs.keys())
    assert len(common) > 0.9 * len(theirs)
    rows = [ours[k] for k in common], [theirs[k] for k in common]
    np.testing.assert_allclose(found.descriptors[rows[0]], golden[f"vecs_{i}"][rows[1]], atol=2e-4, rtol=2e-4)
    np.testing.assert_allclose(found.strengths[rows[0]], golden[f"strengths_{i}"][rows[1]], atol=1e-5)


def keys(scales, locations):
    return [(float(s), int(x), int(y)) for s, (x, y) in zip(scales, locations, strict=True)]


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
@pytest.mark.parametrize("path", cases("global_*.npz"))
@torch.inference_mode()
def test_global(path, prepared):
    golden, net = np.load(path), network(path, prepared)
    for i in numbered(golden, "seed_h_w"):
        image = picture(*golden[f"seed_h_w_{i}"])
        np.testing.assert_allclose(net(image)[0], golden[f"global_ss_{i}"], atol=1e-5)
        np.testing.assert_allclose(
            net.describe(image, golden["scales_ms"].tolist())[0], golden[f"global_ms_{i}"], atol=1e-5
        )


@pytest.mark.parametrize("path", cases("scale_image*.npz"))
def test_scale_image(path):
    golden = np.load(path)
    for i in numbered(golden, "seed_h_w"):
        image = picture(*golden[f"seed_h_w_{i}"])
        scales = [name.rsplit("_", 1)[1] for name in golden.files if name.startswith(f"scaled_{i}_")]
        assert scales
        for scale in scales:
            np.testing.assert_allclose(resize(image, float(scale))[0], golden[f"scaled_{i}_{scale}"], atol=1e-5)


@pytest.mark.parametrize("path", cases("loader*.npz"))
def test_loader(path, tmp_path):
    golden = np.load(path)
    same_pillow = str(golden["pillow"]) == Image.__version__
    for i in numbered(golden, "seed_h_w_imsize"):
        seed, height, width, image_size = golden[f"seed_h_w_imsize_{i}"].tolist()
        Image.fromarray(standin.image(seed, height, width)).save(tmp_path / "image.png")
        box = golden[f"bbx_{i}"].tolist() or None
        found = load_image(tmp_path / "image.png", image_size, box).pixels
        assert found.shape == golden[f"out_{i}"].shape
        difference = np.abs(found.astype(int) - golden[f"out_{i}"].astype(int)).max()
        assert difference <= (0 if same_pillow else 2)


@pytest.mark.parametrize("path", cases("pca_whitening*.npz"))
def test_pca_whitening(path):
    golden = np.load(path)
    for i in numbered(golden, "X"):
        x, dim = golden[f"X_{i}"], int(golden[f"dim_{i}"])
        moments = StreamedMoments(x.shape[1])
        for part in np.array_split(x, 7):
            moments.add(part)
        mean, projection = pca_whitening(moments)
        np.testing.assert_allclose(mean, golden[f"mean_{i}"].ravel(), atol=1e-5)
        # The golden's columns are the directions, ours are rows.
        assert same_directions(projection[:dim], golden[f"P_{i}"].T[:dim])
        weight, bias = whitening_convolution(mean, projection, dim)
        signs = np.sign((weight[:, :, 0, 0].numpy() * golden[f"conv_weight_{i}"][:, :, 0, 0]).sum(1))
        close(weight[:, :, 0, 0].numpy() * signs[:, None], golden[f"conv_weight_{i}"][:, :, 0, 0])
        close(bias.numpy() * signs, golden[f"conv_bias_{i}"])
        out = torch.nn.functional.conv2d(torch.from_numpy(x[:5])[:, :, None, None], weight, bias)[:, :, 0, 0].numpy()
        close(out * signs, golden[f"conv_out_first5_{i}"])
        normalised = out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-6)
        close(normalised * signs, golden[f"whitenapply_{i}"])


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())


def same_directions(found, expected):
    signs = np.sign((found * expected).sum(1, keepdims=True))
    return np.allclose(found * signs, expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize("path", cases("contrastive*.npz"))
def test_contrastive(path):
    golden = np.load(path)
    for i in numbered(golden, "x"):
        x = torch.from_numpy(golden[f"x_{i}"]).requires_grad_()
        loss = contrastive_loss(x, torch.from_numpy(golden[f"label_{i}"]), float(golden[f"margin_{i}"]))
        loss.backward()
        np.testing.assert_allclose(loss.item(), golden[f"loss_{i}"], rtol=1e-5)
        np.testing.assert_allclose(x.grad, golden[f"grad_{i}"], atol=1e-5)


@pytest.mark.parametrize("path", cases("tuple_mining*.npz"))
def test_tuple_mining(path):
    golden = np.load(path)
    for i in numbered(golden, "vecs"):
        negatives, query_size, pool_size = golden[f"nnum_qsize_poolsize_{i}"].tolist()
        asked = []

        def describe(images, vectors=golden[f"vecs_{i}"], asked=asked):
            asked.append(list(images))
            return vectors[list(images)]

        torch.manual_seed(int(golden[f"torch_seed_{i}"]))
        pairs = Pairs(golden[f"cluster_{i}"], golden[f"qpool_{i}"], golden[f"ppool_{i}"])
        found = mine_tuples(pairs, describe, negatives=negatives, query_size=query_size, pool_size=pool_size)
        assert asked[0] == golden[f"qpool_{i}"][golden[f"idxs2qpool_{i}"]].tolist()
        assert asked[1] == golden[f"idxs2images_{i}"].tolist()
        np.testing.assert_array_equal(found.queries, golden[f"qidxs_{i}"])
        np.testing.assert_array_equal(found.positives, golden[f"pidxs_{i}"])
        np.testing.assert_array_equal(found.negatives, golden[f"nidxs_{i}"])
        assert found.mean_negative_distance == pytest.approx(float(golden[f"avg_neg_dist_{i}"]), rel=1e-5)


def all_cells(maps, attentions, scales):
    """Rows of all cells, as the columns of a selection are: to tell which a selection may hold."""
    rows = set()
    for level, attention, scale in zip(maps, attentions, scales, strict=True):
        for y, x in np.ndindex(*attention.shape):
            half = np.float16(scale)
            rows.add((level[0, :, y, x].numpy().tobytes(), float(attention[y, x]), (x, y), float(half)))
    return rows


def same_rows_but_for_ties(ours, theirs, everything):
    """The original's sort is not stable: cells of one strength are in any order; at the cut any of them are kept."""
    found, expected = (
        [(d.tobytes(), float(s), tuple(xy.tolist()), float(c)) for d, s, xy, c in zip(*columns, strict=True)]
        for columns in (ours, theirs)
    )
    weakest = expected[-1][1]
    assert {row for row in found if row[1] != weakest} == {row for row in expected if row[1] != weakest}
    assert len(set(found)) == len(found) == len(expected)
    assert set(found) <= everything


@pytest.mark.parametrize("path", cases("select_local*.npz"))
def test_select_local(path):
    golden = np.load(path)
    levels = numbered(golden, "feat")
    maps = [torch.from_numpy(golden[f"feat_{i}"]) for i in levels]
    attentions = [torch.from_numpy(golden[f"mask_{i}"]) for i in levels]
    counts = [name.removeprefix("vecs_n") for name in golden.files if name.startswith("vecs_n")]
    assert counts
    everything = all_cells(maps, attentions, golden["scales"])
    for count in counts:
        n = None if count == "None" else int(count)
        found = select_local(maps, attentions, golden["scales"].tolist(), n)
        names = ("descriptors", "strengths", "locations", "scales")
        ours = [np.asarray(getattr(found, name)) for name in names]
        theirs = [golden[f"{name}_n{count}"] for name in ("vecs", "strengths", "locs", "scales")]
        np.testing.assert_array_equal(ours[1], theirs[1])
        assert [column.dtype for column in ours] == [column.dtype for column in theirs]
        same_rows_but_for_ties(ours, theirs, everything)
    np.testing.assert_allclose(weighted_sum(maps, attentions), golden["weighted_spoc"], atol=1e-6)
    kernels = [int(name.removeprefix("smooth")) for name in golden.files if name.startswith("smooth")]
    for kernel in kernels:
        smoothed = HowNet(smoothing=kernel).smoothing(maps[0])
        np.testing.assert_allclose(smoothed, golden[f"smooth{kernel}"], atol=1e-6)


@pytest.mark.parametrize("path", cases("checkpoint_conversion*.json"))
def test_checkpoint_conversion(path):
    golden = json.loads(path.read_text())
    assert upgrade_checkpoint(golden["input"]) == golden["output"]
    assert upgrade_checkpoint(golden["output"]) == golden["output"]


@pytest.mark.parametrize("path", cases("train_step*.json"))
def test_train_steps(path):
    golden = json.loads(path.read_text())
    ours, other = (take_steps(path, golden, opened=opened) for opened in (True, False))
    for step, found, twin in zip(golden["steps"], ours.steps, other.steps, strict=True):
        # Losses and descriptors move with the weights, once Adam has made steps of rounding.
        moved = (found.descriptors - twin.descriptors).abs().max().item()
        np.testing.assert_allclose(found.losses, step["tuple_losses"], rtol=1e-4 + 10 * moved)
        first4 = np.array(step["first4_of_descriptors"])
        np.testing.assert_allclose(found.descriptors[:, :, :4], first4, atol=1e-4 + 4 * moved)
        compare_rows(found.gradients, twin.gradients, step["grad_norm"], step["grad_probe_dot"], (1e-3, 5e-3))
        norms, dots = step["delta_norm_since_start"], step["delta_probe_dot_since_start"]
        compare_rows(found.changes, twin.changes, norms, dots, (2e-2, 5e-2))
    np.testing.assert_allclose(ours.rates, golden["lr_after_scheduler_step"])
    moved = np.abs(ours.after - other.after).max()
    np.testing.assert_allclose(ours.after, golden["descriptor_after"]["desc"], atol=1e-4 + 4 * moved)


def take_steps(path, golden, *, opened):
    """The recorded steps, on one side of what rounding can do; the twin's weights begin off by rounding."""
    net = network(path)
    if not opened:
        rounding.disturb(net)
    net.train()
    freeze_batch_norm_statistics(net)
    start = {key: p.detach().double() for key, p in net.named_parameters()}
    optimiser = torch.optim.Adam(
        net.parameter_groups(golden["lr"]), lr=golden["lr"], weight_decay=golden["weight_decay"]
    )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimiser, golden["gamma"])
    steps = []
    for s, recorded in enumerate(golden["steps"]):
        optimiser.zero_grad()
        with rounding.doubtful_relus(opened=opened, step=s):
            losses, descriptors = zip(
                *(take_tuple(net, golden, s, t) for t in range(len(recorded["tuple_losses"]))), strict=True
            )
        gradients = {key: p.grad.double().numpy() for key, p in net.named_parameters()}
        optimiser.step()
        changes = {key: (p.detach().double() - start[key]).numpy() for key, p in net.named_parameters()}
        steps.append(
            SimpleNamespace(losses=losses, descriptors=torch.stack(descriptors), gradients=gradients, changes=changes)
        )
    scheduler.step()
    with torch.inference_mode():
        after = net.eval()(picture(*golden["descriptor_after"]["seed_h_w"]))[0].numpy()
    return SimpleNamespace(steps=steps, rates=[g["lr"] for g in optimiser.param_groups], after=after)


def take_tuple(net, golden, s, t):
    """Loss and descriptors (images, D) of tuple t of step s; its gradients are added to the network's."""
    images = [picture(golden["base"] + 100 * s + 10 * t + j, *size) for j, size in enumerate(golden["sizes"])]
    loss, descriptors = tuple_loss(net, images, torch.tensor(golden["label"]), golden["margin"])
    loss.backward()
    return loss.item(), descriptors.detach().T.double()


def compare_rows(found, twin, norms, dots, parts):
    """Norm of each array, and its product with a probe, against the recorded ones.

    Both may be off by a part of the norm (a tolerance for sums in another order), and by as much as rounding carries
    the array. That difference knows nothing of the probe: their product is of the size of its norm times the root mean
    square of the probe, and never ten times that.
    """
    for key, array in found.items():
        apart, norm = np.linalg.norm(array - twin[key]), norms[key]
        assert np.linalg.norm(array) == pytest.approx(norm, abs=parts[0] * norm + 2 * apart + 1e-9), key
        probe = probe_of(key, array.shape)
        tolerance = parts[1] * norm + 10 * apart * np.sqrt((probe**2).mean()) + 1e-9
        assert (array * probe).sum() == pytest.approx(dots[key], abs=tolerance), key


@functools.cache
def probe_of(key, shape):
    return standin.values("probe." + key, shape)
