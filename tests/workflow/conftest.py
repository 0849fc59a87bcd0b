"""Workplaces of the project itself: an empty one, and some where things were made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from workplaces import Workplace, make_workplace

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import option_lists  # noqa: E402 - from the folder just added
from in_process import Bench, merged  # noqa: E402


@pytest.fixture
def workplace(tmp_path, project) -> Workplace:
    """An empty workplace."""
    return make_workplace(tmp_path / "work", project)


@pytest.fixture
def bench(workplace) -> Bench:
    """The same workplace, whose jobs run in this process."""
    return Bench(workplace.folder, workplace.project, yaml.safe_load((HERE / "tiny.yaml").read_text()))


@contextmanager
def once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of this session share, and whether it is still to be filled; others wait for it."""
    root = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder = root / name
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "filled").is_file():
            yield folder, False
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield folder, True
            (folder / "filled").touch()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, project) -> Workplace:
    """A workplace where the tiny table was built once; tests may plan in it, not change it."""
    with once(tmp_path_factory, "finished") as (folder, empty):
        if empty:
            work = make_workplace(folder / "work", project)
            work.run("--cores", str(min(2, os.cpu_count() or 1)), "results/table2.csv", "results/report.html")
        own = tmp_path_factory.mktemp("finished") / "work"
        return Workplace(shutil.copytree(folder / "work", own, symlinks=True), project)


@pytest.fixture(scope="session")
def base(tmp_path_factory, project) -> Bench:
    """A tiny town where options are executed in this process, with everything under them made once."""
    tiny, options = (yaml.safe_load((HERE / name).read_text()) for name in ("tiny.yaml", "options.yaml"))
    with once(tmp_path_factory, "base") as (folder, empty):
        bench = Bench(folder / "work", project, merged(tiny, options))
        if empty:
            make_base(bench)
        own = tmp_path_factory.mktemp("options") / "base"
        return replace(bench, folder=shutil.copytree(bench.folder, own, symlinks=True))


def make_base(bench: Bench) -> None:
    shutil.copytree(bench.project / "config", bench.folder / "config")
    option_lists.write_inputs(bench.folder)
    bench.make("data/datasets/toytown.json")
    option_lists.write_lists(bench.folder / "data/datasets")
    bench.make(
        "results/scores/own_asmk/alderford.json",
        "results/rankings/own/alderford.h5",
        "results/rankings/own/photos_noise.h5",
    )
