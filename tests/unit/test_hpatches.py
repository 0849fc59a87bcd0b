"""HPatches' metrics against the plain forms of them, with ties; scores of patch sets."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.plain import hpatches as plain
from drawn_patches import photo_labels, photo_set
from hypothesis import given, settings
from hypothesis import strategies as st

from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.hpatches_tasks import Listed, Retrieval, Split, Verification, draw_retrieval, draw_verification
from descbench.datasets.patch_sets import PatchLabels
from descbench.errors import DataError
from descbench.metrics.compare import compare_scores
from descbench.metrics.fpr95 import fpr95
from descbench.metrics.hpatches_curves import count_hits, precision_recall, roc
from descbench.metrics.hpatches_distances import NOISES, prepared
from descbench.metrics.hpatches_matching import score_matching
from descbench.metrics.hpatches_retrieval import score_retrieval
from descbench.metrics.hpatches_verification import score_verification, stable_order
from descbench.metrics.patch_curves import RECALLS, read_curves
from descbench.metrics.remarks import rule_of, why_missing
from descbench.metrics.score_patches import Fpr95, HPatches, score_patches
from descbench.metrics.scores import read_scores

TEST, TRAIN = ("i_a", "v_b", "v_c"), ("i_d", "v_e")
SPLIT = Split("a", TEST, TRAIN)
POOLS = (5, 6, 8, 20, 60, 1000)
close = np.testing.assert_allclose
seeds = st.integers(0, 2**32 - 1)
distances = st.sampled_from(["L2", "L1", "masked_L1"])


def made(seed: int, kind: str, dim: int = 4) -> dict[str, np.ndarray]:
    """Descriptors (16, N, D) of all sequences: small whole numbers, which often tie, or unit vectors, or huge ones."""
    random = np.random.default_rng(seed)
    found = {}
    for name in (*TEST, *TRAIN):
        base = random.normal(size=(1, int(random.integers(12, 25)), dim))
        array = base + random.normal(size=(16, *base.shape[1:])) * np.linspace(0, 1.5, 16)[:, None, None]
        if kind == "ties":
            array = np.rint(array)
        if kind == "unit":
            array /= np.linalg.norm(array, axis=2, keepdims=True)
        if kind == "huge":
            array *= 1e15
        found[name] = array.astype(np.float32)
    return found


def lists(descriptors: dict[str, np.ndarray], count: int = 60) -> tuple[Verification, Retrieval]:
    lengths = {name: array.shape[1] for name, array in descriptors.items()}
    contrasts = {name: np.full(length, 20.0) for name, length in lengths.items()}
    return draw_verification(SPLIT, lengths, count), draw_retrieval(SPLIT, contrasts, 8, 30)


kinds = st.sampled_from(["ties", "unit", "huge"])


@settings(max_examples=30, deadline=None)
@given(seed=seeds, kind=kinds, distance=distances)
def test_verification(seed, kind, distance):
    descriptors = made(seed, kind)
    pairs, _ = lists(descriptors)
    found, expected = score_verification(descriptors, pairs, distance), plain.verification(descriptors, pairs, distance)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        for name, value in values.items():
            close(getattr(found[key], name).mean, value, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, kind=kinds, distance=distances)
def test_matching(seed, kind, distance):
    descriptors = made(seed, kind)
    found = score_matching(descriptors, TEST, distance)
    expected = plain.matching(descriptors, TEST, distance)
    close(np.stack([found.ap, found.success, found.matlab_ap], -1), expected, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, kind=kinds, distance=distances)
def test_retrieval(seed, kind, distance):
    descriptors = made(seed, kind)
    _, queries = lists(descriptors)
    found = score_retrieval(descriptors, queries, distance, POOLS)
    areas, averages = plain.retrieval(descriptors, queries, POOLS, distance)
    close(found.ap, areas, rtol=0, atol=1e-9)
    close(found.matlab_ap, averages, rtol=0, atol=1e-9)


@pytest.mark.parametrize("distance", ["L1", "L2"])
def test_a_distractor_as_near_as_a_positive_is_not_nearer(distance):
    """Copies of positives as distractors score as if they were a little farther away."""
    random = np.random.default_rng(11)
    own = random.normal(size=(16, 40, 61)).astype(np.float32)
    own[2:] = own[1]
    queries = draw_retrieval(SPLIT, {name: np.full(40, 20.0) for name in (*TEST, *TRAIN)}, 30, 100)
    queried = queries.queries.sequences == queries.queries.names.index("i_a")
    found = []
    for farther in (1.0, 1.00001):
        others = np.repeat((own[0] + farther * (own[1].astype(float) - own[0]))[None], 16, axis=0).astype(np.float32)
        if farther == 1:
            others[:] = own[1]
        descriptors = {name: own if name == "i_a" else others for name in (*TEST, *TRAIN)}
        found.append(score_retrieval(descriptors, queries, distance, POOLS).ap[queried])
    assert 0.05 < found[0].mean() < 0.95
    close(*found, rtol=0, atol=1e-9)


def test_retrieval_of_nearly_equal_distances():
    """Distractors that differ from a positive by less than float32 products can tell."""
    random = np.random.default_rng(3)
    base = random.normal(size=32)
    close_by = (base + 1e-6 * random.normal(size=(16, 40, 32))).astype(np.float32)
    descriptors = {name: np.roll(close_by, 7 * number, axis=1) for number, name in enumerate((*TEST, *TRAIN))}
    _, queries = lists(descriptors)
    areas, averages = plain.retrieval(descriptors, queries, POOLS)
    found = score_retrieval(descriptors, queries, "L2", POOLS)
    assert 0.05 < areas.mean() < 0.95
    close(found.ap, areas, rtol=0, atol=1e-9)
    close(found.matlab_ap, averages, rtol=0, atol=1e-9)


def test_matlabs_pool_is_the_first_distractors_of_the_list():
    descriptors = made(1, "unit")
    _, queries = lists(descriptors)
    first = {key: getattr(queries.distractors, key)[:9] for key in ("sequences", "images", "patches")}
    fewer = Retrieval(queries.queries, Listed(TEST, **first))
    found = score_retrieval(descriptors, queries, "L2", POOLS, matlab_distractors=9)
    close(found.matlab_ap, plain.retrieval(descriptors, fewer, POOLS)[1], rtol=0, atol=1e-9)
    assert not np.allclose(found.matlab_ap, score_retrieval(descriptors, queries, "L2", POOLS).matlab_ap)


@pytest.mark.parametrize("pools", [(4,), (20, 10), (10, 10)])
def test_pools_that_are_none(pools):
    descriptors = made(1, "unit")
    with pytest.raises(ValueError, match="pools of"):
        score_retrieval(descriptors, lists(descriptors)[1], "L2", pools)


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.booleans(), min_size=1, max_size=30),
    more=st.integers(0, 5),
    seed=seeds,
)
def test_curves_with_ties_and_what_is_never_retrieved(labels, more, seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 4, len(labels)).astype(float)
    scores[random.random(len(labels)) < 0.1] = -np.inf
    labels = np.array(labels).astype(int)
    for positives in (None, int(labels.sum()) + more):
        counts = count_hits(scores, labels, positives)
        expected = plain.curve(scores, labels, positives)
        assert counts.tp.tolist() == expected[0].tolist()
        assert counts.fp.tolist() == expected[1].tolist()
        assert (counts.positives, counts.negatives) == expected[2:]
        close(precision_recall(scores, labels, positives).ap, plain.pr(scores, labels, positives), rtol=0, atol=1e-12)
    close(roc(scores, labels).auc, plain.auc(scores, labels), rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 300), levels=st.integers(1, 200), seed=seeds)
def test_stable_order(count, levels, seed):
    values = np.random.default_rng(seed).integers(-levels, levels, count) / 3
    assert stable_order(values).tolist() == np.argsort(values, kind="stable").tolist()


def test_the_example_of_the_page():
    """Right, wrong, right: 0.7917 by the trapezoid rule, where the classical average precision is 0.8333."""
    scores, labels = [3.0, 2.0, 1.0], [1, 0, 1]
    close(precision_recall(scores, labels).ap, 0.791666666, atol=1e-8)
    close(plain.classical(scores, labels), 0.833333333, atol=1e-8)


@pytest.mark.parametrize(
    ("scores", "labels", "positives"),
    [([1.0, np.nan], [0, 1], None), ([1.0], [0, 1], None), ([1.0, 2.0], [1, 1], 1)],
)
def test_samples_that_make_no_curve(scores, labels, positives):
    with pytest.raises(ValueError, match=r"do not fit|are listed"):
        count_hits(np.array(scores), np.array(labels), positives)


def test_unknown_distances_and_masks_are_refused():
    with pytest.raises(DataError, match="distance 'L3' is unknown; use one of L2, L1, masked_L1"):
        prepared({}, "L3")
    with pytest.raises(DataError, match="i_a: descriptors of 3 dimensions are not descriptors with a mask"):
        prepared({"i_a": np.zeros((16, 2, 3))}, "masked_L1")


# --- Scores files --------------------------------------------------------------


def strip_labels(count: int) -> PatchLabels:
    views = np.repeat(np.arange(16), count)
    return PatchLabels(np.tile(np.arange(count), 16), views, STRIPS, np.empty((0, 2), np.int64), np.empty(0, np.uint8))


def flat(descriptors: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, PatchLabels]]:
    arrays = {name: array.reshape(-1, array.shape[2]) for name, array in descriptors.items()}
    return arrays, {name: strip_labels(array.shape[1]) for name, array in descriptors.items()}


def test_fpr95_of_parts(tmp_path):
    descriptors, labels = photo_set(1, 0.5)
    score_patches(descriptors, labels, Fpr95(), tmp_path / "s.json", cell="m on brown", digest="d")
    scores = read_scores(tmp_path / "s.json", "m on brown")
    assert (scores.family, scores.protocol, scores.num_queries, scores.labels) == ("patches", "fpr95", 120, "d")
    assert scores.facts.pop("not_paired").startswith("the threshold is another")
    curves = read_curves({"curves": scores.facts.pop("curves")}, "s.json")
    assert scores.facts == {"queries": "pairs", "parts": ["quay", "mill"], "positives": [30, 30], "negatives": [30, 30]}
    assert scores.metrics.keys() == {"fpr95_quay", "fpr95_mill"}
    for start, name in ((0, "quay"), (60, "mill")):
        a, b = descriptors[name][labels[name].pairs].transpose(1, 0, 2).astype(float)
        metric = scores.metrics[f"fpr95_{name}"]
        assert metric.value == fpr95(np.linalg.norm(a - b, axis=1), labels[name].matches)
        assert metric.low <= metric.value <= metric.high
        assert curves[name].false_positives[RECALLS.index(95)] == (metric.value, metric.low, metric.high)
        assert (metric.direction, metric.unit, metric.chance) == ("lower", "fraction", 0.95)
        values = scores.per_query[f"fpr95_{name}"]
        assert {i for i, value in enumerate(values) if value is not None} == set(range(start + 30, start + 60))
    first = (tmp_path / "s.json").read_bytes()
    score_patches(descriptors, labels, Fpr95(), tmp_path / "s.json", cell="m on brown", digest="d")
    assert (tmp_path / "s.json").read_bytes() == first
    assert scores.warnings == []
    level = {name: array if name == "quay" else np.zeros_like(array) for name, array in descriptors.items()}
    score_patches(level, labels, Fpr95(), tmp_path / "level.json")
    assert read_scores(tmp_path / "level.json").warnings == [
        "all descriptors of mill are equal; check the weights or the files"
    ]
    # Another model on the same pairs is compared pair by pair.
    score_patches(*photo_set(2, 3.0), Fpr95(), tmp_path / "t.json", digest="d")
    lines = compare_scores(scores, read_scores(tmp_path / "t.json"))
    assert [line.split()[0] for line in lines] == ["metric", "fpr95_quay", "fpr95_mill"]
    assert all(line.endswith("lower") for line in lines[1:])


def test_hpatches_of_a_split(tmp_path):
    descriptors = made(4, "unit", dim=8)
    pairs, queries = lists(descriptors, 200)
    protocol = HPatches(SPLIT, pairs, queries, pools=(10, 20))
    score_patches(*flat(descriptors), protocol, tmp_path / "s.json")
    scores = read_scores(tmp_path / "s.json")
    expected = {"matching", "verification", "retrieval"}
    expected |= {f"matlab_{task}" for task in expected}
    for noise in NOISES:
        expected |= {f"matching_{noise}", f"matching_{noise}_success", f"retrieval_{noise}"}
        expected |= {f"retrieval_{noise}@{pool}" for pool in (10, 20)}
        expected |= {f"verification_{noise}_{kind}_{area}" for kind in ("inter", "intra") for area in ("ap", "auc")}
    assert scores.metrics.keys() == scores.per_query.keys() == scores.weights.keys() == expected
    assert scores.num_queries == 3
    values = {name: metric.value for name, metric in scores.metrics.items()}
    verified = plain.verification(descriptors, pairs)
    assert values["verification"] == pytest.approx(
        np.mean([part["imbalanced_ap"] for part in verified.values()]), abs=1e-9
    )
    assert values["verification_hard_inter_auc"] == pytest.approx(verified["hard", "inter"]["balanced_auc"], abs=1e-9)
    areas, averages = plain.retrieval(descriptors, queries, (10, 20))
    assert values["retrieval"] == pytest.approx(areas.mean(), abs=1e-9)
    assert values["retrieval_tough@20"] == pytest.approx(areas[:, 2, 1].mean(), abs=1e-9)
    assert values["matlab_retrieval"] == pytest.approx(averages.mean(), abs=1e-9)
    # One sequence of illumination weighs as much as two of viewpoint.
    each = plain.matching(descriptors, TEST)[..., 0].mean(axis=(1, 2))
    assert values["matching"] == pytest.approx((each[0] + each[1:].mean()) / 2, abs=1e-9)
    assert values["matching_easy"] == pytest.approx(plain.matching(descriptors, TEST)[:, 0, :, 0].mean(), abs=1e-9)
    for metric in scores.metrics.values():
        assert metric.low <= metric.value + 1e-9
        assert metric.value <= metric.high + 1e-9
        assert metric.direction == "higher"
    # Without its lists a task is left out; PCA needs the sequences to train on, and changes what is found.
    score_patches(*flat(descriptors), HPatches(SPLIT, None, None, normalisation="pca_power"), tmp_path / "t.json")
    other = read_scores(tmp_path / "t.json")
    assert {name.split("_")[0] for name in other.metrics} == {"matching", "matlab"}
    assert other.facts["normalisation"] == "pca_power"
    assert other.metrics["matching"].value != values["matching"]
    # The MATLAB benchmark's normalisation has metrics of its kind alone.
    protocols = [HPatches(SPLIT, pairs, queries, "L2", "matlab_zca", clipped, (10, 20)) for clipped in (0.25, 0.6)]
    for protocol, name in zip(protocols, ("u.json", "w.json"), strict=True):
        score_patches(*flat(descriptors), protocol, tmp_path / name)
    clipped, more = (read_scores(tmp_path / name) for name in ("u.json", "w.json"))
    assert clipped.metrics.keys() == {"matlab_verification", "matlab_matching", "matlab_retrieval"}
    assert (clipped.facts["implementation"], clipped.facts["normalisation"]) == ("matlab", "matlab_zca")
    assert clipped.metrics["matlab_matching"].value != values["matlab_matching"]
    # Curves are of the list behind `verification`, so the MATLAB benchmark has none.
    curves = read_curves(scores.facts, "s.json")
    assert list(curves) == [f"{noise} {kind}" for kind in ("inter", "intra") for noise in NOISES]
    found = score_verification(prepared({name: descriptors[name] for name in TEST}, "L2"), pairs)["hard", "intra"]
    count, middle = len(found.before), RECALLS.index(50)
    assert curves["hard intra"].false_positives[middle][0] == found.before[-(-count // 2) - 1] / found.wrong
    assert clipped.facts["curves"] == {}
    assert "in MATLAB alone" in why_missing("matching", clipped)
    assert why_missing("matlab_matching", clipped) is None
    assert rule_of("walls", clipped).endswith("benchmark in MATLAB.")
    assert clipped.metrics["matlab_matching"].value != more.metrics["matlab_matching"].value


def broken(change) -> tuple[dict, dict]:
    descriptors, labels = flat(made(4, "unit"))
    change(descriptors, labels)
    return descriptors, labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, _: d.update(i_a=d["i_a"][1:]), r"part i_a: descriptors of shape \(\d+, 4\) for \d+ patches"),
        (lambda d, _: d.update(v_b=d["v_b"][:, :3]), "part v_b: descriptors of 3 dimensions, those of i_a have 4"),
        (
            lambda d, _: d["v_c"].__setitem__((5, 1), np.nan),
            "part v_c: the descriptor of patch 5 holds NaN or infinity",
        ),
        (lambda d, _: d.pop("v_c"), "descriptors of i_a, v_b, i_d, v_e are not of the labelled parts"),
        (lambda d, p: (d.pop("v_c"), p.pop("v_c")), "sequence v_c of split 'a' has no descriptors"),
        (
            lambda d, p: p.update(v_c=photo_labels(np.zeros(len(d["v_c"]), np.int64), np.empty((0, 2), np.int64))),
            "part v_c is not a sequence of HPatches: its views are all",
        ),
    ],
)
def test_descriptors_that_do_not_fit_are_refused(tmp_path, change, message):
    pairs, queries = lists(made(4, "unit"))
    with pytest.raises(DataError, match=message):
        score_patches(*broken(change), HPatches(SPLIT, pairs, queries), tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_too_few_pairs_are_refused(tmp_path):
    descriptors = made(4, "unit")
    pairs, queries = lists(descriptors, 4)
    with pytest.raises(DataError, match="split 'a' lists 4 right pairs for verification; with fewer than 5"):
        score_patches(*flat(descriptors), HPatches(SPLIT, pairs, queries), tmp_path / "s.json")
    pairs, _ = lists(descriptors, 5)
    score_patches(*flat(descriptors), HPatches(SPLIT, pairs, queries), tmp_path / "s.json")
    # One right pair is in the list, so two of three sequences have nothing in the metric.
    assert read_scores(tmp_path / "s.json").per_query["verification"].count(None) == 2


def test_a_part_without_wrong_pairs_is_refused(tmp_path):
    descriptors, labels = photo_set(1, 0.1)
    labels["mill"] = photo_labels(labels["mill"].points, labels["mill"].pairs[:30])
    with pytest.raises(DataError, match="part mill: 30 of 30 test pairs match; both kinds are needed"):
        score_patches(descriptors, labels, Fpr95(), tmp_path / "s.json")
