"""Where golden tests find what the originals gave."""

import os
from pathlib import Path

HERE = Path(__file__).parent / "data"


def golden_files(system: str, pattern: str) -> list[Path]:
    """Files of ``system`` matching ``pattern``, from DESCBENCH_GOLDEN_DIR or from beside the tests.

    Raises:
        FileNotFoundError: the pattern finds no file; a golden test that tests nothing is a failure.
    """
    folder = Path(os.environ.get("DESCBENCH_GOLDEN_DIR", HERE)) / system
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no golden file {pattern} in {folder}")
    return found
