"""What is measured: for each row the plain way, our way, and a check that both give the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.asmk_cases import asmk_cases
from benchmarks.bow_cases import bow_cases
from benchmarks.case import Case, Sizes
from benchmarks.extract_cases import extract_cases
from benchmarks.loss_cases import loss_cases
from benchmarks.mma_cases import mma_case
from benchmarks.nearest_cases import nearest_cases
from benchmarks.patch_cases import patch_cases
from benchmarks.point_cases import point_cases
from benchmarks.store_cases import store_cases
from benchmarks.town import Town


def all_cases(sizes: Sizes, folder: Path) -> Iterator[Case]:
    """All rows, in the order of the table; ``folder`` holds their files meanwhile."""
    town = Town(sizes)
    yield from asmk_cases(town)
    yield from nearest_cases(town, sizes, folder)
    yield from store_cases(sizes.stored_images, sizes.descriptors, folder)
    yield from extract_cases(sizes.image_side, folder)
    yield from point_cases(sizes.image_side, folder)
    yield from patch_cases(sizes, folder)
    yield from loss_cases(sizes)
    yield from bow_cases(sizes)
    yield mma_case(sizes, folder)
