"""Download a source of the catalogue: ordered mirrors, resume, checks, and a note of where it came from."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from descbench.config.sources import Source
from descbench.errors import DownloadError
from descbench.io.aside import take_back
from descbench.io.atomic import write_json
from descbench.io.connection import MirrorError, Session
from descbench.io.digests import git_blob_sha1_file, md5_file, sha256_file
from descbench.io.origin import Origin, origin_path
from descbench.io.run_notes import note_missing
from descbench.io.transfer import Arrived, RetryPolicy, Wanted, discard, fetch
from descbench.io.webpages import HEAD, stand_in


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
    slowest: float = 1024.0,
    largest: int = 1 << 36,
    run: Path | None = None,
) -> None:
    """Bring a file of the internet to ``target`` and note its origin in ``<target>.provenance.json``.

    A ``local_copy`` is checked and linked. A file that already lies at ``target`` (put there by hand, or deleted by
    this run) is checked and kept. Otherwise the addresses are tried in order, the site's own mirrors first;
    an interrupted download goes on where it stopped in the next run. Checks (size, SHA-256 or its
    beginning, git blob id) belong to single files and are not applied to the parts of a source in
    parts.

    Args:
        name: key of the source, for messages.
        source: its block of the catalogue.
        target: file to write.
        part: number of the part, from 1, where the source has parts.
        mirrors: address prefix -> prefix of a mirror of the site.
        offline: never touch the network.
        retries: further attempts at an address after a passing failure.
        backoff: pause before the first of them in seconds, doubled each time.
        timeout: seconds without any data after which a connection counts as dead.
        slowest: bytes a second, over each ``timeout`` seconds, below which a server is left.
        largest: bytes of a file whose length neither the server nor the catalogue states.
        run: folder in which the jobs of a run share notes (:mod:`descbench.io.run_notes`).

    Raises:
        DownloadError: the file could not be had; lists every address with its reason and says where
            to put a copy. Nothing is left at ``target``.
    """
    target = Path(target)
    _check_part(name, source, part)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        take_back(target, run)
        if _use_local_copy(name, source, target, part) or _keep_existing(name, source, target):
            return
        if source.access == "request":
            note_missing(
                run, name, target, f"on request only: {source.ask}; then name your file or folder as `local_copy`"
            )
            raise DownloadError(_ask_for_it(name, source, target))
        addresses = addresses_of(source, part, mirrors or {})
        if offline:
            reasons = dict.fromkeys(addresses, "not tried: the configuration says `offline`")
        else:
            policy = RetryPolicy(retries, backoff, timeout, slowest, largest)
            reasons = _try_addresses(source, target, addresses, policy, run)
    except OSError as error:
        raise DownloadError(f"{target}: cannot be written ({error.strerror or error}); check the folder.") from error
    if reasons:
        note_missing(run, name, target, _briefly(reasons))
        raise DownloadError(_nothing_worked(name, target, reasons))


def _check_part(name: str, source: Source, part: int | None) -> None:
    if source.parts is None and part is not None:
        raise DownloadError(f"sources.{name} has no parts, so there is no part {part}.")
    if source.parts is not None and (part is None or not 1 <= part <= source.parts):
        raise DownloadError(f"sources.{name} has parts 1 to {source.parts}; part {part} was asked for.")


def _with_part(text: str, part: int | None) -> str:
    return text if part is None else text.replace("{part}", str(part))


def addresses_of(source: Source, part: int | None, mirrors: Mapping[str, str]) -> list[str]:
    """Addresses in the order of trying, each once: the site's own mirrors, then the public ones."""
    public = [_with_part(url, part) for url in source.mirrors]
    own = [
        replacement + url[len(prefix) :]
        for url in public
        for prefix, replacement in sorted(mirrors.items(), key=lambda item: -len(item[0]))
        if url.startswith(prefix)
    ]
    return list(dict.fromkeys([*own, *public]))


def _try_addresses(
    source: Source, target: Path, addresses: list[str], policy: RetryPolicy, run: Path | None
) -> dict[str, str]:
    """Fetch from the first address that works; returns the reasons of all if none does."""
    reasons: dict[str, str] = {}
    with Session(run) as session:
        for url in addresses:
            partial = target.with_name(f"{target.name}.part-{hashlib.sha256(url.encode()).hexdigest()[:8]}")
            try:
                arrived, sha256 = _fetch_verified(session, source, url, partial, policy)
            except (MirrorError, _WrongContentError) as error:
                reasons[url] = str(error)
                continue
            _note_origin(source, target, partial, sha256, url, "mirror", arrived.address)
            _rename(partial, target)
            return {}
    return reasons


def _fetch_verified(
    session: Session, source: Source, url: str, partial: Path, policy: RetryPolicy
) -> tuple[Arrived, str]:
    """Fetch and check; where two answers together are not the file, the whole is fetched once more."""
    single = source.parts is None
    wanted = Wanted(
        size=source.size if single else None,
        verified=single and any((source.sha256, source.git_blob_sha1, source.md5)),
        page=_is_page(partial.name.rsplit(".part-", 1)[0]),
    )
    while True:
        arrived = fetch(session, url, partial, wanted, policy)
        try:
            return arrived, _verified(source, partial, wanted.page)
        except _WrongContentError:
            discard(partial)
            if not arrived.resumed:
                raise


def _is_page(name: str) -> bool:
    """Whether a source is a web page, so that one is what must come."""
    return name.lower().endswith((".html", ".htm", ".xhtml"))


def _rename(partial: Path, target: Path) -> None:
    """Give the whole file its name; partial files of other addresses are of no use any more."""
    _sync(partial)
    partial.replace(target)
    _sync(target.parent)
    for leftover in target.parent.glob(f"{glob.escape(target.name)}.part-*"):
        leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- checks ------------------------------------------------------------------------------------


class _WrongContentError(Exception):
    """A file that arrived in full is not the one expected."""


def _verified(source: Source, path: Path, page_wanted: bool) -> str:
    """SHA-256 of a file that passes all checks of its source."""
    length = path.stat().st_size
    if length == 0:
        raise _WrongContentError("the file is empty")
    with open(path, "rb") as stream:
        what = stand_in(stream.read(HEAD), page_wanted=page_wanted)
    if what is not None:
        raise _WrongContentError(f"holds {what}, not the file expected")
    sha256 = sha256_file(path)
    if source.parts is not None:
        return sha256
    if source.size is not None and length != source.size:
        raise _WrongContentError(f"{length} bytes where {source.size} are expected")
    if source.sha256 is not None and not sha256.startswith(source.sha256):
        raise _WrongContentError(f"SHA-256 {sha256} where {source.sha256} is expected")
    for what, digest, expected in (
        ("git blob id", git_blob_sha1_file, source.git_blob_sha1),
        ("MD5", md5_file, source.md5),
    ):
        if expected is not None and (found := digest(path)) != expected:
            raise _WrongContentError(f"{what} {found} where {expected} is expected")
    return sha256


# --- copies of one's own -----------------------------------------------------------------------


def _keep_existing(name: str, source: Source, target: Path) -> bool:
    """Accept a file that already lies in place, if it is the right one."""
    if not target.exists():
        target.unlink(missing_ok=True)  # a link whose file has gone
        origin_path(target).unlink(missing_ok=True)
        return False
    if not target.is_file():
        raise DownloadError(f"{target}: is not a file; remove it, so that sources.{name} can be put there.")
    try:
        sha256 = _verified(source, target, _is_page(target.name))
    except _WrongContentError as error:
        raise DownloadError(f"{target}: {error}; delete it and run again, or put the right file there.") from None
    if not origin_path(target).exists():
        _note_origin(source, target, target, sha256, str(target), "local copy")
    return True


def _use_local_copy(name: str, source: Source, target: Path, part: int | None) -> bool:
    """Link the user's own copy, if the configuration names one."""
    if source.local_copy is None:
        return False
    key = f"sources.{name}.local_copy"
    copy = Path(_with_part(str(source.local_copy), part)).expanduser()
    if copy.is_dir():
        raise DownloadError(f"{copy}: {key} is a folder, but a single file is needed here ({target.name}).")
    if not copy.is_file():
        raise DownloadError(f"{copy}: {key} names no file; correct the path, or remove the key to download.")
    try:
        sha256 = _verified(source, copy, _is_page(target.name))
    except _WrongContentError as error:
        raise DownloadError(f"{copy}: {key} is not the file expected: {error}.") from None
    _note_origin(source, target, copy, sha256, str(copy), "local copy")
    link = target.with_name(f"{target.name}.tmp-link")
    link.unlink(missing_ok=True)
    link.symlink_to(copy.resolve())
    link.replace(target)
    return True


def _note_origin(
    source: Source, target: Path, content: Path, sha256: str, origin: str, kind: str, final: str | None = None
) -> None:
    """Write the provenance before the file gets its name, so that no file is ever without one."""
    record = Origin(
        file=target.name,
        url=origin,
        final_url=final,
        size=content.stat().st_size,
        sha256=sha256,
        retrieved_from=kind,
        note=source.note,
        licence=source.licence,
    )
    write_json(origin_path(target), record.model_dump())


# --- messages ----------------------------------------------------------------------------------


def _by_hand(name: str, target: Path) -> str:
    return (
        f"put the file at {target}, or name your own copy in the configuration:\n"
        f"  sources: {{{name}: {{local_copy: <path of your copy>}}}}"
    )


def _ask_for_it(name: str, source: Source, target: Path) -> str:
    layout = f"\nLayout expected: {source.layout}" if source.layout else ""
    return (
        f"{name} is never downloaded by itself: it is given out on request, or by a page that no program can use.\n"
        f"Ask for it or fetch it by hand: {source.ask}{layout}\nThen {_by_hand(name, target)}"
    )


def _briefly(reasons: Mapping[str, str]) -> str:
    """The reasons of all addresses in one line, each once."""
    different = list(dict.fromkeys(reasons.values()))
    return "; ".join(different[:2]) + ("; ..." if len(different) > 2 else "")


def _nothing_worked(name: str, target: Path, reasons: Mapping[str, str]) -> str:
    tried = "\n".join(f"  {url}: {reason}" for url, reason in reasons.items())
    return (
        f"{target.name}: no address gave the file:\n{tried}\n"
        f"Run again to continue, or fetch it by hand: {_by_hand(name, target)}"
    )
