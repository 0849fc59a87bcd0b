"""Untrusted text files: UTF-8 with or without a byte order mark, lines that end in LF or CRLF; JSON in them."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from pathlib import Path
from typing import Any

from descbench.errors import DataError

_OTHER_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", codecs.BOM_UTF32_BE: "UTF-32"}


def read_text(path: Path) -> str:
    """Content of a UTF-8 file, without its byte order mark.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none; the caller knows what to say.
        DataError: a folder, a file that cannot be opened, or one of another encoding; names the first bad line.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(f"{path}: neither a file nor a folder; put a text file there.")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, where a text file is needed; correct the path.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    for mark, name in _OTHER_MARKS.items():
        if content.startswith(mark):
            raise DataError(f"{path}: line 1: text in {name}; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = content[error.start]
        raise DataError(f"{path}: line {line}: byte 0x{wrong:02x} is not UTF-8; save the file as UTF-8.") from None


def parse_json(text: str) -> Any:
    """What an untrusted JSON text says; of a key that is written twice, Python would take the last without a word.

    Raises:
        ValueError, RecursionError: it is not JSON, or an object has a key twice.
    """
    return json.loads(text, object_pairs_hook=_each_key_once)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} is written twice")
    return found


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file, without LF or CRLF.

    Only these end a line: ``splitlines()`` would also cut names at rarer separators.

    Raises:
        FileNotFoundError, NotADirectoryError, DataError: as :func:`read_text`.
    """
    return [line.removesuffix("\r") for line in read_text(path).split("\n")]
