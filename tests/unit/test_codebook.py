"""Codebooks: streaming changes nothing, and bad input is named."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_data import draw_images, poison, write_shard, write_shards

from descbench.errors import DataError, StaleFileError
from descbench.neighbours.kmeans import subsample
from descbench.retrieval.codebook import draw_points, read_codebook, train_codebook


def by_faiss(points, size, iterations=10, seed=1234):
    """What faiss itself makes of the whole array."""
    clustering = faiss.Clustering(points.shape[1], size)
    clustering.niter, clustering.seed = iterations, seed
    clustering.train(points, faiss.IndexFlatL2(points.shape[1]))
    return faiss.vector_to_array(clustering.centroids).reshape(size, -1)


@pytest.mark.parametrize("size", [2, 3, 40], ids=["far above the limit", "just above", "below"])
def test_streamed_codebook_is_that_of_the_whole_array(tmp_path, size):
    images = draw_images([9, 0, 3, 500, 120, 7, 300], dim=8)
    train_codebook(write_shards(tmp_path, images, [2, 4]), tmp_path / "c.h5", n=1000, images=None, size=size)
    points = np.concatenate(images)
    assert (len(points) > 256 * size) == (size < 4)
    codebook = read_codebook(tmp_path / "c.h5")
    assert np.array_equal(codebook.centroids, by_faiss(points, size))
    assert codebook.num_points == len(points)


def test_first_images_and_strongest_descriptors_are_used(tmp_path):
    images = draw_images([9, 2, 30, 12, 7, 5])
    shards = write_shards(tmp_path, images, [2, 5])
    train_codebook(shards, tmp_path / "c.h5", n=8, images=4, size=5, iterations=3, seed=7)
    points = np.concatenate([image[:8] for image in images[:4]])
    assert np.array_equal(read_codebook(tmp_path / "c.h5").centroids, by_faiss(points, 5, 3, 7))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 1000))
def test_drawing_rows_from_a_stream(lengths, seed):
    points = np.arange(sum(lengths), dtype=np.float32)[:, None]
    blocks = np.split(points, np.cumsum(lengths)[:-1])
    rows = np.random.default_rng(seed).permutation(len(points))[: len(points) // 2]
    assert np.array_equal(draw_points(iter(blocks), len(points), 1, rows), points[rows])
    assert np.array_equal(draw_points(iter(blocks), len(points), 1, None), points)


def test_no_subsample_up_to_the_limit_of_faiss():
    assert subsample(1024, 4, 1234) is None
    rows = subsample(1025, 4, 1234)
    assert len(rows) == len(np.unique(rows)) == 1024


def test_equal_runs_give_equal_bytes(tmp_path):
    shard = write_shard(tmp_path / "s.h5", draw_images([40, 40]))
    for name in "ab":
        train_codebook([shard], tmp_path / name, n=40, images=None, size=4, threads=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_too_few_descriptors_are_refused_with_both_numbers(tmp_path):
    shard = write_shard(tmp_path / "s.h5", draw_images([3, 4]))
    with pytest.raises(DataError, match="7 descriptors of 2 images are too few for a codebook of 8 words"):
        train_codebook([shard], tmp_path / "c.h5", n=40, images=None, size=8)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_nan_is_refused_naming_shard_and_image(tmp_path):
    shards = write_shards(tmp_path, draw_images([3, 4, 5, 6]), [2])
    poison(shards[1], 6)
    with pytest.raises(DataError, match=r"1\.h5: descriptors of image 3 hold NaN"):
        train_codebook(shards, tmp_path / "c.h5", n=40, images=None, size=4)


@pytest.mark.parametrize("change", [{"features": "g" * 64}, {"checkpoint": "b" * 64}])
def test_shards_of_different_origin_are_refused(tmp_path, change):
    shards = [
        write_shard(tmp_path / "0.h5", draw_images([9])),
        write_shard(tmp_path / "1.h5", draw_images([9]), 1, **change),
    ]
    with pytest.raises(StaleFileError, match=r"1\.h5"):
        train_codebook(shards, tmp_path / "c.h5", n=40, images=None, size=4)


def test_no_shards_are_refused(tmp_path):
    with pytest.raises(DataError, match="no feature shards"):
        train_codebook([], tmp_path / "c.h5", n=40, images=None, size=4)


@pytest.mark.parametrize("damage", ["absent", "cut", "stranger", "centroids"])
def test_damaged_codebooks_are_refused(tmp_path, damage):
    path = tmp_path / "c.h5"
    train_codebook([write_shard(tmp_path / "s.h5", draw_images([40]))], path, n=40, images=None, size=4)
    if damage == "absent":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "stranger":
        path = tmp_path / "s.h5"
    else:
        data = bytearray(path.read_bytes())
        place = data.index(read_codebook(path).centroids.tobytes())
        data[place] ^= 1
        path.write_bytes(data)
    with pytest.raises(DataError, match=path.name):
        read_codebook(path)
