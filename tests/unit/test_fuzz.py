"""A short run of ``make fuzz``: no reader lets anything escape, and what would be an escape is seen as one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def fuzz(project: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(project / "tests" / "fuzz"), *options], capture_output=True, text=True, cwd=project
    )
    return done.returncode, done.stdout + done.stderr


def test_nothing_escapes(project: Path) -> None:
    code, told = fuzz(project, "--inputs", "2000")
    assert code == 0, told
    closing = re.fullmatch(r"(\d+) inputs, (\d+) refused, (\d+) accepted, 0 escapes", told.splitlines()[-1])
    assert closing, told
    inputs, refused, accepted = map(int, closing.groups())
    assert inputs == 2000 == refused + accepted
    assert min(refused, accepted) > 100


ESCAPES = """
import sys
sys.path.insert(0, {folder!r})
import runner
from registry import READERS, register

runner.SECONDS = 1
kept = []

def read(path):
    match path.read_bytes()[0]:
        case 0: raise KeyError("a")
        case 1: __import__("os")._exit(3)
        case 2:
            while True: pass
        case 3: kept.append(b"a" * (600 << 20))
        case 4: raise runner.DescbenchError("x" * 10000)
        case 5: raise runner.DescbenchError("a valid file")

register("bad", read, lambda: [bytes([9])] + [bytes([i]) for i in range(6)])
report = runner.run([READERS["bad"]], 7, 0, 1)
for escape in report.escapes:
    print(*escape)
print(report.closing_line())
"""


def test_escapes_are_seen(project: Path) -> None:
    program = ESCAPES.format(folder=str(project / "tests" / "fuzz"))
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=project).stdout
    assert told.splitlines()[-1] == "7 inputs, 0 refused, 1 accepted, 6 escapes", told
    for what in (
        "KeyError",
        "ended with 3",
        "more than 1 s",
        "MiB of memory",
        "10000 characters",
        "valid file was refused",
    ):
        assert what in told, told
