"""Flat search over shards of global descriptors."""

import numpy as np
import pytest
from retrieval_data import draw_images, poison, write_shard, write_shards

from descbench.errors import DataError, StaleFileError
from descbench.features.store import ShardReader
from descbench.retrieval.flat import search_flat
from descbench.retrieval.ranking import merge_rankings, rank_scores, read_ranking

GLOBAL = {"kind": "global"}


@pytest.fixture(params=[4096, 3], ids=["one block", "many blocks"])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr("descbench.retrieval.flat._IMAGE_BYTES", 4 * 5 * request.param)
    monkeypatch.setattr("descbench.retrieval.flat._QUERY_BYTES", 4 * 5 * request.param)


def drawn_shards(tmp_path):
    """Whole numbers: every product is exact, whatever the blocks, and there are ties."""
    generator = np.random.default_rng(0)
    database = [generator.integers(-2, 3, (1, 5)).astype(np.float32) for _ in range(23)]
    queries = [generator.integers(-2, 3, (1, 5)).astype(np.float32) for _ in range(9)]
    for name in ("d", "q"):
        (tmp_path / name).mkdir()
    shards = write_shards(tmp_path / "d", database, [2, 11], skip=(7,), **GLOBAL)
    asked = write_shards(tmp_path / "q", queries, [4], skip=(3,), **GLOBAL)
    return asked, shards, np.concatenate(queries), np.concatenate(database)


@pytest.mark.parametrize("measure", ["inner_product", "euclidean"])
@pytest.mark.parametrize("top_k", [None, 1, 4, 22, 50])
def test_equal_to_the_whole_matrix(tmp_path, small_blocks, top_k, measure):
    asked, shards, queries, database = drawn_shards(tmp_path)
    search_flat(asked, shards, tmp_path / "r.h5", measure=measure, top_k=top_k)
    expected = (queries @ database.T).astype(float)
    if measure == "euclidean":
        expected = -((queries[:, None] - database).astype(float) ** 2).sum(-1)
    expected[:, 7] = np.nan
    expected[3] = np.nan
    ids, scores = rank_scores(np.arange(23), expected, top_k)
    found = read_ranking(tmp_path / "r.h5")
    assert found.query_ids.tolist() == list(range(9))
    assert np.array_equal(found.image_ids, ids)
    assert np.array_equal(found.scores, scores, equal_nan=True)


@pytest.mark.parametrize("measure", ["inner_product", "euclidean"])
def test_first_dimensions_are_normalised_again(tmp_path, small_blocks, measure):
    asked, shards, queries, database = drawn_shards(tmp_path)
    search_flat(asked, shards, tmp_path / "r.h5", measure=measure, top_k=None, dim=3)
    short = [x[:, :3] / np.maximum(np.linalg.norm(x[:, :3], axis=1, keepdims=True), 1e-12) for x in (queries, database)]
    expected = short[0].astype(float) @ short[1].T.astype(float)
    if measure == "euclidean":
        expected = -((short[0][:, None].astype(float) - short[1]) ** 2).sum(-1)
    expected[:, 7], expected[3] = np.nan, np.nan
    found = read_ranking(tmp_path / "r.h5")
    scores = np.take_along_axis(expected, found.image_ids, 1)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert (np.diff(np.nan_to_num(scores, nan=-9)) < 1e-6).all()
    with pytest.raises(DataError, match="descriptors have 5 dimensions, `dim` asks for 6"):
        search_flat(asked, shards, tmp_path / "r.h5", measure=measure, top_k=None, dim=6)


def real_shards(folder, sizes, images, **options):
    """Shards of real numbers, whose scores are rounded, with two images that are the same and one that is absent."""
    folder.mkdir()
    vectors = [np.random.default_rng(images).standard_normal((1, 40)).astype(np.float32) for _ in range(images)]
    vectors[-2] = vectors[1]
    return write_shards(folder, vectors, sizes, **options, **GLOBAL)


@pytest.mark.parametrize("measure", ["inner_product", "euclidean"])
@pytest.mark.parametrize(("top_k", "dim"), [(None, None), (6, None), (1, 12), (None, 12)])
def test_merged_parts_are_the_ranking_of_everything(tmp_path, measure, top_k, dim):
    asked = real_shards(tmp_path / "q", [3], 8, skip=(2,))
    database = real_shards(tmp_path / "d", [4, 9], 15, skip=(5,))
    settings = {"measure": measure, "dim": dim}
    search_flat(asked, database, tmp_path / "whole.h5", top_k=top_k, **settings)
    parts = [tmp_path / f"part{number}.h5" for number in range(len(database))]
    for shard, part in zip(database, parts, strict=True):
        search_flat(asked, [shard], part, top_k=top_k, **settings)
    merge_rankings(parts, tmp_path / "merged.h5", top_k=top_k, num_queries=8)
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.parametrize("top_k", [None, 5])
def test_distractors_have_negative_ids(tmp_path, top_k):
    """Distractors and a database are ranked as one list of images whose first ones are the distractors."""
    asked = real_shards(tmp_path / "q", [], 4)
    distractors = real_shards(tmp_path / "n", [4], 10, skip=(6,))
    database = real_shards(tmp_path / "d", [], 6)
    vectors = []
    for path in (*distractors, *database):
        with ShardReader(path) as reader:
            vectors += np.split(reader.read().descriptors, np.cumsum(reader.counts())[:-1])
    together = write_shard(tmp_path / "all.h5", vectors, skip=(6,), **GLOBAL)
    search_flat(asked, [together], tmp_path / "all_ranking.h5", top_k=top_k)
    parts = [tmp_path / f"part{number}.h5" for number in range(3)]
    for shard, part, count in zip((*distractors, *database), parts, (10, 10, 0), strict=True):
        search_flat(asked, [shard], part, top_k=top_k, num_distractors=count)
    merge_rankings(parts, tmp_path / "merged.h5", top_k=top_k, num_queries=4)
    merged, expected = read_ranking(tmp_path / "merged.h5"), read_ranking(tmp_path / "all_ranking.h5")
    assert np.array_equal(merged.image_ids, expected.image_ids - 10)
    assert np.array_equal(merged.scores, expected.scores, equal_nan=True)


def test_bad_shards_are_refused(tmp_path):
    good = write_shard(tmp_path / "good.h5", draw_images([1, 1]), **GLOBAL)
    local = write_shard(tmp_path / "local.h5", draw_images([1, 3]))
    other = write_shard(tmp_path / "other.h5", draw_images([1]), features="g" * 64, **GLOBAL)
    later = write_shard(tmp_path / "later.h5", draw_images([1]), 5, **GLOBAL)
    nan = poison(write_shard(tmp_path / "nan.h5", draw_images([1, 1]), **GLOBAL), 1)
    target = tmp_path / "r.h5"
    with pytest.raises(DataError, match=r"local\.h5: holds local features"):
        search_flat([local], [good], target, top_k=None)
    with pytest.raises(StaleFileError, match=r"other\.h5"):
        search_flat([other], [good], target, top_k=None)
    with pytest.raises(DataError, match="do not hold images 0 to 2 in order"):
        search_flat([good], [good, later], target, top_k=None)
    with pytest.raises(DataError, match=r"nan\.h5: descriptors of image 1"):
        search_flat([nan], [good], target, top_k=None)
    huge = write_shard(tmp_path / "huge.h5", [np.full((1, 16), 1e20, np.float32)], **GLOBAL)
    with pytest.raises(DataError, match=r"huge\.h5: descriptors too large for products"):
        search_flat([huge], [huge], target, top_k=None)
    with pytest.raises(DataError, match="at least one shard"):
        search_flat([], [good], target, top_k=None)
    assert not target.exists()
