"""ASMK against what the original package gave (docs/protocols/asmk.md, What was checked)."""

import json
import re

import faiss
import numpy as np
import pytest
from goldens import arrays_like, golden_files, namesake

from descbench.neighbours import _nearest
from descbench.neighbours.kmeans import kmeans, subsample
from descbench.neighbours.nearest import COMPILED, KERNELS, NearestCentroids
from descbench.retrieval.asmk import (
    Aggregated,
    InvertedFile,
    Searcher,
    aggregate,
    codes_to_words,
    distance_table,
    invert,
    words_to_codes,
)
from descbench.retrieval.ranking import rank_scores
from descbench.retrieval.statistics import compute_idf

DEFAULTS = {"similarity_threshold": 0.0, "alpha": 3.0}


@pytest.fixture(
    autouse=True,
    params=[
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name in COMPILED and not _nearest.has_kernel(name),
                reason=f"kernel {name} needs instructions that this processor or build lacks (vnni: AVX-512 VNNI, "
                "avx2: AVX2); run the tests on a machine that has them",
            ),
        )
        for name in KERNELS
    ],
)
def kernel(request, monkeypatch):
    """Everything through every kernel of quantisation."""
    monkeypatch.setenv("DESCBENCH_KERNEL", request.param)


def each(pattern):
    """One test for each golden file of a pattern."""
    return pytest.mark.parametrize("path", golden_files("asmk", pattern), ids=lambda path: path.name)


def offsets_of(image_ids, first, stop):
    return np.searchsorted(image_ids, np.arange(first, stop + 1))


def aggregated(vectors, image_ids, centroids, assignments, binary, first=0, stop=None):
    """Images ``first`` to ``stop`` (None = the last one with a descriptor), quantised and aggregated."""
    stop = int(image_ids.max()) + 1 if stop is None else stop
    words = NearestCentroids(centroids).search(vectors, assignments)
    return aggregate(vectors, words, offsets_of(image_ids, first, stop), centroids, binary=binary)


def queries_of(vectors, image_ids, centroids, assignments, binary):
    """Aggregated queries, one for each id that occurs."""
    renumbered = np.unique(image_ids, return_inverse=True)[1]
    return aggregated(vectors, renumbered, centroids, assignments, binary)


def close_scores(found, expected, tolerance=1e-6):
    """Within a part of the largest score of each row, with NaN in the same places."""
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    largest = np.nanmax(np.abs(expected), axis=1, keepdims=True, initial=0)
    assert (np.nan_to_num(np.abs(found - expected)) <= tolerance * largest).all()


def exact_votes(combo, bits):
    """Whether float32 holds every vote of binary codes exactly, whatever computes the power.

    The similarity is a multiple of 2 / bits; its square and cube have few digits where bits is a power of two. Such
    scores leave rounding no freedom: not in a vote, not in the roots, and sums go by ascending word.
    """
    return combo["binary"] and not combo["use_idf"] and combo["alpha"] in (1, 2, 3) and bits & (bits - 1) == 0


def check_lists(lists: InvertedFile, golden, prefix, idf=None):
    """An inverted file against the state of the original's."""
    assert np.array_equal(lists.counts, golden[f"{prefix}_counts"])
    assert np.array_equal(lists.image_ids, golden[f"{prefix}_ivf_image_ids"])
    assert lists.num_images == golden[f"{prefix}_n_images"]
    np.testing.assert_allclose(lists.image_norms(idf), golden[f"{prefix}_norm_factor"], rtol=1e-6, atol=1e-6)
    if lists.binary:
        assert np.array_equal(codes_to_words(lists.rows), golden[f"{prefix}_ivf_vecs"])
    elif f"{prefix}_ivf_vecs" in golden:
        np.testing.assert_allclose(lists.rows, golden[f"{prefix}_ivf_vecs"], atol=1e-5)


def idf_of(lists, use_idf):
    return compute_idf([(lists.counts, lists.num_images)], len(lists.counts), stale=False)[0] if use_idf else None


@each("kmeans*.npz")
def test_kmeans(path):
    golden = np.load(path)
    case = 0
    while f"X_{case}" in golden:
        points, size = golden[f"X_{case}"], int(golden[f"k_{case}"])
        centroids = kmeans(points, size, iterations=10, seed=1234)
        distances = NearestCentroids(centroids).measure(points, 1)[1]
        assert distances.mean(dtype=np.float64) == pytest.approx(float(golden[f"mean_sq_dist_{case}"]), rel=0.02)
        if str(golden["faiss_version"]) == faiss.__version__:
            np.testing.assert_allclose(centroids, golden[f"centroids_{case}"], atol=1e-4, rtol=1e-4)
            rows = subsample(len(points), size, 1234)
            if rows is not None:
                assert np.array_equal(kmeans(points[rows], size, iterations=10, seed=1234), centroids)
        case += 1
    assert case > 0


@each("packing*.npz")
def test_packing_and_hamming(path):
    golden = np.load(path)
    dims = [int(name.removeprefix("packed_a_")) for name in golden.files if name.startswith("packed_a_")]
    assert dims
    for dim in dims:
        codes = {}
        for side in "ab":
            values = golden[f"{side}_{dim}"]
            # Each vector an image of its own, in the only word, whose centroid is zero: the sum is the vector.
            words = np.zeros((len(values), 1), np.int64)
            images = aggregate(values, words, np.arange(len(values) + 1), np.zeros((1, dim), np.float32), binary=True)
            codes[side] = images.rows
            assert np.array_equal(codes_to_words(images.rows), golden[f"packed_{side}_{dim}"])
            assert np.array_equal(words_to_codes(golden[f"packed_{side}_{dim}"]), images.rows)
        bits = 8 * codes["a"].shape[1]
        hamming = np.bitwise_count(codes["a"][:, None] ^ codes["b"][None]).sum(-1, dtype=np.int64)
        assert np.array_equal(distance_table(bits)[hamming], golden[f"cdist_default_{dim}"])
        assert np.array_equal(distance_table(bits, dim)[hamming], golden[f"cdist_norm_{dim}"])
        assert np.array_equal(kernel_similarities(codes["a"], codes["b"]), 1 - 2 * golden[f"cdist_default_{dim}"])


def kernel_similarities(queries, database):
    """Similarity of all pairs of codes, as the search sees them: one word, every vote counted, no power."""
    lists = InvertedFile(
        np.array([0, len(database)]), np.arange(len(database), dtype=np.uint32), database, 0, len(database)
    )
    searcher = Searcher(lists, similarity_threshold=-1.0, alpha=1.0)
    return searcher.search(Aggregated(queries, np.zeros(len(queries), np.int64), np.arange(len(queries) + 1)))


@each("aggregate*.npz")
def test_quantise_and_aggregate(path):
    golden = np.load(path)
    centroids, quantiser = golden["centroids"], NearestCentroids(golden["centroids"])
    assert np.array_equal(quantiser.search(golden["vecs"], 1), golden["words_ma1"])
    for name in arrays_like(golden.files, r"qwords_ma\d+"):
        ours = quantiser.search(golden["qvecs"], golden[name].shape[1])
        assert np.array_equal(np.sort(ours), np.sort(golden[name]))
    assignments = query_assignments(golden)
    first = golden["qimids"] == golden["qimids"].min()
    cases = [
        ("agg", golden["vecs"], golden["imids"], 1),
        ("q0_agg", golden["qvecs"][first], golden["qimids"][first], assignments),
    ]
    for prefix, vectors, image_ids, assignments in cases:
        start = int(image_ids.min()) if prefix == "q0_agg" else 0
        binary = aggregated(vectors, image_ids, centroids, assignments, True, start)
        floats = aggregated(vectors, image_ids, centroids, assignments, False, start)
        assert np.array_equal(binary.words, golden[f"{prefix}_words"])
        assert np.array_equal(floats.words, golden[f"{prefix}_words"])
        np.testing.assert_allclose(floats.rows, golden[f"{prefix}_vecs_float"], atol=1e-5)
        if f"{prefix}_imids" in golden:
            images = np.repeat(np.arange(start, start + len(binary.offsets) - 1), np.diff(binary.offsets))
            assert np.array_equal(images, golden[f"{prefix}_imids"])
        sums = residual_sums(vectors, image_ids, centroids, assignments)
        check_bits(binary, sums, golden[f"{prefix}_vecs_bin"])


def query_assignments(golden):
    """Most words of a query descriptor that the file has; what is aggregated has as many."""
    return max(golden[name].shape[1] for name in arrays_like(golden.files, r"qwords_ma\d+"))


def check_bits(images, sums, words):
    """Equal bits, except where the residual sum is within 1e-5 of zero."""
    differ = np.unpackbits(images.rows ^ words_to_codes(words), axis=1)
    assert not differ[:, sums.shape[1] :].any()
    assert (np.abs(sums)[differ[:, : sums.shape[1]] == 1] < 1e-5).all()


def residual_sums(vectors, image_ids, centroids, assignments):
    """Sum of residuals of each image and word, images and words ascending, in float64."""
    words = NearestCentroids(centroids).search(vectors, assignments)
    residuals = vectors[:, None].astype(np.float64) - centroids[words]
    groups = np.unique(np.repeat(image_ids, assignments) * len(centroids) + words.ravel(), return_inverse=True)[1]
    sums = np.zeros((groups.max() + 1, vectors.shape[1]))
    np.add.at(sums, groups, residuals.reshape(-1, vectors.shape[1]))
    return sums


@each("search*.npz")
def test_search(path):
    golden, inputs = np.load(path), np.load(namesake(path, "search", "aggregate*.npz"))
    combos = json.loads(str(golden["combos_json"]))
    assert combos
    for number, combo in enumerate(combos):
        binary = combo["binary"]
        rows = aggregated(inputs["vecs"], inputs["imids"], inputs["centroids"], combo["db_ma"], binary)
        lists = invert(rows, len(inputs["centroids"]))
        idf = idf_of(lists, combo["use_idf"])
        if f"ivf{number}_counts" in golden:
            check_lists(lists, golden, f"ivf{number}", idf)
            ones = np.ones(len(lists.counts), np.float32)
            np.testing.assert_allclose(ones if idf is None else idf, golden[f"ivf{number}_idf"], rtol=1e-6)
        queries = queries_of(inputs["qvecs"], inputs["qimids"], inputs["centroids"], combo["q_ma"], binary)
        settings = {name: combo[name] for name in DEFAULTS}
        scores = Searcher(lists, idf=idf, **settings).search(queries)
        expected = golden[f"scores_by_image_{number}"]
        close_scores(scores, expected, 1e-12 if exact_votes(combo, 8 * lists.rows.shape[1]) else 1e-6)
        if f"ranks_{number}" in golden:
            in_their_order = np.take_along_axis(scores, golden[f"ranks_{number}"], 1)
            close_scores(in_their_order, rank_scores(np.arange(scores.shape[1]), scores, None)[1])
        first_best = {"binary": True, "use_idf": False, "db_ma": 1, "q_ma": query_assignments(inputs), **DEFAULTS}
        if first_best.items() <= combo.items():
            check_first_best(golden, scores)


def check_first_best(golden, scores):
    """The first of a ranking, if the file holds them: topk10_ranks and the like."""
    for name in (name for name in golden.files if re.fullmatch(r"topk\d+_ranks", name)):
        theirs = golden[name]
        ranks, best = rank_scores(np.arange(scores.shape[1]), scores, theirs.shape[1])
        close_scores(best, golden[name.replace("ranks", "scores")])
        close_scores(np.take_along_axis(scores, ranks, 1), np.take_along_axis(scores, theirs, 1))


@each("chunks_distractors*.npz")
@pytest.mark.parametrize("use_idf", [False, True], ids=["noidf", "idf"])
def test_adding_in_chunks(path, use_idf):
    golden, inputs = np.load(path), np.load(namesake(path, "chunks_distractors", "aggregate*.npz"))
    prefix = "chunk_idf" if use_idf else "chunk_noidf"
    cut, end = int(golden["cut"]), int(inputs["imids"].max()) + 1
    chunks = []
    for first, stop in ((0, cut), (cut, end)):
        inside = (inputs["imids"] >= first) & (inputs["imids"] < stop)
        rows = aggregated(inputs["vecs"][inside], inputs["imids"][inside], inputs["centroids"], 1, True, first, stop)
        chunks.append(invert(rows, len(inputs["centroids"]), first))
    check_search(golden, prefix, chunks, [cut, end], inputs, use_idf)


@each("chunks_distractors*.npz")
@pytest.mark.parametrize("use_idf", [False, True], ids=["noidf", "idf"])
def test_database_on_top_of_distractors(path, use_idf):
    golden, inputs = np.load(path), np.load(namesake(path, "chunks_distractors", "aggregate*.npz"))
    prefix, chunks, known = "dist_idf" if use_idf else "dist_noidf", [], []
    for vectors, image_ids in ((golden["dist_vecs"], golden["dist_imids"]), (inputs["vecs"], inputs["imids"])):
        rows = aggregated(vectors, image_ids, inputs["centroids"], 1, True)
        first = known[-1] if known else 0
        chunks.append(invert(rows, len(inputs["centroids"]), first))
        known.append(first + chunks[-1].num_images)
    assert chunks[0].num_images == golden[f"{prefix}_imid_offset"]
    scores = check_search(golden, prefix, chunks, known, inputs, use_idf)
    ranks, best = rank_scores(np.arange(scores.shape[1]) - chunks[0].num_images, scores, None)
    theirs = golden[f"{prefix}_ranks"]
    assert np.array_equal(np.sort(ranks), np.sort(theirs))
    close_scores(np.take_along_axis(scores, theirs + chunks[0].num_images, 1), best)
    close_scores(best, golden[f"{prefix}_scores"])


def check_search(golden, prefix, chunks, known, inputs, use_idf):
    """Search chunk by chunk, as shards are searched, and compare with the original's one inverted file."""
    counts = sum(chunk.counts for chunk in chunks)
    assert np.array_equal(counts, golden[f"{prefix}_counts"])
    assert golden[f"{prefix}_n_images"] == known[-1]
    idf = None
    if use_idf:
        steps = [(chunk.counts, total) for chunk, total in zip(chunks, known, strict=True)]
        idf = compute_idf(steps, len(counts), stale=True)[0]
        np.testing.assert_allclose(idf, golden[f"{prefix}_idf"], rtol=1e-6)
    norms = np.concatenate([chunk.image_norms(idf) for chunk in chunks])
    np.testing.assert_allclose(norms, golden[f"{prefix}_norm_factor"], rtol=1e-6)
    queries = queries_of(inputs["qvecs"], inputs["qimids"], inputs["centroids"], query_assignments(inputs), True)
    scores = np.concatenate([Searcher(chunk, idf=idf, **DEFAULTS).search(queries) for chunk in chunks], axis=1)
    name = f"{prefix}_scores_by_image"
    close_scores(scores, golden[name if name in golden else f"{prefix}_scores_by_internal_id"])
    return scores


@each("edge*.npz")
@pytest.mark.parametrize("kind", ["bin", "float"])
@pytest.mark.parametrize("use_idf", [False, True], ids=["noidf", "idf"])
def test_edge_cases(path, kind, use_idf):
    golden, prefix = np.load(path), f"{kind}_{'idf' if use_idf else 'noidf'}"
    binary = kind == "bin"
    lists = invert(
        aggregated(golden["vecs"], golden["imids"], golden["centroids"], 1, binary), len(golden["centroids"])
    )
    idf = idf_of(lists, use_idf)
    check_lists(lists, golden, prefix, idf)
    queries = queries_of(golden["qvecs"], golden["qimids"], golden["centroids"], 1, binary)
    scores = Searcher(lists, idf=idf, **DEFAULTS).search(queries)
    close_scores(scores, golden[f"{prefix}_scores_by_image"])
    ids, best = rank_scores(np.arange(scores.shape[1]), scores, None)
    ends = np.isnan(best)
    assert (np.diff(ends.astype(int), axis=1) >= 0).all()
    assert np.array_equal(np.sort(ids), np.tile(np.arange(scores.shape[1]), (len(scores), 1)))
