"""The checksums that files between stages carry, whatever their format, compared without holding a file in memory.

Binary files end with a seal, JSON files with a checksum; the one of a CSV file stands beside it. Files of formats of
others have a record beside them (``records.py``), which is a JSON file.
"""

from __future__ import annotations

from pathlib import Path

from descbench.errors import DataError
from descbench.io import csvfiles, jsonfiles, seal

_SEALED = (".h5", ".pt")


def stated_checksum(path: Path) -> str | None:
    """What a file says of its own content, which is not read; None: nothing, or there is no such file."""
    if not path.is_file():
        return None
    if path.suffix in _SEALED:
        try:
            return seal.stated_digest(path)
        except DataError:  # cut short, or a file of others
            return None
    read = {".json": jsonfiles.stated_checksum, ".csv": csvfiles.stated_checksum}.get(path.suffix)
    return None if read is None else read(path)


def damage(path: Path) -> str:
    """What is wrong with a file that carries a checksum; empty: every byte is as it was written."""
    try:
        if path.suffix in _SEALED:
            seal.check_seal(path)
        elif path.suffix == ".csv":
            csvfiles.check_csv(path, "list")
        else:
            jsonfiles.check_json(path)
    except DataError as error:
        return str(error)
    return ""
