"""Damage: to bytes of any file, and to the values of some formats, so that the damage gets past the first check."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
import zlib
from random import Random
from typing import Any

from registry import Mutation

_NUMBERS = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff" * 8)
_LONG = 1 << 16
_TEXTS = ("", "x" * _LONG, "../../x", "/etc/passwd", "a\0b", "\ud800", "²", "𝟙", "\r\n", "<b>", "=1+1", "%s%n", "NaN")
_VALUES = (None, True, 0, -1, 1 << 31, 1 << 63, 10**400, -0.0, 1e308, float("nan"), float("inf"), [], {}, [[]], *_TEXTS)


def damage_bytes(dice: Random, content: bytes) -> bytes:
    """One to four changes: bits, numbers, pieces taken out, doubled, moved, repeated, or the end cut off."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _CHANGES[dice.randrange(len(_CHANGES))](dice, changed)
    return bytes(changed)


def _piece(dice: Random, content: bytearray) -> slice:
    start = dice.randrange(len(content) + 1)
    return slice(start, start + dice.choice((1, 2, 4, 8, 16, 64, 512)))


def _bit(dice: Random, content: bytearray) -> None:
    if content:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def _byte(dice: Random, content: bytearray) -> None:
    if content:
        content[dice.randrange(len(content))] = dice.randrange(256)


def _number(dice: Random, content: bytearray) -> None:
    number = dice.choice(_NUMBERS)
    start = dice.randrange(len(content) + 1)
    content[start : start + len(number)] = number


def _drop(dice: Random, content: bytearray) -> None:
    del content[_piece(dice, content)]


def _double(dice: Random, content: bytearray) -> None:
    piece = _piece(dice, content)
    content[piece.start : piece.start] = content[piece]


def _repeat(dice: Random, content: bytearray) -> None:
    piece = content[_piece(dice, content)]
    if piece:
        start = dice.randrange(len(content) + 1)
        content[start:start] = piece * (dice.choice((16, 1024, _LONG)) // len(piece) + 1)


def _move(dice: Random, content: bytearray) -> None:
    piece = content[_piece(dice, content)]
    start = dice.randrange(len(content) + 1)
    content[start : start + len(piece)] = piece


def _cut(dice: Random, content: bytearray) -> None:
    del content[dice.randrange(len(content) + 1) :]


_CHANGES = (_bit, _bit, _byte, _byte, _number, _number, _drop, _double, _repeat, _move, _cut)


def damage_json(dice: Random, content: bytes) -> bytes:
    """One to three values or keys of a JSON document are replaced, dropped, doubled or nested deeply."""
    value = json.loads(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        value = damage_value(dice, value)
    text = json.dumps(value)
    if dice.random() < 0.05:
        text = "[" * 100_000 + text + "]" * 100_000
    return text.encode("utf-8", "surrogatepass")


def damage_value(dice: Random, value: Any) -> Any:
    """The value (lists and dictionaries) with a change somewhere in it."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        changed = dict(value)
        match dice.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[str(dice.choice(_VALUES))] = changed.pop(key)
            case 2:
                changed[str(dice.choice(_VALUES))] = dice.choice(_VALUES)
            case _:
                changed[key] = damage_value(dice, value[key])
        return changed
    if isinstance(value, list) and value and dice.random() < 0.85:
        place = dice.randrange(len(value))
        match dice.randrange(6):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return value[:place] + value
            case _:
                return [*value[:place], damage_value(dice, value[place]), *value[place + 1 :]]
    return dice.choice((*_VALUES, [value], {"x": value}))


def damage_lines(dice: Random, content: bytes) -> bytes:
    """Lines of text, or cells of a table, are dropped, doubled, swapped or replaced."""
    lines = content.decode("utf-8").split("\n")
    for _ in range(dice.choice((1, 1, 2, 3))):
        place = dice.randrange(len(lines))
        match dice.randrange(5):
            case 0:
                lines[place : place + 1] = []
            case 1:
                lines.insert(dice.randrange(len(lines) + 1), lines[place])
            case _:
                lines[place] = _damaged_line(dice, lines[place])
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _damaged_line(dice: Random, line: str) -> str:
    separator = next((s for s in (",", "@", ": ", " ") if s in line), ",")
    cells = line.split(separator)
    cells[dice.randrange(len(cells))] = str(dice.choice(_VALUES))
    return separator.join(cells)


def damage_zip(dice: Random, content: bytes, damage: Mutation = damage_bytes, only: str = "") -> bytes:
    """A member of a zip archive is damaged, dropped, renamed or doubled; lengths and checksums fit what it holds.

    Args:
        damage: what is done to a member.
        only: end of the names of the members that may be damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = dice.choice([i for i, (name, _) in enumerate(members) if name.endswith(only)])
    name, data = members[place]
    match 8 if only else dice.randrange(8):
        case 0:
            del members[place]
        case 1:
            members[place] = (str(dice.choice(_TEXTS[2:5])), data)
        case 2:
            members.append((name, damage(dice, data)))
        case _:
            members[place] = (name, damage(dice, data))
    packed = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if dice.random() < 0.05 else zipfile.ZIP_STORED
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(packed, "w", method) as archive:
        for member, data in members:
            info = zipfile.ZipInfo(member)
            info.compress_type = method
            archive.writestr(info, data)
    return packed.getvalue()


def damage_packed(dice: Random, content: bytes, start: int) -> bytes:
    """What a zlib stream from ``start`` to the end holds is damaged, and packed again.

    Raises:
        ValueError: there is no zlib stream.
    """
    try:
        unpacked = zlib.decompress(content[start:])
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return content[:start] + zlib.compress(damage_bytes(dice, unpacked))
