"""The catalogue of sources and datasets: valid, consistent, and true to what is known of the files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from descbench.config.base import Name
from descbench.config.datasets import Dataset, DbStructDataset, RevisitopDataset, WithDistractorsDataset
from descbench.config.load import load_config_files, read_yaml
from descbench.config.sources import Source

CATALOG = Path(__file__).resolve().parents[2] / "config" / "catalog" / "datasets.yaml"
CONTENT = read_yaml(CATALOG)
SOURCES = TypeAdapter(dict[Name, Source]).validate_python(CONTENT["sources"])
DATASETS = TypeAdapter(dict[Name, Dataset]).validate_python(CONTENT["datasets"])

# Photographs that their owners give out themselves, and a file that no program can fetch.
ON_REQUEST = (
    "pittsburgh250k",
    "tokyo247_database",
    "tokyo247_queries",
    "tokyotm",
    "vgg16_netvlad_checkpoint.pth.tar",
)


def test_only_sources_and_datasets() -> None:
    assert set(CONTENT) == {"sources", "datasets"}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_sources(name: str) -> None:
    source = SOURCES[name]
    assert source.access == ("request" if name in ON_REQUEST else "free")
    if source.access == "request":
        # Never fetched: whoever has been given the files is told what the folder must look like.
        assert source.mirrors == ()
        assert source.ask.startswith("https://")
        assert source.layout
        return
    assert all(re.match(r"https?://", url) for url in source.mirrors)
    assert len(set(source.mirrors)) == len(source.mirrors)
    # The digits before .pth begin the SHA-256 (convention of torch.hub); no other checksum was published.
    digits = re.search(r"-([0-9a-f]{7,8})\.pth$", name)
    assert source.sha256 == (digits[1] if digits else None)
    assert (source.size, source.git_blob_sha1) == (None, None)


def test_blurred_archives_say_so() -> None:
    blurred = [source for name, source in SOURCES.items() if "-v1" in name]
    assert len(blurred) == 3
    assert all("blurred since June 2022" in source.note for source in blurred)


@pytest.mark.parametrize("name", ["fire.pth", "fire_imagenet.pth"])
def test_non_commercial_weights_say_so(name: str) -> None:
    assert "CC BY-NC-SA 4.0" in SOURCES[name].licence
    assert "CC BY-NC-SA 4.0: no commercial use" in SOURCES[name].note


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_datasets_use_what_exists(name: str) -> None:
    dataset = DATASETS[name]
    if isinstance(dataset, WithDistractorsDataset):
        assert {dataset.base, dataset.distractors} <= set(DATASETS)
        return
    folders = {SOURCES[s].unpack.to for s in dataset.image_sources}
    if isinstance(dataset, DbStructDataset):
        folder, _, file = dataset.struct.rpartition("/")
        assert [f"{SOURCES[s].unpack.to}/datasets" for s in dataset.sources] == [folder]
        # The folder of the queries may be one inside that of the database.
        assert folders <= {dataset.images, dataset.queries}
        assert any(dataset.images == f for f in folders)
        assert any(f"{dataset.queries}/".startswith(f"{f}/") for f in folders)
        assert file.lower() == f"{name}.mat"
        return
    assert folders <= {getattr(dataset, "images", None)}
    for key in ("ground_truth", "database", "list"):
        if (path := getattr(dataset, key, None)) is not None:
            folder, _, file = path.rpartition("/")
            assert file in dataset.sources
            assert SOURCES[file].unpack.to == folder


def test_official_numbers() -> None:
    assert DATASETS["roxford5k"].counts == {"query": 70, "database": 4993}
    assert DATASETS["rparis6k"].counts == {"query": 70, "database": 6322}
    assert DATASETS["revisitop1m"].counts == {"database": 1001001}
    assert SOURCES["revisitop1m.tar.gz"].parts == 100
    assert not DATASETS["sfm120k"].counts_verified
    protocols = {name: d.protocol for name, d in DATASETS.items() if isinstance(d, RevisitopDataset)}
    assert protocols == {"roxford5k": "revisited", "rparis6k": "revisited", "oxford5k": "classic", "paris6k": "classic"}


def test_numbers_of_place_recognition() -> None:
    """Fact sheet of vpr_datasets, section 4; what nobody has seen in the lists must not stop a job."""
    places = {name: d for name, d in DATASETS.items() if isinstance(d, DbStructDataset)}
    counts = {name: (d.counts["database"], d.counts["query"], d.counts_verified) for name, d in places.items()}
    assert counts == {
        "pitts30k_train": (10_000, 7_416, True),
        "pitts30k_val": (10_000, 7_608, False),
        "pitts30k_test": (10_000, 6_816, True),
        "pitts250k_train": (91_464, 7_824, False),
        "pitts250k_val": (78_648, 7_608, False),
        "pitts250k_test": (83_952, 8_280, False),
        "tokyo247": (75_984, 315, True),
        "tokyotm_train": (49_104, 7_277, False),
        "tokyotm_val": (49_056, 7_186, False),
    }
    assert {name for name, d in places.items() if d.one_per} == {"tokyo247"}
    assert (places["tokyo247"].one_per, places["tokyo247"].conditions) == (12, ("day", "sunset", "night"))
    assert {name for name, d in places.items() if d.other_time} == {"tokyotm_val"}
    assert {name for name, d in places.items() if d.positives == "matlab"} == {"tokyotm_train", "tokyotm_val"}


def test_photographs_on_request_have_no_address() -> None:
    asked = {name for d in DATASETS.values() if isinstance(d, DbStructDataset) for name in d.image_sources}
    assert asked == {"pittsburgh250k", "tokyo247_database", "tokyo247_queries", "tokyotm"}
    assert {SOURCES[name].access for name in asked} == {"request"}


def test_revisited_and_classic_share_their_images() -> None:
    assert DATASETS["roxford5k"].images == DATASETS["oxford5k"].images
    assert DATASETS["rparis6k"].images == DATASETS["paris6k"].images


def test_fire_is_searched_like_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CATALOG.parents[2])
    config = load_config_files("config/config.yaml")
    fire, how = config.methods["fire_n1000"], config.methods["how_r50-_n1000"]
    names = {"features", "codebook"}
    assert fire.model_dump(exclude=names) == how.model_dump(exclude=names)
    assert fire.codebook.model_dump(exclude={"features"}) == how.codebook.model_dump(exclude={"features"})
    for name in (fire.features, fire.codebook.features):
        assert config.features[name].image_size == 1024
    assert config.features[fire.features].scales == (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)


def test_published_figures_of_fire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CATALOG.parents[2])
    table = load_config_files("config/config.yaml").tables["table3"]
    (row,) = (row for row in table.rows if row.method == "fire_n1000")
    figures = {(f.dataset, f.metric): f.released for f in row.figures}
    assert figures == {
        ("val_eccv20", "map"): 90.3,
        ("roxford5k", "map_medium"): 82.6,
        ("roxford5k", "map_hard"): 62.2,
        ("rparis6k", "map_medium"): 85.2,
        ("rparis6k", "map_hard"): 70.0,
    }
    assert all(column.when_asked == column.dataset.endswith("_r1m") for column in table.columns)


def test_figures_of_a_leaking_whitening_say_so() -> None:
    leaking = [source for name, source in SOURCES.items() if name.startswith("pitts_WPCA")]
    assert len(leaking) == 3
    assert all("learned from the test database of Pitts30k" in source.note for source in leaking)


def test_all_networks_of_netvlad_are_searched_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CATALOG.parents[2])
    config = load_config_files("config/config.yaml")
    names = [name for name, method in config.methods.items() if "netvlad" in name]
    assert len(names) >= 20
    for name in names:
        method = config.methods[name]
        features = config.features[method.features]
        assert (method.search, method.top_k, features.scales) == ("euclidean", 240, (1.0,))
        assert features.resize == ((480, 640) if name.startswith("patch_") else None)
        whitening = config.models[features.model].whitening
        assert method.dim is None or method.dim < whitening
