"""Unpacking: official layouts come out, hostile and damaged archives leave nothing behind."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from descbench.config.sources import Source
from descbench.errors import DataError
from descbench.io.archives import unpack_source
from descbench.io.origin import origin_path, read_origin

FILES = {"jpg/a.jpg": b"first", "jpg/sub/b.jpg": b"second" * 50_000, "./c.txt": b""}
TO = "test/town/jpg"


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    return tmp_path / "data" / "datasets"


def _tar(path: Path, files: Mapping[str, bytes], *special: tarfile.TarInfo) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(path.suffix[1:], "w")
    with tarfile.open(path, mode) as opened:
        folder = tarfile.TarInfo("jpg")
        folder.type = tarfile.DIRTYPE
        opened.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o4777
            opened.addfile(member, io.BytesIO(content))
        for member in special:
            opened.addfile(member)
    return path


def _zip(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("jpg/", b"")
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def _special(kind: bytes, name: str = "harm", target: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def _unpack(datasets: Path, *archives: Path, name: str = "town.tgz", to: str = TO, **keys: Any) -> dict[str, Any]:
    copy = keys.pop("local_copy", None)
    source = Source(mirrors=["http://example.org/a"], local_copy=copy, unpack={"to": to, **keys})
    marker = datasets / ".unpacked" / f"{name}.json"
    unpack_source(name, source, archives, datasets, marker)
    return json.loads(marker.read_text())


def _found(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _refused(datasets: Path, *archives: Path, match: str, **keys: Any) -> None:
    """Nothing but a clear error comes out: no file, no marker, no staging folder."""
    before = _found(datasets.parent)
    with pytest.raises(DataError, match=match):
        _unpack(datasets, *archives, **keys)
    assert _found(datasets.parent) == before


# --- what should work --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tar", "tgz", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_every_kind_of_archive(datasets: Path, suffix: str) -> None:
    pack = _zip if suffix == "zip" else _tar
    archive = pack(datasets.parent / "raw" / f"town.{suffix}", FILES)
    marker = _unpack(datasets, archive, files=3)
    assert _found(datasets / TO) == {"jpg/a.jpg": b"first", "jpg/sub/b.jpg": b"second" * 50_000, "c.txt": b""}
    assert marker == {
        "source": "town.tgz",
        "to": TO,
        "files": 3,
        "sha256": {archive.name: sha256(archive.read_bytes()).hexdigest()},
    }
    assert sorted(p.name for p in (datasets / TO).parent.iterdir()) == ["jpg"]
    assert stat.S_IMODE((datasets / TO / "jpg/a.jpg").stat().st_mode) & 0o7111 == 0


def test_flat(datasets: Path) -> None:
    archive = _tar(datasets.parent / "town.tgz", FILES | {"other/a.jpg": b"first"})
    assert _unpack(datasets, archive, flatten=True)["files"] == 3
    assert set(_found(datasets / TO)) == {"a.jpg", "b.jpg", "c.txt"}


def test_two_sources_share_a_folder_and_a_rerun_overwrites(datasets: Path) -> None:
    first = _tar(datasets.parent / "paris_1.tgz", {"paris/louvre/1.jpg": b"1"})
    second = _tar(datasets.parent / "paris_2.tgz", {"paris/pompidou/2.jpg": b"2"})
    _unpack(datasets, first, name="paris_1.tgz", flatten=True)
    _unpack(datasets, second, name="paris_2.tgz", flatten=True)
    (datasets / TO / "1.jpg").write_bytes(b"damaged")
    _unpack(datasets, first, name="paris_1.tgz", flatten=True)
    assert _found(datasets / TO) == {"1.jpg": b"1", "2.jpg": b"2"}


def test_parts_come_together(datasets: Path) -> None:
    parts = [_tar(datasets.parent / f"{i:03d}.r1m.tar.gz", {f"{i}/x.jpg": bytes([i])}) for i in (1, 2, 3)]
    marker = _unpack(datasets, *parts, files=3)
    assert _found(datasets / TO) == {f"{i}/x.jpg": bytes([i]) for i in (1, 2, 3)}
    assert list(marker["sha256"]) == [part.name for part in parts]


@pytest.mark.parametrize(("top", "expected"), [("jpg", "ab/x"), ("other", "other/ab/x")])
def test_a_folder_named_like_its_place_is_not_doubled(datasets: Path, top: str, expected: str) -> None:
    _unpack(datasets, _tar(datasets.parent / "ims.tar.gz", {f"{top}/ab/x": b"1"}))
    assert _found(datasets / TO) == {expected: b"1"}


def test_a_place_on_another_disk(datasets: Path, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (datasets / TO).parent.mkdir(parents=True)
    (datasets / TO).symlink_to(tmp_path / "big")
    _unpack(datasets, _tar(datasets.parent / "town.tgz", FILES))
    assert set(_found(tmp_path / "big")) == {"jpg/a.jpg", "jpg/sub/b.jpg", "c.txt"}
    assert [p.name for p in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("linkable", [True, False])
def test_files_that_are_no_archive(datasets: Path, monkeypatch: pytest.MonkeyPatch, linkable: bool) -> None:
    raw = datasets.parent / "raw" / "gnd_town.pkl"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"gnd")
    if not linkable:
        monkeypatch.setattr(os, "link", _raise(OSError(18, "Invalid cross-device link")))
    _unpack(datasets, raw, name=raw.name, to="test/town")
    _unpack(datasets, raw, name=raw.name, to="test/town")
    assert _found(datasets / "test/town") == {"gnd_town.pkl": b"gnd"}
    assert raw.read_bytes() == b"gnd"


def test_weights_packed_as_zip_are_no_archive(datasets: Path) -> None:
    weights = _zip(datasets.parent / "net.pth", {"data.pkl": b"1"})
    _unpack(datasets, weights, name="net.pth", to="models")
    assert list(_found(datasets / "models")) == ["net.pth"]


@pytest.mark.parametrize("flatten", [True, False])
def test_a_folder_of_ones_own_is_linked(datasets: Path, tmp_path: Path, flatten: bool) -> None:
    own = tmp_path / "own"
    (own / "ab").mkdir(parents=True)
    (own / "ab" / "x.jpg").write_bytes(b"x")
    (own / "y.jpg").write_bytes(b"y")
    (own / "loop").symlink_to(own)
    (own / "gone.jpg").symlink_to(tmp_path / "gone")
    marker = _unpack(datasets, local_copy=own, flatten=flatten)
    assert _found(datasets / TO) == {"x.jpg" if flatten else "ab/x.jpg": b"x", "y.jpg": b"y"}
    assert (datasets / TO / "y.jpg").resolve() == own / "y.jpg"
    assert (marker["files"], marker["sha256"]) == (2, {})


def test_the_digest_noted_on_arrival_is_used(datasets: Path) -> None:
    archive = _tar(datasets.parent / "town.tgz", FILES)
    noted = {"file": "town.tgz", "url": "x", "size": archive.stat().st_size, "sha256": "5" * 64, "retrieved_from": "y"}
    note, right = origin_path(archive), {"town.tgz": sha256(archive.read_bytes()).hexdigest()}
    note.write_text(json.dumps(noted))
    assert _unpack(datasets, archive)["sha256"] == {"town.tgz": "5" * 64}
    for wrong in ({"size": 1}, {"sha256": "5"}, {"size": "big"}, {"url": None}):
        note.write_text(json.dumps(noted | wrong))
        assert _unpack(datasets, archive)["sha256"] == right
    for damaged in ("", "[]", "{", "[" * 90_000, "\0"):
        note.write_text(damaged)
        assert _unpack(datasets, archive)["sha256"] == right
        with pytest.raises(DataError, match=r"town\.tgz\.provenance\.json: no readable note"):
            read_origin(note)


def test_what_a_killed_job_left_is_cleared(datasets: Path) -> None:
    left = (datasets / TO).parent / ".jpg.town.tgz.tmp-1"
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"half")
    _unpack(datasets, _tar(datasets.parent / "town.tgz", FILES))
    assert not left.exists()


# --- what must be refused ----------------------------------------------------------------------


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a\\..\\x", "jpg/.."])
@pytest.mark.parametrize("pack", [_tar, _zip], ids=["tar", "zip"])
def test_names_that_leave_the_folder(datasets: Path, pack: Callable, name: str, flatten: bool) -> None:
    archive = pack(datasets.parent / f"town.{'zip' if pack is _zip else 'tar'}", {"ok.jpg": b"1", name: b"2"})
    _refused(datasets, archive, match="would leave its folder", flatten=flatten)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hardlink", "character", "block", "fifo"],
)
def test_links_and_devices(datasets: Path, kind: bytes) -> None:
    archive = _tar(datasets.parent / "town.tar", {"ok.jpg": b"1"}, _special(kind))
    _refused(datasets, archive, match="'harm' is a link or a device")


def test_links_in_a_zip(datasets: Path) -> None:
    archive = datasets.parent / "town.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as opened:
        member = zipfile.ZipInfo("harm")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(member, "/etc/passwd")
    _refused(datasets, archive, match="link or a device")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("suffix", ["tgz", "tar.bz2", "tar.xz", "zip"])
def test_archives_cut_short(datasets: Path, suffix: str, keep: float) -> None:
    content = {f"{i}.jpg": os.urandom(5000) for i in range(20)}
    pack = _zip if suffix == "zip" else _tar
    archive = pack(datasets.parent / f"town.{suffix}", content)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * keep)])
    _refused(datasets, archive, match=rf"town\.{suffix}: damaged or cut short.*Delete it")


@pytest.mark.parametrize("length", [512, 1024, 6656, 7000, 7168, 20_000])
def test_a_plain_tar_cut_inside_or_between_members(datasets: Path, length: int) -> None:
    archive = _tar(datasets.parent / "town.tar", {"a.jpg": bytes(5000), "b.jpg": bytes(50_000)})
    archive.write_bytes(archive.read_bytes()[:length])
    _refused(datasets, archive, match="damaged or cut short")


def test_a_flipped_bit_behind_the_last_member(datasets: Path) -> None:
    """The checksum of gzip stands at the very end, after everything tarfile reads."""
    archive = _tar(datasets.parent / "town.tgz", FILES)
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1
    archive.write_bytes(content)
    _refused(datasets, archive, match="damaged or cut short")


def test_a_web_page_called_archive(datasets: Path) -> None:
    archive = datasets.parent / "town.tgz"
    archive.parent.mkdir(parents=True)
    archive.write_text("<html>404</html>")
    _refused(datasets, archive, match=r"town\.tgz: it is a web page, .*, and no tar\.gz archive\. Delete it")


@pytest.mark.parametrize("suffix", ["tar", "zip", "tar.xz"])
def test_what_is_no_archive_is_called_by_its_name(datasets: Path, suffix: str) -> None:
    archive = datasets.parent / f"town.{suffix}"
    archive.parent.mkdir(parents=True)
    for content, told in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(2000), "an HDF5 file"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "a 7-zip archive"),
    ):
        archive.write_bytes(content)
        _refused(datasets, archive, match=rf"it is {told}.*, and no {re.escape(suffix)} archive")


def test_two_files_of_one_name(datasets: Path, tmp_path: Path) -> None:
    archive = _tar(datasets.parent / "town.tgz", {"a/x.jpg": b"1", "b/x.jpg": b"2"})
    _refused(datasets, archive, match="two different files are called 'x.jpg'", flatten=True)
    parts = [_tar(datasets.parent / f"{i}.tgz", {"x.jpg": bytes([i])}) for i in (1, 2)]
    _refused(datasets, *parts, match="two different files")
    own = tmp_path / "own"
    for folder in ("a", "b"):
        (own / folder).mkdir(parents=True)
        (own / folder / "x.jpg").write_text(folder)
    _refused(datasets, match="two different files", local_copy=own, flatten=True)


def test_a_file_where_a_folder_is_needed(datasets: Path) -> None:
    archive = _tar(datasets.parent / "town.tar", {"a": b"1", "a/b": b"2"})
    _refused(datasets, archive, match="cannot be put there")
    _refused(datasets, _tar(datasets.parent / "long.tar", {"x" * 300: b"1"}), match="cannot be put there")


def test_the_number_of_files(datasets: Path) -> None:
    archive = _tar(datasets.parent / "town.tgz", FILES)
    _refused(datasets, archive, match="3 files unpacked, but there should be 5063", files=5063)
    _refused(datasets, _tar(datasets.parent / "empty.tgz", {}), match="holds no file")


def test_an_encrypted_zip(datasets: Path) -> None:
    archive = _zip(datasets.parent / "town.zip", {"a.jpg": b"1"})
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for position in range(len(content)):
            if content[position : position + 4] == signature:
                content[position + offset] |= 1
    archive.write_bytes(content)
    _refused(datasets, archive, match="encrypted")


def test_no_room_for_a_zip(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _zip(datasets.parent / "town.zip", {"zeros": bytes(1 << 20)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    _refused(datasets, archive, match="disk full")


def test_a_disk_that_fills_up(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _tar(datasets.parent / "town.tgz", FILES)
    monkeypatch.setattr(shutil, "copyfileobj", _raise(OSError(28, "No space left on device")))
    _refused(datasets, archive, match="disk full")


def test_configuration_that_cannot_be_followed(datasets: Path, tmp_path: Path) -> None:
    archive = _tar(datasets.parent / "town.tgz", FILES)
    source = Source(mirrors=["http://example.org/a"], unpack={"to": TO})
    elsewhere = source.model_copy(update={"unpack": source.unpack.model_copy(update={"to": "../elsewhere"})})
    with pytest.raises(DataError, match="is not below"):
        unpack_source("a", elsewhere, [archive], datasets, datasets / "marker")
    _refused(datasets, match="is not a folder", local_copy=tmp_path / "none")
    with pytest.raises(DataError, match="no `unpack`"):
        unpack_source("a", Source(mirrors=["http://example.org/a"]), [archive], datasets, datasets / "marker")


def _raise(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
