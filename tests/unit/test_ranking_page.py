"""The page of ranked images: labels, average precisions, and what should have been found."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.manifest import Manifest, ManifestRow, write_manifest
from descbench.datasets.recall_labels import PositiveLabels, write_positives
from descbench.errors import DataError, StaleFileError
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import Metric, Scores, read_scores, write_scores
from descbench.retrieval.ranking import PartInfo, ranking_writer
from descbench.tables.listed_queries import size_of
from descbench.tables.ranking_page import RankingFiles, show_ranking
from descbench.tables.thumbnails import Picture

CELL = "m<1> on town"
IMAGES = 12
# Query 0 finds both of its images at once; query 1 after nine wrong ones; query 2 has nothing right.
LABELS = GroundTruth(
    "revisited",
    (
        {"easy": (0,), "hard": (1,), "junk": (2,)},
        {"easy": (10,), "hard": (), "junk": ()},
        {"easy": (), "hard": (), "junk": (3,)},
    ),
)
POSITIVES = PositiveLabels(((0, 1), (10,), ()), right="what a list says")
RANKINGS = [[0, 2, 1, *range(3, 12)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 9, 11], list(range(12))]


def make(folder, labels, *, rankings=RANKINGS, scores=None, unread=()):
    """A dataset, its ranking and scores in a folder: what the page is made from."""
    rows = []
    for role, count in (("database", IMAGES), ("query", len(rankings))):
        (folder / role).mkdir(exist_ok=True)
        for i in range(count):
            path = f"{role}/a & b_{i}.jpg"
            Image.new("RGB", (80, 60), (20 * i, 90, 90)).save(folder / path)
            rows.append(ManifestRow(i, path, role, box=(10, 10, 30, 50) if (role, i) == ("query", 0) else None))
    write_manifest(Manifest(tuple(rows)), folder / "list.csv")
    ids = np.array(rankings)
    scores = -np.arange(ids.size, dtype=float).reshape(ids.shape) if scores is None else scores
    first = min(0, int(ids.min()))
    info = PartInfo(first, IMAGES - first, {"cell": CELL}, tuple(unread))
    with ranking_writer(folder / "ranking.h5", info, np.arange(len(ids)), ids.shape[1]) as writer:
        writer.write(0, ids, scores)
    if labels is None:
        return RankingFiles(folder / "ranking.h5", folder / "list.csv", None, None, folder, CELL)
    write = write_ground_truth if isinstance(labels, GroundTruth) else write_positives
    write(labels, folder / "gt.json")
    score_ranking(folder / "ranking.h5", folder / "gt.json", folder / "scores.json", cell=CELL)
    labels = folder / "gt.json", folder / "scores.json"
    return RankingFiles(folder / "ranking.h5", folder / "list.csv", *labels, folder, CELL)


def show(folder, labels=LABELS, *, each=8, **changes):
    files = make(folder, labels, **changes)
    show_ranking(files, folder / "page.html", title=CELL, each=each)
    return (folder / "page.html").read_text(encoding="utf-8")


def section(text, query):
    return re.search(rf'<section id="query-{query}"[^>]*>.*?</section>', text, re.S).group()


def verdicts(text):
    return re.findall(r"(\d+)\. <strong>(\w+)</strong>, score", text)


def test_labels_of_the_first_images(tmp_path):
    text = show(tmp_path)
    assert verdicts(section(text, 0))[:4] == [("1", "easy"), ("2", "junk"), ("3", "hard"), ("4", "wrong")]
    assert "Should have been found" not in section(text, 0)
    late = section(text, 1).partition("Should have been found")[2]
    assert verdicts(late) == [("10", "easy")]
    assert "b_10.jpg" in late


def test_values_are_those_of_the_scores(tmp_path):
    text = show(tmp_path)
    scores = read_scores(tmp_path / "scores.json", CELL)
    for query in (0, 1):
        value = 100 * scores.per_query["map_medium"][query]
        assert f"AP medium {value:.1f}" in section(text, query)
    rows = re.findall(r'<tr[^>]*><th scope="row">.*?(\d+)(?:</a>)?</th>.*?</tr>', text, re.S)
    assert rows == ["1", "0", "2"]  # the worst by AP medium first; what does not count last
    assert "does not count" in text
    assert "sorted by AP medium" in text


def shown_queries(text):
    """Headings of the groups, with the queries below each."""
    groups = re.findall(r"<section data-group>\s*<h2>(.*?)</h2>(.*?)(?=<section data-group>|<script)", text, re.S)
    return {heading: [int(n) for n in re.findall(r'<section id="query-(\d+)"', part)] for heading, part in groups}


def test_all_queries_have_pictures_where_there_is_room(tmp_path, monkeypatch):
    text = show(tmp_path, each=1)
    groups = shown_queries(text)
    assert sorted(query for chosen in groups.values() for query in chosen) == [0, 1, 2]
    assert groups.popitem() == ("Other queries, the worst first", [2])
    assert "Every query has pictures below." in text
    assert len(re.findall(r'<a href="#query-\d">', text)) == len(RANKINGS)
    # The chosen ones come first; of the others as many as fit beside the lines.
    pictures = [Picture(address) for address in re.findall(r'src="(data:[^"]+)"', section(text, 1))]
    for spare, chosen in ((2000, {"Other queries, the worst first": [1]}), (300, {})):
        monkeypatch.setattr("descbench.tables.listed_queries.ROOM", size_of(pictures) + spare)
        assert shown_queries(show(tmp_path, each=0)) == chosen
    monkeypatch.setattr("descbench.tables.listed_queries.ROOM", 0)
    text = show(tmp_path, each=1)
    assert shown_queries(text) == {"The worst queries": [1], "The best queries": [0]}
    assert "2 of 3 queries have pictures below; the other 1 stand in the table alone: more would make" in text
    assert len(re.findall(r'<th scope="row">', text)) == len(RANKINGS)
    assert "<img" not in show(tmp_path, each=0)


def test_a_page_of_very_many_queries_stays_small(tmp_path):
    """The worst are listed, and the page says how many are not, and where their values are."""
    count, random = 50_000, np.random.default_rng(0)
    (tmp_path / "query").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "query/a.jpg")
    rows = [ManifestRow(0, "query/a.jpg", "database"), ManifestRow(1, "query/a.jpg", "database")]
    rows += [ManifestRow(i, "query/a.jpg", "query") for i in range(count)]
    write_manifest(Manifest(tuple(rows)), tmp_path / "list.csv")
    write_ground_truth(GroundTruth("classic", ({"ok": (0,), "junk": ()},) * count), tmp_path / "gt.json")
    with ranking_writer(tmp_path / "ranking.h5", PartInfo(0, 2, {"cell": CELL}), np.arange(count), 2) as writer:
        first = random.integers(0, 2, count)
        writer.write(0, np.stack([first, 1 - first], axis=1), np.tile([2.0, 1.0], (count, 1)))
    drawn = random.random(count).round(4).tolist()
    metric = Metric(float(np.mean(drawn)), 0.4, 0.6, "bootstrap")
    scores = Scores("retrieval", "classic", count, {"map": metric}, {"map": drawn}, cell=CELL)
    write_scores(scores, tmp_path / "scores.json")
    names = (tmp_path / name for name in ("ranking.h5", "list.csv", "gt.json", "scores.json"))
    show_ranking(RankingFiles(*names, tmp_path, CELL), tmp_path / "page.html", title=CELL)
    text = (tmp_path / "page.html").read_text()
    assert len(text.encode()) < 5_000_000
    listed = [int(number) for number in re.findall(r'<th scope="row">(?:<a[^>]*>)?(\d+)', text)]
    assert 10_000 < len(listed) < count
    assert listed == np.argsort(drawn, kind="stable")[: len(listed)].tolist()
    assert f"<h2>{len(listed):,} of 50,000 queries</h2>" in text
    told = f"and {len(listed):,} stand in the table, the worst first: more would make the page larger than 5 MB. "
    assert f"{told}{count - len(listed):,} are not listed. {tmp_path}/scores.json has the values of all." in text
    assert "All queries" not in text


def test_what_filters_read(tmp_path):
    """Name, rank of the first right image and average precision, of sections and of lines of the table."""
    text = show(tmp_path)
    values = read_scores(tmp_path / "scores.json", CELL).per_query["map_medium"]
    scores = 100 * np.array([np.nan if value is None else value for value in values])
    for query, first in ((0, "1"), (1, "10"), (2, "0")):
        shown = "" if np.isnan(scores[query]) else f"{scores[query]:.4f}"
        score = f' data-score="{shown}"' if shown else ""
        assert f'<tr data-query="{query}" data-first="{first}"{score}>' in text
        named = f'data-name="query/a &amp; b_{query}.jpg" data-first="{first}" data-score="{shown}"'
        assert f'<section id="query-{query}" data-query="{query}" {named}>' in text
    assert "AP medium from" in text
    # Without labels there is nothing to filter by but names.
    text = show(tmp_path, None)
    assert set(re.findall(r'data-first="([^"]*)"', text)) == set(re.findall(r'data-score="([^"]*)"', text)) == {""}
    assert "filter-outcome" not in text.partition("<script")[0]
    assert "filter-low" not in text.partition("<script")[0]


def test_lists_of_positives_are_right_or_wrong(tmp_path):
    text = show(tmp_path, POSITIVES)
    assert [verdict for _, verdict in verdicts(section(text, 0))[:4]] == ["right", "wrong", "right", "wrong"]
    assert "first right image at rank 10" in section(text, 1)
    assert "sorted by the rank of their first right image" in text


def test_without_labels_nothing_is_right_or_wrong(tmp_path):
    text = show(tmp_path, None)
    assert "There are no labels" in text
    assert '<td class="text">query/a &amp; b_1.jpg</td><td>database/a &amp; b_0.jpg</td></tr>' in text
    assert verdicts(text) == []
    assert "1. score" in section(text, 0)


def test_a_right_image_that_was_cut_off_is_shown(tmp_path):
    text = show(tmp_path, rankings=[row[:9] for row in RANKINGS])
    late = section(text, 1).partition("Should have been found")[2]
    assert "not in the ranking" in late
    assert "b_10.jpg" in late


def test_a_query_is_cropped_as_its_features_were(tmp_path):
    files = make(tmp_path, None)
    drawn = Image.new("RGB", (80, 60), "red")
    drawn.paste("green", (10, 10, 30, 50))
    drawn.save(tmp_path / "query/a & b_0.jpg", quality=95)
    show_ranking(files, tmp_path / "page.html", title=CELL)
    text = (tmp_path / "page.html").read_text()
    coded = re.search(r'<img src="data:image/jpeg;base64,([^"]+)" alt="query 0"', text)[1]
    red, green, _ = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))), float).mean((0, 1))
    assert green > 10 * red


def test_distractors_and_what_could_not_be_read(tmp_path):
    scores = -np.arange(36.0).reshape(3, 12)
    scores[2] = np.nan
    text = show(tmp_path, rankings=[[-4, *row[:-1]] for row in RANKINGS[:2]] + [list(range(12))], scores=scores)
    assert "1. <strong>wrong</strong>, distractor 4" in section(text, 0)
    assert "could not be read" in text
    assert "1 queries could not be read, and count as missed." in text


def test_images_that_could_not_be_read_are_named(tmp_path, monkeypatch):
    rankings = [sorted(row, key=lambda image: image in (3, 10)) for row in RANKINGS]
    scores = np.tile(-np.arange(12.0), (3, 1))
    scores[:, -2:] = np.nan
    text = show(tmp_path, rankings=rankings, scores=scores, unread=(3, 10))
    named = re.search(r'<details class="unread">.*?</details>', text, re.S).group()
    assert re.findall(r"<li>(.*?)</li>", named) == ["database/a &amp; b_3.jpg", "database/a &amp; b_10.jpg"]
    monkeypatch.setattr("descbench.tables.unread.MOST_NAMES", 1)
    text = show(tmp_path, rankings=rankings, scores=scores, unread=(3, 10))
    assert "<li>and 1 more</li>" in text
    assert '<details class="unread">' not in show(tmp_path)


def test_pictures_that_cannot_be_read(tmp_path):
    files = make(tmp_path, LABELS)
    (tmp_path / "database/a & b_0.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a & b_0\.jpg"):
        show_ranking(files, tmp_path / "page.html", title=CELL)
    assert not (tmp_path / "page.html").exists()
    show_ranking(files, tmp_path / "page.html", title=CELL, on_bad_image="skip")
    assert '<div class="missing">' in (tmp_path / "page.html").read_text()


def test_files_of_another_method_or_dataset_are_refused(tmp_path):
    files = make(tmp_path, LABELS)
    with pytest.raises(StaleFileError, match="not of other on town"):
        show_ranking(replace(files, cell="other on town"), tmp_path / "page.html", title=CELL)
    rows = [ManifestRow(i, f"query/a & b_{i}.jpg", "query") for i in range(3)]
    write_manifest(Manifest((ManifestRow(0, "database/a & b_0.jpg", "database"), *rows)), tmp_path / "list.csv")
    with pytest.raises(DataError, match="other images"):
        show_ranking(files, tmp_path / "page.html", title=CELL)


def test_names_are_text_and_the_page_stands_alone(tmp_path):
    text = show(tmp_path)
    assert "m&lt;1&gt; on town" in text
    assert "m<1>" not in text
    assert not re.search(r"https?:", text)
    assert show(tmp_path) == text


def test_pictures_stand_as_their_features_saw_them(tmp_path):
    files = make(tmp_path, LABELS)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for path in (tmp_path / "database").iterdir():
        Image.new("RGB", (80, 60)).save(path, exif=exif)

    def shapes(reading):
        show_ranking(files, tmp_path / "page.html", title=CELL, reading=reading)
        found = re.findall(r"base64,([^\"']+)", (tmp_path / "page.html").read_text())
        sizes = [Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in found]
        return {size for size in sizes if max(size) == 80}

    assert shapes({}) == {(80, 60)}
    assert shapes({"exif_orientation": "apply"}) == {(60, 80), (80, 60)}  # queries have no EXIF
