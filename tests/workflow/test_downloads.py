"""Downloaded files in whole runs: what makes them anew, and that none is lost."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from http_server import Server, Step

RAW = "data/raw/list.txt"
MARKER = "data/datasets/.unpacked/list.txt.json"
BODY = b"a.jpg\nb.jpg\n"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    running.script["/list.txt"] = [Step(BODY)]
    yield running
    running.stop()


def source(server, more=None, **block):
    """An overlay with one source, which goes to a folder as it is."""
    mirrors = [] if server is None else [f"{server.root}/list.txt"]
    return {"sources": {"list.txt": {"mirrors": mirrors, "unpack": {"to": "lists"}, **block}}, **(more or {})}


def test_what_does_not_decide_a_file_fetches_nothing_anew(workplace, server):
    workplace.run("--cores", "1", MARKER, overlay=source(server))
    record = (workplace.folder / f"{RAW}.provenance.json").read_text()
    overlay = source(
        server,
        {"offline": True, "mirrors": {server.root: "http://127.0.0.1:9"}},
        mirrors=["http://127.0.0.1:9/list.txt"],
        note="read this",
        licence="free",
        access="request",
        ask="https://example.org",
        sha256=hashlib.sha256(BODY).hexdigest(),
        md5=hashlib.md5(BODY).hexdigest(),
        size=len(BODY),
        unpack={"to": "lists", "ratio": 7, "files": 1},
    )
    output = workplace.run("--cores", "1", MARKER, overlay=overlay)
    assert "Nothing to be done" in output.stdout + output.stderr
    assert (workplace.folder / RAW).read_bytes() == BODY
    assert (workplace.folder / f"{RAW}.provenance.json").read_text() == record
    assert server.paths() == ["/list.txt"]
    for check in ("md5", "git_blob_sha1"):
        digits = {"md5": "0" * 32, "git_blob_sha1": "0" * 40}[check]
        output = workplace.run("--cores", "1", MARKER, overlay=source(server, **{check: digits}), check=False)
        assert f"{digits} is expected" in output.stdout + output.stderr
    assert (workplace.folder / RAW).read_bytes() == BODY


def test_a_job_that_runs_again_keeps_what_is_there(workplace, server):
    workplace.run("--cores", "1", RAW, overlay=source(server))
    record = (workplace.folder / f"{RAW}.provenance.json").read_text()
    gone = source(server, {"offline": True})
    workplace.run("--cores", "1", "--force", RAW, overlay=gone)
    assert (workplace.folder / RAW).read_bytes() == BODY
    assert (workplace.folder / f"{RAW}.provenance.json").read_text() == record
    # A check that it does not pass is told, and the file stays.
    refused = workplace.run("--cores", "1", RAW, overlay=source(server, sha256="00"), check=False)
    assert refused.returncode != 0
    assert "SHA-256" in refused.stderr
    assert (workplace.folder / RAW).read_bytes() == BODY
    assert sorted(p.name for p in (workplace.folder / "data/raw").iterdir()) == ["list.txt", "list.txt.provenance.json"]


def test_what_a_killed_run_left_is_put_back(workplace, server):
    """Killed after Snakemake deleted a file: its second name is still there."""
    workplace.run("--cores", "1", RAW, overlay=source(server))
    aside = workplace.folder / "data/raw/.aside-killed"
    aside.mkdir()
    (workplace.folder / RAW).rename(aside / "list.txt")
    workplace.run("--cores", "1", RAW, overlay=source(server, {"offline": True}))
    assert (workplace.folder / RAW).read_bytes() == BODY
    assert not aside.exists()


def test_a_deleted_file_is_fetched_again(workplace, server):
    workplace.run("--cores", "1", RAW, overlay=source(server))
    (workplace.folder / RAW).unlink()
    server.script["/list.txt"] = [Step(b"c.jpg\n")]
    workplace.run("--cores", "1", RAW, overlay=source(server))
    assert (workplace.folder / RAW).read_bytes() == b"c.jpg\n"


def test_files_of_which_none_are_kept_go_away(workplace, server):
    """With ``keep_raw: false`` what was unpacked is deleted, what was there before too."""
    workplace.run("--cores", "1", RAW, overlay=source(server))
    workplace.run("--cores", "1", MARKER, overlay=source(server, {"keep_raw": False}))
    assert (workplace.folder / "data/datasets/lists/list.txt").read_bytes() == BODY
    assert [p.name for p in (workplace.folder / "data/raw").iterdir()] == ["list.txt.provenance.json"]


@pytest.mark.parametrize("size", [len(BODY), 17 << 20])
def test_a_replaced_copy_is_noticed(workplace, tmp_path, size):
    copy = tmp_path / "mine.txt"
    copy.write_bytes(BODY.ljust(size, b"\n"))
    time = copy.stat().st_mtime_ns
    overlay = source(None, local_copy=str(copy))
    placed = workplace.folder / "data/datasets/lists/list.txt"
    workplace.run("--cores", "1", MARKER, overlay=overlay)
    assert workplace.planned(MARKER, overlay=overlay) == {}
    other = tmp_path / "other"
    other.write_bytes(b"x" + copy.read_bytes()[1:])
    os.utime(other, ns=(time, time))
    other.replace(copy)
    assert workplace.planned(MARKER, overlay=overlay) == {"download_source": 1, "unpack_source": 1}
    workplace.run("--cores", "1", MARKER, overlay=overlay)
    assert placed.read_bytes() == copy.read_bytes()
    record = json.loads((workplace.folder / f"{RAW}.provenance.json").read_text())
    assert record["sha256"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert workplace.planned(MARKER, overlay=overlay) == {}


def test_a_named_copy_takes_the_place_of_a_download(workplace, server, tmp_path):
    copy = tmp_path / "mine.txt"
    copy.write_bytes(b"c.jpg\n")
    workplace.run("--cores", "1", RAW, overlay=source(server))
    workplace.run("--cores", "1", RAW, overlay=source(server, local_copy=str(copy)))
    assert (workplace.folder / RAW).resolve() == copy
    # Without the key it is fetched again, and the user's own file stays as it was.
    workplace.run("--cores", "1", RAW, overlay=source(server))
    assert (workplace.folder / RAW).read_bytes() == BODY
    assert copy.read_bytes() == b"c.jpg\n"


def test_a_replaced_folder_is_noticed(workplace, tmp_path):
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    overlay = source(None, local_copy=str(folder))
    workplace.run("--cores", "1", MARKER, overlay=overlay)
    assert workplace.planned(MARKER, overlay=overlay) == {}
    (folder / "b.txt").write_text("two")
    workplace.run("--cores", "1", MARKER, overlay=overlay)
    assert (workplace.folder / "data/datasets/lists/b.txt").read_text() == "two"
    assert workplace.planned(MARKER, overlay=overlay) == {}
