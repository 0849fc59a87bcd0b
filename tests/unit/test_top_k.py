"""The best images of a query: every filter gives what measuring everything in float64 gives, bit for bit."""

import numpy as np
import plain_nearest as plain
import pytest
from test_nearest import HERE, KINDS, huge, mixed, normal

from descbench.neighbours import top_k as top_k_module
from descbench.neighbours.top_k import BestImages

KINDS = [kind for kind in KINDS if kind not in (huge, mixed)]
# Queries, images, dimensions, images kept, images of a block.
SIZES = [
    (1, 1, 1, 1, 1),
    (1, 64, 3, 64, 10),
    (5, 63, 31, 4, 63),
    (6, 65, 256, 1, 20),
    (7, 130, 257, 5, 129),
    (193, 300, 12, 7, 280),
    (9, 70, 600, 100, 30),
    (97, 300, 300, 3, 300),
]


@pytest.fixture(params=HERE)
def kernel(request, monkeypatch):
    monkeypatch.setenv("DESCBENCH_KERNEL", request.param)
    return request.param


def mild(generator, count, dim):
    """Norms from 1e-14 to 1e14 side by side."""
    return normal(generator, count, dim) * (10 ** generator.uniform(-14, 14, (count, 1))).astype(np.float32)


def large(generator, count, dim):
    """Norms that float32 can just square."""
    return normal(generator, count, dim) * np.float32(5e17)


def opposite(generator, count, dim):
    """At the ends of what float32 can square: distances are beyond it, and a few vectors are small."""
    signs = generator.integers(-1, 2, (count, 1)).astype(np.float32)
    return (1 + np.float32(0.1) * generator.random((count, dim), np.float32)) * (
        np.float32(1.6e19 / np.sqrt(dim)) * signs + np.float32(1e-3)
    )


def themes(generator, count, dim):
    """Near a few directions, like global descriptors; the mean is far from zero."""
    centres = 1 + normal(np.random.default_rng(0), 5, dim)
    return centres[generator.integers(0, 5, count)] + np.float32(0.1) * normal(generator, count, dim)


def search(queries, images, k, block, by_distance, threads=2):
    best = BestImages(queries, min(k, len(images)), by_distance=by_distance, total=len(images), threads=threads)
    for start in range(0, len(images), block):
        best.add(images[start : start + block], np.arange(start, min(start + block, len(images))))
    return best.ranked()


def check(queries, images, k, block, by_distance):
    ids, scores = search(queries, images, k, block, by_distance)
    expected_ids, expected = plain.smallest(-plain.scores(queries, images, by_distance), k)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, -expected)


@pytest.mark.parametrize("by_distance", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, mild, large, opposite, themes])
@pytest.mark.parametrize("size", SIZES)
def test_equal_to_the_definition(kernel, kind, size, by_distance):
    generator = np.random.default_rng(size[0] * 1000 + size[1])
    queries, images = kind(generator, size[0], size[2]), kind(generator, size[1], size[2])
    check(queries, images, *size[3:], by_distance)


@pytest.mark.parametrize("seed", range(30))
def test_sizes_drawn_at_random(kernel, seed, monkeypatch):
    generator = np.random.default_rng(seed)
    monkeypatch.setattr(top_k_module, "_ROWS", int(generator.integers(1, 60)))
    monkeypatch.setattr(top_k_module, "_SPARSE", int(generator.integers(1, 20)))
    shape = generator.integers(1, (40, 300, 700))
    kind = [*KINDS, mild, themes][seed % (len(KINDS) + 2)]
    queries, images = kind(generator, shape[0], shape[2]), kind(generator, shape[1], shape[2])
    check(queries, images, int(generator.integers(1, 40)), int(generator.integers(1, 400)), bool(seed % 2))


@pytest.mark.parametrize("by_distance", [False, True])
def test_a_query_beyond_the_filter_meets_images_within_it(kernel, by_distance):
    """Its cosines are unknown, those of the images are not: all are measured."""
    generator = np.random.default_rng(0)
    images = normal(generator, 122, 49) * (10 ** generator.uniform(-12, 13, (122, 1))).astype(np.float32)
    for k in (1, 14, 121):
        check(normal(generator, 1, 49) * np.float32(1e15), images, k, 300, by_distance)


def test_images_that_are_queries(kernel):
    """The distance of equal vectors is zero exactly."""
    vectors = normal(np.random.default_rng(1), 300, 700)
    ids, scores = search(vectors[:50], vectors, 1, 100, True)
    assert ids[:, 0].tolist() == list(range(50))
    assert not scores.any()


def test_queries_far_from_the_images(kernel):
    generator = np.random.default_rng(2)
    queries, images = opposite(generator, 1, 300) - 1, opposite(generator, 90, 300)
    queries = np.abs(queries).repeat(3, axis=0)
    for by_distance in (False, True):
        check(queries, images, 7, 40, by_distance)


def test_threads_change_nothing(kernel):
    generator = np.random.default_rng(0)
    queries, images = themes(generator, 300, 530), themes(generator, 900, 530)
    one, many = (search(queries, images, 9, 500, True, threads) for threads in (1, 3))
    assert [part.tobytes() for part in one] == [part.tobytes() for part in many]


def test_faiss_has_no_part_in_it(monkeypatch):
    monkeypatch.setenv("DESCBENCH_KERNEL", "faiss")
    generator = np.random.default_rng(0)
    check(themes(generator, 20, 300), themes(generator, 90, 300), 5, 40, False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("total", [10, 70])
def test_values_that_cannot_be_compared(kernel, value, total):
    good, bad = np.ones((70, 9), np.float32), np.ones((70, 9), np.float32)
    bad[66, 8] = value
    settings = {"by_distance": False, "total": total}
    with pytest.raises(ValueError, match="NaN or infinity"):
        BestImages(bad, 10, **settings)
    with pytest.raises(ValueError, match="NaN or infinity"):
        BestImages(good, 10, **settings).add(bad, np.arange(70))
