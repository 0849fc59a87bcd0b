"""Fixtures that tests of every kind share."""

import gc
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_REAL_DATA = "no folder"
# Files that take longest, the longest first. They begin before all others: a long one that began last would run alone.
LONGEST = (
    "unit/test_match_counts.py", "workflow/test_runs.py", "workflow/test_options.py", "unit/test_several_gpus.py",
    "workflow/test_package.py", "unit/test_bench.py", "workflow/test_formats.py", "unit/test_localization_real.py",
    "unit/test_training.py", "unit/test_real_keypoints.py", "workflow/test_option_runs.py", "workflow/test_faults.py",
    "unit/test_crop_training.py", "workflow/test_bundle.py", "unit/test_extension.py",
    "workflow/test_own_photographs.py", "workflow/test_patches.py", "golden/test_how.py", "workflow/test_bags.py",
    "workflow/test_localisation.py", "unit/test_torchvision.py", "unit/test_fuzz.py", "unit/test_real_sequences.py",
    "unit/test_backends.py", "golden/test_netvlad_training.py", "golden/test_hndesc_training.py",
    "workflow/test_dag.py", "workflow/test_downloads.py", "golden/test_gem.py", "golden/test_fire.py",
    "golden/test_netvlad.py", "unit/test_hardnet_training.py", "workflow/test_devices.py",
    "workflow/test_refusals.py", "workflow/test_snakemake_messages.py",
)  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front."""
    assert not (absent := [name for name in LONGEST if not (ROOT / "tests" / name).is_file()]), absent
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(f"{item.path.parent.name}/{item.path.name}", len(places)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that was imported, which it would look through again and again."""
    gc.collect()
    gc.freeze()


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
