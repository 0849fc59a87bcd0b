"""``python -m descbench``: the same as ``descbench``."""

from __future__ import annotations

import sys

from descbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
