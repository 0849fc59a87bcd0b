"""Oxford and Paris, revisited and classic: a ground-truth pickle and a flat jpg folder.

Definition: docs/protocols/revisitop.md, Ground truth.
"""

from __future__ import annotations

from pathlib import Path

from descbench.config.datasets import RevisitopDataset
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.labels import check_benchmark, parse_box, parse_labels
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of
from descbench.io.pickles import load_pickle


def read_revisitop(dataset: RevisitopDataset, datasets_dir: Path) -> tuple[Manifest, GroundTruth]:
    """Manifest (queries, with their boxes where these are cropped to, then the database) and ground truth.

    Raises:
        DataError: the pickle is not a ground truth of the protocol.
    """
    path = datasets_dir / dataset.ground_truth
    content = check_benchmark(load_pickle(path), path)
    labels = parse_labels(content["gnd"], dataset.protocol, path)
    names = {key: [f"{dataset.images}/{_file_name(name)}" for name in content[key]] for key in ("qimlist", "imlist")}
    boxes = [parse_box(entry, i, path) for i, entry in enumerate(content["gnd"])]
    queries = [
        ManifestRow(i, image, "query", box if dataset.CROPS else None)
        for i, (image, box) in enumerate(zip(names["qimlist"], boxes, strict=True))
    ]
    return Manifest((*queries, *rows_of("database", names["imlist"]))), labels


def _file_name(name: str) -> str:
    """The file of an image: official lists leave out `.jpg`, lists of one's own often do not."""
    return name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg"
