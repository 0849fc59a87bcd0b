"""Checkpoints of ours on the disk: files of torch.save with a seal over every byte, which their readers compare."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from descbench.errors import DataError
from descbench.io.atomic import atomic_path
from descbench.io.seal import check_seal, seal, seal_length
from descbench.models.torch_files import load_torch_file


def write_sealed(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; equal content gives equal bytes.

    Raises:
        DataError: the disk is full.
    """
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as stream:  # a path would give its name to the archive's folder
            torch.save(dict(content), stream)
        # For zip, the seal is the comment at its end, whose length stands in the last two bytes.
        with open(temporary, "r+b") as stream:
            stream.seek(-2, os.SEEK_END)
            stream.write(seal_length().to_bytes(2, "little"))
        seal(temporary)


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a checkpoint of :func:`write_sealed`.

    Raises:
        DataError: it is absent, damaged, or carries no checksum (an older version or another program wrote it).
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such checkpoint; run the stage that makes it.")
    check_seal(path)
    return load_torch_file(path)
