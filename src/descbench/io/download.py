"""Fetch one file of a source: mirrors in order, resume, retry, verify, and only then the final name."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import requests
from tqdm import tqdm

from descbench.config.sources import Source
from descbench.errors import DownloadError
from descbench.io.atomic import atomic_path, write_json
from descbench.io.digests import git_blob_sha1_file, sha256_file

_BLOCK = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_AGENT = {"User-Agent": "descbench (reproduction of retrieval benchmarks)"}


class _GiveUp(Exception):
    """This address will not work, however often it is asked."""


class _Again(Exception):
    """This address may work when it is asked again."""


def download_source(
    name: str,
    source: Source,
    target: Path,
    *,
    part: int | None = None,
    mirrors: Mapping[str, str] | None = None,
    offline: bool = False,
    retries: int = 4,
    backoff: float = 1.0,
    timeout: float = 60.0,
) -> None:
    """Fetch a file and verify it; beside it, ``<target>.provenance.json`` records what arrived.

    An interrupted download is kept as ``<target>.partial`` and resumed by the next run where the server
    allows it; nothing takes the final name before its size and digests were checked.

    Args:
        name: of the source, for messages.
        source: its block of the catalogue.
        target: ``<data_dir>/raw/<file>``.
        part: number that ``{part}`` stands for.
        mirrors: address prefix -> prefix of the site's own mirror, tried first.
        offline: do not touch the network.
        retries: further attempts at an address after a passing failure (5xx, time-out, cut connection).
        backoff: seconds before the first of them; doubled each time.
        timeout: seconds without an answer.

    Raises:
        DownloadError: one message with every address tried and why it failed, the page to ask for a
            source that is given out on request, and the ways to use a copy of one's own.
    """
    if source.local_copy is not None:
        _use_local_copy(name, source, target, part)
        return
    if source.access == "request":
        raise DownloadError(_ask_for(name, source))
    failures: list[str] = []
    for url in _addresses(source, part, mirrors or {}):
        if offline:
            failures.append(f"{url}: not tried (`offline: true`)")
            continue
        try:
            _fetch(url, source, target, retries, backoff, timeout)
        except _GiveUp as reason:
            failures.append(f"{url}: {reason}")
            logging.warning("%s: %s", url, reason)
            continue
        _record(target, source, url, "mirror")
        return
    tried = "\n".join(f"  - {failure}" for failure in failures)
    raise DownloadError(
        f"{name}: could not be fetched.\n{tried}\n"
        f"  If you have this file, set sources.{name}.local_copy to its path in your configuration, "
        f"or put it at {target}."
    )


def _addresses(source: Source, part: int | None, mirrors: Mapping[str, str]) -> list[str]:
    urls = [url.format(part=part) if part is not None else url for url in source.mirrors]
    own = [to + url[len(prefix) :] for url in urls for prefix, to in mirrors.items() if url.startswith(prefix)]
    return list(dict.fromkeys([*own, *urls]))


def _ask_for(name: str, source: Source) -> str:
    layout = f" It must look like this:\n{source.layout.rstrip()}" if source.layout else ""
    return (
        f"{name}: given out by its owners on request only, so it is never fetched. Ask at {source.ask}, then set "
        f"sources.{name}.local_copy to your copy.{layout}"
    )


def _use_local_copy(name: str, source: Source, target: Path, part: int | None) -> None:
    copy = Path(str(source.local_copy).format(part=part) if part is not None else source.local_copy)
    if not copy.is_file():
        raise DownloadError(f"{name}: local_copy {copy} is not a file; correct sources.{name}.local_copy.")
    problem = _verify(copy, source)
    if problem:
        raise DownloadError(f"{name}: local_copy {copy} is not the published file: {problem}.")
    with atomic_path(target) as temporary:
        try:
            os.link(copy.resolve(), temporary)
        except OSError:
            shutil.copyfile(copy, temporary)
    _record(target, source, str(copy), "local copy")


def _fetch(url: str, source: Source, target: Path, retries: int, backoff: float, timeout: float) -> None:
    """Fetch one address into ``target``.

    Raises:
        _GiveUp: with the reason.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    for attempt in range(retries + 1):
        try:
            with requests.Session() as session:
                _receive(session, url, partial, timeout)
            break
        except (_Again, requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            reason = str(error)
            if attempt == retries:
                raise _GiveUp(f"{_short(reason)} ({retries + 1} attempts)") from None
            wait = backoff * 2**attempt
            logging.info("%s: %s; again in %g s", url, _short(reason), wait)
            time.sleep(wait)
        except requests.RequestException as error:
            raise _GiveUp(_short(str(error))) from None
        except OSError as error:
            _refuse_full_disk(error, partial)
            raise
    problem = _verify(partial, source)
    if problem:
        _forget(partial)
        raise _GiveUp(f"{problem}; nothing was kept")
    descriptor = os.open(partial, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    partial.replace(target)
    _forget(partial)


def _receive(session: requests.Session, url: str, partial: Path, timeout: float) -> None:
    """Append to ``partial`` what is missing, or start over where the server does not resume."""
    have = _resumable(partial, url)
    headers = dict(_AGENT)
    if have:
        headers |= {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    else:
        headers |= {"Accept-Encoding": "identity"}
    with session.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        answer = _past_warning_page(session, answer, headers, timeout)
        if answer.status_code == 416:
            _forget(partial)
            raise _Again("the server does not know the rest of this file")
        _check_status(answer)
        resumed = answer.status_code == 206 and _range_start(answer) == have
        if answer.status_code == 206 and not resumed:
            _forget(partial)
            raise _Again("the server sent another range than the one asked for")
        expected = _expected_size(answer, have if resumed else 0)
        _note_origin(partial, url)
        with open(partial, "ab" if resumed else "wb") as stream:
            done = _copy(answer, stream, have if resumed else 0, expected, partial.name)
    if expected is not None and done != expected:
        raise _Again(f"cut short: {done} of {expected} bytes")


def _copy(answer: requests.Response, stream, done: int, expected: int | None, label: str) -> int:
    with tqdm(total=expected, initial=done, unit="B", unit_scale=True, desc=label, mininterval=5) as bar:
        for block in _blocks(answer):
            stream.write(block)
            done += len(block)
            bar.update(len(block))
        stream.flush()
    return done


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_BLOCK)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _Again(f"connection lost ({_short(str(error))})") from None


def _check_status(answer: requests.Response) -> None:
    if answer.status_code in _PASSING:
        raise _Again(f"HTTP {answer.status_code}")
    if answer.status_code not in (200, 206):
        raise _GiveUp(f"HTTP {answer.status_code}")
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise _GiveUp("answered with a web page instead of the file; open the address in a browser to see why")


def _range_start(answer: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _expected_size(answer: requests.Response, have: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return None if length is None else have + int(length)


# --- Google Drive: large files come behind a page that says they were not scanned for viruses ---


class _Form(HTMLParser):
    """Action and hidden fields of the first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form" and not self.action:
            self.action = values.get("action") or ""
        elif tag == "input" and values.get("name"):
            self.fields[str(values["name"])] = values.get("value") or ""


def _past_warning_page(
    session: requests.Session, answer: requests.Response, headers: Mapping[str, str], timeout: float
) -> requests.Response:
    """Confirm the page that Google Drive puts before large files; any other answer comes back as it is."""
    host = urlsplit(answer.url).hostname or ""
    is_page = "text/html" in answer.headers.get("Content-Type", "")
    if not is_page or not host.endswith(("drive.google.com", "drive.usercontent.google.com")):
        return answer
    form = _Form()
    form.feed(answer.text)
    if not form.action or "confirm" not in form.fields:
        raise _GiveUp("Google Drive refuses (quota exceeded, or not public); fetch it in a browser")
    return session.get(f"{form.action}?{urlencode(form.fields)}", headers=headers, stream=True, timeout=timeout)


# --- what is kept between runs ---


def _origin_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".url")


def _note_origin(partial: Path, url: str) -> None:
    _origin_file(partial).write_text(url, encoding="utf-8")


def _resumable(partial: Path, url: str) -> int:
    """Bytes already here from this very address; those of another one are thrown away."""
    origin = _origin_file(partial)
    if partial.is_file() and origin.is_file() and origin.read_text(encoding="utf-8") == url:
        return partial.stat().st_size
    _forget(partial)
    return 0


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _origin_file(partial).unlink(missing_ok=True)


def _verify(path: Path, source: Source) -> str | None:
    """What is wrong with a file, or None."""
    if source.size is not None and path.stat().st_size != source.size:
        return f"{path.stat().st_size} bytes, expected {source.size}"
    if source.sha256 is not None and not (found := sha256_file(path)).startswith(source.sha256):
        return f"sha256 is {found}, expected {source.sha256}"
    if source.git_blob_sha1 is not None and (found := git_blob_sha1_file(path)) != source.git_blob_sha1:
        return f"git blob id is {found}, expected {source.git_blob_sha1}"
    return None


def _record(target: Path, source: Source, origin: str, kind: str) -> None:
    write_json(
        target.with_name(target.name + ".provenance.json"),
        {
            "file": target.name,
            "url": origin,
            "retrieved_from": kind,
            "size": target.stat().st_size,
            "sha256": sha256_file(target),
            "note": source.note,
            "licence": source.licence,
        },
    )


def _refuse_full_disk(error: OSError, partial: Path) -> None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DownloadError(f"{partial}: disk full; free some space and run again, the download resumes.") from error


def _short(reason: str) -> str:
    return reason.splitlines()[0][:200] if reason else "no reason given"
