"""How many threads the compiled kernels take."""

from __future__ import annotations

import os


def num_threads(threads: int | None) -> int:
    """``threads``, or OMP_NUM_THREADS, or as many as there are processors for this process."""
    if threads is None:
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(given) if given.isdigit() else len(os.sched_getaffinity(0))
    return max(1, threads)
