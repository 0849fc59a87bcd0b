"""Unpack archives of strangers: nothing leaves its folder, and the marker is written last."""

from __future__ import annotations

import errno
import filecmp
import glob
import json
import logging
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from descbench.config.sources import Source, Unpack
from descbench.errors import DataError
from descbench.io.atomic import write_json
from descbench.io.digests import sha256_file

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
# RuntimeError: zip members that are encrypted or packed by a method Python does not know.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
_BLOCK = 1 << 20
Member = tuple[str, Callable[[], IO[bytes]]]


def unpack_source(name: str, source: Source, archives: Sequence[Path], datasets_dir: Path, marker: Path) -> None:
    """Put the content of a source into its official place.

    Files are unpacked beside their place and renamed into it, so that none is ever there in part.
    Several sources may share a folder. Files that are no archive are placed as they are; a folder given
    as ``local_copy`` is linked file by file. Where all content lies in one folder named like the place
    itself (``ims/`` in an archive that goes to ``.../ims``), that folder is not doubled.

    Args:
        name: of the source, for messages.
        source: its block; ``unpack`` says where the content goes.
        archives: downloaded files; none when ``local_copy`` is a folder.
        datasets_dir: ``<data_dir>/datasets``.
        marker: JSON written last: source, number of files, SHA-256 of the archives.

    Raises:
        DataError: an archive is cut short, holds links, devices or names that leave the folder, gives
            two different files one name, or has another number of files than the catalogue says; or
            the disk is full. Nothing of it is put in place.
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
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


# --- archives ----------------------------------------------------------------------------------


def _unpack_one(archive: Path, unpack: Unpack, staging: Path) -> None:
    if not archive.name.endswith(_SUFFIXES):
        _place_file(archive, staging / archive.name)
        return
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _check_space(opened, staging)
                _extract(_zip_members(opened, archive), archive, unpack, staging)
        else:
            with tarfile.open(archive) as opened:
                _extract(_tar_members(opened, archive), archive, unpack, staging)
                _check_end(opened)
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # The message of tarfile.open lists every compression it tried, a line each.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{archive}: damaged or cut short ({reason}). Delete it and its .provenance.json, then run again; "
            "if it is a copy of your own, replace that."
        ) from error


def _tar_members(opened: tarfile.TarFile, archive: Path) -> Iterator[Member]:
    for member in opened:
        if member.isdir():
            continue
        if not member.isreg():
            raise DataError(f"{archive}: member {member.name!r} is a link or a device; refused, nothing was unpacked.")
        yield member.name, lambda member=member: opened.extractfile(member)


def _check_end(opened: tarfile.TarFile) -> None:
    """Refuse an archive that stops between two members, and one whose checksum is wrong."""
    if opened.fileobj.tell() < opened.offset + tarfile.BLOCKSIZE:
        raise tarfile.ReadError("the end of the archive is missing")
    # The checksum of a compressed stream stands behind everything that tarfile reads.
    while opened.fileobj.read(_BLOCK):
        pass


def _zip_members(opened: zipfile.ZipFile, archive: Path) -> Iterator[Member]:
    for member in opened.infolist():
        if member.is_dir():
            continue
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise DataError(f"{archive}: member {member.filename!r} is a link or a device; refused.")
        yield member.filename, lambda member=member: opened.open(member)


def _extract(members: Iterator[Member], archive: Path, unpack: Unpack, staging: Path) -> None:
    for member, open_member in members:
        path = _safe_path(member, archive)
        destination = staging / (path.name if unpack.flatten else path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        twin = destination.with_name(f"{destination.name}.twin") if destination.exists() else destination
        with open_member() as stream, open(twin, "wb") as out:
            shutil.copyfileobj(stream, out, _BLOCK)
        if twin != destination:
            if not (destination.is_file() and filecmp.cmp(twin, destination, shallow=False)):
                raise DataError(f"{archive}: two different files are called {path.name!r}; refused.")
            twin.unlink()


def _safe_path(member: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(member)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in member or "\0" in member or not path.name
    if unsafe:
        raise DataError(f"{archive}: member {member!r} would leave its folder; refused, nothing was unpacked.")
    return path


def _check_space(opened: zipfile.ZipFile, staging: Path) -> None:
    needed = sum(member.file_size for member in opened.infolist())
    free = shutil.disk_usage(staging).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed} bytes unpacked, {free} free")


# --- folders and single files ------------------------------------------------------------------


def _link_folder(folder: Path | None, unpack: Unpack, staging: Path, name: str) -> None:
    """Link every file of the user's own folder; links to folders inside it are followed."""
    if folder is None or not folder.expanduser().is_dir():
        raise DataError(f"{folder}: sources.{name}.local_copy is no folder; correct the configuration.")
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
    """SHA-256 as noted when the file arrived; computed where the note is absent or of another file."""
    record = archive.with_name(f"{archive.name}.provenance.json")
    if record.is_file():
        noted = json.loads(record.read_text(encoding="utf-8"))
        if noted["size"] == archive.stat().st_size:
            return noted["sha256"]
    return sha256_file(archive)
