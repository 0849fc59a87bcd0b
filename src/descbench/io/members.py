"""The members of an untrusted archive, one by one, by the kind that was declared for it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from descbench.errors import DataError

BLOCK = 1 << 20
# Of one archive, unless its source says otherwise: members, bytes unpacked, bytes unpacked for each byte of the
# archive. Photographs hardly shrink, tables to a tenth; the ratio counts only from some size on.
MOST_MEMBERS = 1_000_000
MOST_BYTES = 1 << 40
MOST_RATIO = 100.0
RATIO_FROM = 32 << 20
# Of a header of tar, with long names and attributes; and of the zeros behind the last member.
_LONGEST_HEADER = 1 << 16
_LONGEST_PADDING = 64 << 20
_MOST_MEMORY = 1 << 28
_LOCAL_HEADER = b"PK\x03\x04"
_ENDINGS = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
}
_MAGIC = {
    "zip": (_LOCAL_HEADER, b"PK\x05\x06"),
    "tar.gz": (b"\x1f\x8b",),
    "tar.bz2": (b"BZh",),
    "tar.xz": (b"\xfd7zXZ\0",),
}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED = 0x1 | 0x40


class DamagedError(Exception):
    """The bytes of an archive are not what they should be; the message is the reason alone."""


@dataclass(frozen=True)
class Member:
    """One entry: its name as the archive has it, whether it is a folder, and how its content is opened."""

    name: str
    folder: bool
    open: Callable[[], IO[bytes]]


def kind_of(name: str, declared: str | None) -> str | None:
    """Kind of archive a file is: as declared, or by the ending of its name; None if it is not an archive."""
    if declared is not None:
        return None if declared == "none" else declared
    endings = sorted((end for end in _ENDINGS if name.lower().endswith(end)), key=len)
    return _ENDINGS[endings[-1]] if endings else None


@contextmanager
def open_archive(archive: Path, kind: str) -> Iterator[Iterator[Member]]:
    """The members of an archive of this kind, to be read in order.

    Raises:
        DataError: it is an archive of another kind, or a member is of a sort that is refused.
        DamagedError: its bytes are damaged.
    """
    _check_kind(archive, kind)
    if kind == "zip":
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened, archive)
        return
    openers: dict[str, Any] = {"tar.gz": gzip.open, "tar.bz2": bz2.open, "tar.xz": lzma.open}
    with open(archive, "rb") as raw, openers.get(kind, _as_it_is)(raw, "rb") as plain:
        stream = _TarStream(plain)
        # The headers of the first member are read here.
        with tarfile.TarFile(fileobj=stream, mode="r") as opened:
            yield _tar_members(opened, stream, archive)


def _as_it_is(stream: IO[bytes], _mode: str) -> IO[bytes]:
    return stream


def _check_kind(archive: Path, kind: str) -> None:
    """The declared kind decides; the first bytes have to agree."""
    with open(archive, "rb") as stream:
        first = stream.read(1 << 16)
    seems = next((name for name, magics in _MAGIC.items() if first.startswith(magics)), None)
    if seems is None and first[257:262] == b"ustar":
        seems = "tar"
    if seems not in (None, kind):
        raise DataError(
            f"{archive}: is a {seems} archive, not the {kind} that its name or its source says. If it is the right "
            f"file, declare it (`unpack: {{archive: {seems}}}`); else delete it and run again."
        )
    if seems is None and kind != "tar":
        raise DamagedError(f"it does not begin as a {kind} archive does")
    if kind == "tar.xz":
        # LZMAFile knows no limit, and a header alone can ask for gigabytes.
        lzma.LZMADecompressor(memlimit=_MOST_MEMORY).decompress(first, max_length=1)


# --- names -------------------------------------------------------------------------------------


def safe_path(name: str, archive: Path) -> PurePosixPath:
    """Path of a member below the folder it goes to.

    Raises:
        DataError: it would leave the folder, or no file can have this name.
    """
    path = PurePosixPath(name)
    shown = ascii(name if len(name) <= 100 else f"{name[:100]}...")
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{archive}: member {shown} would leave its folder; refused, nothing was unpacked.")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise DataError(f"{archive}: member {shown} has characters that no file name may hold; refused.")
    if len(name.encode()) > 4000 or any(len(part.encode()) > 255 for part in path.parts):
        raise DataError(f"{archive}: member {shown} cannot be put there: its name is too long.")
    return path


class Names:
    """The paths that members of one archive took, compared as file systems without capital letters do."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._taken: dict[str, tuple[str, bool]] = {}

    def take(self, path: PurePosixPath, folder: bool) -> None:
        """Take a path, and its parents as folders.

        Raises:
            DataError: it is both a file and a folder, or differs from another in capital letters only.
        """
        while self._is_new(str(path), folder) and len(path.parts) > 1:
            path, folder = path.parent, True

    def _is_new(self, text: str, folder: bool) -> bool:
        key = unicodedata.normalize("NFC", text).casefold()
        if key not in self._taken:
            self._taken[key] = (text, folder)
            return True
        earlier, was_folder = self._taken[key]
        if earlier != text:
            raise DataError(
                f"{self._archive}: members {earlier!a} and {text!a} differ in nothing but capital letters or "
                "accents, so that some disks keep one of them only; refused."
            )
        if was_folder != folder:
            raise DataError(f"{self._archive}: {text!a} cannot be put there: it is both a file and a folder.")
        return False


# --- tar ---------------------------------------------------------------------------------------


class _TarStream:
    """What tarfile reads from: bounded while it reads headers, and with the last block at hand."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last = b""
        self.of_header: int | None = 0
        self.tell = stream.tell
        self.seek = stream.seek

    def read(self, size: int = -1) -> bytes:
        if self.of_header is not None:
            self.of_header += size
        if size < 0 or (self.of_header or 0) > _LONGEST_HEADER:
            raise DamagedError("a header is impossibly long")
        self.last = self._stream.read(size)
        # Python's parser of headers takes the square of the time for a long run of digits.
        if self.of_header is not None and size > tarfile.BLOCKSIZE and re.search(rb"[0-9]{1000}", self.last):
            raise DamagedError("a header holds an impossible number")
        return self.last


def _tar_members(opened: tarfile.TarFile, stream: _TarStream, archive: Path) -> Iterator[Member]:
    before = -1
    while True:
        stream.of_header = 0
        member = opened.next()
        stream.of_header = None
        if member is None:
            break
        # A negative size leads back to a header that was read already.
        if member.size < 0 or opened.offset <= before:
            raise DamagedError(f"member {ascii(member.name)[:100]} has an impossible size")
        before = opened.offset
        opened.members.clear()
        if member.issparse():
            raise DataError(f"{archive}: member {member.name!a} is a sparse file; pack it again without `--sparse`.")
        if not (member.isreg() or member.isdir()):
            raise DataError(f"{archive}: member {member.name!r} is a link or a device; refused, nothing was unpacked.")
        yield Member(member.name, member.isdir(), lambda member=member: opened.extractfile(member))
    _check_tar_end(stream)


def _check_tar_end(stream: _TarStream) -> None:
    """Refuse an archive that stops between two members, a damaged header, and more behind the end."""
    if len(stream.last) < tarfile.BLOCKSIZE:
        raise DamagedError("the end of the archive is missing")
    padding, block = 0, stream.last
    # The checksum of a compressed stream stands behind everything that tarfile reads.
    while block:
        padding += len(block)
        if block.count(0) != len(block) or padding > _LONGEST_PADDING:
            raise DamagedError("a header is damaged, or there is more behind the end of the archive")
        block = stream.read(BLOCK)


# --- zip ---------------------------------------------------------------------------------------


def _zip_members(opened: zipfile.ZipFile, archive: Path) -> Iterator[Member]:
    _check_zip_layout(opened, archive)
    for member in opened.infolist():
        shown = ascii(member.orig_filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{archive}: member {shown} is a link or a device; refused.")
        problem = "encrypted" if member.flag_bits & _ENCRYPTED else None
        if problem is None and member.compress_type not in _METHODS:
            problem = f"packed by method {member.compress_type}, which is not known here"
        if problem is not None:
            raise DataError(
                f"{archive}: member {shown} is {problem}; unpack it yourself and name the folder as `local_copy`."
            )
        yield Member(member.orig_filename, member.is_dir(), lambda member=member: opened.open(member))


def _check_zip_layout(opened: zipfile.ZipFile, archive: Path) -> None:
    """Refuse members that share bytes, and members that stand in the file but not in its directory."""
    stream: Any = opened.fp
    end = 0
    for member in sorted(opened.infolist(), key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise DataError(f"{archive}: members overlap ({member.orig_filename!a}); refused.")
        _check_gap(stream, end, member.header_offset)
        stream.seek(member.header_offset)
        name, extra = struct.unpack("<26xHH", stream.read(30))
        end = member.header_offset + 30 + name + extra + member.compress_size
    _check_gap(stream, end, opened.start_dir)


def _check_gap(stream: IO[bytes], start: int, end: int) -> None:
    if end < start:
        raise DamagedError("a member reaches into the directory")
    if end - start >= 30:
        stream.seek(start)
        if _LOCAL_HEADER in stream.read(min(end - start, 1 << 16)):
            raise DamagedError("it holds members that its directory does not list, as two archives in one file do")
