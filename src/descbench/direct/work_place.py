"""Where calls on images of the user's own write: the folder that they keep, and the files that they are asked for."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from descbench.command_files import make_folder
from descbench.errors import ConfigError

_LOCK = ".lock"
_PAGES = (".html", ".htm")

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
        ConfigError: it cannot be made or locked, or lies in a folder of images.
    """
    for images in apart_from:
        if folder.resolve().is_relative_to(images.resolve()):
            raise ConfigError(
                f"{option}: {folder} lies in {images}, a folder of images; name one outside (`work`, --work)."
            )
    make_folder(option, folder)
    try:
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


def check_page(html: str | Path | None, inputs: Sequence[str | Path | None] = ()) -> None:
    """Refuse, before anything is computed, a page that cannot be written or would replace another kind of file.

    Args:
        html: the page; None: there is none.
        inputs: files that are read, which no page may replace.

    Raises:
        ConfigError: it is a folder or an input, or has another ending than a page.
    """
    _check_output("html", html, _PAGES, inputs)


def check_scores(output: str | Path | None, inputs: Sequence[str | Path | None] = ()) -> None:
    """Refuse what is no scores file, as :func:`check_page`.

    Raises:
        ConfigError: it is a folder or an input, or has another ending than a scores file.
    """
    _check_output("output", output, (".json",), inputs)


def _check_output(
    option: str, path: str | Path | None, endings: Sequence[str], inputs: Sequence[str | Path | None]
) -> None:
    if path is None:
        return
    if Path(path).is_dir():
        raise ConfigError(f"{option}: {path} is a folder; name the file to write.")
    if Path(path).exists() and not Path(path).is_file():
        raise ConfigError(f"{option}: {path} is a named pipe, a socket or a device; name a file to write.")
    if Path(path).suffix.lower() not in endings:
        # A photograph of the user's would be gone.
        raise ConfigError(f"{option}: {path} does not end in {' or '.join(endings)}; name the file to write.")
    if any(Path(path).resolve() == Path(given).resolve() for given in inputs if given is not None):
        raise ConfigError(f"{option}: {path} is read by this call; name another file to write.")
    make_folder(option, Path(path).parent)
