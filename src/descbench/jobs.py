"""What every workflow script does around its one library call: logging, and one clear message on failure."""

from __future__ import annotations

import logging
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any, NamedTuple

import numpy as np

from descbench.errors import for_user
from descbench.signals import leave, on_stop

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_DONE = "done in %.3f s, %.3f s of processor time"
_WAS_DONE = re.compile(r"INFO done in ([0-9.]+) s, ([0-9.]+) s of processor time$", re.MULTILINE)


class Work(NamedTuple):
    """What a job took from its first message to its last: the start of Python and its imports are not in it.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of all threads and child processes.
    """

    seconds: float
    cpu_seconds: float


@contextmanager
def job(snakemake: Any, seed: int | None = None, *, goes_on: bool = False) -> Iterator[None]:
    """Run the body of a workflow script as one job.

    Messages go to stderr and to the rule's log file; the last one says what the job took (:func:`read_work`). What a
    user can mend (:func:`descbench.errors.for_user`) ends the job with its message alone (the traceback goes to the log
    file); anything else ends it with a traceback in both.
    SIGTERM, which clusters send before they kill, and Ctrl-C end the job in order and with one line, so that
    nothing half-written stays behind.

    Args:
        snakemake: the object that Snakemake injects into scripts; only ``rule``, ``wildcards``,
            ``threads`` and ``log`` are used.
        seed: of the random numbers of Python, numpy and (where it is imported already) torch; None
            leaves them alone.
        goes_on: the job takes up what an earlier one left, and so does its log.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if snakemake.log:
        log_file = Path(snakemake.log[0])
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="a" if goes_on else "w", encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=handlers, force=True)
    wildcards = " ".join(f"{key}={value}" for key, value in dict(snakemake.wildcards).items())
    logging.info("%s %s (threads: %d)", snakemake.rule, wildcards, snakemake.threads)
    if seed is not None:
        _seed(seed)
    start = _now()
    with on_stop(leave):
        try:
            yield
            logging.info(_DONE, *(after - before for before, after in zip(start, _now(), strict=True)))
        except Exception as error:
            message = for_user(error)
            if message is None:
                logging.exception("%s failed", snakemake.rule)
            else:
                logging.error("%s", message)
                for handler in handlers[1:]:
                    handler.handle(logging.LogRecord("", logging.DEBUG, "", 0, "traceback", (), sys.exc_info()))
            sys.exit(1)


def _now() -> Work:
    used = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return Work(time.monotonic(), sum(one.ru_utime + one.ru_stime for one in used))


def read_work(log: Path) -> Work | None:
    """What the job took that wrote a log file last; None where it did not end, or the file cannot be read."""
    try:
        said = _WAS_DONE.findall(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return Work(*map(float, said[-1])) if said else None


@contextmanager
def all_or_none(outputs: Iterable[str]) -> Iterator[None]:
    """Of several files that belong together none stays where one could not be written."""
    try:
        yield
    except BaseException:
        for path in outputs:
            Path(path).unlink(missing_ok=True)
        raise


def optional(files: str | Sequence[str]) -> Path | None:
    """The file of an input that a rule has or has not.

    Snakemake hands over one file as text, and what an input function gave as a list (of one file, or of none)
    as a list.
    """
    if isinstance(files, str):
        return Path(files)
    return Path(files[0]) if files else None


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that still draw from numpy's global state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
