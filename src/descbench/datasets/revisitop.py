"""Oxford and Paris, revisited and classic: a ground-truth pickle and a flat jpg folder (revisitop.md section 1)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.models import RevisitopDataset
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.labels import check_benchmark, parse_box, parse_labels, safe_relative
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of
from descbench.io.pickles import load_pickle


def read_revisitop(dataset: RevisitopDataset, datasets_dir: Path) -> tuple[Manifest, GroundTruth]:
    """Manifest (queries with their boxes, then the database) and ground truth.

    Raises:
        DataError: the pickle is no ground truth of the protocol.
    """
    path = datasets_dir / dataset.ground_truth
    content = check_benchmark(load_pickle(path), path)
    names = {
        role: [f"{dataset.images}/{safe_relative(str(name), path)}.jpg" for name in content[key]]
        for role, key in (("query", "qimlist"), ("database", "imlist"))
    }
    queries = [
        ManifestRow(i, image, "query", parse_box(labels, i, path))
        for i, (image, labels) in enumerate(zip(names["query"], content["gnd"], strict=True))
    ]
    labels = parse_labels(content["gnd"], dataset.protocol, path)
    return Manifest((*queries, *rows_of("database", names["database"]))), labels
