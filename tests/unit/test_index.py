"""Index shards: what they hold, and what they refuse."""

import h5py
import numpy as np
import plain_asmk as plain
import pytest
from retrieval_data import draw_images, make_codebook, make_index, poison, write_shard, write_shards

from descbench.errors import DataError, StaleFileError
from descbench.retrieval.codebook import read_codebook
from descbench.retrieval.index import build_index, read_index
from descbench.retrieval.nearest import NearestCentroids

COUNTS = [3, 0, 5, 9, 1, 0]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "vectors"])
@pytest.mark.parametrize("assignments", [1, 4])
def test_index_shards_hold_the_plain_lists(tmp_path, binary, assignments):
    images = [image[:6] for image in draw_images(COUNTS)]
    codebook = make_codebook(tmp_path / "codebook.h5")
    shards = write_shards(tmp_path, draw_images(COUNTS), [2])
    outputs = make_index(shards, codebook, tmp_path, binary, multiple_assignment=assignments)
    centroids = read_codebook(codebook).centroids
    for output, first, stop in zip(outputs, (0, 2), (2, 6), strict=True):
        info, lists = read_index(output)
        vectors = np.concatenate(images[first:stop])
        words = NearestCentroids(centroids).search(vectors, assignments)
        offsets = np.cumsum([0, *(len(image) for image in images[first:stop])])
        rows = plain.aggregate(vectors, words, offsets, centroids, binary)
        expected = plain.invert(*rows, len(centroids), first)
        assert (info.first_image, info.num_images, info.n) == (first, stop - first, 6)
        assert np.array_equal(lists.image_ids, np.concatenate([ids for ids, _ in expected]))
        assert np.array_equal(lists.rows, np.concatenate([found for _, found in expected if len(found)]))
        assert np.array_equal(lists.image_norms(), np.diff(rows[2]))
        with h5py.File(output) as file:
            assert np.array_equal(file["image_norms"][:], np.diff(rows[2]))
            assert np.array_equal(file["counts"][:], lists.counts)
            assert file["codes" if binary else "vectors"].shape == (int(rows[2][-1]), 4 if binary else 16)


def test_shard_without_any_descriptor(tmp_path):
    shard = write_shard(tmp_path / "0.h5", draw_images([0, 0]), skip=(1,))
    [output] = make_index([shard], make_codebook(tmp_path / "codebook.h5"), tmp_path)
    info, lists = read_index(output)
    assert info.num_images == 2
    assert lists.image_ids.size == 0


def test_neither_threads_nor_time_change_the_bytes(tmp_path):
    shard = write_shard(tmp_path / "0.h5", draw_images([5] * 40))
    codebook = make_codebook(tmp_path / "codebook.h5")
    found = []
    for threads in (1, 2):
        build_index(
            shard, codebook, tmp_path / "i.h5", n=6, binary=True, multiple_assignment=3, first_image=0, threads=threads
        )
        found.append((tmp_path / "i.h5").read_bytes())
    assert found[0] == found[1]


def test_nan_is_refused_naming_file_and_image(tmp_path):
    shard = poison(write_shard(tmp_path / "0.h5", draw_images(COUNTS, seed=1), 10), 4)
    with pytest.raises(DataError, match=r"0\.h5: descriptors of image 12 hold NaN"):
        make_index([shard], make_codebook(tmp_path / "codebook.h5"), tmp_path)
    assert not (tmp_path / "index-0.h5").exists()


def test_codebook_of_other_weights_is_refused(tmp_path):
    shard = write_shard(tmp_path / "0.h5", draw_images(COUNTS))
    codebook = make_codebook(tmp_path / "codebook.h5", checkpoint="b" * 64)
    with pytest.raises(StaleFileError, match=f"codebook.h5: .*{'b' * 64}.*0.h5.*{'a' * 64}"):
        make_index([shard], codebook, tmp_path)


def test_codebook_of_other_dimensions_is_refused(tmp_path):
    shard = write_shard(tmp_path / "0.h5", draw_images(COUNTS))
    with pytest.raises(DataError, match=r"16 dimensions, but .* has 8"):
        make_index([shard], make_codebook(tmp_path / "codebook.h5", dim=8), tmp_path)


def test_wrong_images_are_refused(tmp_path):
    codebook = make_codebook(tmp_path / "codebook.h5")
    shard = write_shard(tmp_path / "0.h5", draw_images(COUNTS), 10)
    with pytest.raises(DataError, match="begins with image 10, expected 5"):
        make_index([shard], codebook, tmp_path, first_image=5)
    with pytest.raises(DataError, match="holds no images"):
        make_index([write_shard(tmp_path / "1.h5", [])], codebook, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "stranger", "dataset", "attribute"])
def test_damaged_index_is_refused(tmp_path, damage):
    shard = write_shard(tmp_path / "0.h5", draw_images([9] * 30))
    [path] = make_index([shard], make_codebook(tmp_path / "codebook.h5"), tmp_path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "stranger":
        path.write_text("hello")
    else:
        with h5py.File(path, "r+") as file:
            if damage == "dataset":
                del file["codes"]
            else:
                del file.attrs["codebook"]
    with pytest.raises(DataError, match=r"index-0\.h5"):
        read_index(path)
