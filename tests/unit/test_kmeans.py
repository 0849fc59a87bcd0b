"""k-means: faiss's result with our assignment, and what the two-level way gives up."""

import subprocess
import sys

import faiss
import numpy as np
import plain_nearest as plain
import pytest

from descbench.neighbours.kmeans import assign_by_two_levels, assign_exactly, kmeans, subsample


def clouds(count, dim=16, centres=40, seed=0):
    generator = np.random.default_rng(seed)
    middle = 5 * generator.standard_normal((centres, dim))
    points = middle[generator.integers(0, centres, count)] + generator.standard_normal((count, dim))
    return points.astype(np.float32)


def by_faiss(points, size, iterations, seed):
    clustering = faiss.Clustering(points.shape[1], size)
    clustering.niter, clustering.seed = iterations, seed
    clustering.train(points, faiss.IndexFlatL2(points.shape[1]))
    return faiss.vector_to_array(clustering.centroids).reshape(size, -1)


@pytest.mark.parametrize(
    ("points", "size", "iterations"),
    [
        (clouds(1000), 30, 10),
        # More than 256 points a centroid: a subset is drawn.
        (clouds(3000, dim=8), 10, 5),
        # Far more centroids than clouds of equal points: most clusters are empty, and split.
        (np.repeat(clouds(20, dim=4), 10, axis=0), 60, 4),
        (clouds(50), 50, 3),
        (clouds(40), 1, 2),
    ],
)
@pytest.mark.parametrize("seed", [1234, 7])
def test_as_faiss(points, size, iterations, seed):
    ours = kmeans(points, size, iterations=iterations, seed=seed)
    np.testing.assert_allclose(ours, by_faiss(points, size, iterations, seed), rtol=1e-5, atol=1e-6)


def test_points_of_the_subsample_are_enough():
    points = clouds(3000)
    rows = subsample(3000, 10, 1234)
    whole, part = (kmeans(p, 10, iterations=5, seed=1234) for p in (points, points[rows]))
    assert whole.tobytes() == part.tobytes()
    assert subsample(2560, 10, 1234) is None


def test_threads_change_nothing():
    one, many = (kmeans(clouds(2000), 64, iterations=5, seed=1, threads=threads) for threads in (1, 3))
    assert one.tobytes() == many.tobytes()


@pytest.mark.parametrize("size", [0, 41])
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match="clusters of 40 points"):
        kmeans(clouds(40), size, iterations=1, seed=0)


def test_two_levels_are_nearly_exact():
    """Nearest among the centroids of eight cells: nearly always the nearest of all, and never one far away."""
    points, centroids = clouds(4000), clouds(400, seed=1)
    exact, found = (assign(points, centroids, None) for assign in (assign_exactly, assign_by_two_levels))
    assert found.min() >= 0
    assert np.mean(found == exact) > 0.95
    distances = plain.squared_distances(points[:300], centroids)
    rows = np.arange(300)
    assert distances[rows, found[:300]].mean() < 1.05 * distances[rows, exact[:300]].mean()


def test_two_levels_cluster_about_as_well():
    points = clouds(6000, centres=300)
    errors = {}
    for assignment in ("exact", "two_level"):
        centroids = kmeans(points, 100, iterations=5, seed=3, assignment=assignment)
        nearest = centroids[assign_exactly(points, centroids, None)]
        errors[assignment] = float(((points - nearest) ** 2).sum())
    assert errors["two_level"] < 1.05 * errors["exact"]


def test_a_missing_faiss_is_one_sentence():
    code = "import sys; sys.modules['faiss'] = None; import descbench.neighbours.kmeans"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode
    assert "faiss is not installed: `pip install descbench[cpu]` or `descbench[gpu]`" in done.stderr
