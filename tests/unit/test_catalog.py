"""The catalogue: valid, consistent, and true to what is known of the files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from resolved import STORED, resolved

from descbench.config.datasets import DbStructDataset, MegaDepthDataset, WithDistractorsDataset
from descbench.config.load import load_config, read_yaml
from descbench.config.posed_datasets import WITHIN, AachenDataset, ColmapDataset
from descbench.io.pickles import load_pickle
from descbench.licences import forbids_commerce
from descbench.lineage import Lineage
from descbench.plan import Plan

HOME = Path(__file__).resolve().parents[2]
CATALOG = HOME / "config" / "catalog"
CONFIG = load_config(read_yaml(HOME / "config/config.yaml"), home=HOME)
SOURCES, DATASETS = CONFIG.sources, CONFIG.datasets

# Photographs that their owners give out themselves, and a file that no program can fetch.
ON_REQUEST = (
    "pittsburgh250k",
    "tokyo247_database",
    "tokyo247_queries",
    "tokyotm",
    "vgg16_netvlad_checkpoint.pth.tar",
    "hndesc_caps_MP_st.pth",
    "hndesc_r2d2_MP_st.pth",
    "hndesc_train_data",
    "aachen_v11_hndesc",
    "caps-pretrained.pth",
    "roxford5k-rSfM120k-resnet101-gem-m.pkl",
    "rparis6k-rSfM120k-resnet101-gem-m.pkl",
    "netvlad_tokyo247_pitts_v3.mat",
)
# Of these files of git repositories neither is known.
WITHOUT_CHECKSUM = ("r2d2_WAF_N16.pt", "aliked-n16.pth")


def test_words_of_table_6_are_of_the_other_city() -> None:
    cells = Plan(CONFIG).table_cells("table6")
    assert {dataset for _, dataset in cells} == {"oxford5k", "paris6k"}
    for method, dataset in cells:
        searching = CONFIG.methods[Lineage(CONFIG).methods_behind(method)[-1]]
        learned = {name for _, name in searching.learned_from}
        assert learned == {"oxford5k", "paris6k"} - {dataset}, method
    labels = {row.label: row for row in CONFIG.tables["table6"].rows}
    assert {name.split(", ")[1] for name in labels} >= {"BoW", "BoW + SV", "BoW + SV + QE", "HQE + MA"}
    # HardNet's README has HesAffNet on Oxford5k alone; all other published rows are of both cities.
    one_city = {name for name, row in labels.items() if len(row.reference_results) == 1}
    assert one_city == {name for name in labels if "Hessian" in name and "HE + MA" not in name}
    assert {len(row.reference_results) for row in labels.values()} == {0, 1, 2}


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
    # The one size that is published of a single file; MD5 of it, and of archives that have never been packed anew.
    assert source.size == (7613 if name == "hpatches_splits.json" else None)
    assert (source.md5 is not None) == (name == "hpatches_splits.json" or name.endswith("_harris.zip"))
    # Files of git repositories are known by their id or, at a commit that the address names, by their content.
    in_repository = "github.com/" in source.mirrors[0] and "/raw/" in source.mirrors[0]
    checked = source.git_blob_sha1 is not None or len(source.sha256 or "") == 64
    assert in_repository == (checked or name in WITHOUT_CHECKSUM)
    if not in_repository:
        # The digits before .pth begin the SHA-256 (convention of torch.hub); no other checksum was published.
        digits = re.search(r"-([0-9a-f]{7,8})\.pth$", name)
        assert source.sha256 == (digits[1] if digits else None)


def test_blurred_archives_say_so() -> None:
    blurred = [source for name, source in SOURCES.items() if "-v1" in name]
    assert len(blurred) == 3
    assert all("blurred since June 2022" in source.note for source in blurred)


@pytest.mark.parametrize(
    ("name", "version"),
    [("fire.pth", "4.0"), ("fire_imagenet.pth", "4.0"), ("r2d2_WASF_N16.pt", "3.0"), ("r2d2_WAF_N16.pt", "3.0")],
)
def test_non_commercial_weights_say_so(name: str, version: str) -> None:
    assert f"CC BY-NC-SA {version}" in SOURCES[name].licence
    assert f"CC BY-NC-SA {version}: no commercial use" in SOURCES[name].note


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
    if dataset.HAS_IMAGE_PAIRS:  # the archive has a folder of its own
        assert [f"{folder}/hpatches-sequences-release" for folder in folders] == [dataset.images]
        return
    if isinstance(dataset, MegaDepthDataset):
        (folder,) = folders
        places = (dataset.images, dataset.stylised, dataset.keypoints)
        assert all(path.startswith(f"{folder}/") for path in places)
        # The manifest lists the folders.
        assert dataset.sources == dataset.image_sources
        return
    if isinstance(dataset, ColmapDataset):  # put there by the user, not fetched
        assert not folders
        assert str(dataset.images).startswith("data/")
        return
    if isinstance(dataset, AachenDataset):
        (folder,) = folders
        listed = (dataset.model, dataset.nvm, dataset.intrinsics, *dataset.queries, dataset.pairs)
        places = [dataset.images, *(path for path in listed if path is not None)]
        assert all(path.startswith(f"{folder}/") for path in places)
        lists = {SOURCES[s].unpack.to for s in dataset.sources}
        assert all(any(path.startswith(f"{to}/") for to in lists) for path in places)
        return
    assert folders <= {getattr(dataset, "images", None)}
    for key in ("ground_truth", "database", "list"):
        if (path := getattr(dataset, key, None)) is not None:
            folder, _, file = path.rpartition("/")
            assert file in dataset.sources
            assert SOURCES[file].unpack.to == folder


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_counts_are_those_of_the_real_ground_truth(real_data: Path, name: str) -> None:
    content = load_pickle(real_data / "revisited_gnd" / f"gnd_{name}.pkl")
    assert DATASETS[name].counts == {"query": len(content["qimlist"]), "database": len(content["imlist"])}


@pytest.mark.parametrize("name", ["pitts30k_test", "tokyo247"])
def test_counts_are_those_of_the_real_positions(real_data: Path, name: str) -> None:
    positions = np.load(real_data / "vpr_gt" / f"{name}.npz")
    assert DATASETS[name].counts == {"query": len(positions["utmQ"]), "database": len(positions["utmDb"])}
    assert DATASETS[name].counts_verified


def test_conditions_share_the_queries_evenly() -> None:
    for dataset in DATASETS.values():
        if isinstance(dataset, DbStructDataset) and dataset.conditions:
            assert dataset.counts["query"] % len(dataset.conditions) == 0


def test_every_file_is_listed_and_has_the_schema() -> None:
    assert {CATALOG / path.name for path in CONFIG.catalog} == set(CATALOG.iterdir())
    for path in CATALOG.glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=../schemas/config.schema.json\n")


def test_nothing_is_said_twice() -> None:
    """Each block stands in one file: later files would hide what earlier ones say."""
    seen = [
        (section, name)
        for path in CATALOG.glob("*.yaml")
        for section, blocks in read_yaml(path).items()
        for name in blocks
    ]
    assert len(seen) == len(set(seen)) > 100


def test_what_is_resolved_is_what_is_stored() -> None:
    """Defaults, derived features, depths and figures: a change of any is a change of results."""
    stored, found = json.loads(STORED.read_text()), json.loads(json.dumps(resolved(CONFIG)))
    assert found.keys() == stored.keys()
    for section, blocks in stored.items():
        assert found[section] == blocks, f"{section}: {STORED.name} is written anew by tests/unit/resolved.py"


def test_published_figures_name_their_source_and_are_percentages() -> None:
    figures = [figure for table in CONFIG.tables.values() for row in table.rows for figure in row.reference_results]
    assert figures
    for figure in figures:
        assert figure.source.strip()
        known = [value for value in (figure.paper, figure.released) if value is not None]
        assert known
        # Percentages: a fraction of 1 in their place would be a hundred times too small.
        least = 0.5 if figure.metric.startswith("fpr95") else 1
        assert all(least < value <= 100 for value in known)


def test_every_published_figure_is_shown_and_every_source_is_named() -> None:
    with open(CATALOG / "references.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    counted = {block.reference for block in CONFIG.remeasured.values()}
    with open(CATALOG / "published_mma.csv", newline="") as stream:
        others = {row["source"] for row in csv.DictReader(stream)}
    assert {row["source"] for row in rows} | counted | others == set(CONFIG.references)
    assert len(set(CONFIG.references.values())) == len(CONFIG.references)
    assert {row["result"] for row in rows} == {r.reference for t in CONFIG.tables.values() for r in t.rows} - {None}


def test_photographs_on_request_have_no_address() -> None:
    asked = {name for d in DATASETS.values() if isinstance(d, DbStructDataset) for name in d.image_sources}
    assert asked == {"pittsburgh250k", "tokyo247_database", "tokyo247_queries", "tokyotm"}
    assert {SOURCES[name].access for name in asked} == {"request"}


def test_revisited_and_classic_share_their_images() -> None:
    assert DATASETS["roxford5k"].images == DATASETS["oxford5k"].images
    assert DATASETS["rparis6k"].images == DATASETS["paris6k"].images


def test_fire_is_searched_like_how() -> None:
    config = CONFIG
    fire, how = config.methods["fire_n1000"], config.methods["how_r50-_n1000"]
    names = {"features", "codebook"}
    assert fire.model_dump(exclude=names) == how.model_dump(exclude=names)
    assert fire.codebook.model_dump(exclude={"features"}) == how.codebook.model_dump(exclude={"features"})
    for name in (fire.features, fire.codebook.features):
        assert config.features[name].image_size == 1024
    assert config.features[fire.features].scales == (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)


def test_figures_of_a_leaking_whitening_say_so() -> None:
    leaking = [source for name, source in SOURCES.items() if name.startswith("pitts_WPCA")]
    assert len(leaking) == 3
    assert all("learned from the test database of Pitts30k" in source.note for source in leaking)


def test_all_networks_of_netvlad_are_searched_alike() -> None:
    config = CONFIG
    names = [name for name, block in config.methods.items() if "netvlad" in name and block.search != "rerank"]
    assert len(names) >= 20
    for name in names:
        method = config.methods[name]
        features = config.features[method.features]
        assert (method.search, method.top_k, features.scales) == ("euclidean", None, (1.0,))
        assert Lineage(config).ranked(name, "tokyo247") == 240
        assert features.resize == ((480, 640) if name.startswith("patch_") else None)
        whitening = config.models[features.model].whitening
        assert method.dim is None or method.dim < whitening


def test_published_curves_are_whole() -> None:
    """35 runs at 1 to 10 pixels on both kinds of sequences and on all, which lie between the two and rise."""
    with open(CATALOG / "published_mma.csv", newline="") as stream:
        figures = {(row["result"], row["metric"]): float(row["value"]) for row in csv.DictReader(stream)}
    results = {result for result, _ in figures}
    assert len(results) == 35
    assert len(figures) == 35 * 10 * 3
    for result in results:
        curves = {kind: [figures[result, f"mma@{t}_{kind}"] for t in range(1, 11)] for kind in ("v", "i", "micro")}
        assert all(curve == sorted(curve) for curve in curves.values())
        for v, i, micro in zip(*curves.values(), strict=True):
            assert abs(micro - (280 * v + 260 * i) / 540) < 2e-3


def test_the_eight_large_sequences_are_left_out_by_name() -> None:
    eight = [
        "i_contruction",
        "i_crownnight",
        "i_dc",
        "i_pencils",
        "i_whitebuilding",
        "v_artisans",
        "v_astronautis",
        "v_talent",
    ]
    assert sorted(DATASETS["hpatches_sequences"].exclude) == eight
    assert DATASETS["hpatches_sequences_116"].exclude == ()
    assert DATASETS["hpatches_sequences"].counts == {"database": 108 * 6}
    assert DATASETS["hpatches_sequences_116"].counts == {"database": 116 * 6}


@pytest.mark.parametrize(("name", "ranked"), [("table8", "gem_sfm120k_r101"), ("table8_listed", "hndesc_lists")])
def test_table_8_has_the_settings_of_the_original(name: str, ranked: str) -> None:
    """docs/table8.md: features of table 9, 100 images of Oxford and Paris and all of Tokyo, 5 pixels, no ratio test."""
    table, other = CONFIG.tables[name], CONFIG.tables["table9"]
    assert table.on_demand
    assert {column.dataset for column in table.columns} == {"roxford5k", "rparis6k", "tokyo247"}
    before, *rows = table.rows
    assert before.method == ranked
    assert [row.label for row in rows] == [row.label for row in other.rows]
    assert not any(row.reference_results for row in table.rows)
    for row, localised in zip(rows, other.rows, strict=True):
        for dataset, first in (("roxford5k", 100), ("rparis6k", 100), ("tokyo247", None)):
            (used,) = row.methods_on(dataset)
            method = CONFIG.methods[used]
            assert (method.ranking, method.first, method.threshold) == (*before.methods_on(dataset), first, 5.0)
            assert method.match == type(method.match)()
            assert method.features == CONFIG.methods[localised.method].features


def test_table_9_has_the_settings_of_the_original() -> None:
    """docs/table9.md: lists of HNDesc, at most 4096 keypoints of 1024 pixels, no ratio test, limits of its COLMAP."""
    table = CONFIG.tables["table9"]
    assert table.on_demand
    assert {column.dataset for column in table.columns} == {"aachen_v11_hndesc"}
    assert [column.metric for column in table.columns] == [f"{name}_{c}" for c in ("day", "night") for name in WITHIN]
    # None was published.
    assert not any(row.reference_results for row in table.rows)
    for row in table.rows:
        method = CONFIG.methods[row.method]
        features = CONFIG.features[method.features]
        assert (features.max_features, features.image_size, features.reading) == (4096, 1024, "hndesc")
        assert (method.pairs, method.map_pairs, method.keypoint_origin) == ("listed", "listed", "centre")
        assert method.match.mutual
        assert (method.match.ratio, method.match.max_distance) == (None, None)
        assert (method.verify_error, method.min_pair_inliers) == (4.0, 15)
        assert (method.reprojection_error, method.max_error, method.two_view_points) == (12.0, 20.0, False)
        assert (method.min_inliers, method.min_inlier_ratio) == (4, 0.05)
    superpoint = CONFIG.models["superpoint"]
    assert (superpoint.nms_radius, superpoint.keypoint_threshold) == (3, 0.005)


def test_table_9_ranked_differs_in_pairs_only() -> None:
    rows, others = CONFIG.tables["table9"].rows, CONFIG.tables["table9_ranked"].rows
    pairs = {"pairs", "map_pairs", "ranking"}
    assert [row.label for row in rows] == [row.label for row in others]
    for row, other in zip(rows, others, strict=True):
        one, two = CONFIG.methods[row.method], CONFIG.methods[other.method]
        assert one.model_dump(exclude=pairs) == two.model_dump(exclude=pairs)
        assert (two.pairs, two.map_pairs, two.top_k, two.map_neighbours) == ("ranked", "nearest", 20, 20)


def test_scenes_have_every_detector_with_several_descriptors() -> None:
    table = CONFIG.tables["table9_scenes"]
    assert table.on_demand
    assert {column.dataset for column in table.columns} == {"fountain_p11", "herz_jesus_p8"}
    used = [CONFIG.features[CONFIG.methods[row.method].features] for row in table.rows]
    found = {(block.detector_model or block.detector, block.described_as()) for block in used}
    assert len(found) == len(table.rows)
    for detector in ("sift", "r2d2_wasf", "superpoint"):
        assert {"hndesc_caps", "hndesc_r2d2", "r2d2_wasf"} <= {what for name, what in found if name == detector}
    assert {CONFIG.datasets[name].query_list for name in ("fountain_p11", "herz_jesus_p8")} == {None}


def test_methods_behind_weights_that_allow_no_commercial_use():
    """R2D2, SuperPoint and FIRe; not those under the MIT licence, and not those without weights."""
    found = Lineage(CONFIG).restricted_behind((method, "any") for method in CONFIG.methods)
    assert set(found["sequences_r2d2"].values()) == {"CC BY-NC-SA 3.0"}
    assert "no commercial use" in next(iter(found["fire_n1000"].values()))
    assert "sequences_superpoint" in found
    assert not {"sequences_sift", "hardnet_plusplus"} & set(found)
    assert all(forbids_commerce(SOURCES[name].licence) for weights in found.values() for name in weights)
