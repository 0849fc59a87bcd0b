"""Rankings of published lists, and their first images matched, through the workflow's own rules on a tiny town."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import option_looks as look
import pytest
from in_process import Bench, merged
from scipy.io import savemat

from descbench.config.load import load_config_files
from descbench.datasets.manifest import read_manifest
from descbench.errors import ConfigError
from descbench.matching.inlier_counts import read_inlier_counts
from descbench.plan import Plan
from descbench.retrieval.ranking import read_ranking

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 60, "image_size": 96}
TOWN = {
    "sources": {name: {"local_copy": name} for name in ("near.pkl", "less.pkl", "streets.mat")},
    "features": {"sift": SIFT, "few": {**SIFT, "max_features": 50, "region": 9.0}},
    "methods": {
        "lists": {"search": "listed", "files": {"alderford": "near.pkl", "streets_test": "streets.mat"}},
        "own_near": {"search": "rerank", "ranking": "own", "features": "sift", "first": 6},
        "listed_near": {"search": "rerank", "ranking": "lists", "features": "sift", "first": 6},
    },
}


def write_lists(bench: Bench) -> None:
    """The ranking of method ``own`` as HNDesc's lists have it, half of it, and one of streets as NetVLAD's."""
    found = read_ranking(bench.folder / "results/rankings/own/alderford.h5")
    listed = read_manifest(bench.folder / "results/manifests/alderford.csv")
    names = {f"{key}_images": [f"/theirs/{Path(row.path).name}" for row in listed.of_role(role).rows]
             for key, role in (("q", "query"), ("db", "database"))}  # fmt: skip
    for name, length in (("near.pkl", None), ("less.pkl", 7)):
        (bench.folder / name).write_bytes(pickle.dumps({**names, "ranks": found.image_ids.T[:length]}))
    streets = read_manifest(bench.folder / "results/manifests/streets_test.csv")
    queries, places = streets.of_role("query").rows, [row.path for row in streets.of_role("database").rows]
    entries = np.empty((1, len(queries)), [("query", object), ("nearest", object)])
    for number, row in enumerate(queries):
        cells = np.empty((1, 8), object)
        cells[0] = [str(Path(path).with_suffix(".png")) for path in np.roll(places, number)[:8]]
        entries[0, number] = row.path, cells
    savemat(bench.folder / "streets.mat", {"ImgList": entries})


@pytest.fixture(scope="module")
def town(base) -> Bench:
    """A bench where everything was made once."""
    bench = base.copy("reranking")
    bench.make("results/manifests/streets_test.csv")
    write_lists(bench)
    ran = bench.make(*(f"results/scores/{name}/alderford.json" for name in TOWN["methods"]), overlay=TOWN)
    assert [ran.count(rule) for rule in ("import_ranking", "match_shortlist", "rerank_shortlist")] == [1, 6, 2]
    return bench


def ranking(bench: Bench, method: str, dataset: str = "alderford"):
    return read_ranking(bench.folder / f"results/rankings/{method}/{dataset}.h5", f"{method} on {dataset}")


@pytest.mark.parametrize(
    ("rule", "method", "features", "role"),
    [
        ("search_flat", "own", "own", "database"),
        ("search_flat", "own", "own", "query"),
        ("match_shortlist", "own_near", "sift", "database"),
        ("match_shortlist", "own_near", "sift", "query"),
    ],
)
def test_features_of_other_images_are_refused(town, rule, method, features, role):
    """Settings and weights are the right ones."""
    bench = town.copy(f"images-{rule}-{method}-{role}")
    other = "query" if role == "database" else "database"
    files = [f"results/features/{features}/alderford/{name}/00000.h5" for name in (role, other)]
    told = bench.refused(*files, f"results/scores/{method}/alderford.json", rule=rule, overlay=TOWN)
    assert re.search(rf"ERROR {files[0]}: .*the list of images changed", told)


def test_a_list_stands_in_for_a_search(town):
    """The same order gives the same scores; both are re-ranked alike."""
    assert ranking(town, "lists").image_ids.tolist() == ranking(town, "own").image_ids.tolist()
    assert ranking(town, "listed_near").image_ids.tolist() == ranking(town, "own_near").image_ids.tolist()
    provenance = {
        name: json.loads((town.folder / f"results/provenance/{name}/alderford.json").read_text())
        for name in TOWN["methods"]
    }
    assert set(provenance["lists"]["sources"]) == set(provenance["listed_near"]["sources"]) == {"near.pkl"}
    assert provenance["own_near"]["sources"] == {}
    assert set(provenance["listed_near"]["configuration"]["methods"]) == {"listed_near", "lists"}
    digests = {name: record["features"]["features"] for name, record in provenance.items()}
    assert digests["own_near"] == digests["listed_near"] != digests["lists"]
    # A table finds scores again by what they were made of.
    config = load_config_files(*(town.folder / f"{name}.yaml" for name in ("config/config", "bench", "overlay")))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(town.folder)
        cells = [(name, "alderford") for name in TOWN["methods"]]
        assert [found.method for found in Plan(config).on_disk.find_scores(cells)] == list(TOWN["methods"])


def test_the_first_are_in_the_order_of_their_inliers(town):
    before, after = ranking(town, "own"), ranking(town, "own_near")
    parts = [read_inlier_counts(town.folder / f"results/inliers/own_near/alderford/0000{n}.h5") for n in range(3)]
    for row, part in enumerate(parts):
        assert part.pairs.tolist() == [[row, image] for image in before.image_ids[row, :6].tolist()]
        inliers = dict(zip(part.pairs[:, 1].tolist(), part.inliers.tolist(), strict=True))
        assert after.image_ids[row, :6].tolist() == sorted(inliers, key=lambda image: -inliers[image])
        assert after.image_ids[row, 6:].tolist() == before.image_ids[row, 6:].tolist()
    assert sum(part.inliers.sum() for part in parts) > 0


def check_lines(bench: Bench, method: str, dataset: str) -> None:
    """Lines of a page connect the inliers that were counted, for the first images that have any."""
    folder = bench.folder / "results"
    counts = {}
    for path in sorted((folder / f"inliers/{method}/{dataset}").glob("*.h5")):
        part = read_inlier_counts(path)
        counts |= dict(zip(map(tuple, part.pairs.tolist()), part.inliers.tolist(), strict=True))
    text, ranked = look.text(folder / f"pages/{method}/{dataset}.html"), ranking(bench, method, dataset)
    legend = re.search(r'<p id="legend">(.*?)</p>', text, re.S)[1]
    assert "one homography of both explains, within 5 pixels" in legend
    drawn = 0
    for query, section in re.findall(r'<section id="query-(\d+)"(.*?)</section>', text, re.S):
        first = ranked.image_ids[int(query), :8].tolist()
        expected = [n for image in first if (n := counts.get((int(query), image)))][:2]
        drawings = section.split('<figure class="lines">')[1:]
        numbers = [int(number) for number in re.findall(r"<br/>(\d+) inliers?<br/>", section)]
        told = [counts[int(query), image] for image in first if (int(query), image) in counts]
        # A page of places has five, one of each panorama.
        assert numbers == told if method == "own_near" else numbers and not Counter(numbers) - Counter(told)
        found = [int(re.search(r"(\d+) inliers of query", drawing)[1]) for drawing in drawings]
        assert found == expected[: len(found)]
        assert len(found) == len(expected) or method != "own_near"
        assert [drawing.count("<line ") for drawing in drawings] == [min(n, 60) for n in found]
        drawn += len(drawings)
    assert drawn > 0


def test_the_page_has_lines_between_the_inliers_that_were_counted(town):
    target = "results/pages/own_near/alderford.html"
    assert town.make(target, overlay=TOWN) == ["show_ranking"]
    check_lines(town, "own_near", "alderford")
    # Of other methods there are none.
    other = "results/pages/own/alderford.html"
    assert "show_ranking" in town.make(other, overlay=TOWN)
    text = look.text(town.folder / other)
    assert not any(part in text for part in ('<figure class="lines">', '<p id="legend">', "inlier<", "inliers<"))


def test_lines_are_of_the_shortlist_alone(town):
    """Of one image a query, what stands behind it was never matched."""
    bench = town.copy("reranking-one")
    target = "results/pages/own_near/alderford.html"
    bench.make(target, overlay=merged(TOWN, {"methods": {"own_near": {"first": 1}}}))
    text = look.text(bench.folder / target)
    assert set(re.findall(r"<figcaption>\d+ inliers? with (\d+)\.", text)) == {"1"}


def test_shards_change_nothing(town):
    """With three images of each query, all queries are one shard; the counts are those of three shards."""
    bench = town.copy("reranking-shards")
    overlay = merged(TOWN, {"methods": {"own_near": {"first": 3}}})
    ran = bench.make("results/rankings/own_near/alderford.h5", overlay=overlay, anew=["match_shortlist"])
    assert ran == ["match_shortlist", "rerank_shortlist"]
    whole = read_inlier_counts(bench.folder / "results/inliers/own_near/alderford/00000.h5")
    parts = [read_inlier_counts(town.folder / f"results/inliers/own_near/alderford/0000{n}.h5") for n in range(3)]
    assert whole.inliers.tolist() == [count for part in parts for count in part.inliers[:3].tolist()]


@pytest.mark.parametrize(
    ("method", "key", "value", "anew"),
    [
        ("lists", "files", {"alderford": "less.pkl"}, "import_ranking"),
        ("own_near", "ranking", "own_asmk", "match_shortlist"),
        ("own_near", "features", "few", "extract_features"),
        ("own_near", "first", 2, "match_shortlist"),
        ("own_near", "first", None, "match_shortlist"),
        ("own_near", "match", {"n": 20}, "match_shortlist"),
        ("own_near", "threshold", 0.2, "match_shortlist"),
    ],
)
def test_keys_change_rankings(town, method, key, value, anew):
    changed = town.copy(f"reranking-{method}-{key}-{value}".replace("/", "-"))
    target = f"results/rankings/{method}/alderford.h5"
    assert anew in changed.make(target, overlay=merged(TOWN, {"methods": {method: {key: value}}}), anew=[anew])
    assert look.ranks(changed.folder / target) != look.ranks(town.folder / target)


def test_places_and_distractors(town):
    """Recall of a list of places, and distractors that are matched too."""
    bench = town.copy("reranking-places")
    overlay = merged(TOWN, {"methods": {"own_near": {"first": None}}})
    overlay["datasets"] = {"both": {"format": "with_distractors", "base": "alderford", "distractors": "noise"}}
    bench.make(
        "results/scores/listed_near/streets_test.json",
        "results/scores/own_near/both.json",
        "results/pages/lists/streets_test.html",
        "results/pages/listed_near/streets_test.html",
        "results/pages/own_near/both.html",
        overlay=overlay,
    )
    page = (bench.folder / "results/pages/own_near/both.html").read_text()
    assert "Distractors and 14 images were searched" in page
    assert "sorted by AP medium" in page
    listed, after = ranking(bench, "lists", "streets_test"), ranking(bench, "listed_near", "streets_test")
    assert listed.image_ids[1].tolist() == np.roll(np.arange(16), 1)[:8].tolist()
    assert np.sort(after.image_ids[:, :6]).tolist() == np.sort(listed.image_ids[:, :6]).tolist()
    scores = look.content(bench.folder / "results/scores/listed_near/streets_test.json")
    assert {"recall@1", "recall@5"} <= set(scores["metrics"])
    check_lines(bench, "listed_near", "streets_test")
    assert '<figure class="lines">' not in look.text(bench.folder / "results/pages/lists/streets_test.html")
    assert sorted(ranking(bench, "own_near", "both").image_ids[0].tolist()) == list(range(-4, 14))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"own_near": {"features": "own"}}, "local matching needs local features, 'own' are global"),
        ({"own_near": {"match": {"n": 61}}}, "raise `max_features`"),
        ({"own_near": {"ranking": "pixels"}, "pixels": {"describe": "pixels"}}, "'pixels' ranks no images"),
        ({"own_near": {"ranking": "listed_near"}, "listed_near": {"ranking": "own_near"}}, "rests on itself"),
        ({"own_near": {"ranking": "nobody"}}, "there is no 'nobody' in section `methods`"),
        ({"lists": {"files": {"alderford": "one.pth"}}}, r"'one\.pth' ends in none of \.pkl, \.mat"),
        ({"lists": {"files": {"photos_noise": "near.pkl"}}}, "has no images of its own"),
        ({"sv": {"search": "verify", "ranking": "own_near"}}, "does not rank by visual words"),
    ],
)
def test_methods_that_cannot_be(town, tmp_path, change: dict[str, Any], message):
    import yaml

    path = tmp_path / "change.yaml"
    path.write_text(yaml.safe_dump(merged(TOWN, {"methods": change})))
    with pytest.raises(ConfigError, match=message):
        load_config_files(town.folder / "config/config.yaml", town.folder / "bench.yaml", path)


def test_datasets_without_a_list(town):
    """A table cannot show them, and a target that asks for them is refused with a sentence."""
    with pytest.raises(SystemExit, match="names no list of nearest neighbours for dataset 'swapped'"):
        town.copy("reranking-without").jobs("results/rankings/listed_near/swapped.h5", overlay=TOWN)
    rows = [{"label": "near", "method": "listed_near"}]
    columns = [{"dataset": "swapped", "metric": "map_hard", "label": "H"}]
    overlay = merged(TOWN, {"tables": {"beside": {"columns": columns, "rows": rows}}})
    with pytest.raises(SystemExit, match="no list of 'swapped' is in `files`"):
        town.copy("reranking-table").jobs("results/beside.csv", overlay=overlay)
