"""Bags of words: scores as plainly computed, the same from any shards; verification and expansion."""

import numpy as np
import pytest
from benchmarks.plain import bow as plain
from retrieval_data import draw_images, make_codebook, write_shards

from descbench.config.methods import BowMethod
from descbench.errors import StaleFileError
from descbench.features.store import ShardInfo, ShardWriter
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.asmk import invert
from descbench.retrieval.bow import BowSearcher, count_images, count_words, mean_bag, weighted
from descbench.retrieval.codebook import read_codebook
from descbench.retrieval.expand_query import expand_query
from descbench.retrieval.geometry import Frames, QueryWords, verify
from descbench.retrieval.inliers import read_inliers
from descbench.retrieval.parts import SearchedFiles
from descbench.retrieval.ranking import images_without_features, merge_rankings, read_ranking
from descbench.retrieval.run_search import run_search
from descbench.retrieval.search_bow import build_bow, search_bow
from descbench.retrieval.statistics import collect_statistics
from descbench.retrieval.verify_geometry import Shards, verify_geometry
from descbench.retrieval.words import assign_words, read_words

DATABASE = [3, 0, 9, 9, 1, 6, 6, 5]
QUERIES = [4, 0, 9, 1]
WORDS = 12


@pytest.fixture
def codebook(tmp_path):
    return make_codebook(tmp_path / "codebook.h5", size=WORDS)


def bow(tmp_path, codebook, cuts, assignments=1, **more):
    """Ranking of a search over a database cut into shards, and the files behind it."""
    folder = tmp_path / f"cut-{len(cuts)}-{assignments}"
    folder.mkdir()
    made = {}
    for role, counts, seed, edges in (("database", DATABASE, 0, cuts), ("query", QUERIES, 1, [2])):
        (folder / role).mkdir()
        shards = write_shards(folder / role, draw_images(counts, seed=seed), edges, **more.get(role, {}))
        words = [shard.with_suffix(".words.h5") for shard in shards]
        for shard, path in zip(shards, words, strict=True):
            assign_words(shard, codebook, path, n=6, multiple_assignment=assignments if role == "query" else 1)
        made[role] = shards, words
    indexes = [path.with_suffix(".index.h5") for path in made["database"][1]]
    for words, index in zip(made["database"][1], indexes, strict=True):
        build_bow(words, index)
    collect_statistics(indexes, folder / "statistics.h5", stale=False)
    parts = []
    for number, index in enumerate(indexes):
        parts.append(folder / f"part-{number}.h5")
        search_bow(made["query"][1], index, folder / "statistics.h5", parts[-1])
    merge_rankings(parts, folder / "ranking.h5", top_k=None, num_queries=len(QUERIES))
    return folder, made, indexes


def plain_scores(codebook, assignments):
    """Cosines of dense vectors of tf-idf."""
    centroids = read_codebook(codebook).centroids

    def counts(numbers, seed, k):
        rows = np.zeros((len(numbers), WORDS))
        for row, image in zip(rows, draw_images(numbers, seed=seed), strict=True):
            for words in NearestCentroids(centroids).search(image[:6], k) if len(image) else ():
                np.add.at(row, words, 1)
        return rows

    database, queries = counts(DATABASE, 0, 1), counts(QUERIES, 1, assignments)
    containing = (database > 0).sum(0)
    idf = np.where(containing > 0, np.log(len(DATABASE) / np.maximum(containing, 1)), 1.0)
    vectors = [rows * idf for rows in (queries, database)]
    lengths = [np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    q, d = (v / np.where(n == 0, 1, n) for v, n in zip(vectors, lengths, strict=True))
    return q @ d.T


@pytest.mark.parametrize("assignments", [1, 3])
@pytest.mark.parametrize("cuts", [[], [3, 4]])
def test_scores_are_cosines_of_tf_idf(tmp_path, codebook, cuts, assignments):
    folder, _, _ = bow(tmp_path, codebook, cuts, assignments)
    found = read_ranking(folder / "ranking.h5")
    expected = plain_scores(codebook, assignments)
    assert np.allclose(found.scores, np.take_along_axis(expected, found.image_ids, 1), atol=1e-6)
    assert (np.diff(found.scores) <= 0).all()
    assert expected.max() > 0.3


def test_shards_merge_to_the_bit(tmp_path, codebook):
    one, other = (bow(tmp_path, codebook, cuts)[0] / "ranking.h5" for cuts in ([], [2, 5]))
    assert one.read_bytes() == other.read_bytes()


def test_the_same_search_in_one_call(tmp_path, codebook):
    folder, made, _ = bow(tmp_path, codebook, [3])
    block = {"search": "bow", "features": "f", "n": 6, "codebook": {"features": "f", "dataset": "d", "size": WORDS}}
    (tmp_path / "work").mkdir()
    shards = made["query"][0], made["database"][0]
    run_search(
        BowMethod.model_validate(block),
        *shards,
        tmp_path / "work",
        tmp_path / "r.h5",
        codebook=codebook,
        num_queries=len(QUERIES),
    )
    assert (read_ranking(tmp_path / "r.h5").image_ids == read_ranking(folder / "ranking.h5").image_ids).all()


def test_what_cannot_be_read_is_not_found(tmp_path, codebook):
    folder, _, _ = bow(tmp_path, codebook, [3], database={"skip": (5,)}, query={"skip": (3,)})
    found = read_ranking(folder / "ranking.h5")
    assert images_without_features(folder / "ranking.h5") == (5,)
    assert np.isnan(found.scores[3]).all()
    assert (found.image_ids[:3, -1] == 5).all()
    assert np.isnan(found.scores[:3, -1]).all()


def test_words_of_another_codebook_are_refused(tmp_path, codebook):
    folder, made, indexes = bow(tmp_path, codebook, [])
    other = make_codebook(tmp_path / "other.h5", size=WORDS, seed=8)
    assign_words(made["query"][0][0], other, tmp_path / "words.h5", n=6)
    with pytest.raises(StaleFileError, match="codebook"):
        search_bow([tmp_path / "words.h5"], indexes[0], folder / "statistics.h5", tmp_path / "out.h5")


def test_a_mean_bag_has_length_one():
    idf = np.array([1.0, 4.0, 0.0], np.float32)
    bags = [weighted(count_words(np.array(words)), idf) for words in ([0, 0, 1], [1, 2])]
    assert bags[0].values == pytest.approx(np.array([2, 2]) / np.sqrt(8))
    mean = mean_bag(bags)
    expected = np.array([1, 1 + np.sqrt(2), 0])
    assert mean.words.tolist() == [0, 1, 2]
    assert mean.values == pytest.approx(expected / np.linalg.norm(expected))
    lists = invert(count_images(np.array([0, 0, 1, 1, 2]), np.array([0, 3, 5])), 3)
    assert BowSearcher(lists, idf).search(mean) == pytest.approx([bag.values @ mean.values[bag.words] for bag in bags])


def draw_frames(count, seed):
    random = np.random.default_rng(seed)
    return Frames(random.uniform(0, 600, (count, 2)), random.uniform(3, 30, count), random.uniform(0, 6.28, count))


@pytest.mark.parametrize("stretch", [1.0, 1.3])
def test_a_known_transform_is_found_among_outliers(stretch):
    """A turn by 0.4, a scale of 1.7 and a shift; stretched, no similarity fits, and the affine transform does."""
    first = draw_frames(80, 0)
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    known = np.column_stack([turn @ np.diag([stretch, 1.0]), [30.0, -12.0]])
    moved = first.points @ known[:, :2].T + known[:, 2]
    moved[60:] = np.random.default_rng(1).uniform(0, 900, (20, 2))
    second = Frames(moved, first.sizes * 1.7, first.angles + 0.4)
    pairs = np.stack([np.arange(80)] * 2, axis=1)
    found = verify(first, second, pairs, 12.0)
    assert set(range(60)) <= set(found.pairs[:, 0].tolist())
    assert len(found.pairs) < 65
    assert found.transform == pytest.approx(known, abs=0.15)
    again = verify(first, second, pairs, 12.0)
    assert (again.pairs == found.pairs).all()
    assert (again.transform == found.transform).all()


@pytest.mark.parametrize("seed", range(6))
def test_inliers_are_as_plainly_computed(seed):
    """Of images that share a scene, all, some or none; pairs are more than the transforms that are tried."""
    random = np.random.default_rng(seed)
    first, second = draw_frames(300, seed), draw_frames(300, seed + 50)
    words, others = random.integers(0, 150, 300), random.integers(0, 150, 300)
    shared = (0, 30, 300)[seed % 3]
    others[:shared] = words[:shared]
    second.points[:shared] = first.points[:shared] @ np.array([[0.8, 0.5], [-0.6, 0.9]]) + random.normal(
        0, 3, (shared, 2)
    )
    asked = QueryWords(words[:, None])
    pairs = asked.correspondences(others)
    assert list(map(tuple, pairs.tolist())) == plain.correspondences(words.tolist(), others.tolist())
    assert len(pairs) > 128
    found = verify(first, second, pairs, 12.0).pairs
    assert list(map(tuple, found.tolist())) == plain.inliers(first, second, list(map(tuple, pairs.tolist())), 12.0)
    assert shared < 300 or len(found) > 10


def test_random_places_are_not_verified():
    pairs = np.stack([np.arange(60)] * 2, axis=1)
    assert len(verify(draw_frames(60, 0), draw_frames(60, 1), pairs, 8.0).pairs) < 6


def test_correspondences_share_a_word_and_repeated_structure_is_left_out():
    query = QueryWords(np.array([[4, 1], [2, 4], [7, 9], *[[5, 6]] * 5]))
    assert query.correspondences(np.array([4, 3, 9])).tolist() == [[0, 0], [1, 0], [2, 2]]
    assert len(query.correspondences(np.array([5, 5, 5]))) == 15
    assert len(query.correspondences(np.array([5, 5, 5, 5]))) == 0


def write_town(path, images, first=0):
    """Feature shard of images ``(words, frames)`` whose descriptors are the words' centroids."""
    centroids = np.eye(WORDS, 16, dtype=np.float32)
    with ShardWriter(path, ShardInfo("local", "f" * 64, path.name, "a" * 64, "cpu"), 16) as writer:
        for image, (words, frames) in enumerate(images, first):
            strengths = np.arange(len(words), 0, -1)
            writer.add(image, centroids[words], frames.points, frames.sizes, strengths, frames.angles)
    return path


def test_verified_images_come_first_and_find_more(tmp_path):
    """Image 1 shows the query's scene, image 0 only its words; image 2 has words of image 1 that the query lacks."""
    words = np.arange(8)
    scene, shifted = draw_frames(8, 0), draw_frames(8, 0)._replace(points=draw_frames(8, 0).points + 40)
    more = Frames(*(np.concatenate(parts) for parts in zip(shifted, draw_frames(2, 5), strict=True)))
    images = [(words, draw_frames(8, 3)), (np.array([*words, 9, 10]), more), (np.array([9, 10]), draw_frames(2, 6))]
    images += [(np.array([8, 11]), draw_frames(2, 7)), (np.array([8]), draw_frames(1, 8))]
    centroids = np.eye(WORDS, 16, dtype=np.float32)
    codebook = make_codebook(tmp_path / "codebook.h5", size=WORDS, centroids=centroids)
    query = [write_town(tmp_path / "query.h5", [(words, scene)])]
    database = [write_town(tmp_path / "d0.h5", images[:2]), write_town(tmp_path / "d1.h5", images[2:], 2)]
    assigned = {path: path.with_suffix(".words.h5") for path in (*query, *database)}
    for path, target in assigned.items():
        assign_words(path, codebook, target, n=20)
    indexes = [path.with_suffix(".index.h5") for path in database]
    for path, index in zip(database, indexes, strict=True):
        build_bow(assigned[path], index)
    statistics = tmp_path / "statistics.h5"
    collect_statistics(indexes, statistics, stale=False)
    parts = [tmp_path / "p0.h5", tmp_path / "p1.h5"]
    for index, part in zip(indexes, parts, strict=True):
        search_bow([assigned[query[0]]], index, statistics, part, cell="bow on town")
    before, after, file, more = (tmp_path / name for name in ("bow.h5", "sv.h5", "inliers.h5", "qe.h5"))
    merge_rankings(parts, before, top_k=None, num_queries=1)
    shards = [Shards(paths, [assigned[path] for path in paths]) for paths in (query, database)]
    settings = {"error": 5.0, "min_inliers": 5, "cell": "sv on town"}
    verify_geometry(before, *shards, after, file, first=3, based_on="bow on town", **settings)
    plain, verified = read_ranking(before), read_ranking(after, "sv on town")
    assert plain.image_ids[0, :2].tolist() == [0, 1]
    assert verified.image_ids[0, :2].tolist() == [1, 0]
    assert verified.scores[0, 0] == pytest.approx(8 + plain.scores[0, 1])
    assert verified.image_ids[0, 2:].tolist() == plain.image_ids[0, 2:].tolist()
    inliers = read_inliers(file, "sv on town")
    assert (inliers.images_of(0).tolist(), inliers.pairs.tolist()) == ([1], [[i, i] for i in range(8)])
    assert inliers.transforms[0] == pytest.approx(np.array([[1, 0, 40], [0, 1, 40]]), abs=1e-6)
    with pytest.raises(StaleFileError, match="delete it"):
        verify_geometry(before, *shards, after, file, first=3, based_on="other on town", **settings)
    verify_geometry(before, *shards, tmp_path / "none.h5", tmp_path / "i.h5", first=1, **settings)
    assert read_ranking(tmp_path / "none.h5").image_ids[0, 0] == 0
    words_of = [[assigned[path] for path in paths] for paths in (query, database)]
    kept = {"images": 5, "top_k": None, "num_queries": 1, "based_on": "sv on town", "cell": "qe on town"}
    searched = SearchedFiles(*words_of, indexes, statistics)
    expand_query(after, file, searched, more, tmp_path, **kept)
    expanded = read_ranking(more, "qe on town")
    assert sorted(expanded.image_ids[0, :2].tolist()) == [0, 1]
    assert expanded.image_ids[0, 2:].tolist() == [2, 3, 4]
    assert expanded.scores[0, 2] > 0 == plain.scores[0, 2]
    expand_query(after, file, searched, tmp_path / "few.h5", tmp_path, min_inliers=9, **kept)
    assert read_ranking(tmp_path / "few.h5").scores[0, 2] == 0
    assert read_words(assigned[query[0]]).words[:, 0].tolist() == words.tolist()
