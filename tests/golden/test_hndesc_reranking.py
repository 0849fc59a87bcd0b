"""HNDesc's retrieval: lists of neighbours, inliers of their first images, the new order, and what it scores."""

from __future__ import annotations

import json
import math
import pickle
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import golden_files

from descbench.config.datasets import DbStructDataset
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.datasets.positions import Positions, label_places
from descbench.features.store import ShardInfo, ShardWriter
from descbench.matching.inlier_counts import read_inlier_counts
from descbench.matching.match_shortlist import Shortlists, match_shortlist
from descbench.matching.matcher import MatchSettings
from descbench.matching.rerank_shortlist import rerank_shortlist, reranked
from descbench.metrics.places import find_first_hits, first_of_each_panorama
from descbench.metrics.revisited import setup_scores
from descbench.retrieval.import_ranking import import_ranking
from descbench.retrieval.published_lists import ImagesByName, read_published_list
from descbench.retrieval.ranking import read_ranking

# Below so many inliers homographies agree by chance, as another OpenCV finds others.
CHANCE = 10
RERANKING = golden_files("hndesc", "retrieval_rerank*.json")


@pytest.fixture(params=RERANKING, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(request.param.with_suffix(".npz")) as arrays:
        return json.loads(request.param.read_text()), dict(arrays)


def test_order(golden) -> None:
    """Of the original's counts; equal ones keep the order they had."""
    arrays = golden[1]
    for query, counts in enumerate(arrays["inliers_topk"]):
        before = arrays["initial_ranks"][:, query]
        order, scores = reranked(counts, len(before))
        assert before[order].tolist() == arrays["reranked_stable"][:, query].tolist()
        assert (np.diff(scores) < 0).all()
        assert np.floor(scores[: len(counts)]).tolist() == sorted(counts, reverse=True)


def write_features(path: Path, names: list[str], arrays: dict[str, np.ndarray]) -> Path:
    dim = arrays[f"{names[0]}_descs"].shape[1]
    with ShardWriter(path, ShardInfo("local", "f" * 64, path.name, "", "cpu"), dim) as writer:
        for image, name in enumerate(names):
            ratio = (arrays[f"{name}_original_size"] / arrays[f"{name}_new_size"]).astype(np.float32)
            writer.add(image, arrays[f"{name}_descs"], (arrays[f"{name}_kpts"] + np.float32(0.5)) * ratio)
    return path


def test_from_a_list_to_a_new_ranking(golden, tmp_path: Path) -> None:
    case, arrays = golden
    roles = {"query": case["q_images"], "database": case["db_images"]}
    rows = [row for role, names in roles.items() for row in rows_of(role, [f"town/jpg/{name}.jpg" for name in names])]
    write_manifest(Manifest(tuple(rows)), tmp_path / "town.csv")
    listed = {key: [f"/there/jpg/{name}.jpg" for name in case[key]] for key in ("q_images", "db_images")}
    (tmp_path / "list.pkl").write_bytes(pickle.dumps(listed | {"ranks": arrays["initial_ranks"]}))
    before, after, counts = (tmp_path / f"{name}.h5" for name in ("before", "after", "counts"))
    import_ranking(tmp_path / "list.pkl", tmp_path / "town.csv", before)
    assert read_ranking(before).image_ids.tolist() == arrays["initial_ranks"].T.tolist()
    features = [[write_features(tmp_path / f"{role}.h5", names, arrays)] for role, names in roles.items()]
    topk = int(arrays["topk"])
    match_shortlist(Shortlists(before, topk), *features, counts, MatchSettings())
    found = read_inlier_counts(counts)
    ours, theirs = found.inliers.reshape(-1, topk), arrays["inliers_topk"]
    sure = np.maximum(ours, theirs) > CHANCE
    assert sure.any()
    assert (np.abs(ours - theirs)[sure] <= 1).all()
    rerank_shortlist(before, [counts], after, first=topk)
    for query, ids in enumerate(read_ranking(after).image_ids):
        ranked = arrays["initial_ranks"][:, query]
        assert ids.tolist() == ranked[reranked(ours[query], len(ranked))[0]].tolist()
        if (ours[query] == theirs[query]).all():
            assert ids.tolist() == arrays["reranked_stable"][:, query].tolist()


def test_scores(golden) -> None:
    case, arrays = golden
    for key, name in (("before", "initial_ranks"), ("after_stable_ties", "reranked_stable")):
        found = setup_scores(arrays[name], case["gnd"], kappas=case["kappas"])
        assert ",".join(suffix[1].upper() for suffix in found) == case["order"]
        # A setup for which no query has anything right has none.
        expected = np.array(case[key]["mAP"], float)
        np.testing.assert_allclose(np.array([result.map for result in found.values()], float), expected, rtol=1e-12)
        precisions = [result.mean_precisions for result in found.values()]
        np.testing.assert_allclose(np.array(precisions, float), np.array(case[key]["mPatk"], float), rtol=1e-12)


@pytest.mark.parametrize("path", golden_files("hndesc", "tokyo_shortlist*.mat"), ids=lambda path: path.stem)
def test_lists_of_tokyo(path: Path) -> None:
    wanted = json.loads(path.with_suffix(".json").read_text())
    found = read_published_list(path)
    named = [[f"{found.images[place][:-4]}.jpg" for place in ranked] for ranked in found.ranks]
    assert dict(zip(found.queries, named, strict=True)) == wanted
    everything = list(dict.fromkeys(name for names in wanted.values() for name in names))
    known = ImagesByName(rows_of("database", [f"tokyo247/images/{name[:-4]}.png" for name in everything]))
    assert {f"{name[:-4]}.jpg" for name in found.images} == set(everything)
    for name in found.images:
        assert known.find(name) == everything.index(f"{name[:-4]}.jpg")


@pytest.mark.parametrize("path", golden_files("hndesc", "recall_utm*.npz"), ids=lambda path: path.stem)
def test_recall_by_position(path: Path) -> None:
    with np.load(path) as arrays:
        golden = dict(arrays)
    places = Positions(golden["utm_db"], golden["utm_q"], str(path))
    # Of a panorama; two of them may stand at one place.
    views = math.gcd(*(len(list(run)) for _, run in groupby(golden["utm_db"].tolist())))
    block = {"format": "dbstruct", "struct": "s.mat", "images": "i", "queries": "q"}
    for key, size in (("recall_plain", None), ("recall_unique_pano", views)):
        rule = DbStructDataset(**block, radius=float(golden["threshold_m"]), views_per_panorama=size)
        labels = label_places(places, rule)
        assert [len(positives) for positives in labels.positives] == golden["n_positives"].tolist()
        ranks = find_first_hits(golden["predictions"], labels, complete=False).ranks
        recalls = [np.mean((ranks > 0) & (ranks <= n)) for n in golden["n_values"]]
        np.testing.assert_allclose(recalls, golden[key], rtol=1e-12)
    for ranked, reduced in zip(golden["predictions"], golden["predictions_unique_pano"], strict=True):
        kept = reduced[reduced >= 0]
        assert first_of_each_panorama(ranked, views)[: len(reduced)].tolist() == kept.tolist()
