"""The workflow's jobs in this process: planned by Snakemake, with what it hands to scripts, without its starts."""

from __future__ import annotations

import asyncio
import logging
import os
import runpy
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from snakemake.script import Snakemake

from workplaces import plan_jobs

HERE = Path(__file__).parent


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Configuration with another one laid over it."""
    both = {
        key: merged(one[key], value) if isinstance(one.get(key), dict) and isinstance(value, dict) else value
        for key, value in other.items()
    }
    return {**one, **both}


class RefusedError(Exception):
    """A job ended with a message."""


@dataclass(frozen=True)
class Bench:
    """A folder where targets are made job by job.

    Attributes:
        folder: the working directory.
        project: the repository.
        config: what lies under every overlay.
    """

    folder: Path
    project: Path
    config: dict[str, Any]

    def make(self, *targets: str, overlay: dict[str, Any] | None = None, anew: Iterable[str] = ()) -> list[str]:
        """Make targets, and again what the rules ``anew`` and those after them make of it; gives the rules that ran.

        Raises:
            RefusedError: with the log of the job that was refused.
        """
        ran = []
        for job in self.jobs(*targets, overlay=overlay, anew=anew):
            self.run(job)
            ran.append(job.rule.name)
        return ran

    def put(self, file: str, other: str) -> None:
        """Put what another file holds in the place of one."""
        content = (self.folder / other).read_bytes()
        (self.folder / file).unlink()
        (self.folder / file).write_bytes(content)

    def refused(self, file: str, other: str, target: str, *, rule: str, overlay: dict[str, Any]) -> str:
        """What a rule says where another file's content is in the place of a file that it reads."""
        self.put(file, other)
        with pytest.raises(RefusedError) as error:
            self.make(target, overlay=overlay, anew=[rule])
        return str(error.value)

    def copy(self, name: str) -> Bench:
        """A bench beside this one with all that was made so far; files are linked, for no job changes one in place."""
        folder = self.folder.parent / name
        ignored = shutil.ignore_patterns(".snakemake")
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=os.link, ignore=ignored)
        # Records of what was made are changed in place.
        if (records := self.folder / ".snakemake").is_dir():
            shutil.copytree(records, folder / ".snakemake", dirs_exist_ok=True)
        return Bench(folder, self.project, self.config)

    def jobs(self, *targets: str, overlay: dict[str, Any] | None = None, anew: Iterable[str] = ()) -> list[Any]:
        """The jobs that targets need, in order."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            return self._plan(targets, overlay or {}, anew)

    def planned(self, *targets: str, overlay: dict[str, Any] | None = None) -> dict[str, int]:
        """Jobs that targets need: rule -> number; empty when nothing is to be done."""
        return dict(Counter(job.rule.name for job in self.jobs(*targets, overlay=overlay)))

    def run(self, job: Any, *, recorded: bool = True) -> None:
        """Run one job; ``recorded``: as Snakemake does, so that the next plan knows its parameters.

        Raises:
            RefusedError: with its log.
        """
        threads = torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.syspath_prepend(HERE)
            torch.set_num_threads(1)
            try:
                self._run(job)
                if recorded:
                    asyncio.run(job.dag.workflow.persistence.finished(job))
            finally:
                torch.set_num_threads(threads)

    def _plan(self, targets: Iterable[str], overlay: dict[str, Any], anew: Iterable[str]) -> list[Any]:
        files = []
        for name, content in (("bench.yaml", self.config), ("overlay.yaml", overlay)):
            path = self.folder / name
            path.unlink(missing_ok=True)
            path.write_text(yaml.safe_dump(content))
            files.append(path)
        return plan_jobs(self.project, self.folder, files, targets, anew)

    def _run(self, job: Any) -> None:
        """The script of a job's rule, given the object that Snakemake gives it."""
        for path in (*job.output, *job.log):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        log = Path(job.log[0])
        log.unlink(missing_ok=True)
        given = Snakemake(
            job.input, job.output, job.params, job.wildcards, 1, job.resources, job.log, {}, job.rule.name, None
        )
        script = self.project / "workflow/scripts" / f"{job.rule.name}.py"
        handlers = logging.root.handlers[:]
        try:
            runpy.run_path(str(script), {"snakemake": given})
        except SystemExit:
            raise RefusedError(log.read_text()) from None
        finally:
            for handler in logging.root.handlers[:]:
                logging.root.removeHandler(handler)
                handler.close()
            for handler in handlers:
                logging.root.addHandler(handler)
