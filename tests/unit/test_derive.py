"""What files may leave out: features that are a model's defaults, those behind a codebook, lengths of rankings."""

from __future__ import annotations

from typing import Any

import pytest

from descbench.config.load import load_config
from descbench.config.models import Config
from descbench.errors import ConfigError
from descbench.lineage import Lineage

RANDOM = {"source": "random"}
HOW_SCALES = (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)
MODELS: dict[str, Any] = {
    "how": {"architecture": "how", "backbone": "resnet18", "weights": RANDOM},
    "fire": {"architecture": "fire", "weights": RANDOM},
    "gem": {"architecture": "gem", "backbone": "resnet50", "weights": RANDOM},
    "gem_network": {"architecture": "gem", "backbone": "resnet50", "whitening": "network", "weights": RANDOM},
    "gem_learned": {
        "architecture": "gem",
        "backbone": "vgg16",
        "whitening": "learned",
        "weights": {"source": "official", "file": "gem.pth"},
    },
    "netvlad": {"architecture": "netvlad", "weights": RANDOM},
    "custom": {"architecture": "custom", "factory": "module:network"},
}
FLAT: dict[str, Any] = {"search": "euclidean"}
ASMK: dict[str, Any] = {"search": "asmk", "codebook": {"dataset": "images", "role": "database"}}


def load(methods: dict[str, Any], features: dict[str, Any] | None = None, **sections: Any) -> Config:
    values = {
        "models": MODELS,
        "sources": {"gem.pth": {"mirrors": ["https://example.org/gem.pth"]}},
        "datasets": {"images": {"format": "folder", "database": "somewhere"}},
        "features": features or {},
        "methods": methods,
    }
    return load_config({**values, **sections})


def refusal(*arguments: Any, **sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **sections)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "kind", "image_size", "scales"),
    [
        ("how", "local", 1024, HOW_SCALES),
        ("fire", "local", 1024, HOW_SCALES),
        ("gem", "global", 1024, (1.0,)),
        ("gem_network", "global", 1024, (1.0, 2**0.5, 0.5**0.5)),
        ("gem_learned", "global", 1024, (1.0, 0.5**0.5, 0.5)),
        ("netvlad", "global", 640, (1.0,)),
    ],
)
def test_features_of_a_model_need_no_block(model, kind, image_size, scales):
    method = {**ASMK, "features": model} if kind == "local" else {**FLAT, "features": model}
    block = load({"m": method}).features[model]
    assert (block.kind, block.model, block.image_size) == (kind, model, image_size)
    assert block.scales == pytest.approx(scales, abs=0, rel=1e-15)
    assert getattr(block, "max_features", 1000) == 1000


def test_features_that_nobody_uses_are_not_made():
    assert set(load({"m": {**FLAT, "features": "gem"}}).features) == {"gem"}


def test_a_method_uses_the_features_of_its_own_name():
    assert load({"netvlad": FLAT}).methods["netvlad"].features == "netvlad"
    config = load({"mine": FLAT}, {"mine": {"model": "netvlad", "scales": [1.0, 0.5]}})
    assert config.methods["mine"].features == "mine"
    assert config.features["mine"].scales == (1.0, 0.5)
    assert "methods.other.features: this key is required" in refusal({"other": FLAT})


def test_what_matches_images_has_features_of_its_own():
    """Of its own name, and not those that the ranking was made with."""
    near = {"search": "rerank", "ranking": "gem"}
    methods = load({"gem": FLAT, "how": near, "fire_near": {**near, "features": "fire"}}).methods
    assert [methods[name].features for name in ("gem", "how", "fire_near")] == ["gem", "how", "fire"]


def test_a_block_says_what_differs_from_the_defaults():
    config = load({"netvlad": FLAT, "how": ASMK}, {"netvlad": {"scales": [1.0, 0.5]}, "how": {"max_features": 2000}})
    assert config.features["netvlad"].image_size == 640
    assert config.features["netvlad"].scales == (1.0, 0.5)
    assert config.features["how"].model_dump(exclude={"max_features"}) == load({"how": ASMK}).features[
        "how"
    ].model_dump(exclude={"max_features"})
    assert config.features["how"].max_features == 2000


def test_a_block_of_another_name_names_its_model():
    assert load({"m": {**FLAT, "features": "f"}}, {"f": {"model": "netvlad"}}).features["f"].image_size == 640
    whole = {"kind": "global", "model": "netvlad", "image_size": 320}
    assert load({"m": {**FLAT, "features": "f"}}, {"f": whole}).features["f"].image_size == 320


def test_local_networks_have_global_features_too():
    block = load({"how": FLAT}, {"how": {"kind": "global"}}).features["how"]
    assert (block.kind, block.model, block.scales) == ("global", "how", (1.0,))


def test_a_shape_of_all_images_leaves_the_image_size_alone():
    assert load({"netvlad": FLAT}, {"netvlad": {"resize": [480, 640]}}).features["netvlad"].image_size == 1024


def test_a_custom_network_says_what_features_it_has():
    message = refusal({"custom": FLAT})
    assert "methods.custom.features: model 'custom' does not say what features it has" in message
    assert load({"custom": FLAT}, {"custom": {"kind": "global"}}).features["custom"].model == "custom"


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"hoe": {"image_size": 64}}, "features.hoe: there is no 'hoe' in section `models`; close names: how"),
        ({"x": {"model": "hoe"}}, "features.x.model: there is no 'hoe' in section `models`; close names: how"),
        ({"netvlad": {"max_features": 3}}, "features.netvlad.max_features: unknown key"),
        ({"x": {"kind": "local", "model": "gem"}}, "features.x.kind: model 'gem' (gem) has no local features"),
    ],
)
def test_blocks_that_fit_no_model(features, expected):
    assert expected in refusal({}, features)


def test_codebooks_are_learned_at_scale_1():
    config = load({"m": {**ASMK, "features": "how"}}, {"how": {"image_size": 320, "max_features": 1500}})
    assert config.methods["m"].codebook.features == "how_single"
    single, pyramid = config.features["how_single"], config.features["how"]
    assert single.scales == (1.0,)
    assert single.model_dump(exclude={"scales"}) == pyramid.model_dump(exclude={"scales"})


def test_features_at_scale_1_serve_the_codebook_too():
    config = load({"how": ASMK}, {"how": {"scales": [1.0]}})
    assert config.methods["how"].codebook.features == "how"
    assert set(config.features) == {"how"}


def test_the_features_behind_a_codebook_can_be_others():
    config = load({"how": ASMK}, {"how_single": {"image_size": 320}})
    assert config.features["how_single"].scales == (1.0,)
    assert (config.features["how_single"].image_size, config.features["how"].image_size) == (320, 1024)
    twin = {**MODELS, "twin": MODELS["how"]}
    config = load({"how": ASMK}, {"how": {"model": "twin"}, "how_single": {"model": "twin"}}, models=twin)
    assert (config.features["how_single"].model, config.features["how_single"].scales) == ("twin", (1.0,))
    method = {**ASMK, "codebook": {**ASMK["codebook"], "features": "how"}}
    assert load({"how": method}).methods["how"].codebook.features == "how"
    whole = {"kind": "local", "model": "how", "scales": [0.5]}
    assert load({"how": ASMK}, {"how_single": whole}).features["how_single"].scales == (0.5,)


def test_the_features_behind_a_codebook_stay_at_scale_1_unless_a_block_says_otherwise():
    blocks = {"how": {}, "how_single": {"kind": "local", "model": "how", "image_size": 512}}
    derived = load({"how": ASMK}, blocks).features["how_single"]
    assert (derived.image_size, derived.scales) == (512, (1.0,))
    blocks["how_single"]["scales"] = [1.0, 0.5]
    assert load({"how": ASMK}, blocks).features["how_single"].scales == (1.0, 0.5)


def test_released_features_name_those_of_the_codebook():
    released = {"released": {"kind": "released", "files": {"images": "gem.pth"}}}
    assert "methods.released.codebook.features: this key is required" in refusal({"released": ASMK}, released)


def test_a_model_of_the_derived_name_is_not_taken_for_it():
    models = {**MODELS, "how_single": MODELS["how"]}
    assert (
        "methods.how.codebook.features: must be named: features at scale 1 would be called 'how_single', which is a"
        in refusal({"how": ASMK}, models=models)
    )


def test_more_features_than_the_default_are_asked_for():
    expected = "methods.how.n: 2000 is more than the 1000 features an image that are kept; raise `max_features`"
    assert expected in refusal({"how": {**ASMK, "n": 2000}})
    assert load({"how": {**ASMK, "n": 2000}}, {"how": {"max_features": 2000}}).methods["how"].n == 2000


def test_names_that_lead_nowhere():
    message = refusal({"m": {**ASMK, "features": "hoe"}})
    assert "methods.m.features: there is no 'hoe' in section `features`" in message
    assert "asmk needs local features, these are global" in refusal({"m": {**ASMK, "features": "gem"}})


@pytest.mark.parametrize("wrong", [None, 3, "text", ["a"], {"a": None}, {"a": 3}, {"a": {"model": ["b"]}}])
@pytest.mark.parametrize("section", ["models", "features", "methods"])
def test_what_has_another_form_is_refused_by_the_validation(section, wrong):
    with pytest.raises(ConfigError):
        load_config({"models": MODELS, "methods": {"how": ASMK}, **{section: wrong}})


def test_the_length_of_a_ranking_is_that_of_the_protocol():
    places = {"format": "utm_names", "database": "a", "queries": "b"}
    datasets = {
        "images": {"format": "folder", "database": "somewhere"},
        "places": places,
        "noise": {"format": "image_list", "images": "noise", "list": "noise.txt", "counts": {"database": 4}},
        "more": {"format": "with_distractors", "base": "places", "distractors": "noise"},
    }
    query = {"query": {"top_k": 7}}
    methods = {"gem": FLAT, "netvlad": {**FLAT, "top_k": 5}, "how": ASMK, "short": {**ASMK, "features": "how", **query}}
    lineage = Lineage(load(methods, datasets=datasets))
    found = {method: [lineage.ranked(method, name) for name in ("images", "places", "more")] for method in methods}
    assert found == {"gem": [None, 240, 240], "netvlad": [5, 5, 5], "how": [None, 240, 240], "short": [7, 7, 7]}
