"""Unpack untrusted archives: nothing leaves its folder, and the marker is written last."""

from __future__ import annotations

import errno
import filecmp
import glob
import logging
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from descbench.config.sources import Source, Unpack
from descbench.errors import DataError
from descbench.io.atomic import write_json
from descbench.io.digests import sha256_file
from descbench.io.kinds import describe_kind
from descbench.io.members import (
    BLOCK,
    MOST_BYTES,
    MOST_MEMBERS,
    MOST_RATIO,
    RATIO_FROM,
    DamagedError,
    Member,
    Names,
    kind_of,
    open_archive,
    safe_path,
)
from descbench.io.origin import origin_path, read_origin

# What the standard library raises at damaged archives; RuntimeError and LookupError among them.
_DAMAGED = (
    DamagedError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    ValueError,
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def unpack_source(name: str, source: Source, archives: Sequence[Path], datasets_dir: Path, marker: Path) -> None:
    """Put the content of a source into its official place.

    Files are unpacked beside their place and renamed into it, so that none is ever there in part.
    Several sources may share a folder. Files that are not an archive are placed as they are; a folder given
    as ``local_copy`` is linked file by file. Where all content lies in one folder named like the place
    itself (``ims/`` in an archive that goes to ``.../ims``), that folder is not doubled.

    Args:
        name: of the source, for messages.
        source: its block; ``unpack`` says where the content goes.
        archives: downloaded files; none when ``local_copy`` is a folder.
        datasets_dir: ``<data_dir>/datasets``.
        marker: JSON written last: source, number of files, SHA-256 of the archives.

    Raises:
        DataError: an archive is of another kind than declared, cut short, or larger than its bounds; holds
            links, devices, encrypted members or names that leave the folder; gives two different files one
            name, or has another number of files than the catalogue says; or the disk is full. Nothing of it is
            put in place.
    """
    if source.unpack is None:
        raise DataError(f"sources.{name}: no `unpack`, so nothing says where its content goes.")
    # Resolved, so that a place on another disk (a link) is staged on that disk.
    target = _below(datasets_dir, source.unpack.to, name).resolve()
    with _staging(target, name) as staging:
        for archive in archives:
            _unpack_one(archive, source.unpack, staging)
        if not archives:
            _link_folder(source.local_copy, source.unpack, staging, name)
        placed = _place(staging, target, name, source.unpack)
    digests = {archive.name: _digest(archive) for archive in archives}
    write_json(marker, {"source": name, "to": source.unpack.to, "files": placed, "sha256": digests})
    logging.info("%s: %d files in %s", name, placed, target)


def _below(folder: Path, relative: str, name: str) -> Path:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"sources.{name}.unpack.to: {relative!r} is not below {folder}; correct the configuration.")
    return folder / path


@contextmanager
def _staging(target: Path, name: str) -> Iterator[Path]:
    """A folder beside the target, on the same file system, that is gone afterwards in any case."""
    beginning = f".{target.name}.{name}.tmp-"
    staging = target.parent / f"{beginning}{os.getpid()}"
    for left_by_a_killed_job in target.parent.glob(f"{glob.escape(beginning)}*"):
        shutil.rmtree(left_by_a_killed_job)
    staging.mkdir(parents=True)
    try:
        yield staging
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DataError(f"{target}: disk full while unpacking; free some space and run again.") from error
        if error.errno in _BAD_NAME:
            raise DataError(f"{target}: {error.filename} cannot be put there ({error.strerror}).") from error
        raise DataError(f"{target}: cannot be written ({error.strerror or error}); check the folder.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


# What the first bytes of an archive of each kind say (descbench.io.kinds).
_SEEN_AS = {"zip": "a zip", "tar": "a tar", "tar.gz": "a gzip", "tar.bz2": "a bzip2", "tar.xz": "an xz"}


# --- archives ----------------------------------------------------------------------------------


def _unpack_one(archive: Path, unpack: Unpack, staging: Path) -> None:
    kind = kind_of(archive.name, unpack.archive)
    if kind is None:
        _place_file(archive, staging / archive.name)
        return
    try:
        with open_archive(archive, kind) as members:
            _extract(members, archive, unpack, staging)
    except (*_DAMAGED, OSError) as error:
        # Errors of the disk have a number and a file; a seek to where no file reaches has a number only.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
            raise
        found = (describe_kind(archive) or "").partition(":")[0]
        if found not in ("", "empty") and not found.startswith(_SEEN_AS.get(kind, "")):
            raise DataError(
                f"{archive}: it is {found}, and no {kind} archive. Delete it and its .provenance.json, fetch it again, "
                "or put the right file in its place."
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{archive}: damaged or cut short ({reason}). Delete it and its .provenance.json, then run again; "
            "if it is a copy of your own, replace that."
        ) from error


class _Budget:
    """Counts what an archive really gives, whatever its headers say, and stops it at its bounds."""

    def __init__(self, archive: Path, unpack: Unpack, staging: Path) -> None:
        self._free = shutil.disk_usage(staging).free
        self._archive, self._length = archive, archive.stat().st_size
        self._most_members = unpack.members or MOST_MEMBERS
        self._most_bytes = unpack.size or MOST_BYTES
        self._most_ratio = unpack.ratio or MOST_RATIO
        self._members, self._bytes = 0, 0

    def member(self) -> None:
        """One member more."""
        self._members += 1
        if self._members > self._most_members:
            raise self._refused(f"more than {self._most_members} members", "members")

    def wrote(self, count: int) -> None:
        """So many bytes more."""
        self._bytes += count
        if self._bytes > self._free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._bytes > self._most_bytes:
            raise self._refused(f"more than {self._most_bytes} bytes", "size")
        if self._bytes > RATIO_FROM and self._bytes > self._most_ratio * self._length:
            raise self._refused(f"more than {self._most_ratio:g} bytes for each of its own", "ratio")

    def _refused(self, what: str, key: str) -> DataError:
        return DataError(
            f"{self._archive}: gives {what}; refused, as archives that are made to fill a disk do so. If this one is "
            f"right, allow more with `unpack: {{{key}: ...}}` of its source."
        )


class _CountedFile:
    """A file being written, on a budget."""

    def __init__(self, out: IO[bytes], budget: _Budget) -> None:
        self._out, self._budget = out, budget

    def write(self, block: bytes) -> int:
        """Count first, then write."""
        self._budget.wrote(len(block))
        return self._out.write(block)


def _extract(members: Iterator[Member], archive: Path, unpack: Unpack, staging: Path) -> None:
    budget, names = _Budget(archive, unpack, staging), Names(archive)
    for member in members:
        budget.member()
        path = safe_path(member.name, archive)
        if unpack.flatten:
            path = PurePosixPath(path.name)
        if path.name and not (member.folder and unpack.flatten):
            names.take(path, member.folder)
        if member.folder:
            continue
        if not path.name:
            raise DataError(f"{archive}: a member has no name; refused.")
        _extract_one(member, staging / path, archive, budget)


def _extract_one(member: Member, destination: Path, archive: Path, budget: _Budget) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    # No member can have this name.
    twin = destination.with_name("\x01twin") if destination.exists() else destination
    with member.open() as stream, open(twin, "wb") as out:
        shutil.copyfileobj(stream, _CountedFile(out, budget), BLOCK)
    if twin != destination:
        if not (destination.is_file() and filecmp.cmp(twin, destination, shallow=False)):
            raise DataError(f"{archive}: two different files are called {destination.name!r}; refused.")
        twin.unlink()


# --- folders and single files ------------------------------------------------------------------


def _link_folder(folder: Path | None, unpack: Unpack, staging: Path, name: str) -> None:
    """Link every file of the user's own folder; links to folders inside it are followed."""
    if folder is None or not folder.expanduser().is_dir():
        raise DataError(f"{folder}: sources.{name}.local_copy is not a folder; correct the configuration.")
    for path in _files(folder.expanduser().resolve(), follow=True):
        relative = path.relative_to(folder.expanduser().resolve())
        destination = staging / (relative.name if unpack.flatten else relative)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if destination.exists():
            if not filecmp.cmp(path, destination, shallow=False):
                raise DataError(f"{folder}: two different files are called {relative.name!r}; remove one.")
            continue
        destination.symlink_to(path)


def _files(folder: Path, follow: bool = False) -> Iterator[Path]:
    """All files below a folder; a folder that is reached twice through links is entered once."""
    entered: set[str] = set()
    for current, folders, names in os.walk(folder, followlinks=follow):
        entered.add(os.path.realpath(current))
        folders[:] = sorted(f for f in folders if os.path.realpath(Path(current) / f) not in entered)
        yield from (Path(current) / name for name in sorted(names) if (Path(current) / name).exists())


def _place_file(path: Path, destination: Path) -> None:
    try:
        os.link(path.resolve(), destination)
    except OSError:
        shutil.copyfile(path, destination)


def _place(staging: Path, target: Path, name: str, unpack: Unpack) -> int:
    """Rename everything from the staging folder into place."""
    entries = list(staging.iterdir())
    doubled = len(entries) == 1 and entries[0].name == target.name and entries[0].is_dir()
    base = entries[0] if doubled else staging
    count = sum(1 for _ in _files(base))
    if count == 0:
        raise DataError(f"{name}: holds no file; it is not the archive that was meant. Delete it and run again.")
    if unpack.files is not None and count != unpack.files:
        raise DataError(
            f"{name}: {count} files unpacked, but there should be {unpack.files}; the archive is another one or "
            "was cut short. Delete it and run again."
        )
    for path in _files(base):
        destination = target / path.relative_to(base)
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.replace(destination)
    return count


def _digest(archive: Path) -> str:
    """SHA-256 as noted when the file arrived; computed where the note is absent, damaged or of another file."""
    try:
        noted = read_origin(origin_path(archive))
    except DataError as error:
        logging.warning("%s", error)
        noted = None
    if noted is not None and noted.size == archive.stat().st_size:
        return noted.sha256
    return sha256_file(archive)
