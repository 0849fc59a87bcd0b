"""Fetch one address into a partial file that a later run can go on with, but never take for whole.

Beside the partial file lies a small JSON file with what the server said about the whole (length, ETag, dates). A
partial file is continued only under a strong validator (RFC 9110, sections 8.8 and 13.1.5), by which the server shows
that it still serves the same bytes, or where a digest decides at the end; otherwise it starts again from nothing.

No library does that: pooch begins a cut file again and takes a body of any size, and Retry of urllib3 sees no failure
after the headers. Attempts are counted here because one that brought the file nearer is not a failure.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from descbench.errors import DownloadError
from descbench.io.answers import Answer, open_answer
from descbench.io.atomic import write_json
from descbench.io.connection import MirrorError, PassingError, Session
from descbench.io.run_notes import note_unreachable
from descbench.io.webpages import direct_address

_LONGEST_STATE = 1 << 16
_LONGEST_WAIT = 60.0
# An attempt that brought this many bytes nearer does not count against the retries.
_PROGRESS = 1 << 20
# Left free on the disk by a body whose length nobody knows.
_KEEP_FREE = 1 << 30
# A date is a strong validator only where the file was so many seconds old when it was sent.
_SETTLED = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """How hard to try.

    Attributes:
        retries: attempts after the first.
        backoff: first pause in seconds, doubled each time.
        timeout: seconds without any data after which a connection counts as dead.
        slowest: bytes a second, over each ``timeout`` seconds, below which a server is left.
        largest: bytes of a body whose length neither the server nor the catalogue states.
    """

    retries: int = 4
    backoff: float = 1.0
    timeout: float = 60.0
    slowest: float = 1024.0
    largest: int = 1 << 36


@dataclass(frozen=True)
class Wanted:
    """What is known beforehand of a file.

    Attributes:
        size: its length in bytes.
        verified: whether a digest will decide at the end whether these are the bytes meant.
        page: whether it is a web page.
    """

    size: int | None = None
    verified: bool = False
    page: bool = False


@dataclass(frozen=True)
class Arrived:
    """Where a file came from in the end, behind all redirects, and whether it was put together from two answers."""

    address: str
    resumed: bool


def fetch(session: Session, url: str, partial: Path, wanted: Wanted, policy: RetryPolicy) -> Arrived:
    """Bring ``partial`` to the whole content of ``url``.

    Args:
        session: used for its connections and cookies.
        url: address; share links of Google Drive are turned into downloads.
        partial: temporary file, continued when it is left from an earlier run.
        wanted: what is known of the file.
        policy: retries, pauses, bounds.

    Raises:
        MirrorError: this address does not give the file; the message is the reason alone.
        DownloadError: no address could help: the disk is full or another process fetches the file.
    """
    failures, furthest = 0, _length(partial)
    with _exclusive(partial):
        while True:
            try:
                return _attempt(session, url, partial, wanted, policy)
            except PassingError as error:
                # Measured from the furthest point ever reached, so that no server can begin for ever.
                failures = 1 if _length(partial) - furthest >= _PROGRESS else failures + 1
                furthest = max(furthest, _length(partial))
                if failures > policy.retries or (error.most is not None and failures > error.most):
                    if error.host is not None:
                        note_unreachable(session.run, error.host, str(error))
                    times = "" if failures == 1 else f" ({failures} attempts)"
                    raise MirrorError(f"{error}{times}") from None
                time.sleep(min(max(error.wait, policy.backoff * 2.0 ** (failures - 1)), _LONGEST_WAIT))


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
            free = os.path.samestat(os.fstat(stream.fileno()), lock.stat())
        except (BlockingIOError, FileNotFoundError):
            free = False
        if not free:
            raise DownloadError(f"{partial}: another process is fetching this file; wait for it, then run again.")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def known_state(partial: Path) -> dict[str, Any]:
    """What the server said when ``partial`` was begun; empty (and no partial file) if it cannot be continued."""
    try:
        with open(_state_path(partial), encoding="utf-8") as stream:
            state = json.loads(stream.read(_LONGEST_STATE))
        said = [state[key] for key in ("etag", "last_modified", "date")]
        usable = type(state["total"]) is int and 0 < _length(partial) <= state["total"]
        usable = usable and all(value is None or isinstance(value, str) for value in said)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        usable = False
    if not usable:
        discard(partial)
        return {}
    return state


class _ChangedError(Exception):
    """The server cannot show that it still serves the file that the partial file is the beginning of."""


def _attempt(session: Session, url: str, partial: Path, wanted: Wanted, policy: RetryPolicy) -> Arrived:
    try:
        return _request(session, url, partial, wanted, policy)
    except _ChangedError:
        logging.info("%s: may have changed on the server; begun again", partial.name)
        discard(partial)
        return _request(session, url, partial, wanted, policy)


def _request(session: Session, url: str, partial: Path, wanted: Wanted, policy: RetryPolicy) -> Arrived:
    state = known_state(partial)
    validator = strong_validator(state)
    if validator is None and not wanted.verified:
        discard(partial)
    have = _length(partial)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator is not None:
            headers["If-Range"] = state[validator]
    with (
        session.watch.over(policy.timeout, policy.slowest),
        open_answer(session, direct_address(url), headers, wanted.page, policy.timeout) as answer,
    ):
        arrived = Arrived(answer.response.url, answer.response.status_code in (206, 416))
        if arrived.resumed:
            _check_continues(answer.response, state, have, validator)
            if answer.response.status_code == 416:
                return arrived
            total = state["total"]
        else:
            discard(partial)
            have, total = 0, answer.length
            if wanted.size is not None and total is not None and total != wanted.size:
                raise MirrorError(f"offers {total} bytes where {wanted.size} are expected")
            write_json(_state_path(partial), _state_of(answer))
        _need_space(partial, total, have)
        _append(partial, answer, have, total, wanted.size or total or _most_unstated(partial, policy))
        session.watch.check()
    if total is not None and _length(partial) != total:
        raise PassingError(f"cut off after {_length(partial)} of {total} bytes")
    if not answer.ends_known and wanted.size is None and not wanted.verified:
        logging.warning("%s: the server did not say how long it is; a cut connection would go unnoticed", url)
    return arrived


def _most_unstated(partial: Path, policy: RetryPolicy) -> int:
    free = shutil.disk_usage(partial.parent).free
    return min(policy.largest, max(free - _KEEP_FREE, free // 2))


def strong_validator(state: dict[str, Any]) -> str | None:
    """Which of ``etag`` and ``last_modified`` names exactly these bytes; None where neither does.

    A weak ETag may stay the same while the bytes change. Where there is one, RFC 9110 (13.1.5) forbids the date; and a
    date is strong (8.8.2.2) only if the file was clearly older than the answer, because a file can change twice within
    a second and clocks differ.
    """
    if state.get("etag"):
        return "etag" if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', state["etag"]) else None
    try:
        age = parsedate_to_datetime(state["date"]) - parsedate_to_datetime(state["last_modified"])
        return "last_modified" if age.total_seconds() >= _SETTLED else None
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        return None


def _state_of(answer: Answer) -> dict[str, Any]:
    headers = answer.response.headers
    names = {"etag": "ETag", "last_modified": "Last-Modified", "date": "Date"}
    return {"total": answer.length, "address": answer.response.url} | {k: headers.get(v) for k, v in names.items()}


def _check_continues(response: requests.Response, state: dict[str, Any], have: int, validator: str | None) -> None:
    """Raise unless a 206 (the rest follows) or 416 (there is no rest) belongs to the bytes at hand."""
    answered = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    if validator is not None and answered[validator] != state[validator]:
        raise _ChangedError
    if any(now and state.get(key) and now != state[key] for key, now in answered.items()):
        raise _ChangedError
    whole = rf"bytes {have}-{state['total'] - 1}/{state['total']}"
    if response.status_code == 416:
        whole = rf"bytes \*/{have}"
    fits = re.fullmatch(whole, response.headers.get("Content-Range", "").strip(), re.IGNORECASE)
    if fits is None or (response.status_code == 416 and have != state["total"]):
        raise _ChangedError


def _append(partial: Path, answer: Answer, have: int, total: int | None, most: int) -> None:
    """Write what arrives behind the bytes at hand, up to ``most`` bytes in all."""
    progress = _Progress(partial.name.rsplit(".part-", 1)[0], have, total)
    try:
        with open(partial, "ab") as stream:
            for block in answer.blocks:
                have += len(block)
                if have > most:
                    discard(partial)
                    raise MirrorError(f"sends more than {most} bytes and does not end there")
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
