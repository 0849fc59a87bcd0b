"""A short run of ``make faults``: no harm gives a wrong table, and what would be one is seen as one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SEEN = """
import sys
sys.path[:0] = {folders!r}
from pathlib import Path
import runner
from in_process import Bench

folder = Path({place!r}) / "town"
(folder / "results").mkdir(parents=True)
for table in runner.TABLES:
    (folder / table).write_text("a table")
town = runner.Town(Bench(folder, runner.ROOT, {{}}), (), b"a table" * len(runner.TABLES))

def other(dice, town, bench):
    yield "other"
    (bench.folder / runner.TABLES[0]).unlink()
    (bench.folder / runner.TABLES[0]).write_text("another table")
    runner._compare(town, bench)

def left(dice, town, bench):
    yield "left"
    (bench.folder / "a.tmp-1").touch()
    runner._compare(town, bench)

def crash(dice, town, bench):
    yield "crash"
    raise KeyError("a")

runner.damaged_file, runner.killed_job, runner.full_disk = other, left, crash
print(runner.run(town, 4, 0, 1).closing_line())
"""


@pytest.mark.parametrize("seed", [3])
def test_no_fault_gives_a_wrong_table(project, seed):
    command = [sys.executable, str(project / "tests/faults"), "--faults", "8", "--seed", str(seed), "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "8 faults, 8 survived, 0 wrong tables"


def test_broken_promises_are_seen(project, tmp_path):
    tests = project / "tests"
    folders = [str(folder) for folder in (tests / "faults", tests / "workflow", tests)]
    program = SEEN.format(folders=folders, place=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "4 faults, 0 survived, 2 wrong tables", done.stdout + done.stderr
    text = "\n".join(lines)
    assert len(re.findall(r"fault [01]: other: another table, without a word", text)) == 2
    assert re.search(r"fault 2: left: left \['a\.tmp-1'\]", text)
    assert "KeyError" in text
