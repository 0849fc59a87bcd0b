"""Pairs files: order, own names, lengths, and both kinds of search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from retrieval_data import draw_images, make_codebook, make_index, write_shard

from descbench.config.methods import AsmkMethod, FlatMethod
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import DataError
from descbench.retrieval.pairs import compute_pairs, write_pairs_file
from descbench.retrieval.ranking import Ranking
from descbench.retrieval.run_search import Database
from descbench.retrieval.statistics import collect_statistics

GLOBAL = {"kind": "global"}
IMAGES = ["a.png", "b.png", "c/d.png", "a.png"]


def names(path, images, contents=None):
    rows = rows_of("database", images)
    if contents is not None:
        rows = [replace(row, content=content) for row, content in zip(rows, contents, strict=True)]
    write_manifest(Manifest(tuple(rows)), path)
    return path


def read(path):
    header, *lines = path.read_text().splitlines()
    assert header == "# query_image, map_image, score"
    return [(query, image, float(score)) for query, image, score in (line.split(", ") for line in lines)]


def test_own_names_are_left_out_without_counting(tmp_path):
    ids = np.array([[0, 3, 2, 1], [2, 1, 0, 3]])
    scores = np.array([[1.0, 0.75, 0.5, 0.123456789], [3, 2, 1, 0]])
    write_pairs_file(Ranking(np.arange(2), ids, scores), ["a.png", "q.png"], IMAGES, tmp_path / "p.txt", top_k=2)
    assert (tmp_path / "p.txt").read_text().splitlines()[1:] == [
        "a.png, c/d.png, 0.5",
        "a.png, b.png, 0.123457",
        "q.png, c/d.png, 3",
        "q.png, b.png, 2",
    ]


@pytest.mark.parametrize("top_k", [1, 2, 50])
def test_flat(tmp_path, top_k):
    generator = np.random.default_rng(0)
    vectors = generator.integers(-3, 4, (4, 6)).astype(np.float32)
    shard = write_shard(tmp_path / "map.h5", list(vectors[:, None]), **GLOBAL)
    manifest = names(tmp_path / "map.csv", IMAGES)
    method = FlatMethod(search="inner_product", features="f")
    compute_pairs(method, [shard], Database([shard]), (manifest, manifest), tmp_path / "p.txt", top_k=top_k)
    products = vectors @ vectors.T
    expected = []
    for query, name in enumerate(IMAGES):
        order = sorted(range(4), key=lambda i: (-products[query, i], i))
        found = [(name, IMAGES[i], float(products[query, i])) for i in order if IMAGES[i] != name]
        expected += found[:top_k]
    assert read(tmp_path / "p.txt") == expected


def test_asmk_of_a_map_against_itself(tmp_path):
    images = draw_images([5, 7, 6, 4])
    shard = write_shard(tmp_path / "map.h5", images)
    codebook = make_codebook(tmp_path / "codebook.h5")
    indexes = make_index([shard], codebook, tmp_path)
    manifest = names(tmp_path / "map.csv", ["a", "b", "c", "d"])
    method = AsmkMethod(search="asmk", features="f", n=6, codebook={"features": "f", "dataset": "d"})
    compute_pairs(
        method, [shard], Database(indexes, codebook), (manifest, manifest), tmp_path / "p.txt", top_k=2, threads=1
    )
    found = read(tmp_path / "p.txt")
    assert [query for query, _, _ in found] == list("aabbccdd")
    assert all(query != image for query, image, _ in found)
    assert not list(tmp_path.glob("*.work.*"))


def test_words_are_weighted_by_idf(tmp_path):
    images = draw_images([5, 7, 6, 4])
    shard = write_shard(tmp_path / "map.h5", images)
    codebook = make_codebook(tmp_path / "codebook.h5")
    indexes = make_index([shard], codebook, tmp_path)
    collect_statistics(indexes, tmp_path / "idf.h5", stale=False)
    manifest = names(tmp_path / "map.csv", ["a", "b", "c", "d"])
    method = AsmkMethod(search="asmk", features="f", n=6, codebook={"features": "f", "dataset": "d"})
    for statistics in (None, tmp_path / "idf.h5"):
        output = tmp_path / f"{statistics is None}.txt"
        database = Database(indexes, codebook, statistics)
        compute_pairs(method, [shard], database, (manifest, manifest), output, top_k=3, threads=1)
    plain, weighted = ({(q, i): s for q, i, s in read(tmp_path / f"{name}.txt")} for name in (True, False))
    assert plain.keys() == weighted.keys()
    assert plain != weighted


def test_a_map_that_nothing_can_be_paired_with(tmp_path, caplog):
    vectors = np.ones((2, 6), np.float32)
    shard = write_shard(tmp_path / "map.h5", list(vectors[:1, None]), **GLOBAL)
    manifest = names(tmp_path / "map.csv", ["a"])
    method = FlatMethod(search="inner_product", features="f")
    with pytest.raises(DataError, match=r"p\.txt: no image has a pair"):
        compute_pairs(method, [shard], Database([shard]), (manifest, manifest), tmp_path / "p.txt", top_k=2)
    assert not (tmp_path / "p.txt").exists()


def test_no_queries(tmp_path):
    empty, full = names(tmp_path / "q.csv", []), names(tmp_path / "map.csv", IMAGES)
    method = FlatMethod(search="inner_product", features="f")
    with pytest.raises(DataError, match=r"q\.csv: no images, so no pairs"):
        compute_pairs(method, [], Database([]), (empty, full), tmp_path / "p.txt", top_k=2)
    assert not (tmp_path / "p.txt").exists()


@pytest.mark.parametrize(("content", "refused"), [("x", True), ("b", False)])
def test_names_that_queries_and_map_share(tmp_path, caplog, content, refused):
    """Another photograph of the same name would be lost; the same one is left out, and said so."""
    vectors = np.random.default_rng(2).normal(0, 1, (3, 6)).astype(np.float32)
    shard = write_shard(tmp_path / "map.h5", list(vectors[:, None]), **GLOBAL)
    images = names(tmp_path / "map.csv", ["a", "b", "c"], "abc")
    queries = names(tmp_path / "query.csv", ["p", "b", "q"], f"p{content}q")
    method = FlatMethod(search="inner_product", features="f")
    output = tmp_path / "p.txt"
    if refused:
        with pytest.raises(DataError, match=r"query\.csv and .*map\.csv: 1 names stand for one photograph .*\(b\)"):
            compute_pairs(method, [shard], Database([shard]), (queries, images), output, top_k=3)
        called = Path("theirs"), Path("ours")
        with pytest.raises(DataError, match=r"^theirs and ours: 1 names stand for one photograph"):
            compute_pairs(method, [shard], Database([shard]), (queries, images), output, top_k=3, called=called)
        assert not output.exists()
    else:
        compute_pairs(method, [shard], Database([shard]), (queries, images), output, top_k=3)
        assert [image for query, image, _ in read(output) if query == "b"].count("b") == 0
        assert "1 photographs of the queries are in the map too" in caplog.text
