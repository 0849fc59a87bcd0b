"""Speed of descbench against plain implementations of the same thing: ``python -m benchmarks.bench``.

Both sides run on one thread unless a row says otherwise; the libraries below read these settings
when they are first imported.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
