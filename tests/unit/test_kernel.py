"""The ASMK kernel against the plain definition, on sizes and contents that nobody chose."""

from itertools import pairwise

import numpy as np
import pytest
from benchmarks.plain import asmk as plain
from hypothesis import given, settings
from hypothesis import strategies as st

from descbench.retrieval.asmk import Aggregated, InvertedFile, Searcher, aggregate, invert

problems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "counts": st.lists(st.integers(0, 12), max_size=8),
        "dim": st.sampled_from([1, 7, 8, 10, 31, 32, 33, 40, 64, 96, 128]),
        "num_words": st.sampled_from([1, 2, 5, 40, 2047, 2049, 5000]),
        "assignments": st.integers(1, 5),
        "binary": st.booleans(),
    }
)


def draw(seed, counts, dim, num_words, assignments, binary):
    """Descriptors with zero vectors, duplicates, and some that equal their centroid."""
    generator = np.random.default_rng(seed)
    centroids = generator.standard_normal((num_words, dim)).astype(np.float32)
    vectors = generator.standard_normal((sum(counts), dim)).astype(np.float32)
    words = generator.integers(0, min(num_words, 30), (len(vectors), assignments))
    for i in range(0, len(vectors), 5):
        vectors[i] = (0, centroids[words[i, 0]], vectors[0])[generator.integers(3)]
    return vectors, words, np.concatenate(([0], np.cumsum(counts))).astype(np.int64), centroids, binary


def same_images(found, expected):
    rows, words, offsets = expected
    assert found.rows.dtype == rows.dtype
    assert np.array_equal(found.rows, rows)
    assert np.array_equal(found.words, words)
    assert np.array_equal(found.offsets, offsets)


@settings(max_examples=150, deadline=None)
@given(problems)
def test_aggregation_is_the_plain_one(problem):
    *inputs, binary = draw(**problem)
    expected = plain.aggregate(*inputs, binary)
    for threads in (1, 2, 5):
        same_images(aggregate(*inputs, binary=binary, threads=threads), expected)


@settings(max_examples=100, deadline=None)
@given(problems, st.integers(0, 1000))
def test_inversion_is_the_plain_one(problem, first):
    *inputs, binary = draw(**problem)
    rows, words, offsets = plain.aggregate(*inputs, binary)
    expected = plain.invert(rows, words, offsets, problem["num_words"], first)
    found = invert(Aggregated(rows, words, offsets), problem["num_words"], first)
    assert np.array_equal(found.counts, [len(ids) for ids, _ in expected])
    for word, (ids, entries) in enumerate(expected):
        inside = slice(found.word_offsets[word], found.word_offsets[word + 1])
        assert np.array_equal(found.image_ids[inside], ids)
        assert len(ids) == 0 or np.array_equal(found.rows[inside], entries)


@settings(max_examples=200, deadline=None)
@given(
    problems,
    st.lists(st.integers(0, 8), max_size=5),
    st.sampled_from([-1.0, -0.2, 0.0, 0.1, 0.25, 1.0]),
    st.sampled_from([1.0, 2.0, 2.5, 3.0]),
    st.booleans(),
)
def test_search_is_the_plain_one(problem, query_counts, threshold, alpha, use_idf):
    vectors, words, offsets, centroids, binary = draw(**problem)
    num_words, num_images = len(centroids), len(offsets) - 1
    rows = plain.aggregate(vectors, words, offsets, centroids, binary)
    lists = plain.invert(*rows, num_words)
    queries = draw(**{**problem, "seed": problem["seed"] ^ 1, "counts": query_counts})
    query_rows = plain.aggregate(*queries[:3], centroids, binary)
    generator = np.random.default_rng(problem["seed"])
    idf = (generator.random(num_words) * generator.integers(0, 2, num_words)).astype(np.float32) if use_idf else None
    image_norms = plain.norms(lists, num_images, np.ones(num_words) if idf is None else idf)
    expected = np.array(
        [
            plain.search(query_rows[0][a:b], query_rows[1][a:b], lists, image_norms, threshold, alpha, idf)
            for a, b in pairwise(query_rows[2])
        ]
    ).reshape(len(query_counts), num_images)
    results = [
        Searcher(
            invert(Aggregated(*rows), num_words), similarity_threshold=threshold, alpha=alpha, idf=idf, threads=threads
        ).search(Aggregated(*query_rows))
        for threads in (1, 2)
    ]
    assert np.array_equal(results[0], results[1], equal_nan=True)
    if binary:
        assert np.array_equal(results[0], expected, equal_nan=True)
    elif abs(threshold) == 1.0 or (alpha == 2.5 and threshold < 0):
        # A dot product at the threshold, or NaN from a power of a value at 0, hangs on its last digit.
        assert results[0].shape == expected.shape
    else:
        np.testing.assert_allclose(results[0], expected, rtol=1e-5, atol=1e-6)


def lists_of(binary=True):
    rows = np.zeros((3, 4), np.uint8) if binary else np.zeros((3, 4), np.float32)
    return InvertedFile(np.array([0, 2, 2, 3]), np.array([0, 1, 1], np.uint32), rows, 0, 2)


def queries_of(words, dtype=np.uint8, width=4):
    return Aggregated(np.zeros((len(words), width), dtype), np.array(words, np.int64), np.array([0, len(words)]))


def test_threshold_is_inclusive_and_ties_have_equal_scores():
    searcher = Searcher(lists_of(), similarity_threshold=1.0, alpha=3.0)
    assert searcher.search(queries_of([0])).tolist() == [[1.0, np.float64(np.float32(1 / np.sqrt(2.0)))]]
    above = Searcher(lists_of(), similarity_threshold=np.nextafter(np.float32(1), np.float32(2)), alpha=3.0)
    assert above.search(queries_of([0])).tolist() == [[0.0, 0.0]]


def test_padding_counts_as_agreement():
    # Ten dimensions that all differ, in a code of 32 bits: similarity 1 - 20 / 32, as in the original.
    centroids = np.zeros((1, 10), np.float32)
    rows = [
        aggregate(np.full((1, 10), sign, np.float32), np.zeros((1, 1), int), np.array([0, 1]), centroids, binary=True)
        for sign in (1, -1)
    ]
    searcher = Searcher(invert(rows[0], 1), similarity_threshold=-1.0, alpha=1.0)
    assert searcher.search(rows[1]).tolist() == [[1 - 20 / 32]]


def test_image_of_worthless_words_scores_nan():
    idf = np.array([0.0, 1.0, 4.0], np.float32)
    scores = Searcher(lists_of(), similarity_threshold=0.0, alpha=3.0, idf=idf).search(queries_of([0, 2]))
    assert np.isnan(scores[0, 0])
    assert scores[0, 1] > 0


@pytest.mark.parametrize(
    "queries",
    [queries_of([3]), queries_of([-1]), queries_of([0], np.float32), queries_of([0], width=8)],
    ids=["word too large", "negative word", "vectors for codes", "longer codes"],
)
def test_queries_that_do_not_fit_are_refused(queries):
    with pytest.raises(ValueError, match="query"):
        Searcher(lists_of(), similarity_threshold=0.0, alpha=3.0).search(queries)


@pytest.mark.parametrize(
    "change",
    [
        {"word_offsets": np.array([0, 2, 1, 3])},
        {"word_offsets": np.array([0, 2, 2, 4])},
        {"image_ids": np.array([0, 1, 2], np.uint32)},
        {"rows": np.zeros((2, 4), np.uint8)},
    ],
    ids=["falling offsets", "offsets past the end", "unknown image", "row missing"],
)
def test_inconsistent_lists_are_refused(change):
    lists = InvertedFile(**{**lists_of().__dict__, **change})
    with pytest.raises(ValueError, match=r"offsets|images|rows"):
        Searcher(lists, similarity_threshold=0.0, alpha=3.0)


def test_words_outside_the_codebook_are_refused():
    with pytest.raises(ValueError, match="codebook"):
        aggregate(np.zeros((1, 4)), np.array([[2]]), np.array([0, 1]), np.zeros((2, 4)), binary=True)
