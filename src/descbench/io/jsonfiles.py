"""JSON files of ours that another stage reads: they end with a checksum over every byte before it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from descbench.errors import DataError
from descbench.io.atomic import json_text, write_text

_KEY = "checksum"
_MARK = f'"{_KEY}": "'


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
    if tail not in (f'{hashlib.sha256(head).hexdigest()}"{end}\n'.encode() for end in ("}", "\n}")):
        raise DataError(f"{path}: damaged or edited by hand, it does not have its checksum; {advice}.")
    value = json.loads(raw)
    del value[_KEY]
    return value
