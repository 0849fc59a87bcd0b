"""Servers that change their files, lie about them, send without end or hardly at all."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme
from http_server import Server, Step

from descbench.config.sources import Source
from descbench.errors import DownloadError
from descbench.io.download import download_source
from descbench.io.origin import origin_path
from descbench.io.run_notes import missing_table
from descbench.io.transfer import discard
from descbench.io.webpages import HEAD, confirmed_address, page_title, stand_in

FIRST = random.Random(1).randbytes(300_000)
SECOND = random.Random(2).randbytes(300_000)
WEAK = 'W/"same"'
LONG_AGO, LATER = formatdate(1e9, usegmt=True), formatdate(1.1e9, usegmt=True)
# The server stands in one place; a slow one is known as such within a fraction of a second.
QUICK = {"backoff": 0.0, "retries": 1, "timeout": 0.4, "slowest": 20_000.0, "largest": 2_000_000}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The same over TLS, with a certificate that this session trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    running = Server(context)
    yield running
    running.stop()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "images.tgz"


def _download(url: str, target: Path, keys: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    source = Source(mirrors=[url], **(keys or {}))
    download_source(target.name, source, target, **QUICK | options)
    return json.loads(origin_path(target).read_text())


def _refused(url: str, target: Path, match: str, keys: dict[str, Any] | None = None, **options: Any) -> None:
    with pytest.raises(DownloadError, match=match):
        _download(url, target, keys, **options)
    assert not target.exists()
    assert not origin_path(target).exists()


# --- two versions of a file --------------------------------------------------------------------

CHANGES = {
    "no validators": ({"etag": None}, {"etag": None}),
    "validators gone": ({}, {"etag": None}),
    "same weak ETag": ({"etag": WEAK}, {"etag": WEAK}),
    "same weak ETag, other date": ({"etag": WEAK, "modified": LONG_AGO}, {"etag": WEAK, "modified": LATER}),
    "same weak ETag, same date": ({"etag": WEAK, "modified": LONG_AGO}, {"etag": WEAK, "modified": LONG_AGO}),
    "other date": ({"etag": None, "modified": LONG_AGO}, {"etag": None, "modified": LATER}),
    "date gone": ({"etag": None, "modified": LONG_AGO}, {"etag": None}),
    "same ETag, other date": ({"modified": LONG_AGO}, {"modified": LATER}),
    "other ETag": ({}, {"etag": '"two"'}),
    "ETag without quotes": ({"etag": "one"}, {"etag": "one"}),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_two_versions_are_never_spliced(server: Server, target: Path, change: str) -> None:
    """Even by a server that sends the rest of the second version whatever it was asked."""
    before, after = CHANGES[change]
    server.script["/a"] = [Step(FIRST, cut=200_000, **before), Step(SECOND, blind=True, **after)]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == SECOND


def test_a_date_of_this_very_second_is_no_strong_validator(server: Server, target: Path) -> None:
    now = formatdate(time.time(), usegmt=True)
    fresh = {"etag": None, "modified": now}
    server.script["/a"] = [Step(FIRST, cut=200_000, **fresh), Step(SECOND, blind=True, **fresh)]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == SECOND


def test_an_old_date_is_a_strong_validator(server: Server, target: Path) -> None:
    old = {"etag": None, "modified": LONG_AGO}
    server.script["/a"] = [Step(FIRST, cut=200_000, **old), Step(FIRST, **old)]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == FIRST
    assert server.seen[1].headers["If-Range"] == LONG_AGO
    assert int(server.seen[1].headers["Range"].removeprefix("bytes=").removesuffix("-")) > 100_000


def test_with_a_digest_it_goes_on_without_validators(server: Server, target: Path) -> None:
    keys = {"sha256": hashlib.sha256(FIRST).hexdigest()}
    server.script["/a"] = [Step(FIRST, cut=200_000, etag=None), Step(FIRST, etag=None)]
    _download(f"{server.root}/a", target, keys)
    assert "Range" in server.seen[1].headers


def test_with_a_digest_a_splice_is_noticed_and_begun_again(server: Server, target: Path) -> None:
    keys = {"sha256": hashlib.sha256(SECOND).hexdigest()}
    server.script["/a"] = [Step(FIRST, cut=200_000, etag=None), Step(SECOND, etag=None)]
    _download(f"{server.root}/a", target, keys)
    assert target.read_bytes() == SECOND
    assert ["Range" in seen.headers for seen in server.seen] == [False, True, False]


@pytest.mark.parametrize(
    "span",
    [
        "bytes 0-299999/300000",
        "bytes {}-299998/300000",
        "bytes {}-299999/300001",
        "bytes {}-299999/*",
        "items 1-2/3",
        "",
    ],
)
def test_another_part_than_asked_for(server: Server, target: Path, span: str) -> None:
    server.script["/a"] = [Step(FIRST, cut=200_000)]
    with pytest.raises(DownloadError):
        _download(f"{server.root}/a", target, retries=0)
    (partial,) = (path for path in target.parent.glob("*.part-*") if path.suffix != ".json")
    wrong = span.format(partial.stat().st_size) or "nothing"
    server.script["/a"] = [Step(SECOND, span=wrong, blind=True), Step(SECOND, etag='"two"')]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == SECOND


def test_a_part_that_nobody_asked_for(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(FIRST[1000:], status=206, span=f"bytes 1000-299999/{len(FIRST)}")]
    _refused(f"{server.root}/a", target, "a part of the file")


STATES = [b"", b"{", b"[]", b"null", b"[" * 60_000, b'{"total": true}', b'{"total": 1e400}', b"\xff\xfe", b"9" * 5000]
STATES += [json.dumps({"total": 300_000, "etag": 3, "last_modified": None, "date": None}).encode()]
STATES += [json.dumps({"total": 300_000, "etag": None, "last_modified": d, "date": d}).encode() for d in ("x", "1", "")]


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_a_damaged_note_beside_a_partial_file(server: Server, target: Path, state: bytes) -> None:
    server.script["/a"] = [Step(FIRST, cut=200_000)]
    with pytest.raises(DownloadError):
        _download(f"{server.root}/a", target, retries=0)
    (note,) = target.parent.glob("*.part-*.json")
    note.write_bytes(state)
    server.script["/a"] = [Step(SECOND)]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == SECOND


# --- redirects ---------------------------------------------------------------------------------


def test_from_https_to_http_is_refused(server: Server, secure: Server, target: Path) -> None:
    server.script["/a"] = [Step(FIRST)]
    secure.script["/a"] = [Step(status=302, headers={"Location": f"{server.root}/a"})]
    server.script["/first"] = [Step(status=301, headers={"Location": f"{secure.root}/a"})]
    _refused(f"{secure.root}/a", target, "redirects from https to http://")
    _refused(f"{server.root}/first", target, "redirects from https to http://")
    assert "/a" not in server.paths()


def test_from_http_to_https_is_followed_and_noted(server: Server, secure: Server, target: Path) -> None:
    secure.script["/b"] = [Step(FIRST)]
    server.script["/a"] = [Step(status=307, headers={"Location": f"{secure.root}/b"})]
    record = _download(f"{server.root}/a", target)
    assert (record["url"], record["final_url"]) == (f"{server.root}/a", f"{secure.root}/b")


def test_a_certificate_nobody_knows(secure: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    _refused(f"{secure.root}/a", target, "no trusted connection")


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[", "//", "http://127.0.0.1:x/"]
)
def test_redirects_to_nowhere(server: Server, target: Path, location: str) -> None:
    server.script["/a"] = [Step(status=302, headers={"Location": location})]
    _refused(f"{server.root}/a", target, "no address gave the file")


def test_the_body_of_a_redirect_is_not_read(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(bytes(1 << 16), status=302, headers={"Location": "/b"}, length=False, endless=True)]
    server.script["/b"] = [Step(FIRST)]
    _download(f"{server.root}/a", target)


# --- lengths and headers -----------------------------------------------------------------------

LENGTHS = ["²", "-5", "+300000", "3e5", "0x10", "300000, 7", "1_000", "٣", "9" * 30, " "]


@pytest.mark.parametrize("length", LENGTHS)
def test_impossible_lengths(server: Server, target: Path, length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    server.script["/a"] = [Step(raw=head + FIRST)]
    _refused(f"{server.root}/a", target, "impossible length|Content-Length|no proper answer")


def test_two_lengths(server: Server, target: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nContent-Length: %d\r\n\r\n"
    server.script["/a"] = [Step(raw=head % 7 + FIRST)]
    _refused(f"{server.root}/a", target, "Content-Length|impossible length")
    server.script["/a"] = [Step(raw=head % 300_000 + FIRST)]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == FIRST


ANSWERS = {
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "no HTTP": b"\x00\xff" * 500,
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "nothing": b"",
    "a strange wait": "HTTP/1.1 503 Busy\r\nRetry-After: ²\r\n\r\n".encode(),
    "a long wait": b"HTTP/1.1 404 " + b"\x1b[31m" * 100 + b"\r\nRetry-After: 9\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + FIRST,
    "a negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + FIRST,
    "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + FIRST,
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + FIRST + b"\r\n",
    "brotli": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    "no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 300000\r\n\r\n" + FIRST,
    "half a gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(FIRST)[:100_000],
}


@pytest.mark.parametrize("answer", sorted(ANSWERS))
def test_broken_answers(server: Server, target: Path, answer: str) -> None:
    server.script["/a"] = [Step(raw=ANSWERS[answer])]
    with pytest.raises(DownloadError) as caught:
        _download(f"{server.root}/a", target)
    assert "\x1b" not in str(caught.value)
    assert not target.exists()


def test_continue_without_end(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, endless=True)]
    _refused(f"{server.root}/a", target, TOO_SLOW)


@pytest.mark.parametrize("cut", [0, 1, 10, 299_999, *random.Random(0).sample(range(300_000), 8)])
@pytest.mark.parametrize("chunked", [False, True])
def test_cut_anywhere(server: Server, target: Path, cut: int, chunked: bool) -> None:
    head = b"Transfer-Encoding: chunked\r\n\r\n493e0\r\n" if chunked else b"Content-Length: 300000\r\n\r\n"
    server.script["/a"] = [Step(raw=b"HTTP/1.1 200 OK\r\n" + head + FIRST[:cut]), Step(FIRST)]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == FIRST


def test_gzip_as_an_encoding_is_undone(server: Server, target: Path) -> None:
    body = gzip.compress(FIRST[:1000]) + gzip.compress(FIRST[1000:])
    server.script["/a"] = [Step(body, headers={"Content-Encoding": "gzip"})]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == FIRST


# --- without end, or hardly anything -----------------------------------------------------------


@pytest.mark.parametrize("keys", [{}, {"size": 300_000}], ids=["no size", "size"])
def test_a_body_without_end(server: Server, target: Path, keys: dict[str, Any]) -> None:
    server.script["/a"] = [Step(bytes(1 << 16), length=False, endless=True)]
    most = keys.get("size", QUICK["largest"])
    _refused(f"{server.root}/a", target, f"sends more than {most} bytes", keys)
    assert list(target.parent.iterdir()) == []


def test_a_gzip_bomb_as_an_encoding(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(gzip.compress(bytes(50 << 20)), headers={"Content-Encoding": "gzip"})]
    _refused(f"{server.root}/a", target, "sends more than 2000000 bytes")


TOO_SLOW = r"fewer than 8000 bytes came in 0\.4 s|no answer within 0\.4 s"
SLOW = {
    "body": Step(FIRST, trickle=(1, 0.05)),
    "body without length": Step(FIRST, length=False, trickle=(1, 0.05)),
    "headers": Step(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000, trickle=(1, 0.05)),
    "chunk sizes": Step(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 6000, trickle=(40, 0.05)),
    "a web page": Step(b"<html>" + b" " * 5000, trickle=(1, 0.05)),
    "trailers": Step(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"X: y\r\n" * 9000,
        trickle=(40, 0.05),
    ),
}


@pytest.mark.parametrize("what", sorted(SLOW))
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_server_that_trickles(server: Server, secure: Server, target: Path, what: str, tls: bool) -> None:
    """Each read brings something in time; only the sum is too little."""
    used = secure if tls else server
    used.script["/a"] = [SLOW[what]]
    _refused(f"{used.root}/a", target, TOO_SLOW)


def test_a_slow_server_that_is_fast_enough(server: Server, target: Path) -> None:
    server.script["/a"] = [Step(FIRST, trickle=(20_000, 0.1))]
    _download(f"{server.root}/a", target)
    assert target.read_bytes() == FIRST


def test_a_server_that_begins_again_for_ever(server: Server, target: Path) -> None:
    large = bytes(3 << 20)
    changing = [Step(large, etag=f'"{i}"', cut=(2 << 20) if i % 2 else 0) for i in range(50)]
    server.script["/a"] = changing
    _refused(f"{server.root}/a", target, "no address gave the file", retries=2)
    assert len(server.seen) < 20


# --- pages and pointers ------------------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
STAND_INS = {
    "page": b"<!DOCTYPE html><html><title>Gone</title></html>",
    "xhtml": b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><title>Gone</title></html>',
    "comment": b"<!-- hello --><html><title>Gone</title></html>",
    "utf-16": "<html><title>Gone</title></html>".encode("utf-16"),
    "pointer": POINTER,
}


@pytest.mark.parametrize("kind", sorted(STAND_INS))
@pytest.mark.parametrize("name", ["net.pth", "gnd.pkl", "images.tgz", "list.txt"])
def test_what_stands_in_for_a_file_is_named_wherever_it_comes_from(
    server: Server, tmp_path: Path, kind: str, name: str
) -> None:
    target, message = tmp_path / "raw" / name, "git-lfs pointer" if kind == "pointer" else "web page"
    server.script["/a"] = [Step(STAND_INS[kind], trickle=(1, 0.0001))]
    _refused(f"{server.root}/a", target, message, timeout=5.0)
    copy = tmp_path / "copy"
    copy.write_bytes(STAND_INS[kind])
    _refused(f"{server.root}/a", target, message, {"local_copy": copy})
    target.write_bytes(STAND_INS[kind])
    with pytest.raises(DownloadError, match=message):
        _download(f"{server.root}/a", target)
    assert target.read_bytes() == STAND_INS[kind]


def test_a_page_that_was_meant(server: Server, tmp_path: Path) -> None:
    server.script["/a"] = [Step(STAND_INS["page"], headers={"Content-Type": "text/html"})]
    _download(f"{server.root}/a", tmp_path / "raw" / "page.html")
    assert (tmp_path / "raw" / "page.html").read_bytes() == STAND_INS["page"]


@pytest.mark.parametrize(
    "piece", ["<title ", "<title>", "<form ", "<form id=", '<input name="a" ', "a=", '"', "<!", "<"]
)
def test_pages_are_read_in_one_walk(piece: str) -> None:
    """Twenty times as long takes twenty times as long, not four hundred times; a hang fails by the test's timeout."""
    page = "<form id=download-form>" + piece * (1 << 20)
    assert page_title(page) == "without a title"
    confirmed_address(page, "http://example.org", {})
    assert stand_in(page[:HEAD].encode()) is None


def test_titles_are_fit_for_a_terminal() -> None:
    assert page_title("<TITLE>\x1b[31m a \n b &amp; c</TITLE>") == '"[31m a b & c"'


# --- one run -----------------------------------------------------------------------------------


def test_a_host_that_is_away_is_asked_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def away(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", away)
    for number in range(5):
        target = tmp_path / "raw" / f"{number}.pkl"
        _refused(f"http://nowhere.invalid/{number}", target, "host name not found", retries=4, run=tmp_path / "run")
    assert asked == ["nowhere.invalid"]
    _refused("http://nowhere.invalid/9", tmp_path / "raw" / "9.pkl", "host name not found", run=tmp_path / "next")
    assert asked == ["nowhere.invalid"] * 2


def test_a_host_that_answers_is_asked_for_every_file(server: Server, tmp_path: Path) -> None:
    for number in range(3):
        _refused(f"{server.root}/{number}", tmp_path / "raw" / f"{number}", "404", run=tmp_path / "run")
    assert len(server.seen) == 3


def test_one_table_names_all_that_is_missing(server: Server, tmp_path: Path) -> None:
    run, raw = tmp_path / "run", tmp_path / "raw"
    assert missing_table(run) == ""
    server.script["/there"] = [Step(FIRST)]
    _download(f"{server.root}/there", raw / "there.pkl", run=run)
    _refused(f"{server.root}/gone", raw / "gone.pkl", "404", run=run)
    _refused(f"{server.root}/a", raw / "asked", "request", {"access": "request", "ask": "http://ask.example"}, run=run)
    _refused(f"{server.root}/a", raw / "off", "offline", offline=True, run=run)
    table = missing_table(run)
    assert len(table.splitlines()) == 8
    for name, why in (("gone.pkl", "404 Not Found"), ("asked", "http://ask.example"), ("off", "offline")):
        (line,) = (line for line in table.splitlines() if line.startswith(f"  {name} "))
        assert str(raw / name) in line
        assert why in line
    assert "there.pkl" not in table


def test_nothing_is_left_of_a_partial_file_that_is_given_up(tmp_path: Path) -> None:
    partial = tmp_path / "a.part-1"
    partial.write_bytes(b"x")
    discard(partial)
    assert list(tmp_path.iterdir()) == []
