"""Both sides run on one thread unless a row says otherwise.

The libraries below read these settings when they are first imported, so this is imported before them.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
