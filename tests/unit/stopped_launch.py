"""Train the training on buildings in two processes for longer than anybody waits; the test sends SIGTERM to this one.

Arguments: the job (JSON).
"""

import logging
import sys
from pathlib import Path

from descbench.training.launch import read_job, train

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
train(read_job(Path(sys.argv[1])), 2)
