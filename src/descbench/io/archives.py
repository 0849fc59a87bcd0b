"""Unpack archives of strangers: nothing leaves its folder, and the marker is written last."""

from __future__ import annotations

import errno
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

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)
Member = tuple[str, Callable[[], IO[bytes]]]


def unpack_source(name: str, source: Source, archives: Sequence[Path], datasets_dir: Path, marker: Path) -> None:
    """Put the content of a source into its official place.

    Files are unpacked beside their place and renamed into it, so that none is ever there in part.
    Several sources may share a folder. Files that are no archive are placed as they are; a folder given
    as ``local_copy`` is linked file by file.

    Args:
        name: of the source, for messages.
        source: its block; ``unpack`` says where the content goes.
        archives: downloaded files; none when ``local_copy`` is a folder.
        datasets_dir: ``<data_dir>/datasets``.
        marker: JSON written last: source, number of files, SHA-256 of the archives.

    Raises:
        DataError: an archive is cut short, holds links, devices or names that leave the folder, gives
            two different files one name, or has another number of files than the catalogue says.
    """
    if source.unpack is None:
        raise DataError(f"sources.{name}: no `unpack`, so nothing says where its content goes.")
    target = datasets_dir / source.unpack.to
    with _staging(target, name) as staging:
        if archives:
            for archive in archives:
                _unpack_one(archive, name, source.unpack, staging)
        else:
            _link_folder(Path(str(source.local_copy)), source.unpack, staging)
        placed = _place(staging, target, name, source.unpack)
    digests = {archive.name: _digest(archive) for archive in archives}
    write_json(marker, {"source": name, "to": source.unpack.to, "files": placed, "sha256": digests})
    logging.info("%s: %d files in %s", name, placed, target)


@contextmanager
def _staging(target: Path, name: str) -> Iterator[Path]:
    """A folder beside the target, on the same file system, that is gone afterwards in any case."""
    staging = target.parent / f".{target.name}.{name}.tmp-{os.getpid()}"
    staging.mkdir(parents=True)
    try:
        yield staging
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"{target}: disk full while unpacking; free some space and run again.") from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack_one(archive: Path, name: str, unpack: Unpack, staging: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _check_space(opened, staging)
                _extract(_zip_members(opened, archive), archive, unpack, staging)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                _extract(_tar_members(opened, archive), archive, unpack, staging)
        elif archive.name.endswith((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")):
            raise tarfile.ReadError("no archive that can be read")
        else:
            # Placed as it is; the parts of one source carry a number before their name.
            _place_file(archive, staging / archive.name)
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{archive}: damaged or cut short ({error}). Delete it and its .provenance.json, then run again."
        ) from error


def _tar_members(opened: tarfile.TarFile, archive: Path) -> Iterator[Member]:
    for member in opened:
        if member.isdir():
            continue
        if not member.isreg():
            raise DataError(f"{archive}: member {member.name!r} is a link or a device; refused, nothing was unpacked.")
        yield member.name, lambda member=member: opened.extractfile(member)


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
        twin = destination.with_name(destination.name + ".new") if destination.exists() else destination
        with open_member() as stream, open(twin, "wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
        if twin != destination:
            if sha256_file(twin) != sha256_file(destination):
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


def _link_folder(folder: Path, unpack: Unpack, staging: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: local_copy is no folder; correct the configuration.")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        destination = staging / (path.name if unpack.flatten else path.relative_to(folder))
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.symlink_to(path.resolve())


def _place(staging: Path, target: Path, name: str, unpack: Unpack) -> int:
    """Rename everything from the staging folder into place."""
    files = sorted(path for path in staging.rglob("*") if not path.is_dir())
    if unpack.files is not None and len(files) != unpack.files:
        raise DataError(
            f"{name}: {len(files)} files unpacked, but there should be {unpack.files}; the archive is another one or "
            "was cut short. Delete it and run again."
        )
    for path in files:
        destination = target / path.relative_to(staging)
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.replace(destination)
    return len(files)


def _place_file(path: Path, destination: Path) -> None:
    try:
        os.link(path.resolve(), destination)
    except OSError:
        shutil.copyfile(path, destination)


def _digest(archive: Path) -> str:
    record = archive.with_name(archive.name + ".provenance.json")
    if record.is_file():
        return json.loads(record.read_text(encoding="utf-8"))["sha256"]
    return sha256_file(archive)
