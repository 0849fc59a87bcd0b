"""Fixtures that tests of every kind share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of small third-party data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DESCBENCH_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"third-party data not shipped with the project: no folder {folder} (set DESCBENCH_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the repository."""
    return ROOT
