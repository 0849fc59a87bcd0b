"""The page of place recognition: verdicts, distances, bins and map follow from ranking and labels."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from descbench.datasets.manifest import Manifest, ManifestRow, write_manifest
from descbench.datasets.places import PlaceLabels, write_places
from descbench.errors import DataError, StaleFileError
from descbench.retrieval.ranking import PartInfo, ranking_writer
from descbench.tables.places_map import BINS, bin_queries, draw_map, thin_out
from descbench.tables.places_page import choose_spaced, choose_worst, order_from_worst, show_places

# Eight database images along a street, 20 m apart; one query beside each of the first four, the last far away.
DATABASE = [(584000.0 + 20 * i, 4476000.0) for i in range(8)]
QUERIES = [(584003.0 + 20 * i, 4476004.0) for i in range(3)] + [(589000.0, 4476000.0)]
RANKINGS = [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 1, 0, 2, 3, 4], [7, 6, 5, 4, 0, 2, 1, 3], [0, 1, 2, 3, 4, 5, 6, 7]]


class Page(HTMLParser):
    """Elements and text of a page; refuses tags that are closed wrongly."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def within(query, metres):
    return tuple(i for i, place in enumerate(DATABASE) if np.hypot(*np.subtract(place, query)) <= metres)


def make(folder, *, rankings=RANKINGS, **changes):
    """A dataset and its ranking in a folder: the arguments of `show_places` but the output."""
    positives = tuple(within(query, 25) for query in QUERIES)
    labels = PlaceLabels(25.0, positives, tuple(within(query, 10) for query in QUERIES), **changes)
    write_places(labels, folder / "gt.json")
    rows = []
    for role, places in (("database", DATABASE), ("query", QUERIES)):
        for i, (east, north) in enumerate(places):
            path = f"{role}/a & b_{i}.jpg"
            (folder / role).mkdir(exist_ok=True)
            Image.new("RGB", (400, 300), (20 * i, 90, 90)).save(folder / path)
            rows.append(ManifestRow(i, path, role, easting=east, northing=north))
    write_manifest(Manifest(tuple(rows)), folder / "list.csv")
    image_ids = np.array(rankings)
    first, last = min(0, int(image_ids.min())), max(len(DATABASE) - 1, int(image_ids.max()))
    with ranking_writer(
        folder / "ranking.h5",
        PartInfo(first, last - first + 1, {"cell": "m<1> on town"}),
        np.arange(len(rankings)),
        image_ids.shape[1],
    ) as writer:
        writer.write(0, image_ids, -np.arange(image_ids.size, dtype=float).reshape(image_ids.shape))
    return folder / "ranking.h5", folder / "gt.json", folder / "list.csv", folder


def show(folder, *, queries=24, **changes):
    arguments = make(folder, **changes)
    show_places(*arguments, folder / "page.html", method="m<1>", dataset="town", queries=queries)
    return (folder / "page.html").read_text(encoding="utf-8")


def section(text, query):
    return re.search(rf'<section id="query-{query}"[^>]*>.*?</section>', text, re.S).group()


def verdicts(text, query):
    return re.findall(r"\d\. <strong>(right|wrong)</strong>, ([\d.]+) m<br/>", section(text, query))


def test_in_place_of_pictures_that_cannot_be_read_stands_the_reason(tmp_path):
    arguments = make(tmp_path)
    scores = -np.arange(32.0).reshape(4, 8)
    scores[1], scores[:, -1] = np.nan, np.nan
    ids = np.array([[0, 1, 2, 3, 4, 5, 6, 7], range(8), [1, 2, 3, 4, 5, 6, 0, 7], [0, 1, 2, 3, 4, 5, 6, 7]])
    with ranking_writer(arguments[0], PartInfo(0, 8, {"cell": "m<1> on town"}, (7,)), np.arange(4), 8) as writer:
        writer.write(0, ids, scores)
    broken = tmp_path / "query/a & b_1.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=r"a & b_1\.jpg"):
        show_places(*arguments, tmp_path / "page.html", method="m<1>", dataset="town")
    show_places(*arguments, tmp_path / "page.html", method="m<1>", dataset="town", on_bad_image="skip")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<td>none</td><td>could not be read</td>" in text
    assert re.search(r'<div class="missing">[^<]*a &amp; b_1\.jpg', section(text, 1))
    assert "could not be read, and counts as missed" in section(text, 1)
    assert verdicts(text, 1) == []
    assert "1 queries could not be read" in text
    assert "1 database images could not be read" in text
    assert "<li>database/a &amp; b_7.jpg</li>" in text


def test_verdicts_and_distances(tmp_path):
    text = show(tmp_path)
    # Query 0 lies 3 m east and 4 m north of image 0.
    assert verdicts(text, 0) == [
        ("right", "5.0"),
        ("right", "17.5"),
        ("wrong", "37.2"),
        ("wrong", "57.1"),
        ("wrong", "77.1"),
    ]
    assert [kind for kind, _ in verdicts(text, 1)] == ["wrong", "wrong", "wrong", "right", "right"]
    assert "first right image at rank 4" in section(text, 1)
    assert "first right image at rank 6" in section(text, 2)
    assert "no database image lies within 25 m" in section(text, 3)
    assert "Of 4 queries so many have a right image: 1 among the first 1, 2 among the first 5, 3 among" in text


def test_the_image_that_should_have_been_found_is_shown(tmp_path):
    """The first right one behind the results; the nearest that counts where none was ranked."""
    text = show(tmp_path)
    assert "should have come first" not in section(text, 0) + section(text, 1) + section(text, 3)
    assert re.search(
        r"6\. <strong>should have come first</strong>, [\d.]+ m<br/>database/a &amp; b_2", section(text, 2)
    )
    text = show(tmp_path, rankings=[[7, 6, 5], [1, 0, 2], [2, 1, 0], [0, 1, 2]])
    assert re.search(r"not found: <strong>should have come first</strong>, 5\.0 m<br/>\S+ &amp; b_0", section(text, 0))


def test_page_is_well_formed_and_stands_alone(tmp_path):
    text = show(tmp_path)
    page = Page(text)
    images = page.of("img")
    # Of query 2 the right image at rank 6 as well.
    assert len(images) == 4 * 6 + 1
    assert all(image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in images)
    assert "m<1> on town" in page.text
    assert not re.search(r"https?:|url\((?!#)", text.replace("http://www.w3.org/2000/svg", ""))
    drawing = ElementTree.fromstring(re.search(r"<svg.*</svg>", text, re.S).group())
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label").endswith("1: 1, 2 to 5: 1, 6 to 20: 1, later or none: 0, nothing is right: 1")
    assert len(page.of("figcaption")) == len(images) + 1


def test_results_are_those_that_scores_count(tmp_path):
    text = show(tmp_path, views_per_panorama=2)
    names = re.findall(r"database/a &amp; b_(\d)", section(text, 0))
    assert names == ["0", "2", "4", "6"]
    assert "Only the first hit of each panorama (2 images) counts." in text


def test_images_of_the_same_time_are_left_out(tmp_path):
    text = show(tmp_path, database_times=(1.0,) * 4 + (2.0,) * 4, query_times=(1.0, 2.0, 1.0, 2.0))
    assert re.findall(r"database/a &amp; b_(\d)", section(text, 0)) == ["4", "5", "6", "7"]
    assert "no right image in the ranking" in section(text, 0)
    assert "first right image at rank 1" in section(text, 1)


def test_distractors_are_wrong_and_need_no_picture(tmp_path):
    text = show(tmp_path, rankings=[[-3, *row[:-1]] for row in RANKINGS])
    assert "1. <strong>wrong</strong>, distractor 3" in section(text, 0)
    assert "first right image at rank 2" in section(text, 0)
    Page(text)


def test_a_missing_picture_is_named(tmp_path):
    arguments = make(tmp_path)
    (tmp_path / "database/a & b_2.jpg").unlink()
    with pytest.raises(DataError, match=r"a & b_2\.jpg"):
        show_places(*arguments, tmp_path / "page.html", method="m<1>", dataset="town")
    assert not (tmp_path / "page.html").exists()


def test_a_ranking_of_another_method_is_refused(tmp_path):
    arguments = make(tmp_path)
    with pytest.raises(StaleFileError, match=r"ranking\.h5: a ranking of m<1> on town, not of other on town"):
        show_places(*arguments, tmp_path / "page.html", method="other", dataset="town")


def test_a_ranking_of_another_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match="other images"):
        show(tmp_path, rankings=[[8, 0]] * 4)
    with pytest.raises(DataError, match="3 queries"):
        show(tmp_path, rankings=RANKINGS[:3])


def lines_of(text):
    """Queries in the table: number, whether it leads to pictures, image, metres, rank, and what filters read."""
    row = (
        r'<tr data-query="(\d)" data-first="(\d)"><th scope="row">(<a href="#query-\d">)?\d(?:</a>)?</th>'
        r'<td class="text">query/a &amp; b_(\d)\.jpg</td><td>(.*?)</td><td>(.*?)</td></tr>'
    )
    return [(number, first, bool(link), image, *cells) for number, first, link, image, *cells in re.findall(row, text)]


def test_every_query_has_a_line_with_its_result(tmp_path, monkeypatch):
    text = show(tmp_path, queries=2)
    assert lines_of(text) == [
        ("2", "6", True, "2", "97.1", "6"),
        ("1", "4", True, "1", "117.1", "4"),
        ("0", "1", True, "0", "5.0", "1"),
        ("3", "0", True, "3", "5000.0", "nothing is right"),
    ]
    assert "Every query has pictures below." in text
    assert sorted(re.findall(r'<section id="query-(\d)"', text)) == ["0", "1", "2", "3"]
    monkeypatch.setattr("descbench.tables.listed_queries.ROOM", 0)
    text = show(tmp_path, queries=2)
    assert [(line[0], line[2]) for line in lines_of(text)] == [("2", True), ("1", False), ("0", True), ("3", False)]
    assert "2 of 4 queries have pictures below; the other 2 stand in the table alone" in text
    assert re.findall(r'<section id="query-(\d)"', text) == ["2", "0"]


def test_a_page_of_many_queries_stays_small(tmp_path, monkeypatch):
    """Lines and the map take their part of the room before pictures do."""
    monkeypatch.setattr("descbench.tables.listed_queries.ROOM", 250_000)
    monkeypatch.setattr("test_places_page.QUERIES", [(584003.0 + i % 90, 4476004.0) for i in range(300)])
    text = show(tmp_path, queries=4, rankings=[RANKINGS[i % 4] for i in range(300)])
    assert len(re.findall(r"<tr data-query=", text)) == 300
    pictured = len(re.findall(r'<section id="query-', text))
    assert 4 < pictured < 300
    assert f"{pictured} of 300 queries have pictures" in text
    assert 200_000 < len(text) < 270_000


def test_distractors_and_unread_queries_in_the_table(tmp_path):
    lines = lines_of(show(tmp_path, rankings=[[-3, *row[:-1]] for row in RANKINGS]))
    assert {line[4] for line in lines} == {"distractor"}


def test_queries_that_nothing_is_right_for_are_not_the_worst(tmp_path):
    worst, _, spaced = show(tmp_path, queries=4).partition("even steps")
    shown = [re.findall(r'<section id="query-(\d)"', part) for part in (worst, spaced)]
    assert shown == [["2", "1"], ["0", "3"]]


def test_the_same_inputs_give_the_same_page(tmp_path):
    assert show(tmp_path, queries=2) == show(tmp_path, queries=2)


def test_the_worst_and_evenly_spaced_queries_are_chosen():
    ranks = np.array([1, 0, 3, 1, 9, 0, 0, 0, 1, 2])
    assert choose_worst(ranks, 2).tolist() == [1, 7]
    assert choose_worst(ranks, 5).tolist() == [1, 5, 6, 7, 4]
    assert choose_worst(ranks, 20).tolist() == [1, 5, 6, 7, 4, 2, 9]
    assert choose_worst(ranks, 0).tolist() == []
    assert choose_spaced(np.arange(10, 21), 3).tolist() == [10, 15, 20]
    assert choose_spaced(np.arange(2), 3).tolist() == [0, 1]


def test_bins_of_the_first_right_image():
    assert bin_queries(np.array([1, 2, 5, 6, 20, 21, 5000, 0, -1])).tolist() == [0, 1, 1, 2, 2, 3, 3, 3, 4]
    assert len({found.colour for found in BINS}) == len({found.mark for found in BINS}) == 5


def test_the_map_of_a_large_dataset_stays_small():
    rng = np.random.default_rng(0)
    corner = np.array([584000.0, 4476000.0])
    database, queries = (rng.uniform(0, 9000, (number, 2)) + corner for number in (84_000, 8000))
    drawing = draw_map(database, queries, rng.integers(0, 40, 8000)).drawing
    assert len(drawing) < 500_000
    ElementTree.fromstring(drawing)


def test_thinning_keeps_one_of_each_place():
    places = np.repeat(np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]), 24, axis=0)
    assert thin_out(places, 1.0).tolist() == [0, 24, 48]


def test_the_map_shows_north_up_and_all_within_the_drawing():
    drawing = draw_map(np.array([[0.0, 0.0], [100.0, 80.0]]), np.array([[50.0, 40.0]]), np.array([1])).drawing
    svg = ElementTree.fromstring(drawing)
    width, height = map(float, svg.get("viewBox").split()[2:])
    database = next(e for e in svg.iter() if e.get("id") == "map-database")
    marks = database.iter("{http://www.w3.org/2000/svg}use")
    (x0, y0), (x1, y1) = [(float(mark.get("x")), float(mark.get("y"))) for mark in marks]
    assert 0 < x0 < x1 < width
    assert 0 < y1 < y0 < height
    assert (x1 - x0) / (y0 - y1) == pytest.approx(100 / 80, rel=1e-3)


def test_a_single_place_can_be_drawn():
    svg = ElementTree.fromstring(draw_map(np.zeros((1, 2)), np.zeros((1, 2)), np.array([0])).drawing)
    width, height = map(float, svg.get("viewBox").split()[2:])
    database = next(e for e in svg.iter() if e.get("id") == "map-database")
    (mark,) = database.iter("{http://www.w3.org/2000/svg}use")
    assert 0 < float(mark.get("x")) < width
    assert 0 < float(mark.get("y")) < height


def test_a_page_of_very_many_queries_stays_small(tmp_path):
    """The worst are listed, and the page says how many are not, and where the values of all are."""
    count, random = 50_000, np.random.default_rng(0)
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg")
    positives = [(0,) if kind else () for kind in random.integers(0, 10, count).tolist()]
    write_places(PlaceLabels(25.0, tuple(positives), tuple(positives)), tmp_path / "gt.json")
    places = random.uniform(0, 5000, (count, 2)).round(1).tolist()
    rows = [ManifestRow(i, "a.jpg", "database", easting=10.0 * i, northing=0.0) for i in range(3)]
    rows += [ManifestRow(i, "a.jpg", "query", easting=x, northing=y) for i, (x, y) in enumerate(places)]
    write_manifest(Manifest(tuple(rows)), tmp_path / "list.csv")
    ids = np.argsort(random.random((count, 3)), axis=1)
    with ranking_writer(tmp_path / "ranking.h5", PartInfo(0, 3, {"cell": "m on d"}), np.arange(count), 3) as writer:
        writer.write(0, ids, np.tile([3.0, 2.0, 1.0], (count, 1)))
    files = [tmp_path / name for name in ("ranking.h5", "gt.json", "list.csv")]
    page = tmp_path / "page.html"
    show_places(*files, tmp_path, page, method="m", dataset="d", scores=Path("results/scores/m/d.json"))
    text = page.read_text()
    assert len(text.encode()) < 5_000_000
    listed = [int(number) for number in re.findall(r'<th scope="row">(?:<a[^>]*>)?(\d+)', text)]
    ranks, hopeless = np.argsort(ids, axis=1)[:, 0] + 1, np.array([not found for found in positives])
    assert 10_000 < len(listed) < count
    assert listed == order_from_worst(ranks, hopeless)[: len(listed)]
    assert f"{count - len(listed):,} are not listed. results/scores/m/d.json has the values of all." in text
