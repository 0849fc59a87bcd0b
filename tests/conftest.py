"""Fixtures that tests of every kind share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_REAL_DATA = "no folder"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of real data did not run, which nobody reads out of a list of skips."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(f"Skipped: {WITHOUT_REAL_DATA} " in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests of small real data were NOT run, the published counts measured again among them: "
            "set DESCBENCH_REAL_DATA (docs/contributing.md).",
            yellow=True,
        )


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of small third-party data (docs/contributing.md); tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DESCBENCH_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"{WITHOUT_REAL_DATA} {folder}: small real data is of others, under licences of their own, and not shipped "
            "with the project. To run this test, set DESCBENCH_REAL_DATA to a folder as docs/contributing.md says."
        )
    return folder


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the repository."""
    return ROOT
