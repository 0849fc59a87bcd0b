"""Do one harm at a time to a small workflow, and see what becomes of its tables."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import yaml
from damage import DAMAGES, put
from in_process import HERE, Bench, RefusedError, merged

ROOT = Path(__file__).resolve().parents[2]
TABLES = tuple(f"results/{name}.csv" for name in ("faults", "patched", "matched", "localised"))
_FORK = multiprocessing.get_context("fork")
_SMALLEST_LIMIT = 1 << 12  # bytes: below it not even a log can be written


class Broken(Exception):
    """A promise was broken: what the fault led to."""


class WrongTable(Broken):
    """Worst of all: another table, without a word."""


@dataclass
class Report:
    """What became of the faults.

    Attributes:
        survived: number of faults after which the table was the same, or one clear error was and then the table.
        wrong: faults after which another table was there without an error.
        broken: faults after which something else was, with what.
    """

    survived: int = 0
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def closing_line(self) -> str:
        """The last line of a run."""
        faults = self.survived + len(self.wrong) + len(self.broken)
        return f"{faults} faults, {self.survived} survived, {len(self.wrong)} wrong tables"


@dataclass(frozen=True)
class Step:
    """A job of the workflow, as far as faults need it."""

    rule: str
    inputs: frozenset[str]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Town:
    """A finished workflow: its folder, what it made of what, its tables, and the seconds each job took."""

    bench: Bench
    steps: tuple[Step, ...]
    tables: bytes

    def files(self) -> list[str]:
        """Everything that one job wrote and another may read, files of folders too."""
        written = {output for step in self.steps for output in step.outputs} - set(TABLES)
        paths = [self.bench.folder / output for output in written]
        found = [one for path in paths for one in (path, *path.glob("*")) if one.is_file()]
        return sorted(str(path.relative_to(self.bench.folder)) for path in found)

    def output(self, file: str) -> str:
        """The output of a job that a file is, or that it lies in."""
        return next(o for step in self.steps for o in step.outputs if file == o or file.startswith(f"{o}/"))

    def maker(self, file: str) -> Step:
        """The job that wrote a file."""
        return next(step for step in self.steps if self.output(file) in step.outputs)

    def behind(self, files: frozenset[str]) -> list[Step]:
        """The jobs that rest on any of some files, directly or not."""
        found = []
        for step in self.steps:
            if step.inputs & files:
                files |= set(step.outputs)
                found.append(step)
        return found


def make_town(folder: Path) -> Town:
    """Run the workflow once."""
    tests = ((HERE / "tiny.yaml"), Path(__file__).with_name("town.yaml"))
    tiny, town = (yaml.safe_load(path.read_text()) for path in tests)
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "config", folder / "config")
    bench = Bench(folder, ROOT, merged(tiny, town))
    steps = []
    for job in bench.jobs(*TABLES):
        bench.run(job)
        steps.append(Step(job.rule.name, frozenset(map(str, job.input)), tuple(map(str, job.output))))
    return Town(bench, tuple(steps), _read_tables(bench))


def run(town: Town, faults: int, seed: int, processes: int, tell: Callable[[str], None] = print) -> Report:
    """Do ``faults`` harms, each to a copy of the finished workflow."""
    report = Report()
    with ProcessPoolExecutor(processes, _FORK) as pool:
        for number, kind, what in pool.map(partial(_one, town, seed), range(faults)):
            if kind == "survived":
                report.survived += 1
                continue
            (report.wrong if kind == "wrong" else report.broken).append(what)
            tell(f"fault {number}: {what}")
    return report


def _one(town: Town, seed: int, number: int) -> tuple[int, str, str]:
    """Fault ``number``: what it is follows from the number and the seed, as often as it is repeated."""
    dice = Random(f"{seed} {number}")
    harm = (damaged_file, damaged_file, killed_job, full_disk)[number % 4]
    place = tempfile.mkdtemp(dir=town.bench.folder.parent)
    shutil.rmtree(place)
    bench = town.bench.copy(Path(place).name)
    doing = harm(dice, town, bench)
    told = next(doing)
    try:
        next(doing, None)
    except WrongTable as error:
        return number, "wrong", f"{told}: {error}"
    except Broken as error:
        return number, "broken", f"{told}: {error}"
    except Exception:
        return number, "broken", f"{told}: {traceback.format_exc(limit=-3)}"
    finally:
        shutil.rmtree(bench.folder)
    return number, "survived", told


def damaged_file(dice: Random, town: Town, bench: Bench) -> Iterator[str]:
    """A file is damaged while no job runs; the table is then wanted again."""
    file = dice.choice(town.files())
    maker = town.maker(file)
    others = [
        (bench.folder / other).read_bytes()
        for step in town.steps
        if step.rule == maker.rule and step is not maker
        for mine, other in zip(maker.outputs, step.outputs, strict=True)
        if mine == file  # of a folder there is no other
    ]
    way = dice.choice(DAMAGES)
    path = bench.folder / file
    content = path.read_bytes()
    damaged = way(dice, content, [other for other in others if other != content]) if content else b"\0"
    yield f"{way.__name__} in {file}"
    for step in town.behind(frozenset([town.output(file)])):
        _remove(bench, step.outputs)
    _remove(bench, TABLES)
    put(path, damaged)
    try:
        bench.make(*TABLES)
    except RefusedError as error:
        list_of = file.removesuffix(".sha256")
        if Path(list_of).name not in str(error):
            raise Broken(f"the error does not name it: {error}") from None
        _clear(error)
        _remove(bench, (town.output(file), list_of))
        bench.make(*TABLES)
    _compare(town, bench)


def killed_job(dice: Random, town: Town, bench: Bench) -> Iterator[str]:
    """A job is killed at any moment."""
    step = dice.choice([step for step in town.steps if step.rule not in ("draw_toytown", "build_table")])
    yield f"{step.rule} of {step.outputs[0]} killed"
    for later in town.behind(frozenset(step.outputs)):
        _remove(bench, later.outputs)
    _remove(bench, step.outputs)
    [job, *_] = bench.jobs(*step.outputs)
    child = _FORK.Process(target=_quietly, args=(bench, job))
    child.start()
    time.sleep(dice.uniform(0, 1.5) ** 2)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    bench.make(*TABLES)
    _compare(town, bench)


def full_disk(dice: Random, town: Town, bench: Bench) -> Iterator[str]:
    """No file can become longer than so many bytes while a job writes."""
    step = dice.choice([step for step in town.steps if step.rule not in ("draw_toytown", "build_table")])
    sizes = [(bench.folder / output).stat().st_size for output in step.outputs]
    limit = dice.randrange(_SMALLEST_LIMIT, max(max(sizes), _SMALLEST_LIMIT + 1) + 1)
    yield f"{step.rule} of {step.outputs[0]} with a disk full at {limit} bytes"
    for later in town.behind(frozenset(step.outputs)):
        _remove(bench, later.outputs)
    _remove(bench, step.outputs)
    [job, *_] = bench.jobs(*step.outputs)
    child = _FORK.Process(target=_quietly, args=(bench, job, limit))
    child.start()
    child.join()
    if child.exitcode:
        log = (bench.folder / str(job.log[0])).read_text()
        _clear(log)
        if left := [o for o in step.outputs if (bench.folder / o).exists()]:
            raise Broken(f"left {left}")
    if left := _temporaries(bench):
        raise Broken(f"left {left}")
    bench.make(*TABLES)
    _compare(town, bench)


def _quietly(bench: Bench, job: Any, limit: int | None = None) -> None:
    """What a child does: one job."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        # Where the disk is full for Snakemake's own records is no affair of the job.
        bench.run(job, recorded=limit is None)
    except RefusedError:
        os._exit(1)
    os._exit(0)


def _clear(message: object) -> None:
    """One clear error, not one that nobody thought of."""
    text = str(message)
    if " failed\nTraceback" in text:
        raise Broken(f"a traceback: {text[-600:]}")


def _remove(bench: Bench, files: Iterator[str] | tuple[str, ...]) -> None:
    for file in files:
        path = bench.folder / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _read_tables(bench: Bench) -> bytes:
    return b"".join((bench.folder / table).read_bytes() for table in TABLES)


def _temporaries(bench: Bench) -> list[str]:
    return [str(p.relative_to(bench.folder)) for p in bench.folder.rglob("*.tmp-*")]


def _compare(town: Town, bench: Bench) -> None:
    if _read_tables(bench) != town.tables:
        raise WrongTable("another table, without a word")
    if left := _temporaries(bench):
        raise Broken(f"left {left}")


@contextmanager
def temporary_town() -> Iterator[Town]:
    """A finished workflow in a folder that is removed in the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield make_town(Path(folder) / "town")
