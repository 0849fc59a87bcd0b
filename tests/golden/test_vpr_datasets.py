"""Place recognition against what the originals gave: official lists, labels, recall.

What each file holds: docs/protocols/places.md, What was checked.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import HERE, arrays_like, golden_cases, golden_files

from descbench.choices.recall import RankedPlaces, every_view
from descbench.config.datasets import DbStructDataset
from descbench.datasets.build import build_manifest
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.datasets.places import PlaceLabels, read_places, write_places
from descbench.datasets.positions import Positions, label_places
from descbench.features.store import ShardInfo, ShardWriter
from descbench.metrics.places import first_of_each_panorama
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import Scores, read_scores
from descbench.retrieval.flat import search_flat
from descbench.retrieval.ranking import read_ranking

SYSTEM = "vpr_datasets"
PARTS = 3


def files(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in golden_files(SYSTEM, pattern)]


def third_party(name: str) -> Any:
    """Real ground truth of Patch-NetVLAD, which the project does not ship."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "golden"
    folders = [Path(os.environ.get("DESCBENCH_GOLDEN_DIR", HERE)), beside]
    found = next((f / SYSTEM / name for f in folders if (f / SYSTEM / name).is_file()), None)
    if found is None:
        original = name.replace("_gt.npz", ".npz")
        pytest.skip(
            f"no {name} in {' or '.join(str(folder / SYSTEM) for folder in folders)}: ground truth published with "
            "Patch-NetVLAD and not shipped with this project (Nordland's was in no folder at hand when the tests were "
            f"written). To run this test, put patchnetvlad/dataset_gt_files/{original} of QVPR/Patch-NetVLAD (GitHub) "
            f"there under the name {name}."
        )
    return np.load(found)


def dbstruct(path: Path, **more: Any) -> DbStructDataset:
    return DbStructDataset(format="dbstruct", struct=path.name, images="all", queries="all/queries_real", **more)


def built(path: Path, folder: Path, **more: Any) -> tuple[Manifest, PlaceLabels]:
    """Manifest and labels of a .mat file, through the stage that writes them."""
    manifest, labels = folder / "m.csv", folder / "m.gt.json"
    build_manifest("golden", dbstruct(path, **more), path.parent, manifest, labels)
    return read_manifest(manifest), read_places(labels)


def write_features(folder: Path, name: str, vectors: np.ndarray, parts: int = PARTS) -> list[Path]:
    paths = []
    edges = np.linspace(0, len(vectors), parts + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(edges.tolist())):
        paths.append(folder / f"{name}{number}.h5")
        with ShardWriter(paths[-1], ShardInfo("global", "f" * 64, name, "a" * 64, "cpu"), vectors.shape[1]) as writer:
            for image in range(start, stop):
                writer.add(image, vectors[image : image + 1])
    return paths


def scored(
    folder: Path, database: np.ndarray, queries: np.ndarray, labels: PlaceLabels, top_k: int
) -> tuple[np.ndarray, Scores]:
    """Ranked ids, and the scores, by the stages of a flat search."""
    ranking, truth, scores = folder / "r.h5", folder / "gt.json", folder / "s.json"
    shards = write_features(folder, "q", queries, 1), write_features(folder, "d", database)
    search_flat(*shards, ranking, measure="euclidean", top_k=top_k)
    write_places(labels, truth)
    score_ranking(ranking, truth, scores)
    return read_ranking(ranking).image_ids, read_scores(scores)


def values(scores: Scores) -> dict[str, float | None]:
    return {name: metric.value for name, metric in scores.metrics.items()}


def agree(scores: Scores, expected: dict[str, float], conditions: Sequence[str] = (), condition: str = "") -> None:
    """Near ties of float32 distances may fall either way: two queries may differ.

    Depths that tables do not have are taken from the first hits. Queries go through the conditions in turn.
    """
    found, hits = values(scores), np.array([hit or 0 for hit in scores.facts["first_hit"]])
    suffix = ""
    if condition:
        hits, suffix = hits[conditions.index(condition) :: len(conditions)], f"_{condition}"
    for depth, value in expected.items():
        within = np.mean((hits > 0) & (hits <= int(depth)))
        assert found.get(f"recall@{depth}{suffix}", within) == pytest.approx(within, abs=1e-12)
        assert within == pytest.approx(value, abs=2 / len(hits) + 1e-12)


# --- official lists ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", files("pitts*_mini_*.mat"))
def test_pittsburgh_list(path: Path, tmp_path: Path) -> None:
    golden = json.loads(path.with_suffix(".json").read_text())
    manifest, labels = built(path, tmp_path, counts={"database": golden["numDb"], "query": golden["numQ"]})
    database, queries = (manifest.of_role(role).rows for role in ("database", "query"))
    assert [row.path for row in database[:3]] == [f"all/{name}" for name in golden["dbImage_first3"]]
    assert [row.path for row in queries[:3]] == [f"all/queries_real/{name}" for name in golden["qImage_first3"]]
    assert labels.radius == golden["posDistThr"]
    assert list(map(list, labels.positives)) == golden["eval_positives"]
    nontrivial = golden["nontrivial_positives"]
    usable = [query for query, found in enumerate(labels.training_positives) if found]
    assert usable == golden["queries_kept"]
    # The original lists them for the queries it keeps, or for all.
    chosen = range(len(queries)) if len(nontrivial) == len(queries) else usable
    assert [list(labels.training_positives[query]) for query in chosen] == nontrivial
    negatives = [np.delete(np.arange(len(database)), found) for found in labels.positives]
    assert [len(ids) for ids in negatives] == golden["num_potential_negatives"]
    assert [int(ids.sum()) for ids in negatives] == golden["potential_negatives_sum"]
    # Limits are inclusive: where a panorama stands at exactly a limit of the file, it is in.
    places = np.array([(row.easting, row.northing) for row in database])
    limits = (golden["posDistThr"] ** 2, labels.positives), (golden["nonTrivPosDistSqThr"], labels.training_positives)
    for query, row in enumerate(queries):
        squares = ((places - (row.easting, row.northing)) ** 2).sum(1)
        for limit, listed in limits:
            assert set(np.flatnonzero(squares == limit)) <= set(listed[query])


@pytest.mark.parametrize("path", files("pitts*_mini_*.mat"))
def test_recall_of_the_small_list(path: Path, tmp_path: Path) -> None:
    golden = json.loads(path.with_suffix(".json").read_text())
    features = np.load(path.with_name(f"{path.stem}_features.npz"))
    _, labels = built(path, tmp_path)
    expected = np.array(golden["predictions"])
    ids, scores = scored(tmp_path, features["db"], features["q"], labels, expected.shape[1])
    same_up_to_near_ties(ids, expected, features["db"], features["q"])
    if np.array_equal(ids, expected):
        known = {name: value for n, value in golden["recall"].items() if (name := f"recall@{n}") in values(scores)}
        assert values(scores).items() >= known.items()
    agree(scores, golden["recall"])
    assert scores.facts["queries_without_positive"] == sum(not found for found in golden["eval_positives"])


@pytest.mark.parametrize("path", files("tokyoTM_mini_*.mat"))
def test_tokyo_time_machine_list(path: Path, tmp_path: Path) -> None:
    golden = json.loads(path.with_suffix(".json").read_text())
    _, labels = built(path, tmp_path, positives="matlab", exclude_same_time=True)
    assert list(map(list, labels.positives)) == golden["eval_positives_0based"]
    assert list(map(list, labels.training_positives)) == golden["nontrivial_positives_0based"]
    assert list(labels.database_times) == golden["dbTimeStamp"]
    assert list(labels.query_times) == golden["qTimeStamp"]
    _, without_times = built(path, tmp_path)
    assert without_times.positives == labels.positives
    times = labels.database_times, labels.query_times
    listed = [(query, image) for query, found in enumerate(without_times.training_positives) for image in found]
    if any(times[0][image] == times[1][query] for query, image in listed):
        assert without_times.training_positives != labels.training_positives
    assert without_times.database_times == ()


# --- real geometry -----------------------------------------------------------------------------


def run_lengths(rows: np.ndarray) -> dict[int, int]:
    """How many runs of equal consecutive rows have which length."""
    changes = np.flatnonzero((np.diff(rows, axis=0) != 0).any(1)) + 1
    lengths, counts = np.unique(np.diff([0, *changes, len(rows)]), return_counts=True)
    return dict(zip(lengths.tolist(), counts.tolist(), strict=True))


def labelled(name: str, **block: Any) -> tuple[Any, PlaceLabels]:
    truth = third_party(f"{name}_gt.npz")
    dataset = dbstruct(Path("x.mat"), **block)
    positions = Positions(truth["utmDb"], truth["utmQ"], name)
    return truth, label_places(positions, dataset, radius=float(truth["posDistThr"]))


def statistics() -> list[Any]:
    found = golden_cases(SYSTEM, "gt_statistics*.json", lambda path: json.loads(path.read_text()).items())
    return [pytest.param(*(case or (path.name, {})), id=f"{path.stem}-{(case or [''])[0]}") for path, case in found]


@pytest.mark.parametrize(("name", "expected"), statistics())
def test_statistics_of_real_ground_truth(name: str, expected: dict[str, Any]) -> None:
    truth, labels = labelled(name)
    assert (len(truth["utmDb"]), len(truth["utmQ"])) == (expected["numDb"], expected["numQ"])
    assert labels.radius == expected["posDistThr"]
    assert len(np.unique(truth["utmDb"], axis=0)) == expected["unique_db_positions"]
    assert len(np.unique(truth["utmQ"], axis=0)) == expected["unique_query_positions"]
    assert labels.without_positive() == expected["queries_without_positive"]
    counts = np.array([len(found) for found in labels.positives])
    found = [counts.min(), np.median(counts), counts.mean(), counts.max()]
    assert found == pytest.approx(expected["positives_min_median_mean_max"], rel=1e-12)
    assert counts.sum() == expected["positives_total"]
    for key, lengths in (("utmDb", "db_run_lengths"), ("utmQ", "q_run_lengths")):
        assert run_lengths(truth[key]) == {int(length): count for length, count in expected[lengths].items()}
    assert [truth["utmDb"].min(0).tolist(), truth["utmDb"].max(0).tolist()] == expected["utm_bounds_db"]
    if "queries_without_positive_within_10m" in expected:
        without = sum(not found for found in labels.training_positives)
        assert without == expected["queries_without_positive_within_10m"]


def pseudo_features(golden: dict[str, Any], truth: Any) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors that are cosines of the position with noise, from the golden's seed; the database is drawn first."""
    random = np.random.RandomState(golden["seed"])
    weights = random.standard_normal((2, golden["dim"])) / golden["scale"]
    phases = random.uniform(0, 2 * np.pi, golden["dim"])
    centre = truth["utmDb"].mean(0)
    made = []
    for places in (truth["utmDb"], truth["utmQ"]):
        waves = np.cos((places - centre) @ weights + phases)
        waves = waves + golden["noise"] * random.standard_normal((len(places), golden["dim"]))
        made.append((waves / np.linalg.norm(waves, axis=1, keepdims=True)).astype(np.float32))
    for key, vectors in zip(("db", "q"), made, strict=True):
        check = golden["feature_check"]
        np.testing.assert_allclose(vectors[0, :4], check[f"{key}0_first4"], atol=1e-6)
        assert vectors.astype(np.float64).sum() == pytest.approx(check[f"{key}_sum"], abs=1e-2)
    return made[0], made[1]


def same_up_to_near_ties(ids: np.ndarray, recorded: np.ndarray, database: np.ndarray, queries: np.ndarray) -> None:
    """Ours is the exact order; the recorded one, of float32 distances, swaps only what their rounding cannot tell."""
    rows, depth = recorded.shape
    products = queries[:rows].astype(np.float64) @ database.T.astype(np.float64)
    norms = (database.astype(np.float64) ** 2).sum(1)
    own = (queries[:rows].astype(np.float64) ** 2).sum(1, keepdims=True)
    distances = own - 2.0 * products + norms
    mine = ids[:rows, :depth]
    assert np.array_equal(mine, np.argsort(distances, axis=1, kind="stable")[:, :depth])
    swapped = mine != recorded
    gaps = np.abs(np.take_along_axis(distances, mine, 1) - np.take_along_axis(distances, recorded, 1))
    # A float32 sum of D terms is off by some root of D halves of a unit in its last place, D at the very worst; there
    # are three such sums, none larger than the largest squared norm, the product doubled.
    largest = max(own.max(), norms.max())
    assert gaps[swapped].max(initial=0) < 4 * database.shape[1] ** 0.5 * largest * np.finfo(np.float32).eps
    assert swapped.sum() <= max(2, 0.01 * swapped.size)


def same_suppressed(
    kept: list[np.ndarray], shown: np.ndarray, database: np.ndarray, queries: np.ndarray, size: int
) -> None:
    """The same panoramas in the same order, but for views and panoramas whose distances float32 cannot tell apart."""
    close = 4 * database.shape[1] ** 0.5 * np.finfo(np.float32).eps
    for query, (mine, theirs) in enumerate(zip(kept, shown, strict=True)):
        mine, theirs = np.asarray(mine), theirs[: len(mine)]
        distances = ((database[np.stack([mine, theirs])].astype(np.float64) - queries[query]) ** 2).sum(-1)
        assert np.abs(distances[0] - distances[1])[mine != theirs].max(initial=0) < close
        assert len(set((mine // size).tolist())) == len(mine)


@pytest.mark.parametrize("path", files("*_recall*.json"))
def test_recall_on_real_geometry(path: Path, tmp_path: Path) -> None:
    golden = json.loads(path.read_text())
    top = np.load(path.with_name(f"{path.stem}_top.npz"))
    panoramas = "recall_pano_nms" in golden
    truth, labels = labelled(golden["dataset"])
    database, queries = pseudo_features(golden, truth)
    depth = max(golden["n_values"])
    # Views of a panorama, and conditions in turn, are those of Tokyo 24/7 where a file says nothing.
    size = golden.get("views_per_panorama", 12) if panoramas else 1
    conditions = [key.removeprefix("recall_pano_nms_") for key in golden if key.startswith("recall_pano_nms_")]
    widest = max(depth, *(top[name].shape[1] for name in top.files))
    ids, scores = scored(tmp_path, database, queries, labels, widest * size)
    for name in arrays_like(top.files, r"top_first\d+"):
        same_up_to_near_ties(ids, top[name], database, queries)
    agree(scores, golden["recall_plain"])
    assert scores.warnings == []
    if not panoramas:
        return
    _, labels = labelled(golden["dataset"], views_per_panorama=size, conditions=conditions)
    write_places(labels, tmp_path / "gt.json")
    score_ranking(tmp_path / "r.h5", tmp_path / "gt.json", tmp_path / "s.json")
    scores = read_scores(tmp_path / "s.json")
    for name in arrays_like(top.files, r"nms_first\d+"):
        shown = top[name]
        kept = [first_of_each_panorama(row, size)[: shown.shape[1]] for row in ids[: len(shown)]]
        same_suppressed(kept, shown, database, queries, size)
    if "lengths_after_pano_nms" in golden:
        lengths = [min(depth, len(first_of_each_panorama(row, size))) for row in ids]
        assert golden["lengths_after_pano_nms"] == [min(lengths), max(lengths)]
    agree(scores, golden["recall_pano_nms"])
    for condition in conditions:
        agree(scores, golden[f"recall_pano_nms_{condition}"], conditions, condition)
    # The choice of the other code bases: every view counts.
    results = RankedPlaces(ids, np.ones(ids.shape, bool), labels, Manifest(()), False)
    found = every_view(results)
    for name in found.keys() & {f"recall@{n}" for n in golden["recall_plain"]}:
        value = golden["recall_plain"][name.removeprefix("recall@")]
        assert found[name] == pytest.approx(value, abs=2 / len(queries) + 1e-12)


def test_golden_lists_are_the_ones_the_real_files_gave(real_data: Path) -> None:
    """The recompressed ground truth of the goldens and the original files hold the same numbers."""
    contents = [json.loads(path.read_text()) for path in golden_files(SYSTEM, "gt_statistics*.json")]
    for name, expected in (item for content in contents for item in content.items()):
        original = real_data / "vpr_gt" / f"{name}.npz"
        if not original.is_file():
            continue
        assert hashlib.sha256(original.read_bytes()).hexdigest() == expected["npz_sha256"]
        truth, real = third_party(f"{name}_gt.npz"), np.load(original)
        assert all(np.array_equal(truth[key], real[key]) for key in ("utmQ", "utmDb", "posDistThr"))
