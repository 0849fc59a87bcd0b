"""Search by shards: the same as searching everything at once, and refusals."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from benchmarks.plain import asmk as plain
from retrieval_data import (
    SEARCH,
    draw_images,
    make_codebook,
    make_index,
    poison,
    search_all,
    write_shard,
    write_shards,
)
from sealed import altered

from descbench.errors import DataError, StaleFileError
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.codebook import read_codebook
from descbench.retrieval.ranking import images_without_features, merge_rankings, read_ranking
from descbench.retrieval.search import search_index
from descbench.retrieval.statistics import collect_statistics, compute_idf, read_statistics

DATABASE = [3, 0, 5, 9, 1, 6, 6, 0]
QUERIES = [4, 0, 9, 1]
UNREADABLE = 1  # of the queries


@pytest.fixture
def codebook(tmp_path):
    return make_codebook(tmp_path / "codebook.h5")


@pytest.fixture
def query_shards(tmp_path):
    (tmp_path / "queries").mkdir()
    return write_shards(tmp_path / "queries", draw_images(QUERIES, seed=1), [3], skip=(UNREADABLE,))


def aggregate_plainly(counts, seed, assignments, centroids, binary):
    images = [image[:6] for image in draw_images(counts, seed=seed)]
    vectors = np.concatenate(images)
    words = NearestCentroids(centroids).search(vectors, assignments)
    return plain.aggregate(vectors, words, np.cumsum([0, *map(len, images)]), centroids, binary)


def search_plainly(codebook, database, idf=None, binary=True):
    """Scores of all images for all queries, without shards or files."""
    centroids = read_codebook(codebook).centroids
    rows = aggregate_plainly(database, 0, 1, centroids, binary)
    lists = plain.invert(*rows, len(centroids))
    image_norms = plain.norms(lists, len(database), np.ones(len(centroids)) if idf is None else idf)
    queries = aggregate_plainly(QUERIES, 1, 3, centroids, binary)
    found = np.array(
        [
            plain.search(queries[0][a:b], queries[1][a:b], lists, image_norms, 0.0, 3.0, idf)
            for a, b in pairwise(queries[2])
        ]
    )
    found[UNREADABLE] = np.nan
    return found


def check_ranking(ranking, scores, ids, top_k=None):
    assert ranking.query_ids.tolist() == list(range(len(scores)))
    for row, expected in enumerate(scores):
        order = plain.rank(expected, ids)[:top_k]
        assert ranking.image_ids[row].tolist() == order
        by_id = dict(zip(ids, expected.tolist(), strict=True))
        assert np.array_equal(ranking.scores[row], [by_id[i] for i in order], equal_nan=True)


@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 5, 7]])
@pytest.mark.parametrize("top_k", [None, 3, 100])
@pytest.mark.parametrize("threads", [1, 2])
def test_shards_change_nothing(tmp_path, codebook, query_shards, cuts, top_k, threads):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), cuts), codebook, tmp_path)
    ranking = search_all(query_shards, codebook, index, tmp_path, len(QUERIES), top_k, threads=threads)
    check_ranking(ranking, search_plainly(codebook, DATABASE), range(len(DATABASE)), top_k)
    assert np.isnan(ranking.scores[UNREADABLE]).all()
    # Images that were read but gave no descriptors are searched like any other.
    assert images_without_features(tmp_path / "ranking.h5") == ()


def test_only_what_cannot_be_read_is_not_compared(tmp_path, codebook):
    """A query of even grey gives no descriptors: like in the original its scores are 0, in the order of ids."""
    for name in ("q", "d"):
        (tmp_path / name).mkdir()
    queries = write_shards(tmp_path / "q", draw_images(QUERIES, seed=1), [])
    index = make_index(write_shards(tmp_path / "d", draw_images(DATABASE), [4], skip=(0, 5)), codebook, tmp_path)
    ranking = search_all(queries, codebook, index, tmp_path, len(QUERIES))
    assert DATABASE[1] == DATABASE[7] == QUERIES[1] == 0
    assert images_without_features(tmp_path / "ranking.h5") == (0, 5)
    assert ranking.image_ids[1].tolist() == [1, 2, 3, 4, 6, 7, 0, 5]
    assert ranking.scores[1, :6].tolist() == [0] * 6
    assert [row[-2:].tolist() for row in ranking.image_ids] == [[0, 5]] * len(QUERIES)
    assert (np.isnan(ranking.scores) == np.isin(ranking.image_ids, (0, 5))).all()


def test_vectors_through_files(tmp_path, codebook, query_shards):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), [4]), codebook, tmp_path, binary=False)
    ranking = search_all(query_shards, codebook, index, tmp_path, len(QUERIES))
    expected = search_plainly(codebook, DATABASE, binary=False)
    in_order_of_ids = np.take_along_axis(ranking.scores, np.argsort(ranking.image_ids, axis=1), 1)
    np.testing.assert_allclose(in_order_of_ids, expected, rtol=1e-5, atol=1e-7)
    assert not (np.diff(ranking.scores, axis=1) > 0).any()


def test_idf_comes_from_all_shards(tmp_path, codebook, query_shards):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), [3, 5]), codebook, tmp_path)
    collect_statistics(index, tmp_path / "idf.h5", stale=False)
    known = read_statistics(tmp_path / "idf.h5")
    # The last image has no descriptor and, as in the original, does not count.
    assert known.num_images == len(DATABASE) - 1
    ranking = search_all(query_shards, codebook, index, tmp_path, len(QUERIES), statistics=tmp_path / "idf.h5")
    check_ranking(ranking, search_plainly(codebook, DATABASE, known.idf), range(len(DATABASE)))


def test_distractors_have_negative_ids(tmp_path, codebook, query_shards):
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    images = draw_images(DATABASE)
    far = make_index(write_shards(tmp_path / "far", images[:5], [2]), codebook, tmp_path / "far")
    near = make_index(write_shards(tmp_path / "near", images[5:], []), codebook, tmp_path / "near")
    collect_statistics([*far, *near], tmp_path / "idf.h5", stale=False)
    parts = []
    for shard, distractors in ((near[0], 0), (far[0], 5), (far[1], 5)):
        parts.append(tmp_path / f"part{len(parts)}.h5")
        search_index(
            query_shards,
            codebook,
            shard,
            parts[-1],
            **SEARCH,
            num_distractors=distractors,
            statistics=tmp_path / "idf.h5",
        )
    merge_rankings(parts, tmp_path / "ranking.h5", top_k=None, num_queries=len(QUERIES))
    with h5py.File(tmp_path / "ranking.h5") as file:
        assert sorted(file["image_ids"][0]) == list(range(-5, 3))
        assert file.attrs["first_image"] == -5
    known = read_statistics(tmp_path / "idf.h5")
    assert known.num_images == 7
    expected = search_plainly(codebook, DATABASE, known.idf)
    check_ranking(read_ranking(tmp_path / "ranking.h5"), expected, range(-5, 3))


def test_stale_idf_keeps_what_later_shards_do_not_touch():
    chunks = [(np.array([2, 1, 0, 0]), 2), (np.array([0, 3, 1, 0]), 5)]
    fresh, counts = compute_idf(chunks, 4, stale=False)
    stale, _ = compute_idf(chunks, 4, stale=True)
    assert counts.tolist() == [2, 4, 1, 0]
    np.testing.assert_allclose(fresh, np.log([5 / 2, 5 / 4, 5, np.e]) ** 2, rtol=1e-6)
    np.testing.assert_allclose(stale, np.log([2 / 2, 5 / 4, 5, np.e]) ** 2, rtol=1e-6)


def test_statistics_refuse_gaps_and_strangers(tmp_path, codebook, query_shards):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), [3, 5]), codebook, tmp_path)
    with pytest.raises(DataError, match="begins with image 5, but image 3 is next"):
        collect_statistics([index[0], index[2]], tmp_path / "idf.h5", stale=False)
    with pytest.raises(DataError, match="no index shards"):
        collect_statistics([], tmp_path / "idf.h5", stale=False)
    collect_statistics(index[:2], tmp_path / "idf.h5", stale=False)
    with pytest.raises(StaleFileError, match=r"idf\.h5: was not collected from"):
        search_all(query_shards, codebook, index, tmp_path, len(QUERIES), statistics=tmp_path / "idf.h5")


def test_index_of_another_codebook_is_refused(tmp_path, codebook, query_shards):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), []), codebook, tmp_path)
    other = make_codebook(tmp_path / "other.h5", seed=6)
    with pytest.raises(StaleFileError, match="another codebook") as caught:
        search_all(query_shards, other, index, tmp_path, len(QUERIES))
    for path in (codebook, other):
        assert read_codebook(path).digest in str(caught.value)


@pytest.mark.parametrize("change", [{"features": "g" * 64}, {"checkpoint": "b" * 64}])
def test_queries_of_other_features_are_refused(tmp_path, codebook, change):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), []), codebook, tmp_path)
    queries = write_shard(tmp_path / "queries.h5", draw_images(QUERIES), **change)
    with pytest.raises(StaleFileError, match=r"queries\.h5"):
        search_all([queries], codebook, index, tmp_path, len(QUERIES))


def test_nan_in_queries_is_refused(tmp_path, codebook):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), []), codebook, tmp_path)
    queries = poison(write_shard(tmp_path / "queries.h5", draw_images(QUERIES)), 5)
    with pytest.raises(DataError, match=r"queries\.h5: descriptors of image 2"):
        search_all([queries], codebook, index, tmp_path, len(QUERIES))
    assert not (tmp_path / "part-0.h5").exists()


def test_scores_that_are_not_finite_name_the_query(tmp_path, codebook, query_shards):
    """A small similarity has no finite power of -1000 in float32."""
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), []), codebook, tmp_path)
    with pytest.raises(DataError, match=r"query \d: some scores are NaN or infinite"):
        search_all(query_shards, codebook, index, tmp_path, len(QUERIES), alpha=-1000.0)
    assert not (tmp_path / "part-0.h5").exists()


def test_lists_that_point_nowhere_are_refused(tmp_path, codebook, query_shards):
    index = make_index(write_shards(tmp_path, draw_images(DATABASE), []), codebook, tmp_path)
    with altered(index[0]) as file:
        file["image_ids"][3] = 4_000_000_000
    with pytest.raises(DataError, match="images outside 0 to"):
        search_all(query_shards, codebook, index, tmp_path, len(QUERIES))
