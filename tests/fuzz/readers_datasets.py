"""Datasets as they are published, images, the configuration, and the tables of manifests."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from random import Random

import numpy as np
from mutations import damage_lines, damage_value
from PIL import Image
from readers_pickles import random_opcodes
from registry import register
from scipy.io import savemat

from descbench.config.datasets import DbStructDataset, ImageListDataset, KaptureDataset, RevisitopDataset
from descbench.config.published import read_published
from descbench.config.yaml_files import read_yaml
from descbench.datasets.crop_labels import read_keypoints
from descbench.datasets.dbstruct import read_dbstruct
from descbench.datasets.frames import read_frame_pairs, read_positives
from descbench.datasets.image_list import read_image_list
from descbench.datasets.kapture import read_kapture
from descbench.datasets.revisitop import read_revisitop
from descbench.datasets.utm_names import position_of
from descbench.features.images import load_image


def ground_truth_seeds() -> list[bytes]:
    labels = {"bbx": [0.0, 1.5, 20.0, 30.0], "easy": [0], "hard": np.array([1]), "junk": []}
    content = {"imlist": ["a", "b", "c"], "qimlist": ["q"], "gnd": [labels]}
    return [pickle.dumps(content, protocol) for protocol in (0, 2, 4)]


def damage_values(dice: Random, content: bytes) -> bytes:
    """Values of the pickled ground truth, written as a pickle again."""
    value = pickle.loads(content)
    value["gnd"] = [{key: np.asarray(entries).tolist() for key, entries in labels.items()} for labels in value["gnd"]]
    return pickle.dumps(damage_value(dice, value))


def dbstruct_seeds() -> list[bytes]:
    def names(*texts: str) -> np.ndarray:
        return np.array([*texts, None], object)[:-1].reshape(-1, 1)

    record = {
        "whichSet": "test",
        "dbImageFns": names("a/1.jpg", "a/2.jpg"),
        "utmDb": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "qImageFns": names("q.jpg"),
        "utmQ": np.array([[1.0], [3.0]]),
        "numImages": 2,
        "numQueries": 1,
        "posDistThr": 25.0,
        "posDistSqThr": 625.0,
        "nonTrivPosDistSqThr": 100.0,
    }
    seeds = []
    for packed in (False, True):
        file = io.BytesIO()
        savemat(file, {"dbStruct": record}, do_compression=packed)
        seeds.append(file.getvalue())
    return seeds


def image_seeds() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    seeds = []
    for kind, mode in (
        ("JPEG", "RGB"),
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("PNG", "I;16"),
        ("TIFF", "F"),
        ("WEBP", "RGB"),
        ("GIF", "P"),
    ):
        image = Image.fromarray(pixels)
        if mode in ("I;16", "F"):
            image = Image.fromarray(pixels[..., 0].astype({"I;16": np.uint16, "F": np.float32}[mode]))
        file = io.BytesIO()
        (image if image.mode in (mode, "I;16", "F") else image.convert(mode)).save(file, kind)
        seeds.append(file.getvalue())
    return seeds


def read_kapture_records(path: Path) -> None:
    """A kapture folder whose table of records is the input."""
    sensors = path.parent / "sensors"
    sensors.mkdir(exist_ok=True)
    (sensors / "sensors.txt").write_text(
        "# kapture format: 1.1\ncam, camera, camera, SIMPLE_PINHOLE, 32, 24, 30, 16, 12\n"
    )
    (sensors / "records_camera.txt").write_bytes(path.read_bytes())
    read_kapture(KaptureDataset(format="kapture", folder=path.parent))


def read_position(path: Path) -> None:
    position_of(path.read_bytes().decode("utf-8", "replace")[:255])  # no file has a longer name


def read_figures(path: Path) -> None:
    read_published([path])


def keypoint_seeds() -> list[bytes]:
    rows = np.array([[1.5, 2, 1], [30, 4, 1]])
    return [pickle.dumps(rows, protocol=protocol) for protocol in (2, 4)]


def text(*lines: str) -> list[bytes]:
    return ["\n".join((*lines, "")).encode()]


_REVISITED = RevisitopDataset(format="revisitop", images="jpg", ground_truth="input")
_STREETS = DbStructDataset(format="dbstruct", struct="input", images="db", queries="q")
_LIST = ImageListDataset(format="image_list", images="jpg", list="input")
_FIGURES = (
    "result,dataset,metric,kind,value,tolerance,source",
    "n1000,a,map_medium,paper,75.1,0.5,b",
    "n1000,a,map_medium,released,75,,b",
)
_CONFIG = text("models:", "  net: {architecture: how, backbone: resnet18, dim: 128}", "base: &a {x: [1, 2.5]}", "y: *a")

register(
    "official ground truth",
    lambda path: read_revisitop(_REVISITED, path.parent),
    ground_truth_seeds,
    mutations=(random_opcodes, damage_values),
)
register("dbstruct", lambda path: read_dbstruct(_STREETS, path.parent), dbstruct_seeds)
register(
    "image list",
    lambda path: read_image_list(_LIST, path.parent),
    lambda: text("a.jpg", "b/c.jpg"),
    mutations=(damage_lines,),
)
register("training keypoints", read_keypoints, keypoint_seeds, mutations=(random_opcodes,))
register("images", lambda path: load_image(path, 20), image_seeds)
register("published figures", read_figures, lambda: text(*_FIGURES), file="input.csv", mutations=(damage_lines,))
register("configuration", read_yaml, lambda: _CONFIG, file="input.yaml", mutations=(damage_lines,))
register(
    "kapture records",
    read_kapture_records,
    lambda: text("# kapture format: 1.1", "0, cam, a/0.jpg", "1, cam, a/1.jpg"),
    mutations=(damage_lines,),
)
register(
    "names with positions", read_position, lambda: [b"@0543256.96@4178906.70@10@S@x@.jpg"], mutations=(damage_lines,)
)
register("pairs of frames", read_frame_pairs, lambda: text("# a, b", "1, 5", "2;7"), mutations=(damage_lines,))
register("list of positives", read_positives, lambda: text('{"positives": {"a.jpg": ["b.jpg", "c/d.jpg"]}}'))
