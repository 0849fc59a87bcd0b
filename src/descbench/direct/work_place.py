"""The folder in which calls on images of the user's own keep features."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from descbench.errors import ConfigError
from descbench.io.outputs import make_folder

_LOCK = ".lock"

_log = logging.getLogger(__name__)


@contextmanager
def hold_folder(option: str, folder: Path, apart_from: Sequence[Path] = ()) -> Iterator[None]:
    """Make a folder and have it alone: another call that is in it is waited for.

    Without, one would rank by the features of the other's queries, whose files have the same names.

    Args:
        option: that names the folder, for messages.
        folder: to keep.
        apart_from: folders of images, which it must not lie in: the next call would find its files among them.

    Raises:
        ConfigError: it cannot be made or locked, lies in a folder of images, or holds files of others.
    """
    for images in apart_from:
        if folder.resolve().is_relative_to(images.resolve()):
            raise ConfigError(
                f"{option}: {folder} lies in {images}, a folder of images; name one outside (`work`, --work)."
            )
    make_folder(option, folder)
    try:
        if not (folder / _LOCK).exists() and any(folder.iterdir()):
            # They might have the names of ours, and would be lost.
            raise ConfigError(f"{option}: {folder} holds other files; name an empty folder, or one of an earlier call.")
        stream = open(folder / _LOCK, "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"{option}: {folder} cannot be written to ({error.strerror}).") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("%s: waiting for another call that works in this folder.", folder)
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            raise ConfigError(
                f"{option}: {folder} cannot be locked ({error.strerror}); name a folder of another disk."
            ) from error
        try:
            yield
        finally:
            # Closing is not enough: processes that load images have the file open too, and may live on.
            fcntl.flock(stream, fcntl.LOCK_UN)
