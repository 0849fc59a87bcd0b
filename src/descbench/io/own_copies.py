"""Whether a user's own copy of a source is another one than before.

Light on purpose: the workflow asks while it plans, of archives of many gigabytes and folders of a million files.
"""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

# Files up to this size are read whole; of larger ones the ends, where archives have their checksums and directories.
_WHOLE = 16 << 20
_END = 1 << 20


def digest_copy(path: Path) -> str:
    """Digest of a file, or of all files below a folder, that differs when one of them was replaced.

    A file of up to 16 MiB is read; a larger one is told by its size, its time and both its ends; those in a folder
    are told by their names, sizes and times. What is not there gives ``absent``; the job that needs it says so.
    """
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError:
        return "absent"


def _of_file(path: Path) -> str:
    state = path.stat()
    digest = xxhash.xxh3_128(str(state.st_size).encode())
    with open(path, "rb") as stream:
        if state.st_size <= _WHOLE:
            digest.update(stream.read())
        else:
            digest.update(str(state.st_mtime_ns).encode())
            digest.update(stream.read(_END))
            stream.seek(-_END, os.SEEK_END)
            digest.update(stream.read(_END))
    return digest.hexdigest()


def _of_folder(folder: Path) -> str:
    """Links are followed; a folder is entered once."""
    digest = xxhash.xxh3_128()
    entered: set[str] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(current))
        folders[:] = sorted(name for name in folders if os.path.realpath(f"{current}/{name}") not in entered)
        for name in sorted(files):
            path = f"{current}/{name}"
            state = os.stat(path) if os.path.exists(path) else None  # noqa: PTH110, PTH116 - of a million files
            what = (state.st_size, state.st_mtime_ns) if state else "absent"
            digest.update(os.fsencode(f"{os.path.relpath(path, folder)}\0{what}\n"))
    return digest.hexdigest()
