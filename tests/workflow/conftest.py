"""Snakemake in a working directory of its own, with the project's rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import option_lists  # noqa: E402 - from the folder just added
from in_process import Bench, merged  # noqa: E402


@dataclass(frozen=True)
class Workplace:
    """A working directory with a copy of config/, as a user has one."""

    folder: Path
    project: Path

    def command(self, *arguments: str, overlay: dict[str, Any] | None = None, config: str = "tiny.yaml") -> list[str]:
        """The command line; ``overlay`` is a further config file."""
        files = [config]
        if overlay is not None:
            (self.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
            files.append("overlay.yaml")
        snakemake = [sys.executable, "-m", "snakemake", "-s", str(self.project / "Snakefile")]
        # Inputs and parameters decide; the rules' own files may change while one writes them.
        return [*snakemake, *arguments, "--configfile", *files]

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run snakemake; with ``check``, its failure fails the test."""
        result = subprocess.run(
            self.command(*arguments, **options), cwd=self.folder, capture_output=True, text=True, timeout=500
        )
        if check:
            assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
        return result

    def planned(self, *targets: str, **options: Any) -> dict[str, int]:
        """Jobs of a dry run: rule -> number; empty when nothing is to be done."""
        output = self.run("-n", *targets, **options)
        text = output.stdout + output.stderr
        return {name: int(number) for name, number in re.findall(r"^(\w+)\s+(\d+)$", text, re.M) if name != "total"}


def make_workplace(folder: Path, project: Path) -> Workplace:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(project / "config", folder / "config", dirs_exist_ok=True)
    shutil.copy(HERE / "tiny.yaml", folder)
    return Workplace(folder, project)


@pytest.fixture
def workplace(tmp_path, project) -> Workplace:
    """An empty workplace."""
    return make_workplace(tmp_path / "work", project)


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
