"""Files that a user names for results: refused, before anything is computed, where something else would be lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from descbench.errors import ConfigError, DataError

_PAGES = (".html", ".htm")

Given = str | Path | None


def check_output(
    path: Given,
    inputs: Sequence[Given] = (),
    *,
    option: str = "output",
    endings: Sequence[str] = (),
    read: Callable[[Path], object] | None = None,
) -> None:
    """Refuse a file that is not a place for a result, and make its folder.

    Args:
        path: the file; None: there is none.
        inputs: files that are read, and folders of such files.
        option: that names the file, for messages.
        endings: that such a result has; none: any.
        read: reads such a result, or raises DataError: a file that is there is replaced only if it is empty or can be
            read.

    Raises:
        ConfigError: a folder or a device, another ending, an input, or a file of something else.
    """
    if path is None:
        return
    target = Path(path)
    if target.is_dir():
        raise ConfigError(f"{option}: {path} is a folder; name the file to write.")
    if target.exists() and not target.is_file():
        raise ConfigError(f"{option}: {path} is a named pipe, a socket or a device; name a file to write.")
    if endings and target.suffix.lower() not in endings:
        # A photograph of the user's would be gone.
        raise ConfigError(f"{option}: {path} does not end in {' or '.join(endings)}; name the file to write.")
    place = target.resolve()
    if any(place.is_relative_to(Path(given).resolve()) for given in inputs if given is not None):
        raise ConfigError(f"{option}: {path} is read by this call; name another file to write.")
    if read is not None and target.exists() and target.stat().st_size:
        try:
            read(target)
        except DataError:
            raise ConfigError(
                f"{option}: {path} is there and holds something else; name another file, or move it away."
            ) from None
    make_folder(option, target.parent)


def check_page(html: Given, inputs: Sequence[Given] = ()) -> None:
    """Refuse what is not a place for a page, as :func:`check_output`."""
    check_output(html, inputs, option="html", endings=_PAGES)


def make_folder(option: str, folder: Path) -> None:
    """Make a folder that an option names, before anything is computed for it.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{option}: the folder {folder} cannot be made ({error.strerror}).") from error
