"""Datasets labelled by frame numbers or by a list: what is right, what is refused, and recall@N of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from own_images import paint, set_up
from pydantic import TypeAdapter

import descbench
from descbench.cli import main
from descbench.config.datasets import Dataset
from descbench.config.load import load_config
from descbench.datasets.build import build_manifest
from descbench.datasets.own import list_own
from descbench.errors import ConfigError, DataError
from descbench.io.digests import digest_of
from descbench.metrics.protocols import PROTOCOLS
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import read_scores
from descbench.plan import Plan
from descbench.retrieval.ranking import PartInfo, ranking_writer

DAY = ("img_0007.png", "img_0003.png", "a/img_0001.png", "img2_0005.png")
NIGHT = ("n1.png", "n4.png", "n9.png")


def traverses(folder: Path, **block) -> Dataset:
    for role, names in (("day", DAY), ("night", NIGHT)):
        for name in names:
            path = folder / role / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    folders = {"database": folder / "day", "queries": folder / "night"}
    return TypeAdapter(Dataset).validate_python({"format": "frames", "tolerance": 2, **folders, **block})


def listed(folder: Path, positives: object, **more) -> Dataset:
    (folder / "positives.json").write_text(json.dumps({"positives": positives, **more}))
    dataset = traverses(folder)
    folders = {"database": dataset.database, "queries": dataset.queries}
    block = {"format": "positives", "positives": folder / "positives.json", **folders}
    return TypeAdapter(Dataset).validate_python(block)


def right(dataset: Dataset) -> list[list[str]]:
    """Names of what is right for each query, without their folder."""
    own = list_own(dataset)
    names = [row.path.removeprefix("day/") for row in own.manifest.of_role("database").rows]
    return [[names[i] for i in ids] for ids in own.labels.positives]


def test_frames_within_a_tolerance(tmp_path):
    """Numbers are the last ones in the names; order of the files and folders do not matter."""
    assert right(traverses(tmp_path)) == [
        ["a/img_0001.png", "img_0003.png"],
        ["img2_0005.png", "img_0003.png"],
        ["img_0007.png"],
    ]
    assert right(traverses(tmp_path, tolerance=0)) == [["a/img_0001.png"], [], []]
    assert right(traverses(tmp_path, tolerance=1)) == [["a/img_0001.png"], ["img2_0005.png", "img_0003.png"], []]


def test_places_in_the_order_of_names(tmp_path):
    assert right(traverses(tmp_path, tolerance=0, numbers="order")) == [
        ["a/img_0001.png"],
        ["img2_0005.png"],
        ["img_0003.png"],
    ]


def test_listed_pairs_of_frames(tmp_path):
    """A frame may have several; one without is right for nothing."""
    (tmp_path / "pairs.txt").write_text("# night, day\n1, 5\n\n1 7\n4;2\n")
    dataset = traverses(tmp_path, tolerance=1, pairs=tmp_path / "pairs.txt")
    assert right(dataset) == [["img2_0005.png", "img_0007.png"], ["a/img_0001.png", "img_0003.png"], []]
    assert list_own(dataset).labels.right == "what is at most 1 frames off that of pairs.txt for the query's"


def test_a_list_of_positives(tmp_path):
    dataset = listed(tmp_path, {"n9.png": ["img_0003.png", "a/img_0001.png", "img_0003.png"], "n1.png": []}, note="x")
    assert right(dataset) == [[], [], ["a/img_0001.png", "img_0003.png"]]
    assert list_own(dataset).labels.right == "what positives.json lists"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"positives": {"n2.png": []}}, "1 names lead nowhere, such as 'n2.png', which is not an image in .*night"),
        ({"positives": {"n1.png": ["n1.png"]}}, "such as 'n1.png', which is not an image in .*day"),
        ({"positives": {"n1.png": "img_0003.png"}}, "'n1.png' is not a list"),
        ({"positives": {"n1.png": ["../x.png"]}}, "leaves the dataset's folder"),
        ({"positives": ["n1.png"]}, "no positives; "),
        ({"positives": {"n1.png": [3]}}, "is not text"),
    ],
)
def test_lists_that_are_refused(tmp_path, block, message):
    with pytest.raises(DataError, match=message):
        list_own(listed(tmp_path, **block))


def test_frames_that_are_refused(tmp_path):
    (tmp_path / "pairs.txt").write_text("1, 5\n1, five\n")
    with pytest.raises(DataError, match=r"pairs\.txt: line 2: not `query, database`"):
        list_own(traverses(tmp_path, pairs=tmp_path / "pairs.txt"))
    with pytest.raises(DataError, match=r"none\.txt: no such list of frames"):
        list_own(traverses(tmp_path, pairs=tmp_path / "none.txt"))
    dataset = listed(tmp_path, {})
    (tmp_path / "positives.json").write_text("{")
    with pytest.raises(DataError, match="not JSON that can be read"):
        list_own(dataset)
    (tmp_path / "positives.json").write_text('{"positives": {"n1.png": ["img_0003.png"], "n1.png": ["img_0007.png"]}}')
    with pytest.raises(DataError, match=r"positives\.json: not JSON.*\(key 'n1\.png' is written twice\)"):
        list_own(dataset)
    for number in range(2):
        path = tmp_path / f"sized/{number}_640.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.raises(DataError, match="sized: all 2 images have the frame number 640, the last number"):
        list_own(traverses(tmp_path, database=tmp_path / "sized"))
    for name in ("without.png", f"{'1' * 19}.png"):
        (tmp_path / "night" / name).touch()
        with pytest.raises(DataError, match=f"{name}: no frame number in this name"):
            list_own(traverses(tmp_path))
        (tmp_path / "night" / name).unlink()
    (tmp_path / "night/film.mov").touch()
    with pytest.raises(DataError, match=r"film\.mov"):
        list_own(traverses(tmp_path))
    assert [item.path for item in list_own(traverses(tmp_path, on_bad_file="skip")).left_out] == [
        str(tmp_path / "night/film.mov")
    ]


def test_an_image_is_not_right_for_itself(tmp_path):
    dataset = traverses(tmp_path, queries=tmp_path / "day", database=tmp_path / "day", tolerance=2)
    assert list_own(dataset).asks_itself
    assert right(dataset) == [["img_0003.png"], ["img_0003.png", "img_0007.png"], *[[DAY[2], DAY[3]], [DAY[3]]]]


def test_other_labels_are_no_other_images(tmp_path):
    """Features stay when a tolerance or a list changes; the manifest and its labels are made anew."""

    def seen(**block):
        dataset = traverses(tmp_path, **block)
        plan = Plan(load_config({"catalog": [], "datasets": {"x": dataset.model_dump(mode="json")}}))
        return digest_of(plan.own_folders.settings("x")), plan.own_folders.digest_listing("x")

    (settings, listing), (same, other) = seen(tolerance=1), seen(tolerance=2)
    assert (settings, listing) != (settings, other)
    assert settings == same


def test_recall_of_positives(tmp_path):
    build_manifest("x", traverses(tmp_path, tolerance=1), tmp_path, tmp_path / "m.csv", tmp_path / "gt.json")
    order = np.array([[2, 0, 1, 3], [3, 0, 2, 1], [0, 1, 2, 3]])
    info = PartInfo(0, 4, {})
    with ranking_writer(tmp_path / "r.h5", info, np.arange(3), 4) as writer:
        writer.write(0, order, np.tile([4.0, 3.0, 2.0, 1.0], (3, 1)))
    score_ranking(tmp_path / "r.h5", tmp_path / "gt.json", tmp_path / "s.json")
    scores = read_scores(tmp_path / "s.json")
    assert scores.facts["first_hit"] == [2, 3, None]
    assert {name: metric.value for name, metric in scores.metrics.items()} == {"recall@1": 0.0}
    assert PROTOCOLS[scores.protocol].rule("x", scores) == (
        "x: right is what is at most 1 frames off the query's; 1 of 3 queries have nothing right."
    )


def test_the_corridor_by_frames_and_by_its_list(real_data, tmp_path):
    """The published list of right images is that of a tolerance of frames."""
    folder = real_data / "vpr_corridor"
    folders = {"database": folder / "ref", "queries": folder / "query"}
    content = json.loads((folder / "ground_truth.json").read_text())
    widest = max(
        abs(int(Path(query).stem) - int(Path(name).stem))
        for query, names in content["positives"].items()
        for name in names
    )
    by_list = {"format": "positives", "positives": folder / "ground_truth.json", **folders}
    by_frames = {"format": "frames", "tolerance": widest, **folders}
    listed, counted = (list_own(TypeAdapter(Dataset).validate_python(block)) for block in (by_list, by_frames))
    assert listed.labels.positives == counted.labels.positives
    assert listed.manifest == counted.manifest
    assert all(listed.labels.positives)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Six images by day, and four of them again by night under other names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    set_up(tmp_path, images=0)
    for number in range(6):
        paint(tmp_path / f"day/{number}.png", number)
    for number in range(4):
        paint(tmp_path / f"night/frame{number}.png", number)
    return tmp_path


def test_evaluation_by_frames(place, capsys):
    scores = descbench.evaluate_images("day", "whole", queries="night", frames=0)
    assert (scores.protocol, scores.num_queries) == ("positives", 4)
    assert scores.metrics["recall@1"].value == 1.0
    (place / "pairs.csv").write_text("0, 5\n1, 1\n2, 2\n3, 3\n")
    arguments = ["evaluate", "--images", "day", "--queries", "night", "--frames", "0", "--method", "whole"]
    assert main([*arguments, "--frame-pairs", "pairs.csv", "-o", "out/s.json"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "whole, 4 queries, in percent"
    assert told[2].split()[:2] == ["recall@1", "75.00"]
    assert read_scores(Path("out/s.json")).metrics["recall@1"].value == 0.75


def test_evaluation_by_lists(place):
    gnd = [{"easy": [number], "hard": [], "junk": []} for number in range(4)]
    names = {"imlist": [f"{n}.png" for n in range(6)], "qimlist": [f"frame{n}.png" for n in range(4)]}
    (place / "gnd.json").write_text(json.dumps({**names, "gnd": gnd}))
    scores = descbench.evaluate_images("day", "whole", queries="night", ground_truth="gnd.json")
    assert scores.metrics["map_medium"].value == 1.0
    with pytest.raises(ConfigError, match=r"^html: gnd\.json does not end in \.html"):
        descbench.evaluate_images("day", "whole", queries="night", ground_truth="gnd.json", html="gnd.json")
    (place / "positives.json").write_text(json.dumps({"positives": {"frame0.png": ["0.png"], "frame1.png": ["2.png"]}}))
    scores = descbench.evaluate_images("day", "whole", queries="night", positives="positives.json")
    assert scores.metrics["recall@1"].value == 0.25
    assert scores.facts["queries_without_positive"] == 2


def test_the_page_of_an_evaluation(place, capsys):
    """By a list and by labels: right, wrong, junk and average precision, the worst query first."""
    (place / "positives.json").write_text(json.dumps({"positives": {"frame0.png": ["0.png"], "frame1.png": ["2.png"]}}))
    arguments = ["evaluate", "--images", "day", "--queries", "night", "--method", "whole"]
    assert main([*arguments, "--positives", "positives.json", "--html", "out/list.html"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "The page is out/list.html."
    text = Path("out/list.html").read_text()
    assert "<h1>whole on day</h1>" in text
    assert re.findall(r"Query 0: (.*?)</h3>", text) == ["first right image at rank 1"]
    assert re.search(r'alt="result 1 of query 0: right, day/0\.png"', text)
    assert re.search(r'alt="result 1 of query 1: wrong, day/1\.png"', text)
    gnd = [{"easy": [1], "hard": [], "junk": [0]}, *({"easy": [n], "hard": [], "junk": []} for n in range(1, 4))]
    names = {"imlist": [f"{n}.png" for n in range(6)], "qimlist": [f"frame{n}.png" for n in range(4)]}
    (place / "gnd.json").write_text(json.dumps({**names, "gnd": gnd}))
    scores = descbench.evaluate_images("day", "whole", queries="night", ground_truth="gnd.json", html="labels.html")
    text = Path("labels.html").read_text()
    assert re.search(r'alt="result 1 of query 0: junk, day/0\.png"', text)
    worst = scores.per_query["map_medium"][0]
    assert worst < 1
    assert re.findall(r"Query (\d): AP easy [\d.]+, AP medium ([\d.]+)", text)[0] == ("0", f"{100 * worst:.1f}")


def test_labels_that_are_right_for_no_query(place):
    """Whatever is found would score 0: names or numbers are those of something else."""
    (place / "positives.json").write_text(json.dumps({"positives": {"frame0.png": []}}))
    message = (
        r"^positives\.json: nothing is right for any of its 4 queries, "
        ".*must be those of the queries, such as frame0.png"
    )
    with pytest.raises(DataError, match=message):
        descbench.evaluate_images("day", "whole", queries="night", positives="positives.json")
    (place / "pairs.csv").write_text("100, 5\n")
    with pytest.raises(DataError, match=r"^pairs\.csv"):
        descbench.evaluate_images("day", "whole", queries="night", frames=0, frame_pairs="pairs.csv")


def test_what_cannot_be_evaluated(place):
    for given, message in (
        ({}, "which images are correct. No labels given"),
        ({"frames": 1, "positives": "p.json"}, "positives and frames given"),
        ({"positives": "p.json", "frame_pairs": "x"}, "give one of"),
        ({"frames": -1, "queries": "night"}, "tolerance -1: Input should be greater"),
        ({"frames": 1}, "give `queries`"),
    ):
        with pytest.raises(ConfigError, match=message):
            descbench.evaluate_images("day", "whole", **given)
