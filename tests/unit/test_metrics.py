"""The revisited metric beyond the goldens, and the file of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.errors import DataError
from descbench.metrics.intervals import bootstrap_interval
from descbench.metrics.revisited import CLASSIC_SETUPS, compute_ap, compute_map, setup_scores
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import read_scores
from descbench.retrieval.ranking import PartInfo, ranking_writer


def plain_ap(ranked, ok, junk):
    """Average precision from the definition: drop junk from the ranking, then the trapezoid rule."""
    kept = [image for image in ranked if image not in junk]
    hits, ap = 0, 0.0
    for position, image in enumerate(kept):
        if image in ok:
            before = hits / position if position else 1.0
            hits += 1
            ap += (before + hits / (position + 1)) / 2 / len(ok)
    return ap


@given(
    st.permutations(range(15)),
    st.sets(st.integers(0, 20), min_size=1, max_size=6),
    st.sets(st.integers(0, 20), max_size=6),
)
def test_ap_of_any_ranking(ranked, ok, junk):
    junk = junk - ok
    result = compute_map(np.array(ranked)[:, None], [{"ok": sorted(ok), "junk": sorted(junk)}])
    assert result.map == pytest.approx(plain_ap(ranked, ok, junk), abs=1e-12)
    assert result.map == result.aps[0]
    assert 0 <= result.map <= 1 + 1e-12


def test_perfect_ranking_scores_one():
    assert compute_ap([0, 1, 2], 3) == 1.0
    scores = setup_scores(np.array([[3, 0, 1]]).T, [{"ok": [0, 3], "junk": []}], CLASSIC_SETUPS)
    assert list(scores) == [""]
    assert (scores[""].map, scores[""].aps.tolist(), scores[""].precisions.tolist()) == (1.0, [1.0], [[1.0] * 3])


def test_positives_that_were_never_retrieved_score_zero():
    result = compute_map(np.array([[5, 6]]).T, [{"ok": [0], "junk": [5]}])
    assert result.map == 0
    assert result.precisions.tolist() == [[0, 0, 0]]


def test_no_query_with_positives_gives_nan():
    result = compute_map(np.array([[5, 6], [6, 5]]).T, [{"ok": [], "junk": [5]}, {"ok": []}])
    assert np.isnan([result.map, *result.aps, *result.mean_precisions]).all()


def write(folder, image_ids, truth):
    image_ids = np.array(image_ids)
    first = min(0, int(image_ids.min()))
    info = PartInfo(first, int(image_ids.max()) - first + 1, {})
    with ranking_writer(folder / "r.h5", info, np.arange(len(image_ids)), image_ids.shape[1]) as writer:
        writer.write(0, image_ids, -np.arange(image_ids.size, dtype=float).reshape(image_ids.shape))
    write_ground_truth(truth, folder / "gt.json")
    score_ranking(folder / "r.h5", folder / "gt.json", folder / "s.json")
    return read_scores(folder / "s.json")


def test_scores_of_the_revisited_protocol(tmp_path):
    truth = GroundTruth("revisited", ({"easy": (0,), "hard": (1,), "junk": (2,)}, {"easy": (), "hard": (2,)}))
    scores = write(tmp_path, [[2, 0, 1, -1], [-1, 2, 0, 1]], truth)
    assert (scores.family, scores.protocol, scores.num_queries) == ("retrieval", "revisited", 2)
    setups = ("easy", "medium", "hard")
    names = {f"{m}_{s}" for m in ("map", "mp@1", "mp@5", "mp@10") for s in setups}
    assert set(scores.metrics) == set(scores.per_query) == names
    assert scores.metrics["map_easy"].value == 1.0
    assert scores.per_query["map_easy"] == [1.0, None]
    assert scores.per_query["map_medium"] == [1.0, 0.25]
    medium = scores.metrics["map_medium"]
    assert (medium.value, medium.interval, medium.unit, medium.direction) == (0.625, "bootstrap", "fraction", "higher")
    assert (medium.low, medium.high) == bootstrap_interval([1.0, 0.25]) == (0.25, 1.0)
    assert scores.per_query["mp@5_medium"] == [1.0, 0.5]
    assert scores.metrics["mp@5_medium"].value == 0.75


def test_scores_of_the_classic_protocol(tmp_path):
    scores = write(tmp_path, [[1, 0]], GroundTruth("classic", ({"ok": (0,), "junk": (1,)},)))
    assert {name: metric.value for name, metric in scores.metrics.items()} == dict.fromkeys(
        ("map", "mp@1", "mp@5", "mp@10"), 1.0
    )
    assert scores.per_query["map"] == [1.0]


def test_a_ranking_of_some_of_the_images_is_told(tmp_path):
    """Right images that it does not hold count as not found."""
    truth = GroundTruth("classic", ({"ok": (0, 3)},))
    assert write(tmp_path, [[0, 1, 2, 3]], truth).warnings == []
    info = PartInfo(0, 4, {})
    with ranking_writer(tmp_path / "r.h5", info, np.arange(1), 2) as writer:
        writer.write(0, np.array([[0, 1]]), np.array([[1.0, 0.5]]))
    score_ranking(tmp_path / "r.h5", tmp_path / "gt.json", tmp_path / "s.json")
    scores = read_scores(tmp_path / "s.json")
    assert scores.warnings == ["rankings hold 2 of 4 images, the others count as not found"]
    assert scores.metrics["map"].value < 1


def test_a_dataset_without_ground_truth_has_no_scores(tmp_path):
    with pytest.raises(DataError, match=r"gt\.json: this dataset has no ground truth.*r\.h5"):
        write(tmp_path, [[1, 0]], None)
    assert not (tmp_path / "s.json").exists()


def test_a_ranking_of_other_queries_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"ranks 1 queries, but .* labels queries 0 to 1"):
        write(tmp_path, [[1, 0]], GroundTruth("classic", ({"ok": (0,)}, {"ok": (1,)})))
