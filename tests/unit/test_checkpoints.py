"""Official checkpoints, old and new, and what is refused."""

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from descbench.config.networks import FireModel, GemModel, HowModel
from descbench.errors import DataError, StaleFileError
from descbench.losses.decorrelation import decorrelation_loss
from descbench.models.checkpoints import build_network, checkpoint_digest, convert_checkpoint, load_network

OFFICIAL = {"source": "official", "file": "how.pth"}
MEAN, STD = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]


def how(**changes):
    return HowModel.model_validate({"architecture": "how", "backbone": "resnet18", "weights": OFFICIAL, **changes})


@pytest.fixture
def state():
    torch.manual_seed(1)
    return build_network(how()).state_dict()


def new_format(state, **parameters):
    net = {
        "architecture": "resnet18",
        "skip_layer": 0,
        "dim_reduction": {"dim": 128},
        "smoothing": {"kernel_size": 3},
        "runtime": {"mean_std": [MEAN, STD]},
        **parameters,
    }
    return {"epoch": 5, "meta": {}, "state_dict": state, "net_params": net, "_version": "how/2020"}


def old_format(state):
    renamed = {key.replace("dim_reduction", "whiten"): value for key, value in state.items()}
    meta = {"architecture": "resnet18", "skip_layer": 0, "dim": 128, "feat_pool_k": 3, "mean": MEAN, "std": STD}
    return {"meta": meta, "state_dict": renamed}


def convert(tmp_path, content, model=None):
    torch.save(content, tmp_path / "how.pth")
    convert_checkpoint(model or how(), tmp_path / "how.pth", tmp_path / "out.pt")
    return load_network(tmp_path / "out.pt", model or how())


def test_drawn_networks_start_quiet(tmp_path):
    """Residual branches nearly silent, filters of the first layer without a mean."""
    for backbone, last in (("resnet18", "bn2"), ("resnet50", "bn3")):
        model = how(backbone=backbone, weights={"source": "random"})
        convert_checkpoint(model, None, tmp_path / "drawn.pt")
        state = load_network(tmp_path / "drawn.pt", model).state_dict()
        branches = [value for key, value in state.items() if key.endswith(f".{last}.weight")]
        assert len(branches) == (8 if backbone == "resnet18" else 16)
        assert all((value == 0.1).all() for value in branches)
        assert state["features.0.weight"].mean((1, 2, 3)).abs().max() < 1e-7
        assert state["features.0.weight"].std() > 0.01


@pytest.mark.parametrize("make", [new_format, old_format])
def test_both_official_formats(tmp_path, state, make):
    network = convert(tmp_path, make(state))
    assert not network.training
    assert network.mean == pytest.approx(MEAN)
    assert network.std == pytest.approx(STD)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


def test_unknown_key(tmp_path, state):
    with pytest.raises(DataError, match=r"unknown key 'features\.9\.weight'"):
        convert(tmp_path, new_format({**state, "features.9.weight": torch.zeros(1)}))
    assert not (tmp_path / "out.pt").exists()


def test_missing_key(tmp_path, state):
    del state["dim_reduction.bias"]
    with pytest.raises(DataError, match=r"key 'dim_reduction\.bias' \(128,\) is missing"):
        convert(tmp_path, new_format(state))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, state, value):
    state["dim_reduction.bias"][3] = value
    with pytest.raises(DataError, match=r"key 'dim_reduction\.bias' holds NaN, infinite or complex weights"):
        convert(tmp_path, new_format(state))


def test_wrong_shape_names_both(tmp_path, state):
    state["features.0.weight"] = torch.zeros(64, 3, 3, 3)
    with pytest.raises(DataError, match=r"shape \(64, 3, 3, 3\), the network needs \(64, 3, 7, 7\)"):
        convert(tmp_path, new_format(state))


def test_other_architecture(tmp_path, state):
    with pytest.raises(DataError, match="its backbone, skip_layer, dim, smoothing are"):
        convert(tmp_path, new_format(state, architecture="resnet50", skip_layer=1))


def test_checkpoint_of_another_block(tmp_path, state):
    convert(tmp_path, new_format(state))
    with pytest.raises(DataError, match="the configuration asks for"):
        load_network(tmp_path / "out.pt", how(smoothing=5))


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", pickle.dumps([1, 2])])
def test_no_checkpoint(tmp_path, content):
    (tmp_path / "how.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"how\.pth"):
        convert_checkpoint(how(), tmp_path / "how.pth", tmp_path / "out.pt")


def test_truncated_checkpoint(tmp_path, state):
    torch.save(new_format(state), tmp_path / "how.pth")
    content = (tmp_path / "how.pth").read_bytes()
    (tmp_path / "how.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        convert_checkpoint(how(), tmp_path / "how.pth", tmp_path / "out.pt")


class Hostile:
    """Pickles to a call of os.system."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_hostile_checkpoint_runs_nothing(tmp_path, state):
    torch.save({**new_format(state), "extra": Hostile(tmp_path / "ran")}, tmp_path / "how.pth")
    with pytest.raises(DataError, match=r"posix\.system, which is not plain data.*torch\.save\(model\.state_dict"):
        convert_checkpoint(how(), tmp_path / "how.pth", tmp_path / "out.pt")
    assert not (tmp_path / "ran").exists()


def test_drawn_weights_follow_their_seed_and_leave_the_global_one(tmp_path):
    def drawn(name, seed):
        model = how(weights={"source": "random", "seed": seed})
        convert_checkpoint(model, None, tmp_path / name, seed=7)
        return checkpoint_digest(tmp_path / name)

    before = torch.random.get_rng_state()
    assert drawn("a.pt", 3) == drawn("b.pt", 3) != drawn("c.pt", 4)
    assert drawn("d.pt", None) == drawn("e.pt", 7)
    assert torch.equal(before, torch.random.get_rng_state())


def gem(whitening):
    weights = {"source": "official", "file": "gem.pth"}
    block = {"architecture": "gem", "backbone": "resnet50", "whitening": whitening, "weights": weights}
    return GemModel.model_validate(block)


def gem_checkpoint(tmp_path, whitening, meta):
    torch.manual_seed(0)
    state = build_network(gem(whitening)).state_dict()
    return convert(tmp_path, {"meta": {"mean": MEAN, "std": STD, **meta}, "state_dict": state}, gem(whitening))


def test_gem_with_a_whitening_layer(tmp_path):
    network = gem_checkpoint(tmp_path, "network", {})
    assert network.mean == pytest.approx(MEAN)
    with torch.inference_mode():
        image = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
        one, many = network.describe(image), network.describe(image, [1.0, 0.5])
        single = [network(image), network(torch.nn.functional.interpolate(image, scale_factor=0.5, mode="bilinear"))]
    torch.testing.assert_close(one, single[0] / single[0].norm(dim=1, keepdim=True))
    mean = (single[0] + single[1]) / 2
    torch.testing.assert_close(many, mean / mean.norm(dim=1, keepdim=True))


def test_gem_with_learned_whitening(tmp_path):
    rng = np.random.default_rng(0)
    mean, projection = rng.standard_normal((2048, 1)), rng.standard_normal((2048, 2048)) / 45
    lw = {"retrieval-SfM-120k": {"ss": {"m": mean, "P": projection}}}
    network = gem_checkpoint(tmp_path, "learned", {"Lw": lw})
    with torch.inference_mode():
        image = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
        found = network.describe(image)[0].numpy()
        plain = network(image)[0].numpy()
    expected = projection @ (plain / np.linalg.norm(plain) - mean[:, 0])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-4)


def test_gem_without_the_whitening_it_should_have(tmp_path):
    with pytest.raises(DataError, match="holds no learned whitening"):
        gem_checkpoint(tmp_path, "learned", {})


def fire(**changes):
    small = {"backbone": "resnet18", "skip_layer": 2, "templates": 5, "iterations": 2, "dim_lit": 32, "dim": 8}
    weights = {"source": "official", "file": "fire.pth"}
    return FireModel.model_validate({"architecture": "fire", **small, "weights": weights, **changes})


def fire_content(**parameters):
    net = {
        "architecture": "resnet18",
        "pretrained": pathlib.PosixPath("fire_imagenet.pth"),
        "skip_layer": 2,
        "dim_reduction": {"dim": 8},
        "lit": {"T": 2, "N": 5, "dim": 32},
        "runtime": {"mean_std": [MEAN, STD]},
        **parameters,
    }
    torch.manual_seed(1)
    state = build_network(fire()).state_dict()
    return {"epoch": 200, "meta": {}, "state_dict": state, "net_params": net, "_version": "fire/2021"}


def test_official_fire_checkpoint_with_a_path_in_it(tmp_path):
    content = fire_content()
    network = convert(tmp_path, content, fire())
    assert (network.mean, network.std) == (pytest.approx(MEAN), pytest.approx(STD))
    assert network.lit.iterations == 2
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, content["state_dict"][key], rtol=0, atol=0)


def test_iterations_of_lit_are_compared_although_no_weight_shows_them(tmp_path):
    with pytest.raises(DataError, match=r"dim_lit are .*; correct the model block"):
        convert(tmp_path, fire_content(lit={"T": 6, "N": 5, "dim": 32}), fire())


def test_how_checkpoint_for_a_fire_model(tmp_path, state):
    with pytest.raises(DataError, match="not a FIRe checkpoint, its metadata lack 'lit'"):
        convert(tmp_path, new_format(state), fire())


def test_fire_start_weights_lack_the_reduction_and_may_have_a_classifier(tmp_path):
    model = fire(weights={"source": "imagenet", "file": "fire_imagenet.pth"})
    state = fire_content()["state_dict"]
    start = {key: value for key, value in state.items() if not key.startswith("dim_reduction.")}
    network = convert(tmp_path, {"state_dict": {**start, "fc.weight": torch.zeros(10, 32)}}, model)
    for key, value in start.items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=0, atol=0)
    del start["lit.mlp.2.bias"]
    with pytest.raises(DataError, match=r"key 'lit\.mlp\.2\.bias' \(32,\) is missing"):
        convert(tmp_path, {"state_dict": start}, model)


@pytest.mark.parametrize("dim_lit", [64, 256])
def test_drawn_templates_look_at_different_places(tmp_path, dim_lit):
    """Else all super-features of an image are its mean, and training cannot help (mean cosine of maps: 0.98)."""
    model = fire(weights={"source": "random"}, skip_layer=1, templates=64, iterations=3, dim_lit=dim_lit)
    convert_checkpoint(model, None, tmp_path / "drawn.pt")
    lit = load_network(tmp_path / "drawn.pt", model).lit
    torch.manual_seed(1)
    features = torch.randn(1, 256, 9, 12).relu()
    with torch.inference_mode():
        focused = decorrelation_loss(lit(features)[1])
        lit.project_q.reset_parameters()
        even = decorrelation_loss(lit(features)[1])
    assert focused < 0.6 < 0.9 < even


def test_a_whole_network_is_no_backbone_of_imagenet(tmp_path, state):
    """Its keys are those of a backbone and more: the reduction would be drawn without a word."""
    model = how(weights={"source": "imagenet", "file": "how.pth"})
    with pytest.raises(DataError, match=r"holds a whole network .*'net_params'.*; use `source: official`"):
        convert(tmp_path, {key: value for key, value in new_format(state).items() if key != "meta"}, model)


def test_metadata_of_another_kind_are_named(tmp_path, state):
    with pytest.raises(DataError, match="its 'meta' is a list, not a dictionary"):
        convert(tmp_path, {**new_format(state), "meta": [1]}, how())


def test_a_checkpoint_in_the_place_of_another_is_refused(tmp_path):
    """Of the same architecture, so that nothing else tells them apart."""
    model = how(weights={"source": "random"})
    convert_checkpoint(model, None, tmp_path / "first.pt", seed=1)
    convert_checkpoint(model, None, tmp_path / "second.pt", seed=2)
    (tmp_path / "second.pt").write_bytes((tmp_path / "first.pt").read_bytes())
    for read in (lambda path: load_network(path, model), checkpoint_digest):
        read(tmp_path / "first.pt")
        with pytest.raises(StaleFileError, match=r"second\.pt: holds the weights of 'first'; delete it and run again"):
            read(tmp_path / "second.pt")


EMPTY = """
import sys
from pydantic import TypeAdapter
from descbench.config.networks import Model
from descbench.models.checkpoints import build_empty_network

for words in ("how resnet18", "fire resnet18", "gem resnet50", "netvlad alexnet", "hndesc r2d2", "hardnet"):
    block = dict(zip(("architecture", "backbone"), words.split()), weights={"source": "random"})
    network = build_empty_network(TypeAdapter(Model).validate_python(block))
    assert all(parameter.is_meta for parameter in network.parameters())
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_an_empty_network_needs_no_compiler():
    """Torch imports it, in seconds, for the shapes of initial weights, which a job would overwrite at once."""
    done = subprocess.run([sys.executable, "-c", EMPTY], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
