"""Write a file in full or not at all: a temporary name beside the target, fsync, rename."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from descbench.errors import DataError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SIGNS = (
    "no space left",
    "file too large",
    "quota exceeded",
    "disk is full",
    *(f"errno = {number}," for number in _DISK_FULL),
)


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on a clean exit it is fsynced and renamed to ``target``.

    On an exception the temporary file is removed and ``target`` is left as it was. The parent directory is
    made when absent. A killed process leaves at most a ``.tmp-<host>-<process>`` file, which no reader looks
    at and which the next writer of the same target removes.

    Raises:
        DataError: the disk is full, the folder cannot be written to, or the target is a named pipe, socket or device.
    """
    target = Path(target)
    temporary = _temporary(target)
    with named_errors(target, temporary):
        if _is_device(target):
            # Its place would be taken by a file: of /dev/null, for all programs.
            raise DataError(f"{target}: is a named pipe, a socket or a device; name a file to write.")
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        try:
            yield temporary
            _fsync(temporary)
            temporary.replace(target)
            _fsync(target.parent)
        finally:
            with suppress(OSError):  # the error that led here is the one to tell
                temporary.unlink(missing_ok=True)


def _is_device(target: Path) -> bool:
    """Whether a path is a pipe, socket or device, or such a link to one as /dev/stdout, wherever it leads now."""
    if target.is_symlink() and target.parent.resolve().parts[1:2] in (("dev",), ("proc",)):
        return True
    return target.exists() and not (target.is_file() or target.is_dir())


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``output``, for files that it is computed with; it is removed in the end.

    What a killed process left is removed by the next one that computes the same output.

    Raises:
        DataError: the disk is full, or the folder cannot be written to.
    """
    target = output.with_name(f"{output.name}.work")
    folder = _temporary(target)
    with named_errors(output, folder):
        output.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        shutil.rmtree(folder, ignore_errors=True)  # of a killed process of the same number
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def into_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose files take their places below ``folder`` on a clean exit; on an error none does.

    Raises:
        DataError: the disk is full, or the folder cannot be written to.
    """
    with work_folder(folder / "descbench") as made:
        yield made
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            target = folder / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


@contextmanager
def named_errors(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Word errors of writing a file for the user; errors that concern other files pass unchanged."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if is_disk_full(error):
            raise DataError(
                f"{target}: could not be written: disk full; free some space and rerun ({error})."
            ) from error
        concerned = {str(path) for path in (target, target.parent, temporary)}
        if isinstance(error, IsADirectoryError) and target.is_dir():
            raise DataError(f"{target}: is a folder; name a file to write.") from error
        if isinstance(error, OSError) and str(error.filename) in concerned:
            raise DataError(
                f"{target}: could not be written: see whether its folder can be written to ({error})."
            ) from error
        raise


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that the disk or the quota is full.

    HDF5 and torch may notice that only when a file is closed, and then have no errno to give.
    """
    while error is not None:
        if getattr(error, "errno", None) in _DISK_FULL or any(sign in str(error).lower() for sign in _FULL_SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) to ``target`` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON to ``target`` atomically; NaN becomes null.

    What another stage reads is written by :func:`descbench.io.jsonfiles.write_checked_json`.
    """
    write_text(target, json_text(value) + "\n")


def json_text(value: Any, indent: int | None = 1) -> str:
    """``value`` as JSON; NaN becomes null."""
    return json.dumps(_nan_to_null(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _nan_to_null(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {key: _nan_to_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_null(item) for item in value]
    return value


def _temporary(target: Path) -> Path:
    """What this process makes before it has the target's name."""
    return target.with_name(f"{target.name}.tmp-{_host()}-{os.getpid()}")


def remove_leftovers(target: Path) -> None:
    """Remove temporary files and folders of writers of ``target`` that were killed.

    One target has one writer at a time: Snakemake locks its working directory, downloads have a lock of their
    own. Of this host's processes only those that are gone count, to be safe.
    """
    pattern = re.compile(rf"{re.escape(target.name)}\.tmp-(?:(.+)-)?(\d+)")
    with os.scandir(target.parent) as entries:
        found = [(Path(entry.path), match) for entry in entries if (match := pattern.fullmatch(entry.name))]
    for path, match in found:
        if match[1] not in (None, _host()) or not _is_running(int(match[2])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"[^\w.]", "_", socket.gethostname())


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
