"""Fixtures that tests of every kind share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of small third-party data (docs/contributing.md); tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DESCBENCH_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"no folder {folder}: small real data is of others, under licences of their own, and not shipped with the "
            "project. To run this test, set DESCBENCH_REAL_DATA to a folder laid out as docs/contributing.md says."
        )
    return folder


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the repository."""
    return ROOT
