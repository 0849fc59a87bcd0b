"""Snakemake in a working directory of its own, with the rules of a project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TINY = Path(__file__).parent / "workflow/tiny.yaml"


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
    shutil.copy(TINY, folder)
    return Workplace(folder, project)
