"""Stage import_descriptors: anyone's descriptors in the layout of the HPatches benchmark, and the way out to it.

Format: docs/protocols/hpatches_patches.md, Descriptor files.
"""

from __future__ import annotations

from pathlib import Path

from descbench.datasets import descriptor_csv
from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.patch_sets import Patches, read_patches
from descbench.errors import DataError
from descbench.features.patch_descriptors import Maker, read_descriptors, write_descriptors


def import_descriptors(patches: Path, folder: Path, delimiter: str, output: Path, *, digest: str) -> None:
    """Bring the descriptors of a sequence from a folder of text files into a file of patch descriptors.

    Args:
        patches: the sequence, see :mod:`descbench.datasets.patch_sets`.
        folder: of the descriptor, with a folder for each sequence.
        delimiter: between the numbers of a row, ``,`` or ``;``.
        output: the file, see :mod:`descbench.features.patch_descriptors`.
        digest: of the folder, for the record.

    Raises:
        DataError: the patches are not a sequence of HPatches, or a text file is absent, malformed or of other patches;
            both files are named.
    """
    found = read_patches(patches)
    _check_views(found, patches)
    views = descriptor_csv.read_descriptors(folder, found.part, len(found.patches) // len(STRIPS), patches, delimiter)
    rows = views.reshape(len(found.patches), -1)
    write_descriptors(found, Maker("files", rows.shape[1], str(folder), "", digest), iter([rows]), output)


def export_descriptors(
    patches: Path, descriptors: Path, folder: Path, *, delimiter: str = ",", style: str = "fixed"
) -> list[Path]:
    """Write the descriptors of a sequence as the benchmark's text files, and return these.

    Args:
        patches: the sequence.
        descriptors: of these patches.
        folder: of the descriptor; the files lie in a folder of the sequence's name.
        delimiter, style: as in :func:`descbench.datasets.descriptor_csv.write_descriptor_csv`.

    Raises:
        DataError: the patches are not a sequence of HPatches, or a file is absent or damaged.
        StaleFileError: the descriptors are of other patches.
    """
    found = read_patches(patches)
    _check_views(found, patches)
    rows = read_descriptors(descriptors, found).descriptors
    views = rows.reshape(len(STRIPS), -1, rows.shape[1])
    return descriptor_csv.write_descriptors(folder, found.part, views, delimiter, style)


def _check_views(patches: Patches, path: Path) -> None:
    if patches.labels.view_names != STRIPS:
        raise DataError(
            f"{path}: patches of {patches.patch_set}, whose views are {', '.join(patches.labels.view_names)}; text "
            f"files of descriptors are of sequences of HPatches ({STRIPS[0]} to {STRIPS[-1]})."
        )
