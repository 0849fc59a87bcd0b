"""Time every case both ways, alternating in one process, and write ``results/bench.json``."""

from __future__ import annotations

from benchmarks import one_thread  # noqa: F401 - before the libraries that count threads

# isort: split

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import h5py
import numpy as np
import torch

import descbench
from benchmarks.case import QUICK, Case, Sizes
from benchmarks.cases import all_cases
from benchmarks.device_cases import device_cases
from benchmarks.mma_cases import SEQUENCES
from benchmarks.peer_cases import Peer, peer_cases
from descbench.device import device_name, pick_device
from descbench.errors import ConfigError
from descbench.hardware import describe_machine
from descbench.io.atomic import write_json

# Speed-ups that the project promises; a row without one is there to be looked at.
GOALS: dict[str, float] = {
    "aggregate_db": 70,
    "aggregate_query": 200,
    "ivf_build": 100,
    "search_short": 75,
    "search_long": 24,
    "query_end_to_end": 8,
    "aggregate_two_threads": 1.8,
    "search_two_threads": 1.8,
    "quantise_k1": 5,
    "quantise_k5": 5,
    "quantise_k1_avx2": 0.95,
    "quantise_k5_avx2": 0.95,
    "quantise_k1_portable": 0.95,
    "quantise_k5_portable": 0.95,
    "kmeans_iteration": 4.5,
    "mnn_2k": 2.8,
    "mnn_5k": 4.5,
    "vlad_search": 3,
    "hdf5_write": 2.5,
    "hdf5_read": 5,
    "extract_how": 1.5,
    "extract_how_torch": 1.15,
    "extract_netvlad": 1.7,
    "extract_netvlad_torch": 1.15,
    "extract_r2d2": 1.5,
    "extract_hardnet": 2.5,
    "hpatches_retrieval": 50,
    "hpatches_verification": 35,
    "hpatches_matching": 9,
    "ap_loss": 10,
}
# Promised in seconds of our side, whatever the plain side takes.
# That of ``mma`` is two minutes for 108 sequences.
LIMITS: dict[str, float] = {"bow_query": 0.05, "verify_geometry": 1.0, "mma": 120 * Sizes().sequences / SEQUENCES}

_SECONDS = 2.0  # spent on a row at least, if its sides are quick


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all rows; returns 1 if the two sides of a row disagree or, but for quick runs, a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: checks the results, the times mean nothing")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: the rows of networks alone, on the GPU"
    )
    parser.add_argument("--output", type=Path, help="where the JSON goes; default: results/bench[_cuda].json")
    parser.add_argument("--repeats", type=int, default=5, help="least measurements of each side; the median counts")
    options = parser.parse_args(arguments)
    try:
        device = pick_device(options.device)
    except ConfigError as error:
        print(f"--device {options.device}: {error}", file=sys.stderr)
        return 1
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    sizes, rows = QUICK if options.quick else Sizes(), []
    on_cpu = device.type == "cpu"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in all_cases(sizes, folder) if on_cpu else device_cases(sizes.image_side, folder, device):
            if not case.same(case.plain(), case.ours()):
                print(f"{case.name}: the plain way and ours give different results", file=sys.stderr)
                return 1
            # The goals are those of the CPU.
            goal = GOALS.get(case.name) if on_cpu else None
            rows.append(measure(case, options.repeats, goal, 0 if options.quick else _SECONDS))
            rows[-1] |= {"limit_s": LIMITS[case.name]} if on_cpu and case.name in LIMITS else {}
            print(f"{case.name} done", file=sys.stderr)
        peers = [beside(peer, options.repeats) for peer in peer_cases(sizes, folder)] if on_cpu else []
    output = options.output or Path(f"results/bench{'' if on_cpu else '_cuda'}.json")
    write_json(output, {"machine": machine(device), "rows": rows, "peers": peers})
    print(table(rows))
    print(table_of_peers(peers))
    missed = [row["name"] for row in rows if misses(row)]
    # Tiny sizes cannot meet goals that were set for full ones.
    return int(bool(missed) and not options.quick)


def misses(row: dict[str, Any]) -> bool:
    """Whether a row keeps not what was promised of it."""
    slow = row["goal"] is not None and row["ratio"] < row["goal"]
    return slow or row["ours_s"] > row.get("limit_s", np.inf)


def measure(case: Case, repeats: int, goal: float | None = None, seconds: float = 0) -> dict[str, Any]:
    """Median seconds of both sides, which take turns so that a busy moment of the machine hits both.

    Args:
        case: the row.
        repeats: measurements of each side, at least.
        goal: for the record.
        seconds: quick sides are measured until so long has passed, up to ten times ``repeats``: a busy moment of the
            machine may outlast a few measurements.
    """
    plain_s, ours_s = take_turns(case.plain, case.ours, repeats, seconds, case.prepare)
    return {
        "name": case.name,
        "ratio": plain_s / ours_s,
        "goal": goal,
        "plain_s": plain_s,
        "ours_s": ours_s,
        "threads": case.threads,
        "note": case.note,
    }


def beside(peer: Peer, repeats: int) -> dict[str, Any]:
    """Median seconds of a peer and of ours, and what the peer gives up."""
    difference = peer.compare(peer.peer(), peer.ours())
    peer_s, ours_s = take_turns(peer.peer, peer.ours, repeats)
    print(f"{peer.name} done", file=sys.stderr)
    about = {"gives_up": difference, "note": peer.note}
    return {"name": peer.name, "ratio": peer_s / ours_s, "peer_s": peer_s, "ours_s": ours_s, **about}


def take_turns(
    first: Callable[[], Any],
    second: Callable[[], Any],
    repeats: int,
    seconds: float = 0,
    prepare: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Median seconds of two functions that take turns; the other arguments are those of ``measure``."""
    times: tuple[list[float], list[float]] = ([], [])
    while len(times[1]) < repeats or (sum(map(sum, times)) < seconds and len(times[1]) < 10 * repeats):
        for side, function in zip(times, (first, second), strict=True):
            prepare()
            start = time.perf_counter()
            function()
            side.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def machine(device: torch.device) -> dict[str, Any]:
    """What the times depend on."""
    return {
        "device": device_name(device),
        **describe_machine(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "numpy": np.__version__,
        "faiss": faiss.__version__,
        "h5py": h5py.__version__,
        "descbench": descbench.__version__,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'':18}{'plain':>11}{'ours':>11}{'ratio':>9}{'goal':>7}  threads  note"]
    for row in rows:
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        goal = f"{1000 * row['limit_s']:g} ms" if "limit_s" in row else goal
        lines.append(
            f"{row['name']:18}{1000 * row['plain_s']:8.1f} ms{1000 * row['ours_s']:8.1f} ms{row['ratio']:8.1f}x"
            f"{goal:>7}  {row['threads']:7}  {row['note']}"
        )
    return "\n".join(lines)


def table_of_peers(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of peers as text."""
    lines = [f"{'':18}{'peer':>11}{'ours':>11}{'ratio':>9}  what the peer gives up; what was measured"] if rows else []
    for row in rows:
        lines.append(
            f"{row['name']:18}{1000 * row['peer_s']:8.1f} ms{1000 * row['ours_s']:8.1f} ms{row['ratio']:8.1f}x"
            f"  {row['gives_up']}; {row['note']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
