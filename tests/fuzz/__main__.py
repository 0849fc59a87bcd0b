"""``make fuzz``: every reader of files that others made or that can be damaged, on files damaged at random.

A reader must return, or raise an error of ``descbench.errors``, within seconds and bounded memory. Everything else
is an escape, and can be had again: ``python tests/fuzz --reader NAME --replay NUMBER``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from registry import READERS
from runner import replay, run

for module in sorted(Path(__file__).parent.glob("readers_*.py")):
    importlib.import_module(module.stem)


def main() -> int:
    parser = argparse.ArgumentParser(description="Read files damaged at random with every reader.")
    parser.add_argument("--inputs", type=int, default=30000, help="number of files, shared out among the readers")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other files")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="only this one (may be repeated)")
    parser.add_argument("--replay", type=int, metavar="NUMBER", help="read this input of one reader again, in the open")
    parser.add_argument("--folder", type=Path, default=Path(), help="where --replay writes the input")
    options = parser.parse_args()
    readers = [READERS[name] for name in options.reader or sorted(READERS)]
    if options.replay is not None:
        replay(readers[0], options.replay, options.seed, options.folder)
        return 0
    report = run(readers, options.inputs, options.seed, options.processes)
    for reader, number, what in report.escapes:
        print(f"{reader}, input {number}: {what}")
    print(report.closing_line())
    return 1 if report.escapes else 0


if __name__ == "__main__":
    sys.exit(main())
