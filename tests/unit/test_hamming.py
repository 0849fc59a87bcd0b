"""Hamming embedding: as plainly computed, the same from any shards; its query expansion; what is refused."""

import numpy as np
import pytest
from benchmarks.plain import hamming as plain
from retrieval_data import draw_images, make_codebook, write_shards
from sealed import altered

from descbench.config.methods import HammingMethod
from descbench.errors import DataError, StaleFileError
from descbench.retrieval.asmk import invert
from descbench.retrieval.bow import BowSearcher, count_images, count_words, weighted
from descbench.retrieval.codebook import (
    Codebook,
    centroid_digest,
    embedding_digest,
    read_codebook,
    train_codebook,
    write_codebook,
)
from descbench.retrieval.expand_hamming import Expansion, count_strong, expand, expand_hamming
from descbench.retrieval.hamming import (
    Embedding,
    HammingSearcher,
    Signed,
    draw_projection,
    learn_embedding,
    sign,
    sort_by_word,
    weights_of,
)
from descbench.retrieval.parts import SearchedFiles
from descbench.retrieval.ranking import merge_rankings, read_ranking
from descbench.retrieval.run_search import run_search
from descbench.retrieval.search_bow import build_bow
from descbench.retrieval.search_hamming import Matching, build_hamming, search_hamming
from descbench.retrieval.statistics import collect_statistics, read_statistics
from descbench.retrieval.words import assign_words, read_words

DATABASE, QUERIES, WORDS, BITS = [3, 0, 9, 9, 1, 6, 6, 5], [4, 0, 9, 1], 4, 12
MATCHING = Matching(7, "gaussian", True)
EXPANSION = Expansion(images=3, strong=5, matches=1, growth=0.5, seed=0)


@pytest.fixture
def codebook(tmp_path):
    return signed_codebook(tmp_path / "codebook.h5")


def signed_codebook(path, seed=5, bits=BITS):
    centroids = np.random.default_rng(seed).standard_normal((WORDS, 16)).astype(np.float32)
    thresholds = np.random.default_rng(seed + 1).standard_normal((WORDS, bits)).astype(np.float32) / 4
    known = (10, 1234, 99, "f" * 64, "a" * 64, "drawn", "0", centroid_digest(centroids))
    write_codebook(Codebook(centroids, *known, Embedding(draw_projection(bits, 16, 3), thresholds)), path)
    return path


def searched(tmp_path, codebook, cuts, assignments=1, matching=MATCHING):
    """Words, index shards, statistics and ranking of a search over a database cut into shards."""
    folder = tmp_path / f"cut-{len(cuts)}-{assignments}-{matching.threshold}"
    words = {}
    for role, counts, seed, edges in (("database", DATABASE, 0, cuts), ("query", QUERIES, 1, [2])):
        (folder / role).mkdir(parents=True)
        shards = write_shards(folder / role, draw_images(counts, seed=seed), edges)
        words[role] = [shard.with_suffix(".words.h5") for shard in shards]
        for shard, path in zip(shards, words[role], strict=True):
            assign_words(shard, codebook, path, n=6, multiple_assignment=assignments if role == "query" else 1)
        words[f"{role} features"] = shards
    indexes = [path.with_suffix(".index.h5") for path in words["database"]]
    for path, index in zip(words["database"], indexes, strict=True):
        build_hamming(path, index)
    collect_statistics(indexes, folder / "statistics.h5", stale=False)
    parts = [folder / f"part-{number}.h5" for number in range(len(indexes))]
    for index, part in zip(indexes, parts, strict=True):
        search_hamming(words["query"], index, folder / "statistics.h5", part, matching=matching, cell="he on town")
    merge_rankings(parts, folder / "ranking.h5", top_k=None, num_queries=len(QUERIES))
    return folder, words, indexes


def features_of(paths, assignments=None):
    """Each image as a list of words with bits."""
    images = []
    for path in paths:
        known = read_words(path)
        for position in range(len(known.image_ids)):
            images.append(listed(known.signed(position, assignments)))
    return images


def listed(signed):
    bits = np.unpackbits(signed.codes, axis=1)[:, :BITS]
    return list(zip(signed.words.tolist(), bits.tolist(), strict=True))


def plain_idf(images):
    containing = [sum(any(word == other for other, _ in image) for image in images) for word in range(WORDS)]
    return [np.log(len(images) / count) if count else 1.0 for count in containing]


def test_signatures_are_as_plainly_computed(codebook, tmp_path):
    known = read_codebook(codebook)
    images = draw_images(DATABASE)
    shards = write_shards(tmp_path, images, [])
    assign_words(shards[0], codebook, tmp_path / "w.h5", n=6, multiple_assignment=2)
    found = read_words(tmp_path / "w.h5")
    descriptors = np.concatenate([image[:6] for image in images])
    for column in range(2):
        expected = plain.signatures(descriptors, found.words[:, column], *known.embedding)
        assert np.unpackbits(found.signatures[:, column], axis=1)[:, :BITS].tolist() == expected
    assert found.signatures.shape == (len(descriptors), 2, 4)
    assert not np.unpackbits(found.signatures, axis=2)[..., BITS:].any()
    assert found.info.embedding == embedding_digest(known.embedding) != ""


@pytest.mark.parametrize("assignments", [1, 3])
@pytest.mark.parametrize("cuts", [[], [3, 4]])
@pytest.mark.parametrize("matching", [MATCHING, Matching(5, "none", False), Matching(6, "none", True)])
def test_scores_are_as_plainly_computed(tmp_path, codebook, cuts, assignments, matching):
    folder, words, _ = searched(tmp_path, codebook, cuts, assignments, matching)
    found = read_ranking(folder / "ranking.h5", "he on town")
    images, queries = features_of(words["database"]), features_of(words["query"])
    kept = {"threshold": matching.threshold, "gaussian": matching.weighting == "gaussian"}
    idf = plain_idf(images)
    expected = np.array(
        [[plain.score(q, image, idf, burstiness=matching.burstiness, **kept) for image in images] for q in queries]
    )
    assert np.allclose(found.scores, np.take_along_axis(expected, found.image_ids, 1), atol=1e-6)
    assert 0.1 < expected.max() <= 1
    assert (expected == 0).any()


def test_shards_merge_to_the_bit(tmp_path, codebook):
    one, other = (searched(tmp_path, codebook, cuts, 2)[0] / "ranking.h5" for cuts in ([], [2, 5]))
    assert one.read_bytes() == other.read_bytes()


def test_without_thresholds_it_is_a_bag_of_words():
    random = np.random.default_rng(0)
    offsets = np.array([0, 5, 5, 14, 30])
    words, codes = random.integers(0, 6, 30), random.integers(0, 256, (30, 4), np.uint8)
    idf = random.uniform(0, 2, 6).astype(np.float32)
    lists = invert(sort_by_word(words, codes, offsets), 6)
    query = Signed(random.integers(0, 6, 8), random.integers(0, 256, (8, 4), np.uint8))
    found = HammingSearcher(lists, idf, weights_of(32, 32, "none"), burstiness=False).search(query)
    counted = BowSearcher(invert(count_images(words, offsets), 6), idf)
    assert found == pytest.approx(counted.search(weighted(count_words(query.words), idf)), rel=1e-12)


def test_long_lists_are_compared_in_pieces(monkeypatch):
    from descbench.retrieval import hamming

    random = np.random.default_rng(1)
    words, codes = random.integers(0, 5, 400), random.integers(0, 256, (400, 8), np.uint8)
    lists = invert(sort_by_word(words, codes, np.arange(0, 401, 20)), 5)
    query = Signed(random.integers(0, 5, 30), random.integers(0, 256, (30, 8), np.uint8))
    searcher = HammingSearcher(lists, np.ones(5, np.float32), weights_of(64, 40, "gaussian"), burstiness=True)
    whole = searcher.search(query)
    monkeypatch.setattr(hamming, "_ENTRIES", 50)
    assert (searcher.search(query) == whole).all()
    assert whole.max() > 0


def test_thresholds_halve_each_word(monkeypatch):
    from descbench.retrieval import hamming

    random = np.random.default_rng(2)
    points, words = random.standard_normal((500, 16)), random.integers(0, 3, 500)
    centroids = random.standard_normal((4, 16)).astype(np.float32)
    known = learn_embedding(points, words, centroids, bits=10, seed=4)
    assert known.projection @ known.projection.T == pytest.approx(np.eye(10), abs=1e-6)
    for word in range(3):
        above = np.unpackbits(sign(points[words == word], words[words == word][:, None], known)[:, 0], axis=1)[:, :10]
        assert np.abs(above.sum(0) - (words == word).sum() / 2).max() <= 1
    assert known.thresholds[3] == pytest.approx(centroids[3] @ known.projection.T, abs=1e-5)
    monkeypatch.setattr(hamming, "_POINTS", 40)
    again = learn_embedding(points, words, centroids, bits=10, seed=4)
    assert all((one == other).all() for one, other in zip(known, again, strict=True))
    other = learn_embedding(points, words, centroids, bits=10, seed=5)
    assert not (known.projection == other.projection).all()


def test_a_codebook_learns_thresholds(tmp_path):
    shards = write_shards(tmp_path, draw_images([40] * 6), [3])
    settings = {"n": None, "images": None, "size": 5, "threads": 1}
    for name, more in (("plain", {}), ("signed", {"signatures": {"bits": 16, "seed": 0}})):
        train_codebook(shards, tmp_path / f"{name}.h5", **settings, **more)
    plain_one, signed = (read_codebook(tmp_path / f"{name}.h5") for name in ("plain", "signed"))
    assert plain_one.embedding is None
    assert (plain_one.digest, len(signed.embedding.thresholds)) == (signed.digest, 5)
    with pytest.raises(DataError, match=r"17 bits .* lower the method's `bits`"):
        train_codebook(shards, tmp_path / "more.h5", **settings, signatures={"bits": 17, "seed": 0})


def test_statistics_count_images_and_not_features(tmp_path, codebook):
    folder, words, _ = searched(tmp_path, codebook, [3])
    indexes = [path.with_suffix(".counts.h5") for path in words["database"]]
    for path, index in zip(words["database"], indexes, strict=True):
        build_bow(path, index)
    collect_statistics(indexes, folder / "counts.h5", stale=False)
    signed, counted = (read_statistics(folder / name) for name in ("statistics.h5", "counts.h5"))
    assert (signed.counts == counted.counts).all()
    assert signed.counts.sum() < sum(min(count, 6) for count in DATABASE)


def test_the_same_search_in_one_call(tmp_path, codebook):
    folder, words, _ = searched(tmp_path, codebook, [3], 2)
    block = {"search": "hamming", "features": "f", "n": 6, "bits": BITS, "threshold": 7, "multiple_assignment": 2}
    method = HammingMethod.model_validate({**block, "codebook": {"features": "f", "dataset": "d", "size": WORDS}})
    (tmp_path / "work").mkdir()
    shards = words["query features"], words["database features"]
    run_search(method, *shards, tmp_path / "work", tmp_path / "r.h5", codebook=codebook, num_queries=len(QUERIES))
    one, other = read_ranking(tmp_path / "r.h5"), read_ranking(folder / "ranking.h5")
    assert (one.image_ids == other.image_ids).all()
    assert (one.scores == other.scores).all()


def draw_signed(count, seed, words=6):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (count, 4), np.uint8) & np.array([255, 240, 0, 0], np.uint8)
    return Signed(random.integers(0, words, count), codes)


@pytest.mark.parametrize("growth", [0.0, 0.5, 3.0])
def test_an_expanded_query_is_as_plainly_computed(growth):
    query, reliable = draw_signed(4, 0, words=4), [draw_signed(12, seed, words=9) for seed in (1, 2, 3)]
    found = expand(query, reliable, BITS, growth, np.random.default_rng(0))
    shares = plain.expanded(listed(query), [listed(image) for image in reliable], growth)
    assert found.words.tolist() == list(shares)
    bits, wanted = np.unpackbits(found.codes, axis=1), np.array(list(shares.values()))
    assert (bits[:, :BITS] == (wanted > 0.5))[wanted != 0.5].all()
    assert not bits[:, BITS:].any()
    assert (wanted == 0.5).any()
    others = [expand(query, reliable, BITS, growth, np.random.default_rng(seed)) for seed in range(1, 9)]
    assert any((np.unpackbits(o.codes, axis=1) != bits)[:, :BITS][wanted == 0.5].any() for o in others)
    assert expand(query, [], BITS, growth, np.random.default_rng(0)) is query


def test_strong_matches_count_features_of_the_query():
    query = Signed(np.array([1, 2, 3, 1]), np.array([[0] * 4, [255] * 4, [0] * 4, [7, 0, 0, 0]], np.uint8))
    image = Signed(np.array([1, 1, 3]), np.array([[1, 0, 0, 0], [0] * 4, [255, 0, 0, 0]], np.uint8))
    assert count_strong(query, 1, image, EXPANSION) == 2
    assert count_strong(query, 2, image, EXPANSION) == 2
    assert count_strong(query, 4, image, EXPANSION) == 1
    assert count_strong(query, 1, image, Expansion(3, 8, 1, 0.5, 0)) == 3


@pytest.mark.parametrize("cuts", [[], [3, 4]])
def test_expansion_from_file_to_file(tmp_path, codebook, cuts):
    folder, words, indexes = searched(tmp_path, codebook, cuts, 2)
    before = read_ranking(folder / "ranking.h5")
    first = SearchedFiles(words["query"], words["database"], indexes, folder / "statistics.h5")
    files = (first, folder / "more.h5", folder)
    settings = {"matching": MATCHING, "top_k": None, "num_queries": len(QUERIES), "cell": "hqe on town"}
    expand_hamming(folder / "ranking.h5", *files, expansion=EXPANSION, based_on="he on town", **settings)
    found = read_ranking(folder / "more.h5", "hqe on town")
    images, queries = features_of(words["database"]), [q for path in words["query"] for q in signed_of(path)]
    known = [image for path in words["database"] for image in signed_of(path, 1)]
    idf = plain_idf(images)
    changed = 0
    for row, query in enumerate(queries):
        shown = [known[i] for i, s in zip(before.image_ids[row], before.scores[row], strict=True) if s > 0][:3]
        reliable = [image for image in shown if count_strong(query, 2, image, EXPANSION) >= 1]
        asked = listed(expand(query, reliable, BITS, 0.5, np.random.default_rng([0, row])))
        expected = [plain.score(asked, image, idf, threshold=7, gaussian=True, burstiness=True) for image in images]
        assert found.scores[row] == pytest.approx([expected[i] for i in found.image_ids[row]], abs=1e-6)
        changed += len(reliable) > 0
    assert changed
    with pytest.raises(StaleFileError, match="delete it"):
        expand_hamming(folder / "ranking.h5", *files, expansion=EXPANSION, based_on="bow on town", **settings)


def signed_of(path, assignments=None):
    known = read_words(path)
    return [known.signed(position, assignments) for position in range(len(known.image_ids))]


def test_files_that_do_not_belong_together_are_refused(tmp_path, codebook):
    folder, words, indexes = searched(tmp_path, codebook, [])
    shard = words["query features"][0]
    same_words = read_codebook(codebook)
    other = Embedding(same_words.embedding.projection, same_words.embedding.thresholds + 1)
    write_codebook(Codebook(**{**vars(same_words), "embedding": other}), tmp_path / "other.h5")
    assign_words(shard, tmp_path / "other.h5", tmp_path / "words.h5", n=6)
    with pytest.raises(StaleFileError, match="codebook"):
        search_hamming([tmp_path / "words.h5"], indexes[0], folder / "statistics.h5", tmp_path / "o", matching=MATCHING)
    assign_words(shard, make_codebook(tmp_path / "plain.h5", size=WORDS), tmp_path / "bare.h5", n=6)
    with pytest.raises(DataError, match="without signatures"):
        build_hamming(tmp_path / "bare.h5", tmp_path / "index.h5")
    build_bow(words["database"][0], tmp_path / "counts.h5")
    with pytest.raises(DataError, match="not signatures"):
        search_hamming(
            words["query"], tmp_path / "counts.h5", folder / "statistics.h5", tmp_path / "o", matching=MATCHING
        )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("thresholds", lambda values: values[:, :-1]),
        ("thresholds", lambda values: values[:-1]),
        ("thresholds", lambda values: values * np.nan),
        ("projection", lambda values: values[:, :-1]),
        ("projection", lambda values: values.astype(np.float64)),
        ("projection", None),
    ],
)
def test_damaged_embeddings_are_refused(codebook, name, change):
    with altered(codebook) as file:
        values = file[name][:]
        del file[name]
        if change is not None:
            file[name] = change(values)
    with pytest.raises(DataError, match=str(codebook)):
        read_codebook(codebook)


@pytest.mark.parametrize("change", ["missing", "narrow", "bits"])
def test_damaged_signatures_are_refused(tmp_path, codebook, change):
    _, words, _ = searched(tmp_path, codebook, [])
    path = words["database"][0]
    with altered(path) as file:
        if change == "bits":
            file.attrs["bits"] = np.int64(-8)
        else:
            values = file["signatures"][:]
            del file["signatures"]
            if change == "narrow":
                file["signatures"] = values[:, :-1]
    with pytest.raises(DataError, match=str(path)):
        read_words(path)
