"""Fetch one address into a partial file that a later run can go on with, but never take for whole.

Beside the partial file lies a small JSON file with what the server said about the whole (length,
ETag, date). A partial file is continued only when the server confirms that it still serves the
same bytes; otherwise it starts again from nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3
from tqdm import tqdm

from descbench.errors import DownloadError
from descbench.io.atomic import write_json
from descbench.io.webpages import confirmed_address, direct_address, looks_like_html, page_title

_BLOCK = 1 << 16
_LONGEST_PAGE = 1 << 20
_LONGEST_WAIT = 60.0
# An attempt that brought this many bytes nearer does not count against the retries.
_PROGRESS = 1 << 20
_RETRY_STATUS = frozenset({408, 425, 429, *range(500, 600)})
_GZIP_NAMES = (".gz", ".tgz")


class MirrorError(Exception):
    """This address does not give the file; the next one may."""


class _PassingError(Exception):
    """Bad luck (a timeout, a cut connection, a busy server): worth another attempt."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Effort:
    """How hard to try: attempts after the first, first pause in seconds (doubled each time), timeout in seconds."""

    retries: int
    backoff: float
    timeout: float


def fetch(session: requests.Session, url: str, partial: Path, *, size: int | None, effort: Effort) -> None:
    """Bring ``partial`` to the whole content of ``url``.

    Args:
        session: used for its connections and cookies.
        url: address; share links of Google Drive are turned into downloads.
        partial: temporary file, continued when it is left from an earlier run.
        size: length in bytes that the file must have, when it is known.
        effort: retries, pauses, timeout.

    Raises:
        MirrorError: this address does not give the file; the message is the reason alone.
        DownloadError: no address could help: the disk is full or another process fetches the file.
    """
    failures = 0
    with _exclusive(partial):
        while True:
            before = _length(partial)
            try:
                return _attempt(session, url, partial, size, effort.timeout)
            except _PassingError as error:
                failures = 1 if _length(partial) - before >= _PROGRESS else failures + 1
                if failures > effort.retries:
                    times = "" if failures == 1 else f" ({failures} attempts)"
                    raise MirrorError(f"{error}{times}") from None
                time.sleep(min(max(error.wait, effort.backoff * 2.0 ** (failures - 1)), _LONGEST_WAIT))


def discard(partial: Path) -> None:
    """Remove a partial file and what is known about it."""
    _state_path(partial).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)


def _state_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _exclusive(partial: Path) -> Iterator[None]:
    """Hold a lock, so that two workflows that share a data folder do not write into one file."""
    lock = partial.with_name(f"{partial.name}.lock")
    with open(lock, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(
                f"{partial}: another process is fetching this file; wait for it, then run again."
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _known_state(partial: Path) -> dict[str, Any]:
    """What the server said when ``partial`` was begun; empty (and no partial file) if it cannot be continued."""
    try:
        state = json.loads(_state_path(partial).read_text(encoding="utf-8"))
        usable = isinstance(state["total"], int) and 0 < _length(partial) <= state["total"]
    except (OSError, ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        discard(partial)
        return {}
    return state


def _attempt(session: requests.Session, url: str, partial: Path, size: int | None, timeout: float) -> None:
    state = _known_state(partial)
    have = _length(partial)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _strong_validator(state):
            headers["If-Range"] = validator
    with _open(session, direct_address(url), headers, timeout) as answer:
        if have and answer.response.status_code in (206, 416):
            if not _continues(answer.response, state, have):
                discard(partial)
                return _attempt(session, url, partial, size, timeout)
            if answer.response.status_code == 416:
                return None
            total = state["total"]
        else:
            discard(partial)
            have, total = 0, answer.length
            if size is not None and total is not None and total != size:
                raise MirrorError(f"offers {total} bytes where {size} are expected")
            write_json(_state_path(partial), _state_of(url, answer))
        _need_space(partial, total, have)
        _append(partial, answer, have, total)
    if total is not None and _length(partial) != total:
        raise _PassingError(f"cut off after {_length(partial)} of {total} bytes")
    return None


def _strong_validator(state: dict[str, Any]) -> str | None:
    etag = state.get("etag")
    return etag if etag and not etag.startswith("W/") else state.get("last_modified")


def _state_of(url: str, answer: _Answer) -> dict[str, Any]:
    headers = answer.response.headers
    modified = headers.get("Last-Modified")
    return {"url": url, "total": answer.length, "etag": headers.get("ETag"), "last_modified": modified}


def _continues(response: requests.Response, state: dict[str, Any], have: int) -> bool:
    """Whether a 206 (the rest follows) or 416 (there is no rest) belongs to the bytes at hand."""
    etag = response.headers.get("ETag")
    if etag and state.get("etag") and etag != state["etag"]:
        return False
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", "").strip())
    if span is None or int(span[2]) != state["total"]:
        return False
    return have == state["total"] if response.status_code == 416 else span[1] is not None and int(span[1]) == have


@dataclass
class _Answer:
    """A response with a file in it, and its blocks of bytes."""

    response: requests.Response
    blocks: Iterator[bytes]
    length: int | None

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()


def _open(session: requests.Session, url: str, headers: dict[str, str], timeout: float) -> _Answer:
    """Ask for a file, through the "are you sure" page of Google Drive where there is one."""
    answer, page = _ask(session, url, headers, timeout)
    if page is None:
        return answer
    confirmed = confirmed_address(page, answer.response.url, answer.response.cookies.get_dict())
    answer.response.close()
    if confirmed is not None:
        answer, page = _ask(session, confirmed, headers, timeout)
        if page is None:
            return answer
        answer.response.close()
    raise MirrorError(f"answered with a web page ({page_title(page)}) where a file was expected")


def _ask(session: requests.Session, url: str, headers: dict[str, str], timeout: float) -> tuple[_Answer, str | None]:
    """One request: the answer, and the text of the page if it is a web page."""
    try:
        response = session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.exceptions.SSLError as error:
        raise MirrorError(f"no trusted connection ({_cause(error)})") from error
    except requests.exceptions.Timeout as error:
        raise _PassingError(f"no answer within {timeout:g} s") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _PassingError(f"no connection ({_cause(error)})") from error
    except (requests.exceptions.RequestException, ValueError, urllib3.exceptions.HTTPError) as error:
        raise MirrorError(f"{type(error).__name__}: {error}") from error
    status = response.status_code
    if status not in (200, 206) and not (status == 416 and "Range" in headers):
        wait = response.headers.get("Retry-After", "")
        response.close()
        reason = f"{status} {response.reason}".strip()
        if status in _RETRY_STATUS:
            raise _PassingError(reason, float(wait) if wait.isdigit() else 0.0)
        raise MirrorError(reason)
    return _sniffed(response, url)


def _sniffed(response: requests.Response, url: str) -> tuple[_Answer, str | None]:
    # Some servers mark every .tgz as "Content-Encoding: gzip": what is compressed there is the file itself.
    encoding = response.headers.get("Content-Encoding", "identity")
    decode = encoding != "identity" and not response.url.endswith(_GZIP_NAMES) and not url.endswith(_GZIP_NAMES)
    length = response.headers.get("Content-Length", "")
    blocks = _guarded(response.raw.stream(_BLOCK, decode_content=decode))
    answer = _Answer(response, blocks, int(length) if length.isdigit() and not decode else None)
    if response.status_code != 200:
        return answer, None
    first = next(blocks, b"")
    if not looks_like_html(first, response.headers.get("Content-Type", "")):
        answer.blocks = _chained(first, blocks)
        return answer, None
    page = first
    while len(page) < _LONGEST_PAGE and (block := next(blocks, b"")):
        page += block
    return answer, page.decode("utf-8", errors="replace")


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _guarded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks of the network; what breaks there is worth another attempt."""
    try:
        yield from blocks
    except (urllib3.exceptions.HTTPError, requests.exceptions.RequestException, OSError) as error:
        timed_out = isinstance(error, urllib3.exceptions.ReadTimeoutError)
        raise _PassingError("no more data came in time" if timed_out else "connection cut while reading") from error


def _append(partial: Path, answer: _Answer, have: int, total: int | None) -> None:
    progress = _Progress(partial.name.rsplit(".part-", 1)[0], have, total)
    try:
        with open(partial, "ab" if have else "wb") as stream:
            for block in answer.blocks:
                stream.write(block)
                progress.add(len(block))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full_disk(partial, total) from error
        raise
    finally:
        progress.close()


def _need_space(partial: Path, total: int | None, have: int) -> None:
    if total is not None and total - have > shutil.disk_usage(partial.parent).free:
        raise _full_disk(partial, total)


def _full_disk(partial: Path, total: int | None) -> DownloadError:
    whole = "a file of unknown size" if total is None else f"a file of {total / 1e9:.2f} GB"
    free = shutil.disk_usage(partial.parent).free
    return DownloadError(
        f"{partial.parent}: no room for {whole} ({free / 1e9:.2f} GB free); free space or move `data_dir`, "
        f"then run again: what has arrived is kept in {partial.name} and continued."
    )


def _cause(error: BaseException) -> str:
    """The readable core of the long messages of requests."""
    text = str(error)
    if "resolve" in text:
        return "host name not found"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Remote end closed[^'\")]*)|\[SSL[^\]]*\] ([^'\")(]+)", text)
    return next(filter(None, found.groups())).strip() if found else type(error).__name__


class _Progress:
    """A bar on a terminal, a line of the log every 10 % elsewhere."""

    def __init__(self, label: str, done: int, total: int | None) -> None:
        self.label, self.done, self.total = label, done, total
        self.printed = done * 10 // total if total else 0
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=label, file=sys.stderr)

    def add(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif self.total and self.done * 10 // self.total > self.printed:
            self.printed = self.done * 10 // self.total
            logging.info("%s: %d %% of %.1f MB", self.label, self.printed * 10, self.total / 1e6)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
