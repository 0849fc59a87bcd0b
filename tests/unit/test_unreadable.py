"""Images that cannot be read, from features to the table: missed, counted and named, whatever the search."""

import numpy as np
import pytest
from retrieval_data import SEARCH, draw_images, make_codebook, make_index, write_shard, write_shards

from descbench.config.tables import Table
from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.datasets.places import PlaceLabels, write_places
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import read_scores
from descbench.retrieval.flat import search_flat
from descbench.retrieval.pairs import write_pairs_file
from descbench.retrieval.ranking import merge_rankings, read_ranking
from descbench.retrieval.search import search_index
from descbench.retrieval.statistics import collect_statistics
from descbench.tables.ranking_page import RankingFiles, show_ranking
from descbench.tables.table import build_table

NUM_QUERIES, NUM_IMAGES, DISTRACTORS = 3, 8, 3
# Query 1 cannot be read, nor can image 0, nor distractor 1; the search would put images 0 and 1 first.
LABELS = ((2,), (0, 1), (0,))


def search(folder, kind, idf, turned=((), (), ())):
    """A ranking by shards, with distractors; queries are images 2, 3 and 4 of the database."""
    folder.mkdir()
    for name in ("d", "q", "n"):
        (folder / name).mkdir()
    counts = 1 if kind == "global" else 5
    images = draw_images([counts] * NUM_IMAGES)
    database = write_shards(folder / "d", images, [3], kind=kind, skip=(0,), unturned=turned[0])
    asked, others = images[2 : 2 + NUM_QUERIES], draw_images([counts] * DISTRACTORS, seed=9)
    queries = [write_shard(folder / "q/0.h5", asked, kind=kind, skip=(1,), unturned=turned[1])]
    distractors = write_shards(folder / "n", others, [], kind=kind, skip=(1,), unturned=turned[2])
    searched = [(shard, 0) for shard in database] + [(shard, DISTRACTORS) for shard in distractors]
    parts = [folder / f"part{number}.h5" for number in range(len(searched))]
    if kind == "global":
        for (shard, number), part in zip(searched, parts, strict=True):
            search_flat(queries, [shard], part, top_k=None, num_distractors=number, cell="m on town")
    else:
        codebook = make_codebook(folder / "codebook.h5")
        index = [make_index([shard], codebook, shard.parent)[0] for shard, _ in searched]
        statistics = folder / "idf.h5" if idf else None
        if idf:
            collect_statistics([index[2], *index[:2]], statistics, stale=False)
        for shard, (_, number), part in zip(index, searched, parts, strict=True):
            search_index(
                queries,
                codebook,
                shard,
                part,
                **SEARCH,
                num_distractors=number,
                statistics=statistics,
                cell="m on town",
            )
    merge_rankings(parts, folder / "r.h5", top_k=None, num_queries=NUM_QUERIES)
    queries_of = rows_of("query", [f"q/{i}.jpg" for i in range(NUM_QUERIES)])
    images_of = rows_of("database", [f"d/{i}.jpg" for i in range(NUM_IMAGES)])
    write_manifest(Manifest((*queries_of, *images_of)), folder / "manifest.csv")
    return queries


def score(folder, queries):
    score_ranking(
        folder / "r.h5",
        folder / "gt.json",
        folder / "s.json",
        query_shards=queries,
        manifest=folder / "manifest.csv",
        cell="m on town",
    )
    return read_scores(folder / "s.json")


@pytest.mark.parametrize(("kind", "idf"), [("global", False), ("local", False), ("local", True)])
def test_unreadable_images_are_missed_counted_and_named(tmp_path, kind, idf):
    folder = tmp_path / "run"
    queries = search(folder, kind, idf)
    write_places(PlaceLabels(25.0, LABELS, LABELS), folder / "gt.json")
    places = score(folder, queries)
    # The last query's only right image cannot be read: it is in the list, but never found.
    assert places.facts["first_hit"] == [1, None, None]
    assert places.metrics["recall@10"].value == pytest.approx(1 / 3)
    write_ground_truth(GroundTruth("classic", tuple({"ok": ids, "junk": ()} for ids in LABELS)), folder / "gt.json")
    labelled = score(folder, queries)
    assert labelled.per_query["map"] == [1.0, 0.0, 0.0]
    assert labelled.per_query["mp@1"] == [1.0, 0.0, 0.0]
    for scores in (places, labelled):
        assert (scores.unreadable_queries, scores.unreadable_images) == (1, 2)
        named = [(entry["role"], entry["id"], entry["path"]) for entry in scores.unreadable]
        assert named == [("query", 1, "q/1.jpg"), ("database", -2, None), ("database", 0, "d/0.jpg")]
        assert scores.unreadable[0]["reason"] == "broken"
    columns = [{"dataset": "town", "metric": "map", "label": "mAP"}]
    rows = [{"label": "ours", "method": "m"}]
    table = Table.model_validate({"title": "A table", "columns": columns, "rows": rows, "synthetic": True})
    cell = ("m", "town")
    build_table("t", table, {cell: folder / "s.json"}, {cell: "p"}, folder / "t.csv", folder / "t.md")
    assert "m on town: 1 unreadable queries count as missed." in (folder / "t.md").read_text()
    assert "m on town: 2 unreadable images are never found." in (folder / "t.md").read_text()


@pytest.mark.parametrize(("kind", "idf"), [("global", False), ("local", True)])
@pytest.mark.parametrize(
    ("turned", "told"),
    [
        (((2, 3, 7), (0, 2), (2,)), "2 queries and 4 images are"),
        (((), (0,), ()), "1 queries are"),
        (((), (), ()), None),
    ],
)
def test_images_that_are_to_be_turned_are_counted(tmp_path, kind, idf, turned, told):
    """From features to scores, the notes of tables and pages; files without any are what they would be."""
    folder = tmp_path / "run"
    queries = search(folder, kind, idf, turned)
    write_places(PlaceLabels(25.0, LABELS, LABELS), folder / "gt.json")
    warnings = [text for text in score(folder, queries).warnings if "EXIF" in text]
    if told is None:
        assert warnings == []
        search(tmp_path / "again", kind, idf)
        assert (folder / "r.h5").read_bytes() == (tmp_path / "again/r.h5").read_bytes()
        return
    assert warnings == [
        f"EXIF says that {told} to be turned; they were read as they are stored (`exif_orientation: apply` of the "
        "features turns them)"
    ]
    table = Table.model_validate(
        {
            "title": "A table",
            "columns": [{"dataset": "town", "metric": "recall@5", "label": "R@5"}],
            "rows": [{"label": "ours", "method": "m"}],
        }
    )
    cell = ("m", "town")
    build_table("t", table, {cell: folder / "s.json"}, {cell: "p"}, folder / "t.csv", folder / "t.md")
    assert f"- Warning, m on town: {warnings[0]}." in (folder / "t.md").read_text().splitlines()
    files = RankingFiles(folder / "r.h5", folder / "manifest.csv", None, None, folder, "m on town")
    show_ranking(files, folder / "page.html", title="m on town", each=0, on_bad_image="skip")
    assert f"EXIF says that {told} to be turned" in (folder / "page.html").read_text()


def test_pairs_leave_unreadable_images_out(tmp_path):
    search(tmp_path / "run", "global", False)
    ranking = read_ranking(tmp_path / "run/r.h5")
    names = [str(i) for i in range(NUM_IMAGES)]
    write_pairs_file(ranking, ["a", "b", "c"], names, tmp_path / "pairs.txt", top_k=20)
    pairs = [line.split(", ") for line in (tmp_path / "pairs.txt").read_text().splitlines()[1:]]
    assert {query for query, _, _ in pairs} == {"a", "c"}
    assert not any(score == "nan" for _, _, score in pairs)
    assert np.isnan(ranking.scores[1]).all()
