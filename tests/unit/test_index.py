"""Index shards: what they hold, and what they refuse."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from benchmarks.plain import asmk as plain
from retrieval_data import draw_images, make_codebook, make_index, poison, write_shard, write_shards
from sealed import altered

from descbench.errors import DataError, StaleFileError
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.asmk import Aggregated
from descbench.retrieval.codebook import read_codebook
from descbench.retrieval.index import IndexInfo, build_index, read_index, write_index

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
            assert np.array_equal(file["word_offsets"][:], np.cumsum([0, *(len(ids) for ids, _ in expected)]))
            assert file["codes" if binary else "vectors"].shape == (int(rows[2][-1]), 4 if binary else 16)


def draw_codes(counts, num_words, seed=0):
    """Binary codes of 128 dimensions of images that have so many of the words."""
    generator = np.random.default_rng(seed)
    words = [np.sort(generator.choice(num_words, count, replace=False)) for count in counts]
    rows = generator.integers(0, 256, (sum(counts), 16), np.uint8)
    return Aggregated(rows, np.concatenate([np.zeros(0, np.int64), *words]), np.cumsum([0, *counts]))


def cut(images: Aggregated, edges):
    """The same images in blocks cut at ``edges``."""
    for first, stop in pairwise([0, *edges, len(images.offsets) - 1]):
        low, high = images.offsets[first], images.offsets[stop]
        yield Aggregated(images.rows[low:high], images.words[low:high], images.offsets[first : stop + 1] - low)


def info_of(num_images, first_image=0):
    return IndexInfo("c", "f", "i", "w", 1000, 1, 128, first_image, num_images)


@pytest.mark.parametrize("entries", [1, 40, 1 << 18], ids=["a word at a time", "small ranges", "one range"])
@pytest.mark.parametrize("edges", [[], [3], [1, 2, 5, 5]], ids=["whole", "two blocks", "many blocks"])
def test_neither_blocks_nor_ranges_change_a_shard(tmp_path, monkeypatch, entries, edges):
    monkeypatch.setattr("descbench.retrieval.index._ENTRIES", entries)
    images = draw_codes([30, 0, 50, 9, 1, 45, 0], 60)
    write_index(cut(images, edges), 60, info_of(7, 11), tmp_path / "i.h5")
    _, found = read_index(tmp_path / "i.h5")
    expected = plain.invert(images.rows, images.words, images.offsets, 60, 11)
    assert np.array_equal(found.counts, [len(ids) for ids, _ in expected])
    assert np.array_equal(found.image_ids, np.concatenate([ids for ids, _ in expected]))
    assert np.array_equal(found.rows, np.concatenate([rows for _, rows in expected if len(rows)]))
    assert np.array_equal(found.image_norms(), np.diff(images.offsets))


def test_bytes_of_an_entry(tmp_path):
    """16 bytes of code and 4 of image id; what else a file holds is small in a shard of any size."""
    images = draw_codes([640] * 1200, 65536)
    write_index(cut(images, [500]), 65536, info_of(1200), tmp_path / "i.h5")
    entries = int(images.offsets[-1])
    lists = 20 * entries + 4 * 65537 + 8 * 1200
    assert lists <= (tmp_path / "i.h5").stat().st_size <= lists + 8192
    assert (tmp_path / "i.h5").stat().st_size <= 20.5 * entries


def test_blocks_of_other_images_are_refused(tmp_path):
    for blocks in ([draw_codes([3], 5)], []):
        with pytest.raises(ValueError, match=f"blocks hold {len(blocks)} images, not 2"):
            write_index(blocks, 5, info_of(2), tmp_path / "i.h5")
    assert list(tmp_path.iterdir()) == []


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
        with altered(path) as file:
            if damage == "dataset":
                del file["codes"]
            else:
                del file.attrs["codebook"]
    with pytest.raises(DataError, match=r"index-0\.h5"):
        read_index(path)
