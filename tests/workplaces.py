"""Snakemake in a working directory of its own, with the rules of a project."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import snakemake.cli
import yaml
from snakemake.api import SnakemakeApi
from snakemake.parser import parse
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

FORK = multiprocessing.get_context("fork")
TINY = Path(__file__).parent / "workflow/tiny.yaml"
_parsed: dict[tuple[str, int, int], tuple[tuple[str, int], dict[int, int]]] = {}


def _parse_once(path: Any, workflow: Any, linemap: dict[int, int], rulecount: int = 0) -> tuple[str, int]:
    """Snakemake's translation of a file of rules into Python, kept for the next plan."""
    name = path.get_path_or_uri(secret_free=True)
    key = name, Path(name).stat().st_mtime_ns, rulecount
    if key not in _parsed:
        lines: dict[int, int] = {}
        _parsed[key] = parse(path, workflow, lines, rulecount=rulecount), lines
    code, lines = _parsed[key]
    linemap.update(lines)
    return code


# Most of the time that a plan takes goes into its files of rules, which are the same for all.
TRANSLATED_ONCE = mock.patch.multiple(
    "snakemake.workflow", create=True, parse=_parse_once, compile=functools.cache(compile)
)


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
        """Run snakemake; with ``check``, its failure fails the test.

        Its process is a fork of this one, which has imported it: a start of Python would take three seconds more.
        """
        command = self.command(*arguments, **options)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            given = ([*map(str, command[3:])], self.folder, out.fileno(), err.fileno())
            process = FORK.Process(target=_become_snakemake, args=given, daemon=True)
            process.start()
            process.join(500)
            assert process.exitcode is not None, f"{command} did not end"
            out.seek(0)
            err.seek(0)
            result = subprocess.CompletedProcess(command, process.exitcode, out.read(), err.read())
        if check:
            assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
        return result

    def planned(
        self, *targets: str, overlay: dict[str, Any] | None = None, config: str = "tiny.yaml"
    ) -> dict[str, int]:
        """Jobs that targets need: rule -> number; empty when nothing is to be done. Planned in this process."""
        files = [config]
        if overlay is not None:
            files.append("overlay.yaml")
            (self.folder / files[-1]).write_text(yaml.safe_dump(overlay))
        with contextlib.chdir(self.folder):
            jobs = plan_jobs(self.project, self.folder, [Path(file) for file in files], targets)
        return dict(Counter(job.rule.name for job in jobs))


def _become_snakemake(arguments: list[str], folder: Path, out: int, err: int) -> None:
    """What ``python -m snakemake`` does in a folder, its output going to two open files."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = [str(Path(snakemake.cli.__file__).with_name("__main__.py")), *arguments]
    for number, name, file in ((1, "stdout", out), (2, "stderr", err)):
        os.dup2(file, number)
        setattr(sys, name, os.fdopen(number, "w", 1))
    with TRANSLATED_ONCE:
        snakemake.cli.main(arguments)


def plan_jobs(
    project: Path, folder: Path, files: Iterable[Path], targets: Iterable[str], anew: Iterable[str] = ()
) -> list[Any]:
    """Snakemake's jobs that targets need, in order, without a start of Snakemake; ``anew``: rules that run again."""
    with TRANSLATED_ONCE, SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(configfiles=list(files)),
            snakefile=project / "Snakefile",
            workdir=folder,
        )
        dag = workflow.dag(DAGSettings(targets=frozenset(targets), forcerun=frozenset(anew)))
        dag.execute_workflow(executor="dryrun")
        planned = workflow._workflow.dag
        return [job for level in planned.toposorted() for job in level if planned.needrun(job)]


def make_workplace(folder: Path, project: Path) -> Workplace:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(project / "config", folder / "config", dirs_exist_ok=True)
    shutil.copy(TINY, folder)
    return Workplace(folder, project)
