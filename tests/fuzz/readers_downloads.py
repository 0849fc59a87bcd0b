"""What comes from the network: archives, web pages, answers of servers, and the notes beside downloads."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tempfile
import zipfile
from pathlib import Path
from random import Random

from mutations import damage_bytes, damage_json, damage_zip
from registry import register

from descbench.config.sources import Source
from descbench.io.archives import unpack_source
from descbench.io.origin import read_origin
from descbench.io.transfer import known_state, strong_validator
from descbench.io.webpages import confirmed_address, page_text, page_title, stand_in

_FILES = {"jpg/a.jpg": bytes(range(256)) * 3, "jpg/sub/b.jpg": b"second" * 300, "list.txt": b"", "x" * 120: b"long"}
_PACKERS = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}
_UNPACKERS = {"tar": bytes, "tar.gz": gzip.decompress, "tar.bz2": bz2.decompress, "tar.xz": lzma.decompress}
_NUMBERS = (b"\x80" + bytes(10) + b"\xff", b"\xff" * 11 + b"\x00", b"77777777777\0", b"-0000000001\0", b"\0" * 12)


def unpack(path: Path) -> None:
    """Unpack an archive into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source = Source(mirrors=["http://example.org/a"], unpack={"to": "town", "size": 64 << 20})
        unpack_source("town", source, [path], Path(folder), Path(folder) / "marker.json")


def tar_seeds() -> list[bytes]:
    """One archive of each format of tar."""
    return [_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def _tar(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as opened:
        for name, content in _FILES.items():
            member = tarfile.TarInfo(name if form != tarfile.USTAR_FORMAT else name[:99])
            member.size = len(content)
            if form == tarfile.PAX_FORMAT:
                member.pax_headers = {"mtime": "12.5", "comment": "ä" * 20}
            opened.addfile(member, io.BytesIO(content))
    return out.getvalue()


def damage_header(dice: Random, content: bytes) -> bytes:
    """A field of one header block is replaced, and the checksum fits again."""
    changed = bytearray(content)
    starts = [i for i in range(0, len(content) - 511, 512) if content[i + 257 : i + 262] == b"ustar"]
    start = dice.choice(starts)
    match dice.randrange(4):
        case 0:
            changed[start + 124 : start + 136] = dice.choice(_NUMBERS)
        case 1:
            changed[start + 156] = dice.choice(b"0123456789LKxgSDVX\0")
        case 2:
            place = dice.randrange(148)
            changed[start + place] = dice.randrange(256)
        case _:
            name = dice.choice((b"../x", b"/x", b"a\\b", b"a/b/c", b"jpg", b"JPG/A.JPG", b"\xff\xfe", b"a\nb"))
            changed[start : start + 100] = name.ljust(100, b"\0")
    block = changed[start : start + 512]
    changed[start + 148 : start + 156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * 32)
    return bytes(changed)


def _inside(kind: str, damage):
    def damaged(dice: Random, content: bytes) -> bytes:
        return _PACKERS[kind](damage(dice, _UNPACKERS[kind](content)))

    return damaged


def zip_seeds() -> list[bytes]:
    """Archives of every method that is read."""
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as opened:
            for name, content in _FILES.items():
                opened.writestr(name, content)
        found.append(out.getvalue())
    return found


def damage_directory(dice: Random, content: bytes) -> bytes:
    """A byte of a header of a member, or of the directory, is replaced."""
    changed = bytearray(content)
    signature = dice.choice((b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"))
    places = [i for i in range(len(content)) if content[i : i + 4] == signature]
    place = dice.choice(places) + 4 + dice.randrange(18 if signature == b"PK\x05\x06" else 42)
    changed[min(place, len(changed) - 1)] = dice.choice((0, 1, 8, 99, 255, dice.randrange(256)))
    return bytes(changed)


def read_page(path: Path) -> None:
    """All that is read from a page that came where a file was expected."""
    content = path.read_bytes()
    text = page_text(content)
    stand_in(content)
    page_title(text)
    confirmed_address(text, "http://example.org/a?b=c", {"other": "x"})


def page_seeds() -> list[bytes]:
    """A page of Google Drive, and one in another encoding."""
    form = '<form id="download-form" action="/d"><input type="hidden" name="id" value="1"></form>'
    page = f"<!DOCTYPE html><html><head><title>Are you sure?</title></head><body>{form}</body></html>"
    return [page.encode(), page.encode("utf-16"), b"version https://git-lfs.github.com/spec/v1\nsize 3\n"]


def repeat_piece(dice: Random, content: bytes) -> bytes:
    """A piece of a page, 100,000 characters of it."""
    piece = dice.choice((b"<title", b"<form id=", b"<input ", b'a="', b"a=' ", b"<!--", b"<", b"&amp;", b"x-"))
    place = dice.randrange(len(content) + 1)
    return content[:place] + piece * (100_000 // len(piece)) + content[place:]


def read_state(path: Path) -> None:
    """What decides whether a partial file is continued."""
    partial = path.with_name("a")
    partial.write_bytes(b"12345")
    strong_validator(known_state(partial))


def origin_seeds() -> list[bytes]:
    """A note of origin."""
    note = {
        "file": "a",
        "url": "http://x",
        "final_url": None,
        "size": 3,
        "sha256": "0" * 64,
        "retrieved_from": "mirror",
    }
    return [json.dumps(note).encode()]


def state_seeds() -> list[bytes]:
    """What is noted beside a partial file."""
    dates = {"last_modified": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2025 07:28:00 GMT"}
    return [json.dumps({"total": 10, "address": "http://x", "etag": tag} | dates).encode() for tag in ('"a"', None)]


for kind in _PACKERS:
    damages = (_inside(kind, damage_header), _inside(kind, damage_bytes))
    register(
        f"{kind} archives",
        unpack,
        lambda kind=kind: [_PACKERS[kind](seed) for seed in tar_seeds()],
        file=f"town.{kind}",
        mutations=damages,
    )
register("zip archives", unpack, zip_seeds, file="town.zip", mutations=(damage_directory, damage_zip))
register("web pages", read_page, page_seeds, mutations=(repeat_piece,))
register("notes of origin", read_origin, origin_seeds, mutations=(damage_json,))
register("notes of partial files", read_state, state_seeds, file="a.json", mutations=(damage_json,))
