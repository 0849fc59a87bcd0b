"""Rankings: order, exact merge, and refusals."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from benchmarks.plain import asmk as plain
from hypothesis import given, settings
from hypothesis import strategies as st

from descbench.errors import DataError, StaleFileError
from descbench.retrieval.ranking import PartInfo, merge_rankings, rank_scores, ranking_writer, read_ranking

scores_with_ties = st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0, -2.0, float("nan")]), min_size=1, max_size=30)


def write_part(path, scores, first=0, top_k=None, queries=None, made_from="x"):
    """A partial ranking of scores (Q, n) of the images from ``first`` on."""
    queries = np.arange(len(scores)) if queries is None else np.array(queries)
    ids, ordered = rank_scores(np.arange(first, first + scores.shape[1]), scores, top_k)
    with ranking_writer(path, PartInfo(first, scores.shape[1], {"codebook": made_from}), queries, ids.shape[1]) as out:
        out.write(0, ids, ordered)
    return path


@given(scores_with_ties, st.one_of(st.none(), st.integers(1, 40)))
def test_order(scores, top_k):
    scores = np.array([scores])
    ids, ordered = rank_scores(np.arange(scores.size) - 3, scores, top_k)
    assert ids[0].tolist() == plain.rank(scores[0], range(-3, scores.size - 3))[:top_k]
    assert np.array_equal(ordered[0], scores[0, ids[0] + 3], equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.one_of(st.none(), st.integers(1, 12)), st.booleans())
def test_merge_is_the_ranking_of_everything(tmp_path_factory, seed, num_parts, top_k, reverse):
    folder = tmp_path_factory.mktemp("parts")
    generator = np.random.default_rng(seed)
    scores = generator.choice([0.0, 1.0, 2.0, np.nan], (3, 10))
    edges = [0, *np.sort(generator.choice(np.arange(1, 10), num_parts - 1, replace=False)), 10]
    parts = [write_part(folder / f"{a}.h5", scores[:, a:b], a - 4, top_k) for a, b in pairwise(edges)]
    merge_rankings(parts[:: -1 if reverse else 1], folder / "all.h5", top_k=top_k, num_queries=3)
    merged = read_ranking(folder / "all.h5")
    ids, ordered = rank_scores(np.arange(-4, 6), scores, top_k)
    assert np.array_equal(merged.image_ids, ids)
    assert np.array_equal(merged.scores, ordered, equal_nan=True)


def test_missing_queries_become_rows_without_scores(tmp_path):
    parts = [
        write_part(tmp_path / "b.h5", np.array([[5.0, 7.0], [1.0, 2.0]]), 0, queries=[1, 3]),
        write_part(tmp_path / "a.h5", np.array([[6.0], [3.0]]), -1, queries=[1, 3]),
    ]
    merge_rankings(parts, tmp_path / "all.h5", top_k=2, num_queries=5)
    merged = read_ranking(tmp_path / "all.h5")
    assert merged.query_ids.tolist() == [0, 1, 2, 3, 4]
    assert merged.image_ids.tolist() == [[-1, 0], [1, -1], [-1, 0], [-1, 1], [-1, 0]]
    expected = np.full((5, 2), np.nan)
    expected[1], expected[3] = [7, 6], [3, 2]
    assert np.array_equal(merged.scores, expected, equal_nan=True)


def test_many_blocks_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("descbench.retrieval.ranking._BLOCK_BYTES", 16 * 4 * 2)
    scores = np.random.default_rng(0).random((7, 4))
    parts = [write_part(tmp_path / "0.h5", scores[:, :3]), write_part(tmp_path / "1.h5", scores[:, 3:], 3)]
    merge_rankings(parts, tmp_path / "all.h5", top_k=None, num_queries=7)
    assert np.array_equal(read_ranking(tmp_path / "all.h5").image_ids, rank_scores(np.arange(4), scores, None)[0])


def test_parts_that_do_not_fit_are_refused(tmp_path):
    scores = np.ones((2, 3))
    first = write_part(tmp_path / "0.h5", scores)
    target = tmp_path / "all.h5"

    def merge(*parts, top_k=None, num_queries=2, cell=None):
        merge_rankings(parts, target, top_k=top_k, num_queries=num_queries, cell=cell)

    with pytest.raises(DataError, match="no partial rankings"):
        merge()
    with pytest.raises(StaleFileError, match=r"0\.h5: a ranking of None, not of m on d"):
        merge(first, cell="m on d")
    with pytest.raises(DataError, match=r"gap\.h5: .*begin at 4, but 3 is next after \S*0\.h5"):
        merge(first, write_part(tmp_path / "gap.h5", scores, 4))
    with pytest.raises(DataError, match="begin at 0, but 3 is next"):
        merge(first, write_part(tmp_path / "twice.h5", scores))
    with pytest.raises(
        StaleFileError,
        match=r"stale\.h5 and .*0\.h5: parts of one ranking that were made with another codebook: y and x",
    ):
        merge(first, write_part(tmp_path / "stale.h5", scores, 3, made_from="y"))
    with pytest.raises(DataError, match="its queries differ"):
        merge(first, write_part(tmp_path / "queries.h5", scores, 3, queries=[0, 2]))
    with pytest.raises(DataError, match="query 1 of a dataset of 1"):
        merge(first, num_queries=1)
    with pytest.raises(DataError, match="ranks only 1 of 3 images"):
        merge(first, write_part(tmp_path / "short.h5", scores, 3, top_k=1), top_k=2)
    assert not target.exists()


def test_strangers_are_refused(tmp_path):
    (tmp_path / "r.h5").write_bytes(b"no ranking")
    with pytest.raises(DataError, match=r"r\.h5: carries no checksum"):
        read_ranking(tmp_path / "r.h5")


def test_a_failure_leaves_nothing(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        ranking_writer(tmp_path / "r.h5", PartInfo(0, 1, {}), np.arange(1), 1),
    ):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from descbench.errors import DataError
from descbench.retrieval.ranking import PartInfo, ranking_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with ranking_writer(Path(sys.argv[1]), PartInfo(0, 9, {}), np.arange(2), 9000) as writer:
        writer.write(0, np.ones((2, 9000), int), np.ones((2, 9000)))
except DataError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    # A limit on the size of files stands in for a full disk: writing fails in the same way.
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "r.h5")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.startswith(f"{tmp_path / 'r.h5'}: could not be written: disk full; free some space"), (
        result.stderr
    )
    assert list(tmp_path.iterdir()) == []
