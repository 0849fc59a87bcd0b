"""Every kernel of the nearest-vector search gives what measuring everything in float64 gives, bit for bit."""

import faiss
import numpy as np
import plain_nearest as plain
import pytest

from descbench.errors import DataError, DescbenchError
from descbench.neighbours import _nearest
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.neighbours.nearest import COMPILED, NearestCentroids, NearestProducts, kernel_name, measure_pairs

HERE = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not _nearest.has_kernel(name),
            reason=f"kernel {name} needs instructions that this processor or build lacks (vnni: AVX-512 VNNI, "
            "avx2: AVX2); run the tests on a machine that has them",
        ),
    )
    for name in COMPILED
]
OURS = [*HERE, "torch"]
# Queries, vectors, dimensions, neighbours.
SIZES = [
    (1, 1, 1, 1),
    (0, 5, 8, 2),
    (1, 64, 3, 64),
    (5, 63, 31, 4),
    (6, 65, 32, 1),
    (95, 130, 33, 5),
    (96, 200, 128, 5),
    (97, 300, 130, 7),
    (400, 70, 7, 70),
    (50, 3000, 100, 5),
    (20, 90, 2, 5),
    (20, 90, 40, 5),
    (20, 300, 96, 1),
    (20, 300, 200, 5),
]


@pytest.fixture(params=OURS)
def kernel(request, monkeypatch):
    monkeypatch.setenv("DESCBENCH_KERNEL", request.param)
    return request.param


def normal(generator, count, dim):
    return generator.standard_normal((count, dim), np.float32)


def grid(generator, count, dim):
    """Many equal distances and equal vectors."""
    return generator.integers(-2, 3, (count, dim)).astype(np.float32)


def doubled(generator, count, dim):
    """Every vector several times."""
    return np.repeat(normal(generator, count // 4 + 1, dim), 4, axis=0)[:count]


def zeros(generator, count, dim):
    """Half of the vectors are zero."""
    return normal(generator, count, dim) * (generator.random((count, 1)) < 0.5).astype(np.float32)


def denormal(generator, count, dim):
    return normal(generator, count, dim) * np.float32(1e-41)


def tiny(generator, count, dim):
    return normal(generator, count, dim) * np.float32(1e-12)


def huge(generator, count, dim):
    """Squares of the norms overflow float32."""
    return normal(generator, count, dim) * np.float32(1e30)


def mixed(generator, count, dim):
    """Norms from 1e-20 to 1e20 side by side."""
    return normal(generator, count, dim) * (10 ** generator.uniform(-20, 20, (count, 1))).astype(np.float32)


def close(generator, count, dim):
    """Far from the origin and close together, so that float32 cannot tell them apart."""
    return np.float32(1000) + np.float32(1e-3) * normal(generator, count, dim)


def spiky(generator, count, dim):
    """One large dimension, which leaves little of the integers' range to the others."""
    vectors = normal(generator, count, dim)
    vectors[:, 0] *= 1000
    return vectors


def uneven(generator, count, dim):
    """Variances that fall like 1/d, as after PCA."""
    return normal(generator, count, dim) * (np.arange(dim) + 1).astype(np.float32) ** np.float32(-0.5)


def steep(generator, count, dim):
    """Variances that fall like 1/d^2, and every third dimension zero."""
    vectors = normal(generator, count, dim) / (np.arange(dim) + 1).astype(np.float32)
    vectors[:, 2::3] = 0
    return vectors


def spiky_close(generator, count, dim):
    """One dominant dimension, in which all vectors agree nearly: rounding decides unless it is accounted for."""
    vectors = np.float32(1e-4) * normal(generator, count, dim)
    vectors[:, 0] += 1
    return vectors


KINDS = [normal, grid, doubled, zeros, denormal, tiny, huge, mixed, close, spiky, uneven, steep, spiky_close]


def draw(kind, size):
    generator = np.random.default_rng(size[0] * 1000 + size[1])
    return kind(generator, size[0], size[2]), kind(generator, size[1], size[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_nearest_centroids(kernel, kind, size):
    queries, centroids = draw(kind, size)
    ids, distances = NearestCentroids(centroids).measure(queries, size[3])
    expected_ids, expected = plain.smallest(plain.squared_distances(queries, centroids), size[3])
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(distances, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_largest_products(kernel, kind, size):
    queries, vectors = draw(kind, size)
    ids, products = NearestProducts(vectors).search(queries, size[3])
    expected_ids, expected = plain.smallest(-plain.inner_products(queries, vectors), size[3])
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(products, -expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_mutual_nearest_neighbours(kernel, kind, size):
    a, b = draw(kind, size)
    pairs, similarities = mutual_nearest_neighbours(a, b)
    if len(a):
        expected_pairs, expected = plain.mutual(a, b)
        np.testing.assert_array_equal(pairs, expected_pairs)
        np.testing.assert_array_equal(similarities, expected)
    assert (pairs.shape, similarities.shape) == ((len(pairs), 2), (len(pairs),))
    assert (pairs.dtype, similarities.dtype) == (np.int64, np.float64)


@pytest.mark.parametrize("seed", range(20))
def test_sizes_drawn_at_random(kernel, seed):
    generator = np.random.default_rng(seed)
    size = (int(generator.integers(0, 300)), int(generator.integers(1, 400)), int(generator.integers(1, 200)))
    kind = KINDS[seed % len(KINDS)]
    queries, centroids = kind(generator, size[0], size[2]), kind(generator, size[1], size[2])
    k = int(generator.integers(1, size[1] + 1))
    ids = NearestCentroids(centroids).search(queries, k)
    np.testing.assert_array_equal(ids, plain.smallest(plain.squared_distances(queries, centroids), k)[0])


def test_threads_change_nothing(kernel):
    queries, centroids = draw(close, (500, 700, 64))
    one, many = (NearestCentroids(centroids, threads).measure(queries, 5, threads) for threads in (1, 3))
    assert [part.tobytes() for part in one] == [part.tobytes() for part in many]
    one, many = (mutual_nearest_neighbours(queries, centroids, threads=threads) for threads in (1, 3))
    assert [part.tobytes() for part in one] == [part.tobytes() for part in many]


def test_the_answer_does_not_depend_on_the_company(kernel):
    """A query gets the same answer alone as among others."""
    queries, centroids = draw(normal, (200, 300, 48))
    nearest = NearestCentroids(centroids)
    together = nearest.search(queries, 3)
    alone = np.concatenate([nearest.search(query[None], 3) for query in queries])
    np.testing.assert_array_equal(together, alone)


def test_faiss_finds_the_same_where_nothing_is_close(kernel):
    queries, centroids = draw(normal, (300, 1000, 128))
    index = faiss.IndexFlatL2(128)
    index.add(centroids)
    np.testing.assert_array_equal(NearestCentroids(centroids).search(queries, 5), index.search(queries, 5)[1])


def test_faiss_can_be_forced(monkeypatch):
    monkeypatch.setenv("DESCBENCH_KERNEL", "faiss")
    queries, centroids = draw(normal, (30, 100, 16))
    ids, distances = NearestCentroids(centroids).measure(queries, 2)
    expected_ids, expected = plain.smallest(plain.squared_distances(queries, centroids), 2)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(distances, expected, rtol=1e-4)
    pairs, similarities = mutual_nearest_neighbours(queries, centroids)
    np.testing.assert_array_equal(pairs, plain.mutual(queries, centroids)[0])
    np.testing.assert_allclose(similarities, plain.mutual(queries, centroids)[1], rtol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(kernel, value):
    good, bad = np.ones((70, 9), np.float32), np.ones((70, 9), np.float32)
    bad[66, 8] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        NearestCentroids(bad)
    with pytest.raises(ValueError, match="NaN or infinity"):
        NearestCentroids(good).search(bad, 1)
    for a, b in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            mutual_nearest_neighbours(a, b)


def test_more_neighbours_than_centroids(kernel):
    with pytest.raises(DataError, match=r"3 words .* of a codebook of 2 words"):
        NearestCentroids(np.ones((2, 4), np.float32)).search(np.ones((1, 4), np.float32), 3)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,)])
def test_no_vectors(shape):
    with pytest.raises(ValueError, match="shape"):
        NearestCentroids(np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(2, 5), (4,)])
def test_queries_of_another_shape(shape):
    with pytest.raises(ValueError, match="shape"):
        NearestCentroids(np.ones((2, 4), np.float32)).search(np.ones(shape, np.float32), 1)


def test_descriptors_of_another_shape():
    with pytest.raises(ValueError, match="shapes"):
        mutual_nearest_neighbours(np.ones((2, 4), np.float32), np.ones((2, 5), np.float32))


def test_unknown_kernel(monkeypatch):
    monkeypatch.setenv("DESCBENCH_KERNEL", "quick")
    with pytest.raises(DescbenchError, match=r"DESCBENCH_KERNEL=quick is unknown; use one of .*portable, torch, faiss"):
        kernel_name()


def test_a_kernel_of_another_processor(monkeypatch):
    monkeypatch.setattr(_nearest, "has_kernel", lambda name: name == "portable")
    assert kernel_name() == "portable"
    monkeypatch.setenv("DESCBENCH_KERNEL", "vnni")
    with pytest.raises(DescbenchError, match="not available on this machine"):
        kernel_name()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "dim"), [(1, 1), (50, 7), (200, 64), (333, 130)])
def test_distances_of_pairs_are_those_of_the_nearest(kernel, kind, count, dim):
    generator = np.random.default_rng(count)
    vectors, others = kind(generator, count, dim), kind(generator, 5, dim)
    ids, expected = NearestCentroids(others).measure(vectors, 5)
    rows = np.repeat(np.arange(count), 5)
    assert measure_pairs(vectors, rows, others, ids.ravel(), 2).tolist() == expected.ravel().tolist()
    assert measure_pairs(vectors, rows[:0], others, rows[:0]).shape == (0,)


@pytest.mark.parametrize(("first", "second"), [([0, 4], [0, 0]), ([-1], [0]), ([0], [2]), ([0, 1], [0])])
def test_rows_of_pairs_that_are_not_there(first, second):
    vectors, others = np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="rows"):
        measure_pairs(vectors, np.array(first), others, np.array(second))
