"""What the jobs of one run are told and tell one another: hosts, missing files, and the stages of the run.

Each job is a process of its own. The workflow names a folder in the environment; in it a job notes a host that
could not be reached, which no other job of the run then asks again, and a file that could not be had. The workflow
itself notes the stages behind the report, which shows them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

from descbench.io.atomic import write_json, write_text

RUN_FOLDER = "DESCBENCH_RUN"
# How Snakemake was called, up to the target. No parameter of a job: it is no reason to make anything again.
RUN_COMMAND = "DESCBENCH_COMMAND"
# Number of jobs, and names of the stages that it comes after, by stage.
Stages = dict[str, tuple[int, list[str]]]


def run_folder() -> Path | None:
    """Folder of the notes of this run; None outside the workflow."""
    folder = os.environ.get(RUN_FOLDER)
    return Path(folder) if folder else None


def run_command() -> str:
    """How Snakemake was called for this run, up to the target."""
    return os.environ.get(RUN_COMMAND, "snakemake --cores 8")


def unreachable(run: Path | None, host: str) -> str | None:
    """Why a host cannot be reached, where another job of the run found that out; else None."""
    if run is None:
        return None
    try:
        return _host_note(run, host).read_text(encoding="utf-8")
    except OSError:
        return None


def note_unreachable(run: Path | None, host: str, reason: str) -> None:
    """Have the other jobs of the run leave a host alone."""
    if run is not None:
        write_text(_host_note(run, host), f"{reason}, as another job of this run found at {time.strftime('%H:%M:%S')}")


def note_missing(run: Path | None, name: str, target: Path, why: str) -> None:
    """Remember for the table at the end that ``target``, of source ``name``, could not be had."""
    if run is not None:
        note = {"name": name, "target": str(target), "why": why}
        write_json(run / "missing" / f"{quote(target.name, safe='')[:200]}.json", note)


def missing_table(run: Path) -> str:
    """What is missing after a run and where to put it, one line a file; empty where nothing is."""
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((run / "missing").glob("*.json"))]
    if not notes:
        return ""
    rows = [("file", "put it at", "why it is missing")]
    rows += [(Path(note["target"]).name, note["target"], note["why"]) for note in notes]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {file:<{widths[0]}}  {target:<{widths[1]}}  {why}" for file, target, why in rows]
    files = "1 file is" if len(notes) == 1 else f"{len(notes)} files are"
    return "\n".join(
        [
            f"{files} missing:",
            *lines,
            "Put each file there, or name your own copy in the configuration:",
            f"  sources: {{{notes[0]['name']}: {{local_copy: <path of your copy>}}}}",
            "Then run the same command again; what has been made is kept.",
        ]
    )


def note_stages(run: Path, stages: Stages) -> None:
    """Tell the jobs of the run what was made of what."""
    write_json(run / "stages.json", stages)


def read_stages(run: Path | None) -> Stages:
    """The stages behind the report; empty where the run noted none."""
    if run is None:
        return {}
    try:
        noted = json.loads((run / "stages.json").read_text(encoding="utf-8"))
    except OSError:
        return {}
    return {name: (jobs, after) for name, (jobs, after) in noted.items()}


def forget(run: Path) -> None:
    """Remove the notes of a run that has ended."""
    shutil.rmtree(run, ignore_errors=True)


def _host_note(run: Path, host: str) -> Path:
    return run / "unreachable" / quote(host, safe="")[:200]
