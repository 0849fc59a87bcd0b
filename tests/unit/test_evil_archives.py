"""Archives that are another kind than they say, larger than their disk, or full of names no disk takes."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from descbench.config.sources import Source
from descbench.errors import DataError
from descbench.io import archives
from descbench.io.archives import unpack_source

MIB = 1 << 20


def _tar(files: dict[str, bytes], **options: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return out.getvalue()


def _unpack(folder: Path, name: str, content: bytes, **keys: Any) -> dict[str, bytes]:
    """What lies in place afterwards."""
    archive = folder / name
    archive.write_bytes(content)
    source = Source(mirrors=["http://example.org/a"], unpack={"to": "town", **keys})
    unpack_source(name, source, [archive], folder / "datasets", folder / "datasets" / ".unpacked" / "a.json")
    place = folder / "datasets" / "town"
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def _refused(folder: Path, name: str, content: bytes, match: str, **keys: Any) -> None:
    with pytest.raises(DataError, match=match):
        _unpack(folder, name, content, **keys)
    assert [p for p in (folder / "datasets").rglob("*") if p.is_file()] == []


# --- the declared kind -------------------------------------------------------------------------

INNER = _zip({"inner.txt": b"inner"})
PLAIN = {"a.jpg": b"a" * 3000, "b.jpg": b"b" * 700}


def test_a_tar_whose_last_member_is_a_zip(tmp_path: Path) -> None:
    files = PLAIN | {"labels.zip": INNER}
    assert zipfile.is_zipfile(io.BytesIO(_tar(files)))
    assert _unpack(tmp_path, "town.tar", _tar(files)) == files


def test_a_zip_whose_stored_member_is_a_tar(tmp_path: Path) -> None:
    files = {"inner.tar": _tar(PLAIN), "inner.zip": INNER}
    assert _unpack(tmp_path, "town.zip", _zip(files)) == files


KINDS = {
    "tar": _tar(PLAIN),
    "tar.gz": gzip.compress(_tar(PLAIN)),
    "tar.xz": lzma.compress(_tar(PLAIN)),
    "zip": _zip(PLAIN),
}


@pytest.mark.parametrize("real", sorted(KINDS))
@pytest.mark.parametrize("named", sorted(KINDS))
def test_the_name_decides_and_the_content_has_to_agree(tmp_path: Path, named: str, real: str) -> None:
    if named == real:
        assert _unpack(tmp_path, f"town.{named}", KINDS[real]) == PLAIN
        return
    _refused(tmp_path, f"town.{named}", KINDS[real], rf"is a {real} archive, not the {named}")
    assert _unpack(tmp_path, f"town.{named}", KINDS[real], archive=real) == PLAIN


@pytest.mark.parametrize("name", ["photos", "photos.bin"])
def test_a_kind_that_no_name_says(tmp_path: Path, name: str) -> None:
    assert _unpack(tmp_path, name, KINDS["zip"], archive="zip") == PLAIN


def test_an_archive_that_is_wanted_as_it_is(tmp_path: Path) -> None:
    assert _unpack(tmp_path, "net.pth.tar", KINDS["tar"], archive="none") == {"net.pth.tar": KINDS["tar"]}


def test_two_archives_in_one_file_lose_nothing_in_silence(tmp_path: Path) -> None:
    _refused(tmp_path, "town.tar", KINDS["tar"] + KINDS["tar"], "more behind the end")
    _refused(tmp_path, "town.tar", KINDS["tar"] + INNER, "more behind the end")
    _refused(tmp_path, "town.tar.gz", KINDS["tar.gz"] * 2, "more behind the end")
    _refused(tmp_path, "town.zip", KINDS["zip"] + INNER, "its directory does not list")


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_a_damaged_header_in_the_middle_ends_nothing_in_silence(tmp_path: Path, compress: Any) -> None:
    content = bytearray(_tar(PLAIN | {"c.jpg": b"c" * 100}))
    second = 512 + 3072
    content[second + 150] ^= 1
    kind = "tar" if compress is bytes else "tar.gz"
    _refused(tmp_path, f"town.{kind}", compress(bytes(content)), "a header is damaged")


# --- bombs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip"])
def test_bombs_below_the_free_space(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_FROM", MIB)
    files = {f"{i}.jpg": bytes(MIB) for i in range(8)}
    packed = {
        "tar.gz": gzip.compress(_tar(files)),
        "tar.xz": lzma.compress(_tar(files)),
        "zip": _zip(files, zipfile.ZIP_DEFLATED),
    }[kind]
    _refused(tmp_path, f"town.{kind}", packed, "bytes for each of its own.*ratio")
    assert _unpack(tmp_path, f"town.{kind}", packed, ratio=100_000) == files


def test_bounds_are_of_the_source(tmp_path: Path) -> None:
    _refused(tmp_path, "town.tar", KINDS["tar"], "more than 3699 bytes.*size", size=3699)
    assert _unpack(tmp_path, "town.tar", KINDS["tar"], size=3700, members=2) == PLAIN
    (tmp_path / "other").mkdir()
    _refused(tmp_path / "other", "town.zip", KINDS["zip"], "more than 1 members.*members", members=1)


def test_a_zip_that_understates_its_lengths(tmp_path: Path) -> None:
    content = bytearray(_zip({"a": bytes(MIB)}, zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, 10)
    _refused(tmp_path, "town.zip", bytes(content), "damaged or cut short")


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    content = _zip({"a": b"x" * 100, "b": b"x" * 100})
    first, second = content.index(b"PK\x01\x02"), content.rindex(b"PK\x01\x02")
    shared = bytearray(content)
    shared[second + 42 : second + 46] = shared[first + 42 : first + 46]
    _refused(tmp_path, "town.zip", bytes(shared), "members overlap")


def test_a_sparse_member(tmp_path: Path) -> None:
    member = tarfile.TarInfo("hole")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    _refused(tmp_path, "town.tar", bytes(header) + bytes(1024), "'hole' is a sparse file")


def test_a_long_name_of_gigabytes(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    _refused(tmp_path, "town.tar", member.tobuf(tarfile.GNU_FORMAT) + bytes(4096), "a header is impossibly long")


@pytest.mark.parametrize("text", [b"1" * 60_000, b"9" * 60_000 + b" x=y\n", b"20 path=\n", b"x" * 600, b"-5 a=b\n"])
def test_attributes_that_are_none(tmp_path: Path, text: bytes) -> None:
    """A long run of digits holds Python's parser up for minutes."""
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, len(text)
    padded = text + bytes(-len(text) % 512)
    after = tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT)
    head = member.tobuf(tarfile.USTAR_FORMAT)
    try:
        found = _unpack(tmp_path, "town.tar", head + padded + after + bytes(1024))
    except DataError:
        return
    assert found == {"a": b""}


def test_a_negative_size_leads_nowhere(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    _refused(tmp_path, "town.tar", bytes(header) + bytes(2048), "damaged or cut short")


# --- names -------------------------------------------------------------------------------------

NAMES = {
    "a/../../x": "would leave its folder",
    "/x": "would leave its folder",
    "a\\x": "would leave its folder",
    "a\nx": "characters that no file name may hold",
    "a\x1b[31m": "characters that no file name may hold",
    "x" * 256: "cannot be put there: its name is too long",
    "ä" * 128: "cannot be put there: its name is too long",
    "ab/" * 1500 + "x": "cannot be put there: its name is too long",
}


@pytest.mark.parametrize("pack", [_tar, _zip], ids=["tar", "zip"])
@pytest.mark.parametrize("name", sorted(NAMES), ids=range(len(NAMES)))
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_names(tmp_path: Path, pack: Any, name: str, folder: bool) -> None:
    content = pack({"ok.jpg": b"1", name: b"2"})
    if folder and pack is _zip:
        content = pack({"ok.jpg": b"1", f"{name}/": b""})
    _refused(tmp_path, f"town.{'tar' if pack is _tar else 'zip'}", content, NAMES[name])


def test_a_zero_in_a_name(tmp_path: Path) -> None:
    content = _zip({"a.jpgXexe": b"1"}).replace(b"a.jpgXexe", b"a.jpg\0exe")
    _refused(tmp_path, "town.zip", content, "characters that no file name may hold")


@pytest.mark.parametrize("pack", [_tar, _zip], ids=["tar", "zip"])
@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("Image.JPG", "image.jpg"), "differ in nothing but capital letters"),
        (("A/x", "a/y"), "differ in nothing but capital letters"),
        (("\u00e4", "a\u0308"), "capital letters or accents"),
        (("a", "a/b"), "cannot be put there: it is both a file and a folder"),
        (("a/b", "a"), "cannot be put there: it is both a file and a folder"),
        (("a/b/c", "a/b"), "cannot be put there: it is both a file and a folder"),
    ],
)
def test_names_that_do_not_go_together(tmp_path: Path, pack: Any, names: tuple[str, str], match: str) -> None:
    content = pack({names[0]: b"1", names[1]: b"1"})
    _refused(tmp_path, f"town.{'tar' if pack is _tar else 'zip'}", content, match)


@pytest.mark.parametrize("method", [1, 9, 93, 95, 99])
def test_methods_nobody_knows(tmp_path: Path, method: int) -> None:
    content = bytearray(_zip({"a": b"1"}))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", content, content.index(signature) + offset, method)
    _refused(tmp_path, "town.zip", bytes(content), f"packed by method {method}")
