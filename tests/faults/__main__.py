"""``make faults``: harm a finished workflow in every way, again and again, and see that no table is ever wrong.

Files are damaged, exchanged and cut, jobs are killed at any moment, disks fill up. A fault is survived where the table
is the same afterwards, at once or after one clear error that names the file and a second run. Everything else is
printed, and can be had again with the same ``--seed``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
# Faults are done in forked processes, which would wait for ever for threads of OpenMP that this one had begun.
os.environ["OMP_NUM_THREADS"] = "1"

from runner import run, temporary_town


def main() -> int:
    parser = argparse.ArgumentParser(description="Harm a small workflow in every way, and compare its table.")
    parser.add_argument("--faults", type=int, default=200, help="how many harms are done")
    parser.add_argument("--seed", type=int, default=0, help="another seed does other harms")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the jobs' own messages
    with temporary_town() as town:
        report = run(town, options.faults, options.seed, options.processes)
    print(report.closing_line())
    return 1 if report.wrong or report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
