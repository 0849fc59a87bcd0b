"""Images named by a text file, one relative path a line (R1M)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.models import ImageListDataset
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of


def read_image_list(dataset: ImageListDataset, datasets_dir: Path) -> tuple[Manifest, None]:
    """Manifest of database images, in the order of the lines; empty lines are passed over."""
    path = datasets_dir / dataset.list
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    names = [f"{dataset.images}/{safe_relative(line, path)}" for line in lines if line]
    return Manifest(tuple(rows_of("database", names))), None
