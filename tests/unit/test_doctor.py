"""What is missing before anything starts, as a person reads it and as a script sees it."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from http_server import Server, Step
from own_images import paint
from small_catalog import CONFIG

from descbench import doctor
from descbench.cli import main
from descbench.config.load import load_config
from descbench.doctor import MOST_MEMORY, examine, find_cells
from descbench.plan import Plan

CELL = "results/scores/net/city.json"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "count_gpus", lambda: 0)
    return tmp_path


def findings(target=CELL, online=False, **changes):
    """State and text by what was looked at."""
    found = examine(Plan(load_config({**CONFIG, **changes})), target, online=online)
    return {item.what: (item.state, item.told) for item in found}


def changed(source, **keys):
    return {**CONFIG["sources"], source: {**CONFIG["sources"][source], **keys}}


def test_data_that_must_be_had(place):
    found = findings()
    assert found["lists.mat"] == ("note", "to download, 2.5 MB: http://127.0.0.1:1/lists.mat")
    state, told = found["photos"]
    assert state == "missing"
    assert "ask for it or fetch it by hand: http://x; then set `local_copy`. It must hold: a.jpg and so on." in told
    assert findings("cities") == findings("results/cities.csv") == found
    assert findings(offline=True)["lists.mat"][0] == "missing"
    copy = place / "copy"
    sources = changed("photos", local_copy=str(copy))
    assert findings(sources=sources)["photos"] == ("missing", f"your copy {copy} is not there; correct `local_copy`")
    copy.mkdir()
    assert findings(sources=sources)["photos"] == ("ok", f"your copy {copy}")
    plan = Plan(load_config(CONFIG))
    for path in (plan.paths.raw("lists.mat"), plan.paths.unpacked("photos")):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    found = findings()
    assert found["lists.mat"] == found["photos"] == ("ok", "is here")


def test_addresses_are_asked_where_that_is_wanted():
    server = Server()
    try:
        server.script["/b"] = [Step(body=b"abc")]
        sources = changed("net.pth", mirrors=[f"{server.root}/a", f"{server.root}/b"])
        assert findings(sources=sources)["net.pth"][0] == "note"
        assert server.seen == []
        found = findings(sources=sources, online=True)
        assert found["net.pth"] == ("ok", f"to download: {server.root}/b answers")
        assert server.paths() == ["/a", "/b"]
    finally:
        server.stop()
    state, told = found["lists.mat"]
    assert state == "missing"
    assert told.startswith("no address answers (http://127.0.0.1:1/lists.mat: ConnectionError)")


def test_room_for_descriptors(monkeypatch):
    """250,000 images of 2048 numbers of four bytes are 2 GB."""
    room, what = SimpleNamespace(free=3e9), "disk of results"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    state, told = findings()[what]
    assert state == "ok"
    assert told.startswith("3.0 GB free; descriptors at most 2.0 GB; archives come on top (2 of 3 of unknown size)")
    room.free = 2e9
    assert findings()[what][0] == "missing"
    halves = {"net": {"kind": "global", "model": "net", "dtype": "float16"}}
    assert findings(features=halves)[what][0] == "ok"
    uncounted = {**CONFIG["datasets"], "city": {**CONFIG["datasets"]["city"], "counts": {}}}
    assert "GB free; of unknown size: net of city; archives" in findings(datasets=uncounted)[what][1]
    room.free = 2e6
    assert findings()["disk of data"][0] == "missing"


def test_machine(project, monkeypatch):
    asked = [
        int(mb)
        for path in (project / "workflow/rules").glob("*.smk")
        for mb in re.findall(r"mem_mb=growing\((\d+)", path.read_text())
    ]
    assert max(asked) == MOST_MEMORY
    monkeypatch.setattr(doctor, "memory_gb", lambda: 8.0)
    assert findings()["memory"] == ("note", "8.0 GiB; rules ask for up to 24 GB (docs/slurm.md)")
    monkeypatch.setattr(doctor, "memory_gb", lambda: 64.0)
    assert findings()["memory"][0] == "ok"
    assert findings()["GPU"] == ("note", "networks run on the CPU")
    assert findings(device="cuda")["GPU"][0] == "missing"
    monkeypatch.setattr(doctor, "count_gpus", lambda: 2)
    assert findings(device="auto")["GPU"] == ("ok", "2 of CUDA")


def test_packages_and_licences(monkeypatch):
    assert findings()["packages"][0] == "ok"
    there = doctor._is_installed
    monkeypatch.setattr(doctor, "_is_installed", lambda name: name != "poselib" and there(name))
    assert findings()["packages"] == ("missing", "not installed: poselib; `make setup`")
    licences = [item.told for item in examine(Plan(load_config(CONFIG)), CELL) if item.what == "licence"]
    stated = ["research use: photos", "CC BY-NC-SA 4.0: net.pth"]
    assert licences == [*stated, "not stated by the owners: lists.mat"]


def test_folders_of_the_user(place):
    target = "results/scores/net/mine.json"
    state, told = findings(target)["mine"]
    assert (state, "my_photos: no such folder" in told) == ("missing", True)
    paint(place / "my_photos/a.png", 1)
    assert findings(target)["mine"] == ("ok", "your folder, 2 images")


def points_of_ones_own(**weights):
    """A detector, whose points a descriptor of one's own describes, on images of one's own."""
    made = {"architecture": "custom", "weights": {"source": "custom", **weights}}
    models = {
        "finder": {**made, "factory": "finding:make", "points": {"channels": 1}},
        "describer": {
            **made,
            "factory": "describing:make",
            "points": {"detects": False, "describes": "given", "dim": 50},
        },
    }
    features = {
        "kind": "keypoints",
        "detector": "network",
        "detector_model": "finder",
        "describe": "network",
        "model": "describer",
        "max_features": 100_000,
    }
    square = {"format": "hpatches_sequences", "images": "s", "counts": {"database": 60}}
    return {
        "datasets": {**CONFIG["datasets"], "square": square},
        "models": {**CONFIG["models"], **models},
        "features": {"own": features},
        "methods": {**CONFIG["methods"], "own": {"match": "nearest"}},
    }


def test_networks_of_ones_own(place):
    """Their code, weights and licences; descriptors as large as the contract says."""
    target, weights = "results/scores/own/square.json", {"file": "w.pth", "licence": "CC BY-NC 4.0"}
    (place / "finding.py").write_text("raise RuntimeError\n")
    found = examine(Plan(load_config({**CONFIG, **points_of_ones_own(**weights)})), target)
    told = {(item.state, item.what, item.told) for item in found}
    assert ("ok", "finder", f"your code {place / 'finding.py'}") in told
    assert ("missing", "finder", "its weights w.pth are not there") in told
    assert ("note", "licence", "CC BY-NC 4.0: describer, finder") in told
    assert any(text.startswith("describing:make: there is no module 'describing'") for _, _, text in told)
    (disk,) = (text for _, what, text in told if what == "disk of results")
    assert "descriptors at most 1.2 GB" in disk
    assert "of unknown size" not in disk


def test_folders_that_cannot_be_written_to(place):
    """A file in the place of the results; the disk it lies on says nothing."""
    (place / "taken").write_text("")
    found = findings("cities", results_dir="taken")
    assert found["folder of results"] == ("missing", f"{place / 'taken'} is not a folder that can be written to")
    assert found["disk of data"][0] == "ok"


def test_the_command(place, capsys):
    (place / "config").mkdir()
    (place / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    assert main(["doctor", "results/cities.csv"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["what", "found"]
    assert [line.split()[1] for line in told if line.startswith("missing")] == ["photos"]
    assert told[-1] == "1 missing. 2 files will be downloaded."
    (place / "config/config.yaml").write_text(yaml.safe_dump({**CONFIG, "sources": changed("photos", local_copy=".")}))
    assert main(["doctor", "cities"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Nothing is missing that you must bring. 2 files will be downloaded."
    for path in ("./results/cities.csv", str(place / "results/cities.md"), "results/../results/scores/net/city.json"):
        assert main(["doctor", path]) == 0
    for target, message in (
        ("citys", "no table and no scores file; name one like results/scores/METHOD/DATASET.json, or a table, close"),
        ("results/scores/nett/city.json", "there is no method 'nett'; close names: net"),
        ("results/scores/net/town.json", "there is no dataset or patch set 'town'"),
    ):
        assert main(["doctor", target]) == 1
        assert message in capsys.readouterr().err


def test_a_target_of_a_configuration_that_is_not_given(place, capsys):
    """Commands name what is to be added."""
    (place / "config").mkdir()
    (place / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    (place / "config/mine.yaml").write_text("results_dir: results/mine\n")
    for target in ("results/mine/cities.csv", "results/mine/scores/net/city.json"):
        for command in ("doctor", "verify", "bundle", "why"):
            assert main([command, target]) == 1
            told = f"{target} is of the configuration config/mine.yaml, which is not given: add `--configfile"
            assert told in capsys.readouterr().err, command


def test_tables_of_other_choices_of_scoring(place):
    """They need what is made otherwise too, but for what is only shown where it is there."""
    variants = [{"choice": "other", "text": "another", "methods": {"net": "plain"}, "on_demand": False}]
    variants += [{"choice": "seen", "text": "seen", "methods": {"net": "seen"}}]
    methods = {name: {"search": "inner_product", "features": "net"} for name in ("net", "plain", "seen")}
    cities = {"cities": {**CONFIG["tables"]["cities"], "variants": variants}}
    plan = Plan(load_config({**CONFIG, "methods": methods, "tables": cities}))
    assert find_cells(plan, "cities") == [("net", "city")]
    for target in ("results/protocols/cities.csv", str(place / "results/protocols/cities.md")):
        assert find_cells(plan, target) == [("net", "city"), ("plain", "city")]
    Path("results/scores/seen").mkdir(parents=True)
    Path("results/scores/seen/city.json").touch()
    assert find_cells(plan, "results/protocols/cities.csv") == [("net", "city"), ("plain", "city")]


def test_images_that_are_put_in_place_by_hand(place):
    """Below the folder of the data, of a dataset without downloads."""
    datasets = {"walls": {"format": "hpatches_sequences", "images": "mine"}}
    features = {"points": {"kind": "keypoints", "describe": "sift"}}
    own = {"datasets": datasets, "features": features, "methods": {"points": {"match": "nearest"}}, "tables": {}}
    target = "results/scores/points/walls.json"
    there = Path("data/datasets/mine")
    assert findings(target, **own)["walls"] == ("missing", f"{there} is not there; put the images or a link there")
    there.mkdir(parents=True)
    assert findings(target, **own)["walls"] == ("ok", f"your folder {there}")
