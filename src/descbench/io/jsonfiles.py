"""JSON files of ours that another stage reads: they end with a checksum over every byte before it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from descbench.errors import DataError
from descbench.io.atomic import json_text, write_text
from descbench.io.kinds import shorten

_KEY = "checksum"
_MARK = f'"{_KEY}": "'
# What follows the mark, in files of one line and in those with an indent.
_END = re.compile(rb'([0-9a-f]{64})"\n?}\n')
_LONGEST_END = 68
_BLOCK = 1 << 20

Record = TypeVar("Record")


def write_checked_json(target: str | os.PathLike[str], value: dict[str, Any], *, indent: int | None = 1) -> None:
    """Write a mapping as JSON for :func:`read_json`: the last key is the SHA-256 of the text before its value.

    Args:
        target: the file, written atomically.
        value: NaN becomes null.
        indent: None for one line, where there are millions of values.
    """
    text = json_text({**value, _KEY: ""}, indent)
    head, tail = text[: text.rindex(_MARK) + len(_MARK)], text[text.rindex(_MARK) + len(_MARK) :]
    write_text(target, f"{head}{hashlib.sha256(head.encode()).hexdigest()}{tail}\n")


def read_json(
    path: str | os.PathLike[str], what: str = "file of descbench", *, advice: str = "delete it and rerun"
) -> dict[str, Any]:
    """Read what :func:`write_checked_json` wrote, without the checksum.

    Args:
        path: the file.
        what: it should be, for messages.
        advice: what to do with a file that is refused.

    Raises:
        DataError: it is absent, was damaged or edited, or carries no checksum (an older version wrote it).
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: no {what} that can be read ({error.strerror}); run the stage that makes it."
        ) from error
    mark = raw.rfind(_MARK.encode())
    if mark < 0:
        raise DataError(f"{path}: not a {what} with a checksum: damaged, or written by an older version; {advice}.")
    head, tail = raw[: mark + len(_MARK)], raw[mark + len(_MARK) :]
    if _stated(tail) != hashlib.sha256(head).hexdigest():
        raise DataError(f"{path}: damaged or edited by hand, it does not have its checksum; {advice}.")
    try:
        value = json.loads(raw)
        del value[_KEY]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a {what}, though its checksum is right ({shorten(error)}); {advice}.") from error
    return value


def stated_checksum(path: str | os.PathLike[str]) -> str | None:
    """The checksum at the end of a file of :func:`write_checked_json`, not compared; None: it carries none."""
    with open(path, "rb") as stream:
        return _end(stream)[1]


def check_json(path: str | os.PathLike[str]) -> None:
    """Compare a file of :func:`write_checked_json` with its checksum, block by block, whatever its size.

    Raises:
        DataError: it was damaged or edited, or carries no checksum.
        FileNotFoundError: there is no such file.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        left, stated = _end(stream)
        stream.seek(0)
        while block := stream.read(min(left, _BLOCK)):
            digest.update(block)
            left -= len(block)
    if stated != digest.hexdigest():
        raise DataError(f"{path}: damaged or edited by hand, it does not have its checksum; delete it and rerun.")


def _end(stream: BinaryIO) -> tuple[int, str | None]:
    """How many bytes the checksum is of, and the checksum."""
    size = stream.seek(0, os.SEEK_END)
    start = stream.seek(max(0, size - _LONGEST_END - len(_MARK)))
    end = stream.read()
    mark = end.rfind(_MARK.encode()) + len(_MARK)
    return start + mark, _stated(end[mark:])


def _stated(end: bytes) -> str | None:
    found = _END.fullmatch(end)
    return found and found[1].decode()


def as_record(kind: type[Record], value: dict[str, Any], path: str | os.PathLike[str], what: str) -> Record:
    """The content of a JSON file as a dataclass, its types checked.

    Args:
        kind: the dataclass; all its fields must be there, and no others.
        value: as :func:`read_json` gives it.
        path, what: the file and what it should be, for messages.

    Raises:
        DataError: other keys, or values of another type.
    """
    if set(value) != set(kind.__dataclass_fields__):
        raise DataError(f"{path}: not a {what} of this version; delete it and rerun.")
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: not a {what} ({shorten(place)}: {first['msg']}); delete it and rerun.") from error


@cache
def _adapter(kind: type[Record]) -> TypeAdapter[Record]:
    return TypeAdapter(kind)
