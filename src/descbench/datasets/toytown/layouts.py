"""Official layouts that toytown is written in: revisited Oxford, SfM-120k, and Pittsburgh."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from descbench.datasets.sfm120k import image_path
from descbench.datasets.toytown.streets import Standpoint
from descbench.datasets.toytown.views import View
from descbench.io.atomic import atomic_path

_QUALITY = 90
# Where the middle of every town lies: metres of UTM (east, north), somewhere in Pittsburgh.
_ORIGIN = np.array([[584_000.0], [4_476_000.0]])
_RADIUS, _TRAINING_RADIUS = 25, 10
# The text that begins a MATLAB file, without the date and machine that scipy puts there.
_MAT_TEXT = b"MATLAB 5.0 MAT-file, drawn by descbench".ljust(116)


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """JPEG bytes of (H, W, 3) uint8."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


def label(query: View, image: View) -> str | None:
    """Label of a database image for a query, from geometry alone: easy, hard, junk, or None.

    Easy: the building fills a good part of the image, is hardly hidden, and is seen from about the same
    side at about the same size and time of day. Hard: it can be recognised all the same. Junk: a
    glimpse, or another side of it.
    """
    if image.subject != query.subject:
        covered = float((image.owner == query.subject).mean())
        return "junk" if covered > 0.01 else None
    turn = abs(image.pose.angle - query.pose.angle)
    zoom = max(image.area / query.area, query.area / max(image.area, 1e-9))
    if image.area < 0.03 or image.free < 0.25 or turn > 1.05:
        return "junk"
    easy = image.free > 0.6 and turn < 0.5 and zoom < 2.2 and image.pose.dusk == query.pose.dusk
    return "easy" if easy else "hard"


def query_box(view: View) -> list[float]:
    """Box of the subject's visible pixels in its own photograph, [x1, y1, x2, y2]."""
    rows, columns = np.nonzero(view.owner == view.subject)
    return [float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]


def write_city(folder: Path, name: str, queries: Sequence[View], database: Sequence[View]) -> list[Path]:
    """Revisited-Oxford layout: ``jpg/*.jpg`` and ``gnd_<name>.pkl``. Returns the files."""
    stems = {
        "query": [f"{name}_query_{i:03d}" for i in range(len(queries))],
        "database": [f"{name}_{i:04d}" for i in range(len(database))],
    }
    files = [
        write_file(folder / "jpg" / f"{stem}.jpg", encode_jpeg(view.pixels))
        for stem, view in [*zip(stems["query"], queries, strict=True), *zip(stems["database"], database, strict=True)]
    ]
    gnd = []
    for query in queries:
        labels: dict[str, Any] = {"bbx": query_box(query), "easy": [], "hard": [], "junk": []}
        for number, image in enumerate(database):
            kind = label(query, image)
            if kind:
                labels[kind].append(number)
        gnd.append(labels)
    content = {"imlist": stems["database"], "qimlist": stems["query"], "gnd": gnd}
    return [*files, write_file(folder / f"gnd_{name}.pkl", pickle.dumps(content, protocol=2))]


def write_sfm(folder: Path, clusters: Sequence[Sequence[View]], seed: int) -> list[Path]:
    """SfM-120k layout: the ims tree, the db pickle and HOW's validation list. Returns the files.

    The last quarter of the clusters is the val split. Pairs are views of one building from about the
    same side.
    """
    first_val = len(clusters) - max(1, len(clusters) // 4)
    files, splits = [], {}
    for split, chosen in (("train", range(first_val)), ("val", range(first_val, len(clusters)))):
        views = [(cluster, view) for cluster in chosen for view in clusters[cluster]]
        cids = [hashlib.sha1(f"toytown {seed} {split} {i}".encode()).hexdigest()[:32] for i in range(len(views))]
        files += [
            write_file(folder / "ims" / image_path(cid), encode_jpeg(view.pixels))
            for cid, (_, view) in zip(cids, views, strict=True)
        ]
        pairs = _pairs(views)
        splits[split] = {
            "cids": cids,
            "cluster": [cluster for cluster, _ in views],
            "qidxs": [i for i, _ in pairs],
            "pidxs": [j for _, j in pairs],
        }
    files.append(write_file(folder / "retrieval-SfM-120k.pkl", pickle.dumps(splits, protocol=2)))
    val = _validation_list(splits["val"])
    return [*files, write_file(folder / "retrieval-SfM-120k-val-eccv2020.pkl", pickle.dumps(val, protocol=2))]


def write_streets(
    folder: Path,
    split: str,
    database: Sequence[Standpoint],
    queries: Sequence[Standpoint],
    photographs: Mapping[Standpoint, np.ndarray],
) -> list[Path]:
    """Pittsburgh's layout: ``000/`` and so on, ``queries_real/``, ``datasets/toytown_<split>.mat``. Returns the files.

    Args:
        folder: shared by all splits.
        split: ``train``, ``val`` or ``test``.
        database, queries: what was photographed, in the order of the lists.
        photographs: (H, W, 3) uint8 of each.
    """
    roots = {False: folder, True: folder / "queries_real"}
    files = [
        write_file(roots[point.query] / point.name, encode_jpeg(photographs[point])) for point in (*database, *queries)
    ]
    # The order of the fields matters: pytorch-NetVlad reads them by position. Scalars are as small as there.
    fields = {
        "whichSet": split,
        "dbImageFns": _cells(database),
        "utmDb": _utm(database),
        "qImageFns": _cells(queries),
        "utmQ": _utm(queries),
        "numImages": np.uint16(len(database)),
        "numQueries": np.uint16(len(queries)),
        "posDistThr": np.uint8(_RADIUS),
        "posDistSqThr": np.uint16(_RADIUS**2),
        "nonTrivPosDistSqThr": np.uint8(_TRAINING_RADIUS**2),
    }
    stream = io.BytesIO()
    savemat(stream, {"dbStruct": fields}, do_compression=True)
    content = _MAT_TEXT + stream.getvalue()[len(_MAT_TEXT) :]
    return [*files, write_file(folder / "datasets" / f"toytown_{split}.mat", content)]


def _cells(points: Sequence[Standpoint]) -> np.ndarray:
    """File names as a cell column."""
    return np.array([[point.name] for point in points], dtype=object)


def _utm(points: Sequence[Standpoint]) -> np.ndarray:
    """Places as (2, N) float64 metres: east, north."""
    return np.array([point.place for point in points], np.float64).T + _ORIGIN


def _pairs(views: Sequence[tuple[int, View]]) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i, (cluster, a) in enumerate(views)
        for j, (other, b) in enumerate(views)
        if i != j and cluster == other and abs(a.pose.angle - b.pose.angle) < 0.9 and min(a.free, b.free) > 0.25
    ]


def _validation_list(split: dict[str, list]) -> dict[str, list]:
    """Queries are images of the list; their partners are ok, they themselves junk."""
    queries = sorted(set(split["qidxs"]))
    partners = {q: [p for i, p in zip(split["qidxs"], split["pidxs"], strict=True) if i == q] for q in queries}
    gnd = [{"ok": partners[q], "junk": [q]} for q in queries]
    return {"cids": split["cids"], "qidx": queries, "gnd": gnd}


def write_file(path: Path, content: bytes) -> Path:
    """Write a file atomically, and return its path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path
