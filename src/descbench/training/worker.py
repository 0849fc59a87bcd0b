"""One process of a training on several GPUs; torchrun starts as many as are wanted.

    torchrun --standalone --nproc-per-node 4 -m descbench.training.worker job.json

``job.json`` is a :class:`descbench.training.launch.TrainingJob`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from descbench.training.distributed import process_group
from descbench.training.launch import read_job


@record
def main(arguments: Sequence[str]) -> None:
    """Train as told by the job file; torchrun reports what is raised."""
    rank = int(os.environ.get("RANK", "0"))
    # What all processes say is said once.
    level = logging.WARNING if rank else logging.INFO
    logging.basicConfig(level=level, format=f"process {rank}: %(levelname)s %(message)s", stream=sys.stderr)
    job = read_job(Path(arguments[0]))
    with process_group(job.device):
        job.run()


if __name__ == "__main__":
    main(sys.argv[1:])
