"""Lets golden tests import ``goldens`` and ``standin`` by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
