"""A whole search in one call gives what its stages give."""

import numpy as np
import pytest
from retrieval_data import draw_images, make_codebook, make_index, search_all, write_shard, write_shards

from descbench.config.methods import AsmkMethod, BowMethod, FlatMethod
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.run_search import run_search

GLOBAL = {"kind": "global"}


def equal(one, other):
    assert np.array_equal(one.image_ids, other.image_ids)
    assert np.array_equal(one.scores, other.scores)


def test_asmk(tmp_path):
    (tmp_path / "work").mkdir()
    images = draw_images([5, 7, 0, 6, 4])
    shards = write_shards(tmp_path, images, [2])
    queries = [write_shard(tmp_path / "q.h5", images[:2])]
    codebook = make_codebook(tmp_path / "codebook.h5")
    query = {"multiple_assignment": 3, "similarity_threshold": 0.0, "alpha": 3.0, "top_k": 4}
    method = AsmkMethod(search="asmk", features="f", n=6, codebook={"features": "f", "dataset": "d"}, query=query)
    run_search(method, queries, shards, tmp_path / "work", tmp_path / "r.h5", codebook=codebook, num_queries=2)
    index = make_index(shards, codebook, tmp_path)
    expected = search_all(queries, codebook, index, tmp_path, 2, top_k=4)
    equal(read_ranking(tmp_path / "r.h5"), expected)
    assert expected.image_ids.shape == (2, 4)
    weighted = method.model_copy(update={"idf": method.idf.model_copy(update={"use_idf": True})})
    run_search(weighted, queries, shards, tmp_path / "work", tmp_path / "w.h5", codebook=codebook, num_queries=2)
    assert not np.array_equal(read_ranking(tmp_path / "w.h5").scores, expected.scores)


def test_words_are_found_once(tmp_path):
    """A second search finds words of changed shards alone, and of all where the settings are others."""
    (tmp_path / "work").mkdir()
    images = draw_images([5, 7, 0, 6, 4])
    shards = write_shards(tmp_path, images, [2])
    queries = [write_shard(tmp_path / "q.h5", images[:2])]
    codebook = make_codebook(tmp_path / "codebook.h5")
    method = BowMethod(search="bow", features="f", n=6, codebook={"features": "f", "dataset": "d"})
    settings = {"codebook": codebook, "num_queries": 2}

    def search(method=method):
        run_search(method, queries, shards, tmp_path / "work", tmp_path / "r.h5", **settings)
        return read_ranking(tmp_path / "r.h5"), [path.stat().st_mtime_ns for path in words]

    words = [tmp_path / f"work/words-{shard.stem}.h5" for shard in shards]
    (first, before), (again, after) = search(), search()
    equal(first, again)
    assert before == after
    shards[1] = write_shard(tmp_path / "other.h5", images[2:4], 2)
    shards[1].replace(tmp_path / "1.h5")
    shards[1] = tmp_path / "1.h5"
    fewer, now = search()
    assert (fewer.image_ids.shape, now[0]) == ((2, 4), before[0])
    assert now[1] > before[1]
    words[0].write_bytes(b"damaged")
    equal(search()[0], fewer)
    assert all(new > old for new, old in zip(search(method.model_copy(update={"n": 3}))[1], now, strict=True))
    settings["codebook"] = make_codebook(tmp_path / "codebook.h5", seed=6)
    assert not np.array_equal(search()[0].scores, fewer.scores)


@pytest.mark.parametrize("top_k", [None, 3])
def test_flat_by_shards_is_flat_of_all(tmp_path, top_k):
    vectors = np.random.default_rng(0).normal(0, 1, (9, 6)).astype(np.float32)
    images = list(vectors[:, None])
    shards = write_shards(tmp_path, images, [4, 6], **GLOBAL)
    whole = [write_shard(tmp_path / "all.h5", images, **GLOBAL)]
    queries = [write_shard(tmp_path / "q.h5", images[:3], **GLOBAL)]
    method = FlatMethod(search="euclidean", features="f", top_k=top_k)
    for name, database in (("parts", shards), ("whole", whole)):
        (tmp_path / name).mkdir()
        run_search(method, queries, database, tmp_path / name, tmp_path / f"{name}-r.h5", num_queries=3)
    equal(*(read_ranking(tmp_path / f"{name}-r.h5") for name in ("parts", "whole")))
