"""Downloaded files stay, whatever a run does to them: second names (hard links) for as long as it lasts.

Snakemake deletes the outputs of a job before it starts the job, and again when the job fails. What took hours to
arrive must survive both, so a run begins by giving every downloaded file a second name beside it, the job that is to
make the file anew takes it back before it looks at anything else, and at the end what is missing is put back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_BEGINNING = ".aside-"


def keep_aside(files: Iterable[Path], run: Path) -> None:
    """Give files a second name. Links to the user's own copies need none; on a disk without hard links there is none.

    Args:
        files: that a run may delete.
        run: folder of the notes of the run; its name tells one run's from another's.
    """
    for file in files:
        if file.is_file() and not file.is_symlink():
            place = _aside(file, run)
            with suppress(OSError):
                place.parent.mkdir(exist_ok=True)
                os.link(file, place)


def take_back(target: Path, run: Path | None) -> None:
    """Give a file that was deleted in this run its name again, if it has a second one."""
    if run is not None and not target.is_symlink():
        with suppress(FileNotFoundError, FileExistsError):
            os.link(_aside(target, run), target)


def put_back(folder: Path, run: Path | None = None) -> None:
    """Give files that are missing their names again, and forget the second names.

    Args:
        folder: of the downloaded files.
        run: the run that ended; None: all runs, for one that was killed left its second names.
    """
    for aside in folder.glob(f"{_BEGINNING}{'*' if run is None else run.name}"):
        for file in aside.iterdir():
            take_back_to = folder / file.name
            if not take_back_to.exists() and not take_back_to.is_symlink():
                file.replace(take_back_to)
        shutil.rmtree(aside, ignore_errors=True)


def forget_aside(folder: Path, run: Path) -> None:
    """Forget the second names of a run that ended well: what is missing now was deleted on purpose (`keep_raw`)."""
    shutil.rmtree(folder / f"{_BEGINNING}{run.name}", ignore_errors=True)


def _aside(file: Path, run: Path) -> Path:
    return file.parent / f"{_BEGINNING}{run.name}" / file.name
