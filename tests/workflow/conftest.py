"""Workplaces of the project itself: an empty one, and some where things were made once."""

from __future__ import annotations

import os
import shutil
import sys
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


@pytest.fixture(scope="session")
def finished(tmp_path_factory, project) -> Workplace:
    """A workplace where the tiny table was built once; tests may plan in it, not change it."""
    work = make_workplace(tmp_path_factory.mktemp("finished") / "work", project)
    work.run("--cores", str(min(2, os.cpu_count() or 1)), "results/table2.csv", "results/report.html")
    return work


@pytest.fixture(scope="session")
def base(tmp_path_factory, project) -> Bench:
    """A tiny town where options are executed in this process, with everything under them made once."""
    folder = tmp_path_factory.mktemp("options") / "base"
    shutil.copytree(project / "config", folder / "config")
    tiny, options = (yaml.safe_load((HERE / name).read_text()) for name in ("tiny.yaml", "options.yaml"))
    bench = Bench(folder, project, merged(tiny, options))
    option_lists.write_inputs(folder)
    bench.make("data/datasets/toytown.json")
    option_lists.write_lists(folder / "data/datasets")
    bench.make(
        "results/scores/own_asmk/alderford.json",
        "results/rankings/own/alderford.h5",
        "results/rankings/own/photos_noise.h5",
    )
    return bench
