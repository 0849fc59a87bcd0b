"""Downloads against a real server on this machine: mirrors, resume, retries, checks, copies of one's own."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from http_server import Server, Step

from descbench.config.sources import Source
from descbench.errors import DownloadError
from descbench.io import transfer
from descbench.io.download import download_source
from descbench.io.webpages import direct_address

BODY = bytes(range(256)) * 1200  # 300 kB: several blocks


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "images.tgz"


def _download(source: Source, target: Path, **options: Any) -> None:
    download_source("images.tgz", source, target, **{"backoff": 0.0, "retries": 2, "timeout": 5.0} | options)


def _source(*urls: str, **keys: Any) -> Source:
    return Source(mirrors=urls, **keys)


def _arrived(target: Path, body: bytes = BODY) -> dict[str, Any]:
    """Check that the target is whole and nothing else was left; gives its provenance."""
    record = target.with_name("images.tgz.provenance.json")
    assert target.read_bytes() == body
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name, record.name]
    origin = json.loads(record.read_text())
    assert origin["sha256"] == hashlib.sha256(body).hexdigest()
    assert (origin["file"], origin["size"]) == (target.name, len(body))
    return origin


def _leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


# --- one address -------------------------------------------------------------------------------


def test_a_file_and_its_origin(server: Server, target: Path) -> None:
    server.script["/a.tgz"] = [Step(BODY)]
    _download(_source(f"{server.root}/a.tgz", note="blurred", licence="free"), target)
    origin = _arrived(target)
    assert origin["url"] == f"{server.root}/a.tgz"
    assert (origin["retrieved_from"], origin["note"], origin["licence"]) == ("mirror", "blurred", "free")


@pytest.mark.parametrize(
    "passing",
    [Step(status=503), Step(status=500), Step(status=429), Step(BODY, cut=1000), Step(BODY, cut=0)],
    ids=["503", "500", "429", "cut", "nothing"],
)
def test_bad_luck_is_tried_again(server: Server, target: Path, passing: Step) -> None:
    server.script["/a"] = [passing, passing, Step(BODY)]
    _download(_source(f"{server.root}/a"), target)
    _arrived(target)
    assert len(server.seen) == 3


def test_pauses_double(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=pauses.append))
    busy = Step(status=503)
    server.script["/a"] = [busy, busy, Step(status=429, headers={"Retry-After": "30"}), Step(BODY)]
    _download(_source(f"{server.root}/a"), target, retries=3, backoff=1.5)
    assert pauses == [1.5, 3.0, 30.0]


WAITS = {"7": 7.0, " 7 ": 7.0, "99999": 60.0, "9" * 5000: 0.0, "-7": 0.0, "soon": 0.0}
# A date that has passed, and one beyond all calendars.
WAITS |= {"Sat, 01 Jan 2000 00:00:00 GMT": 0.0, "21 Oct 9999999999999999999999 07:28:00 +9999999999": 0.0}


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait[:20])
def test_a_server_says_how_long_to_wait(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """In seconds or until a date, a minute at most; what is neither is no reason to stop."""
    pauses: list[float] = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=pauses.append))
    server.script["/a"] = [Step(status=503, headers={"Retry-After": wait}), Step(BODY)]
    _download(_source(f"{server.root}/a"), target)
    assert pauses == [WAITS[wait]]


def test_a_server_says_until_when_to_wait(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=pauses.append))
    then = formatdate(time.time() + 40, usegmt=True)
    server.script["/a"] = [Step(status=503, headers={"Retry-After": then}), Step(BODY)]
    _download(_source(f"{server.root}/a"), target)
    assert 20 < pauses[0] <= 40


def test_a_silent_server_times_out(server: Server, target: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        with pytest.raises(DownloadError, match=r"no answer within 0\.2 s \(2 attempts\)"):
            _download(_source(url), target, timeout=0.2, retries=1)


def test_redirects_are_followed(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(status=302, headers={"Location": "/b"})]
    server.script["/b"] = [Step(BODY)]
    _download(_source(f"{server.root}/a"), target)
    origin = _arrived(target)
    assert (origin["url"], origin["final_url"]) == (f"{server.root}/a", f"{server.root}/b")
    server.script["/b"] = [Step(status=302, headers={"Location": "/a"})]
    target.unlink()
    with pytest.raises(DownloadError, match="more than 10 redirects"):
        _download(_source(f"{server.root}/a"), target)


def test_gzip_marked_as_an_encoding_stays_gzip(server: Server, target: Path) -> None:
    """Apache marks every .tgz so; what is compressed there is the archive itself."""
    import gzip

    body = gzip.compress(BODY)
    server.script["/a.tgz"] = [Step(body, headers={"Content-Encoding": "gzip"})]
    _download(_source(f"{server.root}/a.tgz"), target)
    _arrived(target, body)


# --- resume ------------------------------------------------------------------------------------


def _interrupt(server: Server, target: Path, cut: int = 200_000, **step: Any) -> Source:
    """A run that ends in the middle: leaves a partial file, and nothing under the name of the target."""
    server.script["/a"] = [Step(BODY, cut=cut, **step)]
    source = _source(f"{server.root}/a")
    with pytest.raises(DownloadError, match=rf"cut off after \d+ of {len(BODY)} bytes|connection cut while reading"):
        _download(source, target, retries=0)
    assert not target.exists()
    assert any(".part-" in name for name in _leftovers(target))
    server.seen.clear()
    return source


def test_the_next_run_goes_on(server: Server, target: Path) -> None:
    source = _interrupt(server, target)
    server.script["/a"] = [Step(BODY)]
    _download(source, target)
    _arrived(target)
    (request,) = server.seen
    assert int(request.headers["Range"].removeprefix("bytes=").removesuffix("-")) > 100_000
    assert request.headers["If-Range"] == '"one"'


def test_without_ranges_it_starts_again(server: Server, target: Path) -> None:
    source = _interrupt(server, target)
    server.script["/a"] = [Step(BODY, ranges=False)]
    _download(source, target)
    _arrived(target)


@pytest.mark.parametrize("etag", ['"two"', 'W/"two"', None])
def test_another_file_is_not_glued_to_the_beginning(server: Server, target: Path, etag: str | None) -> None:
    source = _interrupt(server, target)
    other = BODY[::-1] + b"longer"
    server.script["/a"] = [Step(other, etag=etag)]
    _download(source, target)
    _arrived(target, other)


def test_with_a_digest_the_length_must_agree(server: Server, target: Path) -> None:
    body = BODY + b"more"
    _interrupt(server, target, etag=None)
    server.script["/a"] = [Step(body, etag=None)]
    _download(_source(f"{server.root}/a", sha256=hashlib.sha256(body).hexdigest()), target)
    _arrived(target, body)
    assert [("Range" in seen.headers) for seen in server.seen] == [True, False]


def test_a_partial_file_without_its_note_is_not_trusted(server: Server, target: Path) -> None:
    source = _interrupt(server, target)
    (note,) = target.parent.glob("*.part-*.json")
    note.write_text("{")
    server.script["/a"] = [Step(BODY)]
    _download(source, target)
    _arrived(target)
    assert "Range" not in server.seen[0].headers


def test_everything_had_arrived_but_the_name(server: Server, target: Path) -> None:
    source = _interrupt(server, target)
    (partial,) = (path for path in target.parent.glob("*.part-*") if path.suffix != ".json")
    partial.write_bytes(BODY)
    server.script["/a"] = [Step(BODY)]
    _download(source, target)
    _arrived(target)
    assert len(server.seen) == 1


def test_a_partial_file_is_continued_from_its_own_address_only(server: Server, target: Path) -> None:
    _interrupt(server, target)
    server.script["/b"] = [Step(BODY[::-1])]
    _download(_source(f"{server.root}/b"), target)
    _arrived(target, BODY[::-1])
    assert "Range" not in server.seen[0].headers


def test_progress_starts_the_count_of_failures_anew(server: Server, target: Path) -> None:
    large = bytes(5 << 20)
    cut = Step(large, cut=(1 << 20) + (1 << 17))
    server.script["/a"] = [cut, cut, cut, Step(large)]
    _download(_source(f"{server.root}/a"), target, retries=1)
    _arrived(target, large)


def test_two_processes_do_not_write_one_file(server: Server, target: Path) -> None:
    source = _interrupt(server, target)
    (partial,) = (path for path in target.parent.glob("*.part-*") if path.suffix != ".json")
    with transfer._exclusive(partial), pytest.raises(DownloadError, match="another process"):
        _download(source, target)


# --- mirrors -----------------------------------------------------------------------------------


def test_a_404_goes_to_the_next_mirror_at_once(server: Server, target: Path) -> None:
    server.script["/b"] = [Step(BODY)]
    _download(_source(f"{server.root}/a", f"{server.root}/b"), target)
    assert server.paths() == ["/a", "/b"]
    assert _arrived(target)["url"] == f"{server.root}/b"


def test_a_busy_mirror_is_left_after_the_retries(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(status=503)]
    server.script["/b"] = [Step(BODY)]
    _download(_source(f"{server.root}/a", f"{server.root}/b"), target)
    assert server.paths() == ["/a", "/a", "/a", "/b"]


def test_own_mirrors_come_first(server: Server, target: Path) -> None:
    server.script["/own/x/a"] = [Step(BODY)]
    mirrors = {"http://nowhere.invalid/data": f"{server.root}/own"}
    _download(_source("http://nowhere.invalid/data/x/a"), target, mirrors=mirrors)
    assert _arrived(target)["url"] == f"{server.root}/own/x/a"


CHECKS = {
    "sha256": hashlib.sha256(BODY).hexdigest(),
    "beginning of sha256": hashlib.sha256(BODY).hexdigest()[:7],
    "git": hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest(),
    "md5": hashlib.md5(BODY).hexdigest(),
    "size": len(BODY),
}


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_the_wrong_file_is_thrown_away(server: Server, target: Path, check: str) -> None:
    key = {"git": "git_blob_sha1", "md5": "md5", "size": "size"}.get(check, "sha256")
    server.script["/a"] = [Step(BODY[:-1] if check == "size" else BODY[:-1] + b"x")]
    server.script["/b"] = [Step(BODY)]
    wrong = _source(f"{server.root}/a", **{key: CHECKS[check]})
    with pytest.raises(DownloadError, match=r"/a: .*expected"):
        _download(wrong, target)
    assert _leftovers(target) == []
    _download(_source(f"{server.root}/a", f"{server.root}/b", **{key: CHECKS[check]}), target)
    assert _arrived(target)["url"] == f"{server.root}/b"


def test_parts(server: Server, target: Path) -> None:
    server.script["/r1m.7.tgz"] = [Step(BODY)]
    source = Source(mirrors=[f"{server.root}/r1m.{{part}}.tgz"], parts=9)
    _download(source, target, part=7)
    _arrived(target)
    for part in (None, 0, 10):
        with pytest.raises(DownloadError, match="parts 1 to 9"):
            _download(source, target, part=part)


def test_one_message_names_every_address(server: Server, target: Path) -> None:
    server.script["/busy"] = [Step(status=503)]
    server.script["/page"] = [Step(b"<!DOCTYPE html><html><title>Moved  away</title></html>")]
    server.script["/empty"] = [Step(b"")]
    urls = [f"{server.root}/{name}" for name in ("none", "busy", "page", "empty")]
    urls += ["http://127.0.0.1:9/closed", "ftp://127.0.0.1/a"]
    with pytest.raises(DownloadError) as caught:
        _download(_source(*urls), target)
    message = str(caught.value)
    lines = [
        f"{urls[0]}: 404 Not Found",
        f"{urls[1]}: 503 Service Unavailable (3 attempts)",
        f'{urls[2]}: answered with a web page ("Moved away") where a file was expected',
        f"{urls[3]}: the file is empty",
        f"{urls[4]}: no connection (Connection refused) (2 attempts)",
        f"{urls[5]}: InvalidSchema",
    ]
    assert all(line in message for line in lines), message
    assert str(target) in message
    assert "images.tgz: {local_copy:" in message
    assert _leftovers(target) == []


# --- web pages and Google Drive ----------------------------------------------------------------

PAGE = b"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="download-form" action="/download" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="1bH"><input type="hidden" name="confirm" value="t"></form></body></html>"""
HTML = {"Content-Type": "text/html; charset=utf-8"}


def test_the_confirmation_form_of_drive(server: Server, target: Path) -> None:
    server.script["/uc?id=1bH"] = [Step(PAGE, headers=HTML)]
    server.script["/download?id=1bH&confirm=t"] = [Step(BODY)]
    _download(_source(f"{server.root}/uc?id=1bH"), target)
    assert _arrived(target)["url"] == f"{server.root}/uc?id=1bH"


def test_the_confirmation_cookie_of_drive(server: Server, target: Path) -> None:
    warning = {"Set-Cookie": "download_warning_13058=xyz"} | HTML
    server.script["/uc?id=1bH"] = [Step(b"<html><title>Warning</title></html>", headers=warning)]
    server.script["/uc?id=1bH&confirm=xyz"] = [Step(BODY)]
    _download(_source(f"{server.root}/uc?id=1bH"), target)
    _arrived(target)


def test_an_exceeded_quota_of_drive(server: Server, target: Path) -> None:
    quota = Step(b"<html><title>Google Drive - Quota exceeded</title></html>", headers=HTML)
    server.script["/uc?id=1bH"] = [Step(PAGE, headers=HTML)]
    server.script["/download?id=1bH&confirm=t"] = [quota]
    with pytest.raises(DownloadError, match="Quota exceeded"):
        _download(_source(f"{server.root}/uc?id=1bH"), target)
    assert _leftovers(target) == []


def test_a_drive_download_goes_on_after_a_cut(server: Server, target: Path) -> None:
    server.script["/uc?id=1bH"] = [Step(PAGE, headers=HTML, ranges=False)]
    server.script["/download?id=1bH&confirm=t"] = [Step(BODY, cut=150_000), Step(BODY)]
    _download(_source(f"{server.root}/uc?id=1bH"), target)
    _arrived(target)
    assert "Range" in server.seen[-1].headers


def test_share_links_of_drive() -> None:
    direct = "https://drive.google.com/uc?export=download&id=1b_-H"
    assert direct_address("https://drive.google.com/file/d/1b_-H/view?usp=sharing") == direct
    assert direct_address("https://drive.google.com/open?id=1b_-H") == direct
    assert direct_address("https://example.org/file/d/1b_-H/view") == "https://example.org/file/d/1b_-H/view"


def test_a_mislabelled_file_is_no_page(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(BODY, headers=HTML)]
    _download(_source(f"{server.root}/a"), target)
    _arrived(target)


# --- no network --------------------------------------------------------------------------------


def test_offline_asks_nobody(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(BODY)]
    with pytest.raises(DownloadError, match=r"/a: not tried.*offline"):
        _download(_source(f"{server.root}/a"), target, offline=True)
    assert server.seen == []


def test_sources_on_request_are_never_fetched(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(BODY)]
    source = _source(f"{server.root}/a", access="request", ask="https://example.org/ask", layout="a/b/*.jpg")
    with pytest.raises(DownloadError, match=r"(?s)on request.*https://example\.org/ask.*a/b/\*\.jpg.*local_copy"):
        _download(source, target)
    assert server.seen == []


@pytest.mark.parametrize("access", ["free", "request"])
def test_a_local_copy_is_linked(server: Server, target: Path, tmp_path: Path, access: str) -> None:
    copy = tmp_path / "mine.tgz"
    copy.write_bytes(BODY)
    source = _source(local_copy=copy, access=access, ask="https://example.org", sha256=CHECKS["sha256"])
    _download(source, target, offline=True)
    origin = _arrived(target)
    assert (origin["retrieved_from"], origin["url"]) == ("local copy", str(copy))
    assert target.resolve() == copy


def test_a_local_copy_in_parts(target: Path, tmp_path: Path) -> None:
    (tmp_path / "r1m.3.tgz").write_bytes(BODY)
    _download(Source(local_copy=tmp_path / "r1m.{part}.tgz", parts=9), target, part=3)
    _arrived(target)


def test_a_wrong_local_copy_is_refused(target: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mine.tgz"
    copy.write_bytes(BODY)
    cases = [
        (_source(local_copy=copy, sha256="00"), "is not the file expected: SHA-256"),
        (_source(local_copy=tmp_path / "none"), "names no file"),
        (_source(local_copy=tmp_path), "is a folder"),
    ]
    for source, message in cases:
        with pytest.raises(DownloadError, match=rf"sources\.images\.tgz\.local_copy {message}"):
            _download(source, target)
        assert _leftovers(target) == []


def test_a_file_put_in_place_by_hand_is_kept(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY)
    _download(_source(f"{server.root}/a", sha256=CHECKS["beginning of sha256"]), target)
    assert _arrived(target)["retrieved_from"] == "local copy"
    assert server.seen == []
    with pytest.raises(DownloadError, match="delete it and run again"):
        _download(_source(f"{server.root}/a", sha256="00"), target)
    assert target.exists()


def test_a_link_that_leads_nowhere_is_replaced(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(BODY)]
    target.parent.mkdir(parents=True)
    target.symlink_to("gone")
    _download(_source(f"{server.root}/a"), target)
    _arrived(target)
    assert not target.is_symlink()


# --- the disk ----------------------------------------------------------------------------------


def test_too_little_room_is_seen_before(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script["/a"] = [Step(BODY)]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match="no room"):
        _download(_source(f"{server.root}/a", f"{server.root}/b"), target)
    assert not target.exists()
    assert server.paths() == ["/a"]


def test_a_disk_that_fills_up(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script["/a"] = [Step(BODY)]

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer._Progress, "add", full)
    with pytest.raises(DownloadError, match=r"no room.*is kept in images\.tgz\.part-"):
        _download(_source(f"{server.root}/a"), target)
    monkeypatch.undo()
    assert not target.exists()
    _download(_source(f"{server.root}/a"), target)
    _arrived(target)


def test_a_folder_that_cannot_be_written(server: Server, target: Path) -> None:
    target.parent.parent.mkdir()
    target.parent.write_text("a file where a folder should be")
    with pytest.raises(DownloadError, match="cannot be written"):
        _download(_source(f"{server.root}/a"), target)
