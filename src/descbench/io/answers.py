"""What a server answers, taken to the letter: a file with its blocks of bytes, or a reason why it is none.

Lengths and gzip are read here because urllib3 is more forgiving than a download of weights can be: it takes ``1_000``
for a length, ``3e5`` for none, and gives what it has of a gzip encoding that is cut or damaged, without an error.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.util import Retry

from descbench.io.connection import MirrorError, PassingError, Session
from descbench.io.webpages import HEAD, confirmed_address, looks_like_html, page_text, printable, stand_in

_BLOCK = 1 << 14
_LONGEST_PAGE = 1 << 18
_RETRY_STATUS = frozenset({408, 425, 429, *range(500, 600)})
_GZIP_NAMES = (".gz", ".tgz")


@dataclass
class Answer:
    """A response with a file in it, its blocks of bytes, and whether a cut before its end would be noticed."""

    response: requests.Response
    blocks: Iterator[bytes]
    length: int | None
    ends_known: bool

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()


def open_answer(session: Session, url: str, headers: dict[str, str], page_wanted: bool, timeout: float) -> Answer:
    """Ask for a file, through the "are you sure" page of Google Drive where there is one."""
    answer, first = _ask(session, url, headers, timeout)
    what = stand_in(first, answer.response.headers.get("Content-Type", ""), page_wanted)
    if what is not None and looks_like_html(first, answer.response.headers.get("Content-Type", "")):
        page = _page(answer)
        confirmed = confirmed_address(page_text(page), answer.response.url, answer.response.cookies.get_dict())
        what = stand_in(page, "text/html")
        if confirmed is not None:
            answer.response.close()
            answer, first = _ask(session, confirmed, headers, timeout)
            what = stand_in(first, answer.response.headers.get("Content-Type", ""), page_wanted)
    if what is not None:
        answer.response.close()
        raise MirrorError(f"answered with {what} where a file was expected")
    return answer


def _page(answer: Answer) -> bytes:
    page = bytearray()
    while len(page) < _LONGEST_PAGE and (block := next(answer.blocks, b"")):
        page += block
    return bytes(page)


def _ask(session: Session, url: str, headers: dict[str, str], timeout: float) -> tuple[Answer, bytes]:
    """One request: the answer, and its first bytes where the file begins with them."""
    response = session.open(url, headers, timeout)
    status = response.status_code
    if status == 206 and "Range" not in headers:
        response.close()
        raise MirrorError("answered with a part of the file (206), though nobody asked for a part")
    if status not in (200, 206) and not (status == 416 and "Range" in headers):
        wait = _asked_to_wait(response)
        response.close()
        reason = printable(f"{status} {response.reason}")
        if status in _RETRY_STATUS:
            raise PassingError(reason, wait)
        raise MirrorError(reason)
    answer = _body(session, response, url)
    first = b""
    if status == 200:
        while len(first) < HEAD and (block := next(answer.blocks, b"")):
            first += block
        answer.blocks = _chained(first, answer.blocks)
    return answer, first


def _asked_to_wait(response: requests.Response) -> float:
    """Seconds until the time in Retry-After (a number or a date); 0 where it is neither."""
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (urllib3.exceptions.HTTPError, ValueError, OverflowError):
        return 0.0


def _body(session: Session, response: requests.Response, url: str) -> Answer:
    length = _stated_length(response)
    blocks = _guarded(session, response)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    # Some servers mark every .tgz as "Content-Encoding: gzip": what is compressed there is the file itself.
    itself = any(urlsplit(address).path.lower().endswith(_GZIP_NAMES) for address in (url, response.url))
    if encoding != "identity" and not (itself and encoding in ("gzip", "x-gzip")):
        if encoding not in ("gzip", "x-gzip"):
            response.close()
            raise MirrorError(f"packs the file unasked, as {printable(encoding)!r}")
        return Answer(response, _unzipped(blocks), None, ends_known=True)
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return Answer(response, blocks, length, ends_known=chunked or length is not None)


def _stated_length(response: requests.Response) -> int | None:
    """Content-Length, taken to the letter; None where a chunked body or the end of the connection says it."""
    if "Content-Length" not in response.headers or "Transfer-Encoding" in response.headers:
        return None
    stated = {value.strip() for value in response.headers["Content-Length"].split(",")}
    value = stated.pop()
    if stated or not re.fullmatch(r"[0-9]{1,18}", value):
        response.close()
        raise MirrorError(f"states an impossible length ({printable(response.headers['Content-Length'])!r})")
    return int(value)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _guarded(session: Session, response: requests.Response) -> Iterator[bytes]:
    """Blocks of the network as they come; what breaks there is worth another attempt."""
    try:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            session.watch.heard(len(block))
            yield block
    except (urllib3.exceptions.HTTPError, requests.exceptions.RequestException, OSError, ValueError) as error:
        session.watch.check()
        timed_out = isinstance(error, urllib3.exceptions.ReadTimeoutError)
        raise PassingError("no more data came in time" if timed_out else "connection cut while reading") from error


def _unzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a gzip stream, in small pieces however much it holds; a missing end is noticed."""
    unpacker = None
    try:
        for block in blocks:
            while block:
                unpacker = unpacker or zlib.decompressobj(wbits=31)
                yield unpacker.decompress(block, _BLOCK)
                block = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
                unpacker = None if unpacker.eof else unpacker
        if unpacker is not None:
            yield unpacker.flush()
            if not unpacker.eof:
                raise PassingError("connection cut while reading")
    except zlib.error as error:
        raise MirrorError(f"sends a damaged gzip encoding ({error})") from error
