"""CSV files of ours that another stage reads: a plain CSV, and beside it the checksum as ``sha256sum`` writes it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.io.digests import sha256_file


def checksum_path(path: str | os.PathLike[str]) -> str:
    """The file with the checksum of a CSV file."""
    return f"{os.fspath(path)}.sha256"


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file and its checksum, each atomically, the CSV last."""
    text, rows = io.StringIO(), list(rows)
    # A lone CR, which names of files may have, is quoted only where everything is.
    returns = any("\r" in str(cell) for row in rows for cell in row)
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
    writer.writerow(columns)
    writer.writerows(rows)
    content = text.getvalue()
    write_text(checksum_path(path), f"{hashlib.sha256(content.encode()).hexdigest()}  {Path(path).name}\n")
    write_text(path, content)


def read_csv(path: str | os.PathLike[str], what: str) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a file of :func:`write_csv`.

    Args:
        path: the CSV file.
        what: it should be, for messages.

    Raises:
        DataError: the file or its checksum is absent, or they do not fit each other.
    """
    with _checked(path, what) as text:
        reader = csv.DictReader(text)
        return list(reader.fieldnames or []), list(reader)


def read_csv_part(
    path: str | os.PathLike[str], what: str, column: str, value: str, start: int, stop: int | None
) -> list[dict[str, str]]:
    """Of the rows that have a value in a column those from ``start`` to ``stop`` (None: all that follow).

    Many times as fast as :func:`read_csv`, whose other arguments and errors it has, where these are few of many rows.
    """
    with _checked(path, what) as text:
        rows = csv.reader(text)
        columns = next(rows, [])
        place = columns.index(column) if column in columns else len(columns)
        chosen = (row for row in rows if len(row) == len(columns) > place and row[place] == value)
        return [dict(zip(columns, row, strict=True)) for row in islice(chosen, start, stop)]


@contextmanager
def _checked(path: str | os.PathLike[str], what: str) -> Iterator[io.StringIO]:
    """The text of a file whose checksum is right; errors of reading it are worded for the user."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: no {what} that can be read ({error.strerror}); run the stage that makes it."
        ) from error
    _compare(path, what, hashlib.sha256(raw).hexdigest())
    try:
        yield io.StringIO(raw.decode("utf-8"), newline="")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not a {what}, though its checksum is right ({error}); delete both and rerun."
        ) from error


def stated_checksum(path: str | os.PathLike[str]) -> str | None:
    """The checksum beside a file of :func:`write_csv`, not compared; None: there is none."""
    note = Path(checksum_path(path))
    return note.read_text("ascii", "replace").partition(" ")[0] if note.is_file() else None


def check_csv(path: str | os.PathLike[str], what: str) -> None:
    """Compare a file of :func:`write_csv` with its checksum, block by block; errors as of :func:`read_csv`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    _compare(Path(path), what, sha256_file(path))


def _compare(path: Path, what: str, digest: str) -> None:
    """Refuse a file whose content does not have the checksum beside it."""
    note = Path(checksum_path(path))
    try:
        noted = note.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: a {what} without its checksum ({note.name}): put there by hand, or written by an older version; "
            "delete it and rerun."
        ) from error
    if noted != f"{digest}  {path.name}\n".encode():
        raise DataError(
            f"{path}: damaged or edited by hand, it does not have the checksum in {note.name}; delete both and rerun."
        )
