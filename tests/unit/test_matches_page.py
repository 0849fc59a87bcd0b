"""The page of matched pairs: which are shown, what is written about each, lines by error, and curves with bands."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from descbench.config.load import load_config_files
from descbench.config.published import figures_on
from descbench.datasets.image_pairs import Homography, ImagePair, write_image_pairs
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import DataError, StaleFileError
from descbench.features.store import ShardInfo, ShardWriter
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import MatchSettings
from descbench.metrics.matched_pairs import MatchedFiles
from descbench.metrics.score_matches import MatchScoring, score_matches
from descbench.metrics.scores import read_scores
from descbench.tables.matches_page import BINS, bin_errors, show_matches
from descbench.tables.mma_curves import PUBLISHED_PAIRS, matching_curves, published_runs

PROJECT = Path(__file__).parents[2]
IDENTITY = Homography((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
# How far keypoints of each further image are off those of the first, four of each.
OFF = (0.0, 2.0, 5.0, 20.0)
SVG = "{http://www.w3.org/2000/svg}"


def write_features(place: Path) -> None:
    """Image 2 shows the first one with errors of all kinds, 3 without any, 4 has no features."""
    dice = np.random.default_rng(0)
    rows = dice.normal(size=(16, 8))
    points = dice.uniform(30, 90, (16, 2)).astype(np.float32)
    moved = points + np.repeat(np.array(OFF, np.float32), 4)[:, None] * np.array([1, 0], np.float32)
    images = [(rows, points), (rows, moved), (rows, points), (rows[:0], points[:0])]
    with ShardWriter(place / "f.h5", ShardInfo("local", "f", "i", "", "cpu"), 8) as writer:
        for number, (descriptors, keypoints) in enumerate(images):
            writer.add(number, descriptors, keypoints=keypoints)


@pytest.fixture
def place(tmp_path) -> Path:
    write_features(tmp_path)
    (tmp_path / "v_x").mkdir()
    for number in range(1, 5):
        Image.fromarray(np.full((96, 960, 3), 40 * number, np.uint8)).save(tmp_path / f"v_x/{number}.png")
    write_manifest(Manifest(tuple(rows_of("database", [f"v_x/{k}.png" for k in range(1, 5)]))), tmp_path / "m.csv")
    write_image_pairs([ImagePair(0, k, IDENTITY) for k in range(1, 4)], tmp_path / "p.csv")
    shard = PairShard(tmp_path / "p.csv", tmp_path / "m.csv")
    match_features([tmp_path / "f.h5"], shard, tmp_path / "x.h5", MatchSettings(), cell="a on b")
    score_matches(files(tmp_path), MatchScoring(), tmp_path / "s.json")
    return tmp_path


def files(place: Path) -> MatchedFiles:
    return MatchedFiles([place / "x.h5"], [place / "f.h5"], place / "p.csv", place / "m.csv", place, cell="a on b")


def show(place: Path, **options) -> str:
    show_matches(files(place), place / "s.json", place / "page.html", method="a", dataset="b", **options)
    return (place / "page.html").read_text(encoding="utf-8")


def section(page: str, number: int) -> str:
    return page.partition(f'<section id="pair-{number}">')[2].partition("</section>")[0]


def test_pairs_are_shown_with_what_was_scored(place):
    page = show(place, each=1)
    kinds = re.findall(r"<h2>(.*?)</h2>|<h3>(.*?)</h3>", page)
    assert kinds[1:] == [
        ("All pairs", ""),
        ("The worst pairs", ""),
        ("", "v_x 1-4"),
        ("Median pairs", ""),
        ("", "v_x 1-2"),
        ("The best pairs", ""),
        ("", "v_x 1-3"),
    ]
    assert "<p>0 matches, MMA@3 0.0 %, no homography was found</p>" in section(page, 2)
    assert "<p>16 matches, MMA@3 50.0 %, corner error " in section(page, 0)
    assert "<p>16 matches, MMA@3 100.0 %, corner error 0.00 px</p>" in section(page, 1)
    assert re.findall(r"</svg>(.*?): (\d+)</li>", section(page, 0)) == [(found.label, "4") for found in BINS]
    assert [count for _, count in re.findall(r"</svg>(.*?): (\d+)</li>", section(page, 1))] == ["16", "0", "0", "0"]
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg|#)', page)


def test_every_pair_has_a_line(place, monkeypatch):
    """The worst first; drawings of more than the chosen ones as long as there is room."""
    page = show(place, each=0)
    row = r'<tr data-query="(\d)"><th scope="row">(<a href="#pair-\d">)?\d(?:</a>)?</th><td class="text">(.*?)</td>'
    lines = re.findall(row + r"<td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert [(line[0], bool(line[1]), *line[2:4]) for line in lines] == [
        ("2", True, "v_x 1-4", "0.0"),
        ("0", True, "v_x 1-2", "50.0"),
        ("1", True, "v_x 1-3", "100.0"),
    ]
    assert [line[4] for line in lines[::2]] == ["no homography", "0.00"]
    assert re.findall(r'<section id="pair-(\d)"', page) == ["2", "0", "1"]
    assert "Every pair has pictures below." in page
    monkeypatch.setattr("descbench.tables.listed_queries.ROOM", 0)
    page = show(place, each=1)
    assert len(re.findall(row, page)) == 3
    monkeypatch.setattr("descbench.tables.matches_page._MOST_PAIRS", 0)
    page = show(place, each=0)
    assert not any(link for _, link, _ in re.findall(row, page))
    assert "0 of 3 pairs have pictures below; the other 3 stand in the table alone" in page


def test_lines_have_the_colour_of_their_error_and_end_where_the_features_lie(place):
    """Pictures are half the size of the images; places are stored from the corner, where drawings begin too."""
    text = re.search(r'<svg class="matches".*?</svg>', section(show(place), 0), re.S)[0]
    drawing = ElementTree.fromstring(text)
    lines = drawing.findall(f"{SVG}line")
    strokes = [(line.get("stroke"), line.get("stroke-dasharray") or "") for line in lines]
    # The worst first: inliers lie on top.
    assert strokes == [(b.stroke.colour, b.stroke.dashes) for b in reversed(BINS) for _ in range(4)]
    shift = 480 + 6
    off = [float(line.get("x2")) - shift - float(line.get("x1")) for line in lines]
    np.testing.assert_allclose(off, np.repeat(OFF[::-1], 4) / 2, atol=0.11)
    first = np.random.default_rng(0)
    first.normal(size=(16, 8))
    points = first.uniform(30, 90, (16, 2))
    ends = sorted((float(line.get("x1")), float(line.get("y1"))) for line in lines)
    np.testing.assert_allclose(ends, sorted((points / 2).tolist()), atol=0.06)


def test_errors_at_limits_belong_to_the_lower_bin():
    errors = np.array([0, 1, 1.001, 3, 3.001, 10, 10.001, math.inf])
    assert bin_errors(errors).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_scores_of_other_matches_are_refused(place):
    shard = PairShard(place / "p.csv", place / "m.csv")
    match_features([place / "f.h5"], shard, place / "x.h5", MatchSettings(n=9), cell="a on b")
    with pytest.raises(StaleFileError, match=r"s\.json: scores of other matches of v_x 1-2"):
        show(place)
    write_image_pairs([ImagePair(0, k, IDENTITY) for k in (2, 1, 3)], place / "p.csv")
    with pytest.raises(StaleFileError, match=r"s\.json: scores of other image pairs"):
        show(place)


def test_images_that_cannot_be_read(place):
    whole = (place / "v_x/3.png").read_bytes()
    (place / "v_x/3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"3\.png"):
        show(place)
    told = section(show(place, on_bad_image="skip"), 1)
    assert "3.png" in told
    assert 'class="matches"' not in told
    assert 'class="matches"' in section(show(place, on_bad_image="skip"), 0)


def published(name: str, source: str, start: float, **more) -> list[dict]:
    """MMA of both kinds that rises by one a pixel; that of light is 10 higher."""
    known = [(f"mma@{t}{end}", start + t + plus) for t in range(1, 11) for end, plus in (("_v", 0), ("_i", 10))]
    return [{"result": name, "kind": "released", "source": source, "metric": m, "value": v} | more for m, v in known]


def test_published_runs_are_whole_and_the_best_is_first():
    figures = [*published("low", "here", 20), *published("high", "there", 30), *published("part", "here", 90)[:-1]]
    figures += published("low", "here", 5, kind="paper")
    runs, sources = published_runs(figures)
    assert [(run.name, sources[run.source - 1]) for run in runs] == [("high", "there"), ("low", "here")]
    assert runs[0].at_three == (33, 43, 38)
    stated = [{**figures[0], "result": "high", "metric": "mma@3", "value": 40.5}]
    assert published_runs(figures + stated)[0][0].at_three == (33, 43, 40.5)


def test_published_runs_stand_beside_the_same_pairs_alone(place):
    figures = published("run <b>", "cache of <i>", 20)
    scores = read_scores(place / "s.json", "a on b")
    assert matching_curves(scores, figures).runs == ()
    alike = replace(scores, num_queries=PUBLISHED_PAIRS)
    assert [run.name for run in matching_curves(alike, figures).runs] == ["run <b>"]
    assert matching_curves(replace(alike, facts={**scores.facts, "pixels": "resized"}), figures).runs == ()


def test_curves_have_axes_bands_and_a_legend(place):
    scores = read_scores(place / "s.json", "a on b")
    found = matching_curves(replace(scores, num_queries=PUBLISHED_PAIRS), published("run", "cache", 20))
    words = ["".join(text.itertext()) for text in ElementTree.fromstring(found.drawing).iter(f"{SVG}text")]
    # The only sequence is one of viewpoint: there is no panel of light, and none of the mean of both.
    assert {"v: viewpoint", "threshold (pixels)", "MMA (%)"} <= set(words)
    assert not {"i: light", "avg of both"} & set(words)
    assert words.count("threshold (pixels)") == 1
    assert {"measured here", "95 % interval", "published, source 1"} <= set(words)
    assert words.count("published, source 1") == 1
    assert "At 3 pixels: 50.0 % (" in found.caption
    none = replace(scores.metrics["mma@3_v"], value=None, low=None, high=None)
    alone = replace(scores, metrics={**scores.metrics, "mma@3_v": none})
    assert "all pairs" in matching_curves(alone, ()).drawing


def test_names_of_published_runs_come_out_as_text(place, monkeypatch):
    monkeypatch.setattr("descbench.tables.mma_curves.PUBLISHED_PAIRS", 3)
    page = show(place, figures=published("$x$ <b>", "<i>cache</i>", 20))
    assert "<th>$x$ &lt;b&gt;</th><td>23.0</td><td>33.0</td><td>28.0</td><td>1</td>" in page
    assert "<li>&lt;i&gt;cache&lt;/i&gt;</li>" in page
    assert "1 published runs" in page
    assert "published runs" not in show(place)


def test_the_catalogue_has_published_curves_of_108_sequences(monkeypatch):
    monkeypatch.chdir(PROJECT)
    config = load_config_files("config/config.yaml")
    runs, sources = published_runs(figures_on(config, "hpatches_sequences"))
    named = {run.name for run in runs}
    assert {"aslfeat_ASLFeat", "R2D2_toolbox", "disk-imsize-1024-nms-3-nump-8000_DISK"} <= named
    assert len(named) >= 35
    assert all(source in config.references.values() for source in sources)
    assert figures_on(config, "hpatches_sequences_116") == []
    blocks = {**config.datasets, "hpatches_sequences": config.datasets["hpatches_sequences"].model_copy()}
    blocks["hpatches_sequences"] = blocks["hpatches_sequences"].model_copy(update={"generator": "toytown"})
    assert figures_on(config.model_copy(update={"datasets": blocks}), "hpatches_sequences") == []
