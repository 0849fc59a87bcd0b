"""Published lists that are hostile, and re-ranking by local matching where there is little to match."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from descbench.datasets.manifest import Manifest, ManifestRow, rows_of, write_manifest
from descbench.datasets.recall_labels import PositiveLabels, write_positives
from descbench.errors import DataError, StaleFileError
from descbench.features.store import ShardInfo, ShardWriter
from descbench.matching.inlier_counts import CountsInfo, read_inlier_counts, write_inlier_counts
from descbench.matching.match_shortlist import Shortlists, match_shortlist
from descbench.matching.matcher import MatchSettings
from descbench.matching.rerank_shortlist import rerank_shortlist, reranked
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import read_scores
from descbench.retrieval.import_ranking import import_ranking
from descbench.retrieval.published_lists import ImagesByName, read_published_list
from descbench.retrieval.ranking import PartInfo, ranking_writer, read_part_info, read_ranking

QUERIES, DATABASE = ["q0", "q1"], ["d0", "d1", "d2"]
RANKS = np.array([[2, 1], [0, 2], [1, 0]])
WHOLE = {"q_images": QUERIES, "db_images": DATABASE, "ranks": RANKS}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    names = {"query": QUERIES, "database": DATABASE}
    rows = [row for role, known in names.items() for row in rows_of(role, [f"town/{name}.jpg" for name in known])]
    write_manifest(Manifest(tuple(rows)), tmp_path / "town.csv")
    return tmp_path / "town.csv"


def imported(manifest: Path, content: Any, name: str = "list.pkl"):
    path = manifest.with_name(name)
    path.write_bytes(pickle.dumps(content))
    import_ranking(path, manifest, manifest.with_name("ranking.h5"), cell="lists on town")
    return read_ranking(manifest.with_name("ranking.h5"), "lists on town")


def test_a_list_is_a_ranking(manifest):
    found = imported(manifest, WHOLE)
    assert found.image_ids.tolist() == RANKS.T.tolist()
    assert found.scores.tolist() == [[0, -1, -2]] * 2
    # Images that no query ranks may be of anywhere; the others go by name, wherever they lie.
    named = [*(f"/there/{name}.png" for name in DATABASE), "/there/another.png"]
    assert imported(manifest, {**WHOLE, "db_images": named, "ranks": RANKS[:1]}).image_ids.tolist() == [[2], [1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"db_images": ["d0", "d1", "elsewhere"]}, r"ranks elsewhere, which is not a database image"),
        ({"db_images": ["d0", "d1", "a/d1.jpg"]}, r"query q0 ranks d1 twice"),
        ({"ranks": np.array([[2, 1], [2, 0], [1, 2]])}, r"query q0 ranks d2 twice"),
        ({"ranks": np.concatenate([RANKS, RANKS[:1]])}, r"4 rows, but db_images names 3"),
        ({"ranks": RANKS + 1}, r"beyond the 3 images"),
        ({"ranks": RANKS - 1}, r"beyond the 3 images"),
        ({"ranks": RANKS[:, :1]}, r"1 columns for 2 queries"),
        ({"ranks": RANKS.astype(float)}, r"not an array of whole numbers"),
        ({"ranks": RANKS[:0]}, r"ranks no image of any query"),
        ({"q_images": ["q0", "x/q0.jpg"]}, r"has query x/q0\.jpg twice"),
        ({"q_images": ["q0", "someone"]}, r"no list of 1 of the 2 queries, such as town/q1\.jpg"),
        ({"q_images": ["q0", 7]}, r"q_images: no list of names"),
        ({"db_images": "d0"}, r"db_images: no list of names"),
        ({"ranks": None}, r"not an array of whole numbers"),
    ],
)
def test_lists_of_something_else(manifest, change, message):
    with pytest.raises(DataError, match=rf"list\.pkl.*{message}"):
        imported(manifest, WHOLE | change)
    assert not manifest.with_name("ranking.h5").exists()


def test_files_that_are_no_lists(manifest):
    with pytest.raises(DataError, match="keys q_images, db_images, ranks are needed"):
        imported(manifest, [1])
    with pytest.raises(DataError, match=r"end in \.pkl or \.mat"):
        imported(manifest, WHOLE, "list.txt")
    savemat(manifest.with_name("other.mat"), {"ImgList": np.eye(2)})
    with pytest.raises(DataError, match="not an array of structs"):
        read_published_list(manifest.with_name("other.mat"))
    write_manifest(Manifest(tuple(rows_of("database", DATABASE))), manifest)
    with pytest.raises(DataError, match="needs a dataset with queries"):
        imported(manifest, WHOLE)


def img_list(path: Path, lists: dict[str, list[str]]) -> Path:
    """A list as that of Tokyo 24/7."""
    kinds = [("queryname", object), ("topNname", object)]
    entries = np.empty((1, len(lists)), kinds)
    for number, (query, names) in enumerate(lists.items()):
        cells = np.empty((1, len(names)), object)
        cells[0] = names
        entries[0, number] = query, cells
    savemat(path, {"ImgList": entries})
    return path


def test_short_lists_and_foreign_queries(manifest, caplog):
    """A shorter list is filled with what was not found; the list may be of more queries than the dataset has."""
    caplog.set_level(logging.WARNING)
    lists = {"q1.jpg": ["a/d2.jpg"], "q9.jpg": ["nowhere.jpg"], "q0.jpg": ["b/d1.png", "d2.png"]}
    import_ranking(img_list(manifest.with_name("l.mat"), lists), manifest, manifest.with_name("r.h5"))
    found = read_ranking(manifest.with_name("r.h5"))
    assert found.image_ids.tolist() == [[1, 2], [2, 0]]
    assert np.isnan(found.scores).tolist() == [[False, False], [False, True]]
    assert "1 of its 3 queries are not of this dataset" in caplog.text
    one = read_published_list(img_list(manifest.with_name("one.mat"), {"q0.jpg": ["d0.jpg"]}))
    assert (one.queries, one.images, [r.tolist() for r in one.ranks]) == (["q0.jpg"], ["d0.jpg"], [[0]])


def test_images_of_equal_names():
    """Folders decide where names do not."""
    rows = [ManifestRow(i, path, "database") for i, path in enumerate(("a/1/x.png", "a/2/x.png", "a/2/y.1_0.png"))]
    known = ImagesByName(rows)
    assert [known.find(name) for name in ("2/x.jpg", "b/a/1/x", "elsewhere/y.1_0.JPG", "z.jpg")] == [1, 0, 2, None]
    with pytest.raises(ValueError, match="may be any of 2"):
        known.find("3/x.jpg")


# --- matching ------------------------------------------------------------------------------------


def shard(path: Path, images: list[tuple[np.ndarray, np.ndarray | None] | None], first: int = 0) -> Path:
    """Descriptors and places of images; of None nothing could be read."""
    with ShardWriter(path, ShardInfo("local", "f" * 64, path.name, "", "cpu"), 8) as writer:
        for image, found in enumerate(images, first):
            writer.skip(image, "broken") if found is None else writer.add(image, *found)
    return path


def write_ranking(path: Path, ids: list[list[int]], first: int = 0, found: int | None = None) -> Path:
    """Images in an order, of which the last were not found."""
    rows = np.array(ids)
    scores = np.tile(-np.arange(rows.shape[1], dtype=float), (len(rows), 1))
    scores[:, found:] = np.nan if found is not None else scores[:, found:]
    with ranking_writer(path, PartInfo(first, 6, {"cell": "x on y"}), np.arange(len(rows)), rows.shape[1]) as writer:
        writer.write(0, rows, scores)
    return path


@pytest.fixture
def town(tmp_path: Path) -> list[list[Path]]:
    """Feature shards of queries and of six images: the query's own points, few, none, unreadable, random ones twice."""
    random = np.random.default_rng(3)
    descriptors, places = random.normal(size=(30, 8)), random.uniform(0, 99, (30, 2))
    other = random.normal(size=(30, 8)), random.uniform(0, 99, (30, 2))
    images = [
        (descriptors[:3], places[:3]),
        other,
        (np.zeros((0, 8)), None),
        None,
        (descriptors, places + 7),
        other,
    ]
    queries = [(descriptors, places), (np.zeros((0, 8)), None)]
    return [
        [shard(tmp_path / "q.h5", queries)],
        [shard(tmp_path / "a.h5", images[:2]), shard(tmp_path / "b.h5", images[2:], 2)],
    ]


def test_little_to_match(town, tmp_path):
    """Without features, or with too few matches, there are no inliers; equal numbers keep their order."""
    ranking, counts, output = (tmp_path / name for name in ("r.h5", "c.h5", "o.h5"))
    write_ranking(ranking, [[3, 2, 5, 1, 0, 4]] * 2)
    match_shortlist(Shortlists(ranking, None), *town, counts, MatchSettings())
    inliers = read_inlier_counts(counts).inliers
    assert inliers[[0, 1, 4, 5]].tolist() == [0, 0, 0, 30]
    assert inliers[2] == inliers[3] > 0  # by chance, the same image twice
    assert inliers[6:].tolist() == [0] * 6
    rerank_shortlist(ranking, [counts], output, first=None)
    found = read_ranking(output)
    assert found.image_ids.tolist() == [[4, 5, 1, 3, 2, 0], [3, 2, 5, 1, 0, 4]]
    assert np.floor(found.scores[0]).tolist() == [30, inliers[2], inliers[2], 0, 0, 0]


def test_that_a_list_was_none_is_said_of_its_new_order(town, tmp_path):
    """Equal scores of all images of a query, which inliers hide, are told of what is re-ranked once or twice too."""
    labels = PositiveLabels(((4,), (1,)), right="what a list says")
    write_positives(labels, tmp_path / "gt.json")
    for level, name in ((True, "level"), (False, "ranked")):
        ranking = tmp_path / f"{name}.h5"
        with ranking_writer(ranking, PartInfo(0, 6, {}), np.arange(2), 6) as writer:
            scores = -np.arange(12.0).reshape(2, 6)
            scores[0] = scores[0] if not level else 0.5
            writer.write(0, np.array([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]), scores)
        told = []
        for number in range(3):
            score_ranking(ranking, tmp_path / "gt.json", tmp_path / "s.json")
            told.append([text for text in read_scores(tmp_path / "s.json").warnings if "equal scores" in text])
            counts, output = tmp_path / f"{name}c{number}.h5", tmp_path / f"{name}{number}.h5"
            match_shortlist(Shortlists(ranking, None), *town, counts, MatchSettings())
            rerank_shortlist(ranking, [counts], output, first=None)
            ranking = output
        before = "equal scores of all images for 1 of 2 queries{}, as of images without features: no ranking"
        again = before.format(" in the list that was re-ranked")
        assert told == ([[before.format("")], [again], [again]] if level else [[], [], []])


def test_errors_are_in_pixels_of_the_database_image(tmp_path):
    """An image of twice the size, where some places are 8 pixels off in four directions."""
    random = np.random.default_rng(4)
    descriptors, places = random.normal(size=(40, 8)), random.uniform(0, 99, (40, 2))
    moved = 2 * places
    moved[:8] += 8 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]] * 2)
    query, image = ([shard(tmp_path / f"{n}.h5", [(descriptors, at)] * 6)] for n, at in (("q", places), ("d", moved)))
    ranking, counts = write_ranking(tmp_path / "r.h5", [[0]]), tmp_path / "c.h5"
    for threshold, fewest, most in ((5.0, 32, 36), (9.0, 40, 40)):
        match_shortlist(Shortlists(ranking), query, image, counts, MatchSettings(), threshold=threshold)
        found = read_inlier_counts(counts)
        assert found.matches.tolist() == [40]
        assert fewest <= found.inliers[0] <= most


def test_only_the_first_that_were_found(town, tmp_path):
    """The others keep their places; distractors have negative ids, and shards of queries are put together."""
    ranking = write_ranking(tmp_path / "r.h5", [[-2, 1, 2, 3, -1, 0]] * 2, first=-2, found=4)
    parts = [tmp_path / f"{number}.h5" for number in range(2)]
    for number, part in enumerate(parts):
        match_shortlist(Shortlists(ranking, 3, number, number + 1, "x on y"), *town, part, MatchSettings())
    assert read_inlier_counts(parts[0]).pairs.tolist() == [[0, -2], [0, 1], [0, 2]]
    rerank_shortlist(ranking, parts, tmp_path / "o.h5", first=3, based_on="x on y", cell=None)
    found, info = read_ranking(tmp_path / "o.h5"), read_part_info(tmp_path / "o.h5")
    assert found.image_ids.tolist() == [[2, -2, 1, 3, -1, 0], [-2, 1, 2, 3, -1, 0]]
    assert found.scores[0, 3] == -1
    assert np.isnan(found.scores[0, 4:]).all()
    assert (info.first_image, info.made_from["reranked"]) == (-2, 3)
    match_shortlist(Shortlists(ranking, None), *town, parts[0], MatchSettings())
    assert len(read_inlier_counts(parts[0]).pairs) == 8  # what was not found is in no shortlist


def test_files_that_do_not_belong_together(town, tmp_path):
    ranking, counts = write_ranking(tmp_path / "r.h5", [[0, 1, 2, 3, 4, 5]] * 2), tmp_path / "c.h5"
    match_shortlist(Shortlists(ranking, 2), *town, counts, MatchSettings(), configuration="one", cell="m on y")
    known = {"first": 2, "configuration": "one", "cell": "m on y"}
    for change in ({"first": 3}, {"configuration": "two"}, {"cell": "other on y"}, {"based_on": "z on y"}):
        with pytest.raises(StaleFileError, match=r"delete|Delete"):
            rerank_shortlist(ranking, [counts], tmp_path / "o.h5", **known | change)
    with pytest.raises(StaleFileError, match="inliers of other images"):
        rerank_shortlist(ranking, [], tmp_path / "o.h5", **known)
    with pytest.raises(DataError, match="was made of 6 images, not of 2"):
        match_shortlist(Shortlists(ranking), town[0], town[1][:1], counts, MatchSettings())
    with pytest.raises(DataError, match=r"ranks 2 queries, and 3 should be matched; correct `counts`"):
        match_shortlist(Shortlists(ranking, stop=3), *town, counts, MatchSettings())
    placeless = shard(tmp_path / "p.h5", [(np.eye(8), None)] * 6)
    with pytest.raises(DataError, match=r"p\.h5: features without a place"):
        match_shortlist(Shortlists(ranking), town[0], [placeless], counts, MatchSettings())
    write_inlier_counts([(0, 1)], [(3, 4)], CountsInfo("", ""), counts)
    with pytest.raises(DataError, match="more than matches"):
        read_inlier_counts(counts)


def test_ties_of_many_are_stable():
    """An unstable sort puts equal numbers of a few dozen images into another order."""
    counts = np.random.default_rng(0).integers(4, 7, 300)
    order, scores = reranked(counts, 400)
    assert order[300:].tolist() == list(range(300, 400))
    assert order[:300].tolist() == sorted(range(300), key=lambda place: (-counts[place], place))
    assert (np.diff(scores) < 0).all()
    assert reranked(np.zeros(0, np.int64), 2)[0].tolist() == [0, 1]
