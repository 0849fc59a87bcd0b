"""Options that no one value shows: refusals, several keys that only work together, and one real run of many."""

from __future__ import annotations

import pickle
import shutil
import tarfile

import numpy as np
import option_lists as lists
import option_looks as look
import pytest
from in_process import HERE, RefusedError, merged
from PIL import Image
from plain_scores import plain_map

from descbench.datasets.manifest import read_manifest
from descbench.metrics.scores import read_scores
from descbench.retrieval.ranking import read_ranking


@pytest.mark.parametrize("features", ["own", "own_local"])
def test_truncated_images(base, features):
    bench = base.copy(f"truncated-{features}")
    random = np.random.default_rng(0)
    (bench.folder / "cut").mkdir()
    photo = bench.folder / "cut/a.jpg"
    Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(photo)
    photo.write_bytes(photo.read_bytes()[:-900])
    overlay = {"datasets": {"cut": {"format": "folder", "database": "cut"}}}
    target = f"results/features/{features}/cut/database/00000.h5"
    with pytest.raises(RefusedError, match=r"a\.jpg.*truncated_images: read"):
        bench.make(target, overlay=overlay)
    bench.make(target, overlay=merged(overlay, {"features": {features: {"truncated_images": "read"}}}))
    assert look.descriptors(bench.folder / target)


@pytest.mark.parametrize("method", ["own", "own_asmk"])
def test_cut_photographs_from_the_file_to_the_table(base, method):
    """A query that cannot be read is missed, and both it and an image are counted in scores and table."""
    bench = base.copy(f"cut-{method}")
    photos = bench.folder / "data/datasets/toytown/test/alderford/jpg"
    for name in ("alderford_query_001.jpg", "alderford_0004.jpg"):
        content = (photos / name).read_bytes()
        (photos / name).unlink()
        (photos / name).write_bytes(content[: len(content) // 2])
    patient = {"features": {name: {"on_bad_image": "skip"} for name in ("own", "own_local")}}
    row = {"label": "ours", "method": method}
    table = {"tables": {"cut": {**base.config["tables"]["beside"], "synthetic": True, "rows": [row]}}}
    bench.make("results/cut.csv", overlay=merged(patient, table), anew=["extract_features"])
    scores = read_scores(bench.folder / f"results/scores/{method}/alderford.json")
    assert (scores.unreadable_queries, scores.unreadable_images) == (1, 1)
    aps = scores.per_query["map_medium"]
    assert aps[1] == 0 < min(aps[0], aps[2])
    assert scores.metrics["map_medium"].value == pytest.approx(sum(aps) / 3)
    text = (bench.folder / "results/cut.md").read_text()
    assert f"{method} on alderford: 1 unreadable queries count as missed." in text
    assert f"{method} on alderford: 1 unreadable images are never found." in text


def test_tables_lead_to_the_pages_that_are_there(base):
    """One that is made later has the next run write the Markdown anew, and nothing else of the table changes."""
    bench, target, page = base.copy("links"), "results/beside.csv", "results/pages/own_asmk/alderford.html"
    bench.make(target)
    markdown, before = bench.folder / "results/beside.md", (bench.folder / target).read_bytes()
    plain = markdown.read_text()
    assert "](" not in plain
    bench.make(page)
    assert bench.make(target) == ["build_table"]
    linked = markdown.read_text()
    assert "](pages/own_asmk/alderford.html)" in linked
    assert (markdown.parent / "pages/own_asmk/alderford.html").is_file()
    assert (bench.folder / target).read_bytes() == before
    assert bench.planned(target) == {}
    (bench.folder / page).unlink()
    assert bench.make(target) == ["build_table"]
    assert markdown.read_text() == plain


@pytest.mark.parametrize("name", ["how", "netvlad"])
def test_mixed_precision_changes_nothing_on_the_cpu(base, name):
    target = f"results/checkpoints/{name}.pt"
    plain, mixed = base.copy(f"plain-{name}"), base.copy(f"mixed-{name}")
    plain.make(target, overlay=lists.TRAININGS)
    mixed.make(target, overlay=merged(lists.TRAININGS, {"training": {name: {"amp": True}}}))
    assert look.weights(plain.folder / target) == look.weights(mixed.folder / target)


def test_another_folder_and_a_town_of_other_sizes(base):
    bench = base.copy("town")
    split = {"panoramas": 9, "queries": 6}
    streets = {"width": 80, "height": 60, "yaws": 3, "train": split, "val": split, "test": split}
    town = {
        "width": 112,
        "height": 80,
        "cities": ["alderford", "brackwell"],
        "landmarks_per_city": 2,
        "database_per_city": 9,
    }
    town |= {"queries_per_city": 4, "clusters": 7, "images_per_cluster": 5, "streets": streets}
    overlay = {"toytown": town, "data_dir": "other"}
    bench.make("results/manifests/streets_test.csv", overlay=overlay, anew=["build_manifest"])
    folder = bench.folder / "other/datasets/toytown"
    images = folder / "test/brackwell/jpg"
    assert {Image.open(path).size for path in images.iterdir()} == {(112, 80)}
    assert {path.name for path in (folder / "test").iterdir()} == {"alderford", "brackwell"}
    truth = pickle.loads((folder / "test/brackwell/gnd_brackwell.pkl").read_bytes())
    assert (len(truth["qimlist"]), len(truth["imlist"])) == (4, 9)
    # Queries of one building share their positives, so that there are as many different sets as buildings.
    assert len({tuple(sorted([*g["easy"], *g["hard"], *g["junk"]])) for g in truth["gnd"]}) <= 2
    splits = pickle.loads((folder / "train/retrieval-SfM-120k/retrieval-SfM-120k.pkl").read_bytes())
    clusters = [cluster for part in splits.values() for cluster in part["cluster"]]
    assert (len(set(clusters)), len(clusters)) == (7, 7 * 5)
    manifest = read_manifest(bench.folder / "results/manifests/streets_test.csv")
    assert (len(manifest.of_role("database")), len(manifest.of_role("query"))) == (9 * 3, 6)
    assert {Image.open(bench.folder / "other/datasets" / row.path).size for row in manifest.rows} == {(80, 60)}


def test_datasets_need_what_their_blocks_name(base):
    """Lists before the manifest, images before features; a drawn town where it says so."""
    bench = base.copy("needs")
    (bench.folder / "names.txt").write_text("a.png\nb.png\n")
    with tarfile.open(bench.folder / "pack.tar", "w") as pack:
        for name in ("a.png", "b.png"):
            pack.add(bench.folder / "photos/database" / name, name)
    overlay = {
        "sources": {
            "names.txt": {"local_copy": "names.txt", "unpack": {"to": "packed"}},
            "pack.tar": {"local_copy": "pack.tar", "unpack": {"to": "packed/images"}},
        },
        "datasets": {
            "packed": {
                "format": "image_list",
                "list": "packed/names.txt",
                "images": "packed/images",
                "sources": ["names.txt"],
                "image_sources": ["pack.tar"],
                "counts": {"database": 2},
            }
        },
    }
    features = "results/features/own/packed/database/00000.h5"
    ran = bench.make("results/manifests/packed.csv", overlay=overlay)
    assert ran == ["download_source", "unpack_source", "build_manifest"]
    assert not (bench.folder / "data/datasets/packed/images").exists()
    assert {"download_source", "unpack_source", "extract_features"} <= set(bench.make(features, overlay=overlay))
    assert (bench.folder / "data/datasets/packed/images/b.png").is_file()
    (bench.folder / "data/datasets/toytown.json").unlink()
    lists_only = {"datasets": {"alderford": {"generator": None}}}
    target = "results/manifests/alderford.csv"
    assert bench.make(target, overlay=lists_only, anew=["build_manifest"]) == ["build_manifest"]
    assert "draw_toytown" in bench.make(target, anew=["build_manifest"])


def test_many_options_in_one_real_run(workplace, tmp_path):
    """Snakemake itself: idf, multiple assignment, half precision, distractors, a source of one's own."""
    work = workplace.folder
    lists.write_inputs(work)
    (work / "tiny_networks.py").write_text((HERE / "tiny_networks.py").read_text())
    with tarfile.open(tmp_path / "noise.tar", "w") as pack:
        for number in range(4):
            pack.add(work / f"data/datasets/noise/{number}.png", f"{number}.png")
    overlay = {
        "keep_raw": False,
        "backend": "winograd",
        "sources": {"noise.tar": {"local_copy": str(tmp_path / "noise.tar"), "unpack": {"to": "apart"}}},
        "datasets": {
            "noise": {
                "format": "image_list",
                "list": "noise.txt",
                "images": "apart",
                "image_sources": ["noise.tar"],
                "counts": {"database": 4},
                "shard_size": 3,
            },
            "both": {"format": "with_distractors", "base": "alderford", "distractors": "noise"},
        },
        "models": {
            "own": {"architecture": "custom", "factory": "tiny_networks:whole"},
            "own_local": {"architecture": "custom", "factory": "tiny_networks:parts"},
        },
        "features": {
            "own": {"kind": "global", "model": "own", "image_size": 64, "dtype": "float16"},
            "own_local": {
                "kind": "local",
                "model": "own_local",
                "image_size": 96,
                "max_features": 40,
                "dtype": "float16",
            },
        },
        "methods": {
            "flat": {"search": "inner_product", "features": "own", "dim": 6, "top_k": 9},
            "asmk": {
                "search": "asmk",
                "features": "own_local",
                "n": 20,
                "codebook": {"features": "own_local", "dataset": "toytown_sfm", "size": 16},
                "index": {"multiple_assignment": 2},
                "query": {"multiple_assignment": 3, "top_k": 11},
                "idf": {"use_idf": True},
            },
        },
    }
    workplace.run("--cores", "2", *(f"results/scores/{m}/both.json" for m in ("flat", "asmk")), overlay=overlay)
    assert not (work / "data/raw/noise.tar").exists()
    assert (tmp_path / "noise.tar").is_file()
    for method, length in (("flat", 9), ("asmk", 11)):
        ranking = read_ranking(work / f"results/rankings/{method}/both.h5")
        assert ranking.image_ids.shape == (3, length)
        assert ranking.image_ids.min() < 0
        parts = sorted(
            p.relative_to(work / f"results/rankings/{method}/both")
            for p in work.glob(f"results/rankings/{method}/both/*/*.h5")
        )
        assert [str(part) for part in parts] == [
            "alderford/00000.h5",
            "alderford/00001.h5",
            "noise/00000.h5",
            "noise/00001.h5",
        ]
        # The labels are those of the base.
        labels = work / "results/manifests"
        shutil.copy(labels / "alderford.gt.json", labels / "both.gt.json")
        found = look.content(work / f"results/scores/{method}/both.json")["metrics"]["map_medium"]["value"]
        expected = plain_map(work / "results", method, "both", ("easy", "hard"), ("junk",))
        assert found == pytest.approx(expected, abs=1e-12)
    for features in ("own", "own_local"):
        shard = work / f"results/features/{features}/noise/database/00001.h5"
        assert look.backend(shard) == "winograd"
        assert look.is_half(shard)
    assert min(look.idf(work / "results/indexes/asmk/both.statistics.h5")) >= 0


@pytest.mark.parametrize("method", ["own", "own_asmk"])
def test_the_length_of_a_ranking_is_that_of_the_protocol(base, method):
    """Places are ranked as deep as recall needs; average precision needs all images, and a method may say otherwise."""
    bench = base.copy(f"ranked-{method}")

    def lengths(dataset, **overlay):
        jobs = bench.jobs(
            f"results/rankings/{method}/{dataset}.h5", overlay=overlay, anew=["search_flat", "search_index"]
        )
        params = [job.params for job in jobs if job.rule.name in ("search_flat", "search_index", "merge_rankings")]
        assert len(params) >= 2
        return {p["top_k"] if "top_k" in p.keys() else p["query"]["top_k"] for p in params}  # noqa: SIM118

    assert lengths("streets_test") == {240}
    assert lengths("alderford") == {None}
    own = {"top_k": 7} if method == "own" else {"query": {"top_k": 7}}
    assert lengths("streets_test", methods={method: own}) == {7}
