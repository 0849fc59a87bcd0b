"""Time and memory of the jobs behind a result, from Snakemake's benchmark files and the jobs' logs (docs/report.md)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from descbench.jobs import Work, read_work

# Sections of the names behind a result (`Lineage.names_behind`) that wildcards of a benchmark's path belong to.
_SECTIONS = {
    "method": "methods",
    "features": "features",
    "model": "models",
    "dataset": "datasets",
    "searched": "datasets",
    "patch_set": "datasets",
    "source": "sources",
    "file": "files",
}
# Wildcards that name a piece of what others name.
_PIECES = {"role", "shard", "part"}
# Seconds between the end of a job and its benchmark file; more, and the file is of another run's job.
_LATE = 60.0


class StageFiles(NamedTuple):
    """Patterns of files of a rule, with wildcards in braces: benchmark file, first output and log."""

    benchmark: str
    output: str
    log: str


@dataclass(frozen=True)
class JobTime:
    """One job that ran.

    Attributes:
        stage: name of its rule.
        output: pattern of the file that it made.
        wildcards: of the job.
        seconds: from its start to its end.
        cpu_seconds: of all its threads; None where none was measured.
        memory_mb: largest resident memory in MiB; None where none was measured.
        work: what it took without the start of Python; None where its log does not say.
    """

    stage: str
    output: str
    wildcards: Mapping[str, str]
    seconds: float
    cpu_seconds: float | None
    memory_mb: float | None
    work: Work | None = None


@dataclass(frozen=True)
class StageTime:
    """All jobs of a stage behind a result: sums of seconds, and the largest memory; see :class:`JobTime`."""

    stage: str
    jobs: int
    seconds: float
    cpu_seconds: float | None
    memory_mb: float | None
    work: Work | None = None


def read_job_times(stages: Mapping[str, StageFiles]) -> list[JobTime]:
    """The jobs of stages whose benchmark files are there and belong to the file that the job made.

    A file that another configuration's job of the same name overwrote is of another time than what is there, and left
    out.

    Args:
        stages: by rule.
    """
    found = []
    for stage, files in stages.items():
        benchmark = files.benchmark
        pattern = _regex(benchmark)
        root = Path(benchmark.partition("{")[0]).parent if "{" in benchmark else Path(benchmark).parent
        for path in sorted(root.rglob("*.tsv")):
            match = pattern.fullmatch(path.as_posix())
            job = match and _read(path, stage, files, match.groupdict())
            if job:
                found.append(job)
    return found


def times_behind(jobs: Iterable[JobTime], names: Mapping[str, Collection[str]]) -> list[StageTime]:
    """The stages behind a result, in the order of the jobs.

    Args:
        jobs: as of :func:`read_job_times`.
        names: what the result rests on, by section (:meth:`descbench.lineage.Lineage.names_behind`).
    """
    stages: dict[str, list[JobTime]] = {}
    for job in jobs:
        if _is_behind(job, names):
            stages.setdefault(job.stage, []).append(job)
    return [_sum(stage, found) for stage, found in stages.items()]


def _is_behind(job: JobTime, names: Mapping[str, Collection[str]]) -> bool:
    """Whether a result rests on a job; jobs without wildcards are of no result in particular."""
    asked = {key: value for key, value in job.wildcards.items() if key not in _PIECES}
    if not asked or not asked.keys() <= _SECTIONS.keys():
        return False
    # What a method makes of a dataset that a network of its learned from is another result.
    sections = _SECTIONS | {"dataset": "scored"} if "method" in asked else _SECTIONS
    return all(value in names[sections[key]] for key, value in asked.items())


def _sum(stage: str, jobs: list[JobTime]) -> StageTime:
    cpu = [job.cpu_seconds for job in jobs if job.cpu_seconds is not None]
    memory = [job.memory_mb for job in jobs if job.memory_mb is not None]
    work = [job.work for job in jobs if job.work is not None]
    return StageTime(
        stage,
        len(jobs),
        sum(job.seconds for job in jobs),
        sum(cpu) if len(cpu) == len(jobs) else None,
        max(memory, default=None),
        Work(*map(sum, zip(*work, strict=True))) if len(work) == len(jobs) else None,
    )


def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile("".join(f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def _read(path: Path, stage: str, files: StageFiles, wildcards: Mapping[str, str]) -> JobTime | None:
    """A benchmark file's last row; None where it cannot be read, or is not of the file that is there."""
    made, log = (Path(pattern.format(**wildcards)) for pattern in (files.output, files.log))
    try:
        header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        row = dict(zip(header, rows[-1], strict=True))
        seconds = _number(row["s"])
        after = path.stat().st_mtime - made.stat().st_mtime
    except (OSError, ValueError, KeyError, IndexError):
        return None
    if seconds is None or not -_LATE <= after <= seconds + _LATE:
        return None
    cpu_seconds, memory = _number(row.get("cpu_time")), _number(row.get("max_rss"))
    return JobTime(stage, files.output, wildcards, seconds, cpu_seconds, memory, read_work(log))


def _number(text: str | None) -> float | None:
    """A measurement; None where Snakemake writes that it has none (``NA`` or ``-``)."""
    return float(text) if text and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else None
