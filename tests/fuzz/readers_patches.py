"""Patch sets and image sequences: official files one by one with sound ones beside them, and the files of stages."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from mutations import damage_bytes, damage_json, damage_lines, damage_packed
from PIL import Image
from readers_stages import hdf5_seed, sealed
from registry import register

from descbench.datasets.descriptor_csv import read_descriptor_csv
from descbench.datasets.hpatches_patches import STRIPS, read_hpatches_patches
from descbench.datasets.hpatches_sequences import read_homography
from descbench.datasets.hpatches_tasks import (
    Split,
    draw_retrieval,
    draw_verification,
    read_retrieval,
    read_splits,
    read_verification,
    write_tasks,
)
from descbench.datasets.image_pairs import Homography, ImagePair, read_image_pairs, write_image_pairs
from descbench.datasets.manifest import Manifest, rows_of
from descbench.datasets.patch_sets import PatchLabels, PatchSource, read_patches, write_patches
from descbench.datasets.phototour import INFO, PAIRS, read_phototour
from descbench.features.patch_descriptors import Maker, read_descriptors, write_descriptors
from descbench.features.strips import read_patch_strip
from descbench.io.csvfiles import checksum_path
from descbench.matching.matcher import PairMatches
from descbench.matching.matches import MatchesInfo, read_matches, write_matches

MANIFEST = Manifest(tuple(rows_of("database", ["a.ppm", "b.ppm", "c.ppm"])))
LISTS = {INFO: b"7 0\n7 0\n0 0\n3 0\n3 0\n", PAIRS: b"0 7 0 1 7 0 0\n2 0 0 4 3 0 0\n"}


SPLIT, LENGTHS = Split("a", ("i_a", "v_b")), {"i_a": 12, "v_b": 9}


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def bitmap_seeds() -> list[bytes]:
    return [encoded(np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8), "BMP")]


def strip_seeds() -> list[bytes]:
    return [encoded(np.random.default_rng(0).integers(0, 256, (3 * 65, 65), np.uint8), "PNG")]


def damage_head(dice: Random, content: bytes) -> bytes:
    """Where a bitmap says its size, depth and kind of packing."""
    return damage_bytes(dice, content[:64]) + content[64:]


def damage_chunks(dice: Random, content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of their damaged content."""
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    pixels = damage_packed(dice, encoded_rows(content), 0)
    shape = dice.choice(((width, height), (dice.randrange(1 << 16), height), (width, dice.randrange(1 << 31))))
    depth, colours = dice.choice((8, 8, 1, 16)), dice.choice((0, 0, 2, 3))
    header = shape[0].to_bytes(4) + shape[1].to_bytes(4) + bytes((depth, colours, 0, 0, 0))
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def encoded_rows(content: bytes) -> bytes:
    """The packed pixels of a PNG."""
    start = content.index(b"IDAT")
    return content[start + 4 : start + 4 + int.from_bytes(content[start - 4 : start])]


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def read_part(read: Callable[[Path], PatchSource], path: Path) -> None:
    """All patches of the folder that holds the input."""
    for _ in read(path.parent).blocks:
        pass


def read_list(path: Path) -> None:
    """A part of PhotoTour, of which the input is one of the lists."""
    for name, content in LISTS.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    bitmap = path.parent / "patches0000.bmp"
    if not bitmap.exists():
        bitmap.write_bytes(bitmap_seeds()[0])
    read_part(read_phototour, path)


def read_bitmaps(path: Path) -> None:
    for name, content in LISTS.items():
        (path.parent / name).write_bytes(content)
    read_part(read_phototour, path)


def read_strips(path: Path) -> None:
    """A sequence, of which the input is the strip `e3`."""
    for name in STRIPS:
        strip = path.parent / f"{name}.png"
        if strip != path and not strip.exists():
            strip.write_bytes(strip_seeds()[0])
    read_part(read_hpatches_patches, path)


def read_pairs(path: Path) -> None:
    note = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    Path(checksum_path(path)).write_text(note)
    read_image_pairs(path, MANIFEST)


def split_seeds() -> list[bytes]:
    return [b'{"a": {"name": "a", "test": ["i_a", "v_b"], "train": ["v_c"]}, "full": {"test": ["v_b"]}}']


def write_lists(path: Path) -> None:
    """The other lists of the split beside the input."""
    for name, content in TASKS.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)


def read_task_pairs(path: Path) -> None:
    write_lists(path)
    read_verification(path.parent, SPLIT, LENGTHS)


def read_task_lists(path: Path) -> None:
    write_lists(path)
    read_retrieval(path.parent, SPLIT, LENGTHS)


def drawn_lists() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        contrasts = {name: np.full(length, 20.0) for name, length in LENGTHS.items()}
        write_tasks(Path(folder), SPLIT, draw_verification(SPLIT, LENGTHS, 6), draw_retrieval(SPLIT, contrasts, 3, 6))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def pair_seeds() -> list[bytes]:
    turn = Homography((0.5, -0.1, 3.0, 0.1, 0.5, -7.25, 1e-5, 0.0, 1.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.csv"
        write_image_pairs([ImagePair(0, 1, turn), ImagePair(0, 2, turn)], path)
        return [path.read_bytes()]


def patches_file(folder: Path) -> Path:
    labels = PatchLabels(
        np.array([7, 7, 0]), np.zeros(3, np.int64), ("all",), np.array([[0, 1], [0, 2]]), np.array([1, 0], np.uint8)
    )
    blocks = iter([np.arange(48, dtype=np.uint8).reshape(3, 4, 4)])
    write_patches(PatchSource(labels, 4, blocks), "set", "part", folder / "p.h5")
    return folder / "p.h5"


def descriptors_file(folder: Path) -> Path:
    patches = read_patches(patches_file(folder))
    rows = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    write_descriptors(patches, Maker("hardnet", 4, "0123"), iter([rows]), folder / "d.h5")
    return folder / "d.h5"


def matches_file(folder: Path) -> Path:
    found = [
        PairMatches(np.array([[0, 2], [3, 0]], np.int32), np.array([0.5, 1], np.float32), (4, 3)),
        PairMatches(np.zeros((0, 2), np.int32), np.zeros(0, np.float32), (4, 0)),
    ]
    write_matches([(0, 1), (0, 2)], found, MatchesInfo("0123", "4567", "89", "sift on walls"), folder / "m.h5")
    return folder / "m.h5"


def wide_strip_seeds() -> list[bytes]:
    random = np.random.default_rng(0)
    return [encoded(random.integers(0, 256, (70, 33, *colours), np.uint8), "PNG") for colours in ((), (3,))]


TASKS = drawn_lists()
register("phototour bitmaps", read_bitmaps, bitmap_seeds, file="patches0000.bmp", mutations=(damage_head,), share=0.5)
for name, listed in LISTS.items():
    seeds = partial(list, [listed])
    register(f"phototour {name}", read_list, seeds, file=name, mutations=(damage_lines,), share=0.5)
register("hpatches strips", read_strips, strip_seeds, file="e3.png", mutations=(damage_chunks,))
register(
    "homographies",
    read_homography,
    lambda: [b"2.3594 0.0026252 -116.05\n0.5085 2.302 -550.96\n0.0013826 0.0001837 1.0004"],
    file="H_1_2",
    mutations=(damage_lines,),
)
register("hpatches splits", read_splits, split_seeds, file="splits.json", mutations=(damage_json,))
register(
    "hpatches pairs",
    read_task_pairs,
    lambda: [TASKS["verif_pos_split-a.csv"]],
    file="verif_pos_split-a.csv",
    mutations=(damage_lines,),
    share=0.5,
)
register(
    "hpatches lists",
    read_task_lists,
    lambda: [TASKS["retr_queries_split-a.csv"]],
    file="retr_queries_split-a.csv",
    mutations=(damage_lines,),
    share=0.5,
)
register(
    "descriptor files",
    read_descriptor_csv,
    lambda: [b"   0.14193,  -0.11992\n   1.00000,   0.00000\n"],
    file="e1.csv",
    mutations=(damage_lines,),
    share=0.5,
)
register("image pairs", read_pairs, pair_seeds, file="p.csv", mutations=(damage_lines,))
register("patch sets", sealed(read_patches), hdf5_seed(patches_file), file="file.h5")
register("patch descriptors", sealed(read_descriptors), hdf5_seed(descriptors_file), file="file.h5")
register("matches", sealed(read_matches), hdf5_seed(matches_file), file="file.h5")
register(
    "strips of any width",
    partial(read_patch_strip, lenient=True),
    wide_strip_seeds,
    file="strip.png",
    mutations=(damage_chunks, damage_bytes),
)
