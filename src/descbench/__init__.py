"""descbench: the benchmark tables of five papers on image retrieval and local features, rebuilt."""

import os

__version__ = "0.1.0"

# Threads of OpenMP sleep while they wait, and do not spin: with two jobs on the same cores, spinning made small
# trainings five times as slow. Read when torch or a kernel of ours is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
