"""Patch sets: the file of a part, and PhotoTour and HPatches in their official layouts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from sealed import altered

from descbench.config.patch_sets import PatchSet
from descbench.datasets.build_patches import PATCH_READERS, build_patches
from descbench.datasets.hpatches_patches import STRIPS, read_hpatches_patches
from descbench.datasets.patch_sets import Patches, PatchLabels, PatchSource, read_patches, write_patches
from descbench.datasets.phototour import read_phototour
from descbench.errors import DataError
from descbench.io.grey_images import read_grey

POINTS = [7, 7, 0, 3, 3, 3]


def build(folder: Path, **block: Any) -> Patches:
    """The part ``part`` of a patch set, by way of its file."""
    chosen = TypeAdapter(PatchSet).validate_python({"folder": "set", "parts": ["part"], **block})
    build_patches("mine", chosen, "part", folder, folder / "part.h5")
    return read_patches(folder / "part.h5")


def write_bitmaps(folder: Path, patches: np.ndarray) -> None:
    """Bitmaps as they are published: rows of 16 patches, the last one filled up with black."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-len(patches) // 256)):
        sheet = np.zeros((1024, 1024), np.uint8)
        for place, patch in enumerate(patches[256 * number : 256 * number + 256]):
            row, column = divmod(place, 16)
            sheet[64 * row : 64 * row + 64, 64 * column : 64 * column + 64] = patch
        Image.fromarray(sheet).save(folder / f"patches{number:04d}.bmp")


@pytest.fixture
def photo(tmp_path) -> Path:
    """A part of six patches of three points."""
    part = tmp_path / "set/part"
    write_bitmaps(part, np.random.default_rng(0).integers(0, 256, (6, 64, 64), np.uint8))
    (part / "info.txt").write_text("".join(f"{point} 0\n" for point in POINTS))
    (part / "m50_100000_100000_0.txt").write_text("0 7 0 1 7 0 0\n5 3 0 2 0 0 0\n4 3 0 3 3 0 0\n")
    return tmp_path


def test_no_flipped_bit_of_a_strip_gives_other_patches(tmp_path):
    """Pillow decodes a PNG without looking at its checksums."""
    pixels = np.random.default_rng(0).integers(0, 256, (195, 65), np.uint8)
    path = tmp_path / "ref.png"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    for bit in np.random.default_rng(1).choice(8 * len(content), 500, replace=False).tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_grey(path, "PNG", (1000, 65))
        except DataError:
            continue
        assert np.array_equal(found, pixels)


def test_phototour(photo):
    found = build(photo, format="phototour")
    assert (found.patch_set, found.part) == ("mine", "part")
    np.testing.assert_array_equal(found.patches, np.random.default_rng(0).integers(0, 256, (6, 64, 64), np.uint8))
    labels = found.labels
    assert labels.points.tolist() == POINTS
    assert (labels.view_names, labels.views.tolist()) == (("all",), [0] * 6)
    assert labels.pairs.tolist() == [[0, 1], [5, 2], [4, 3]]
    assert labels.matches.tolist() == [1, 0, 1]


def test_patches_are_counted(photo):
    assert len(build(photo, format="phototour", counts={"part": 6}).patches) == 6
    (photo / "part.h5").unlink()
    with pytest.raises(DataError, match=r"set/part: 6 patches, `counts` of patch set 'mine' says 7; fetch the archive"):
        build(photo, format="phototour", counts={"part": 7})
    assert not (photo / "part.h5").exists()


def test_phototour_goes_on_in_the_next_bitmap(tmp_path):
    patches = np.random.default_rng(1).integers(0, 256, (300, 64, 64), np.uint8)
    part = tmp_path / "set/part"
    write_bitmaps(part, patches)
    (part / "info.txt").write_text("".join(f"{i // 2} 0\n" for i in range(300)))
    (part / "m50_100000_100000_0.txt").write_text("256 128 0 257 128 0 0\n")
    np.testing.assert_array_equal(build(tmp_path, format="phototour").patches, patches)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("info.txt", "7 0\n" * 257, "lists 257 patches, which fill 2 bitmaps, but there are 1"),
        ("info.txt", "", "lists no patches"),
        ("info.txt", "7 0\nx 0\n", "line 2: 'x 0' does not hold whole numbers in columns 1"),
        ("info.txt", "7 0\n\n7 0\n", "line 2: '' does not hold"),
        ("info.txt", "7 0\n-1 0\n", "line 2: '-1 0'"),
        ("info.txt", f"{10**19} 0\n", "line 1"),
        ("info.txt", "7 0\n7 0\n", r"patch 5 is not among the 2 of info\.txt"),
        ("info.txt", "7 0\n8 0\n0 0\n3 0\n3 0\n3 0\n", r"line 1: its points are not those of info\.txt"),
        ("m50_100000_100000_0.txt", "0 7 0 6 3 0 0\n", "line 1: patch 6 is not among the 6"),
        ("m50_100000_100000_0.txt", "0 7 0 1 7 0 0\n0 7 0 1\n", "line 2: '0 7 0 1' does not hold whole numbers"),
        ("m50_100000_100000_0.txt", "0 7 0 1 7 0 0\n0 7 0 1 7", "line 2 holds 5 numbers, the first one 7"),
        ("info.txt", "7 0\n7\n", "line 2 holds 1 numbers, the first one 2"),
        ("m50_100000_100000_0.txt", "", "lists no pairs"),
        ("m50_100000_100000_0.txt", "0 7 0 1 7 0 0\n2 8 0 2 8 0 0\n", "line 2: pairs patch 2 with itself"),
        ("m50_100000_100000_0.txt", None, "no such file"),
        ("info.txt", None, "no such file"),
        ("patches0000.bmp", None, r"has no patches0000\.bmp"),
    ],
)
def test_lists_of_phototour_that_do_not_fit_are_refused(photo, file, content, message):
    path = photo / "set/part" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        build(photo, format="phototour")
    assert not (photo / "part.h5").exists()


def test_pairs_that_are_listed_again_count_again(photo, caplog):
    """As by the benchmark, whose official lists nobody here has seen."""
    listed = "0 7 0 1 7 0 0\n2 8 0 3 3 0 0\n1 7 0 0 7 0 0\n"
    (photo / "set/part/info.txt").write_text("7 0\n7 0\n8 0\n3 0\n3 0\n3 0\n")
    (photo / "set/part/m50_100000_100000_0.txt").write_text(listed)
    labels = build(photo, format="phototour").labels
    assert labels.pairs.tolist() == [[0, 1], [2, 3], [1, 0]]
    assert labels.matches.tolist() == [1, 0, 1]
    assert "1 of 3 lines list a pair again" in caplog.text


def test_a_strange_bitmap_is_named(photo):
    (photo / "set/part/patches_copy.bmp").write_bytes((photo / "set/part/patches0000.bmp").read_bytes())
    with pytest.raises(DataError, match=r"patches_copy\.bmp: bitmaps are called patches0000\.bmp and so on; remove it"):
        read_phototour(photo / "set/part")


def test_a_gap_in_the_bitmaps_is_refused(photo):
    part = photo / "set/part"
    (part / "patches0000.bmp").rename(part / "patches0001.bmp")
    with pytest.raises(DataError, match=r"has no patches0000\.bmp"):
        read_phototour(part)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "damaged or cut short"),
        (lambda path: path.write_bytes(b""), "not a BMP image"),
        (lambda path: Image.new("L", (1024, 1024)).save(path, "PNG"), "not a BMP image"),
        (lambda path: Image.new("RGB", (1024, 1024)).save(path, "BMP"), "mode RGB, not grey of 8 bits"),
        (lambda path: Image.new("L", (1024, 960)).save(path, "BMP"), "1024 x 960 pixels, not 1024 x 1024"),
        (lambda path: Image.new("L", (2048, 1024)).save(path, "BMP"), "where at most 1024 x 1024 can be"),
    ],
)
def test_damaged_bitmaps_are_refused(photo, damage, message):
    damage(photo / "set/part/patches0000.bmp")
    with pytest.raises(DataError, match=rf"patches0000\.bmp: .*{message}"):
        build(photo, format="phototour")
    assert not (photo / "part.h5").exists()


@pytest.fixture
def strips(tmp_path) -> tuple[Path, np.ndarray]:
    """A sequence of four patches in 16 strips."""
    patches = np.random.default_rng(2).integers(0, 256, (16, 4, 65, 65), np.uint8)
    part = tmp_path / "set/part"
    part.mkdir(parents=True)
    for name, strip in zip(STRIPS, patches, strict=True):
        Image.fromarray(strip.reshape(-1, 65)).save(part / f"{name}.png")
    return tmp_path, patches


def test_hpatches_patches(strips):
    folder, patches = strips
    found = build(folder, format="hpatches_patches")
    assert found.labels.view_names == (
        "ref", "e1", "e2", "e3", "e4", "e5", "h1", "h2", "h3", "h4", "h5", "t1", "t2", "t3", "t4", "t5",
    )  # fmt: skip
    for view in range(16):
        for point in range(4):
            (at,) = np.flatnonzero((found.labels.views == view) & (found.labels.points == point))
            np.testing.assert_array_equal(found.patches[at], patches[view, point])
    assert (found.labels.pairs.shape, found.labels.matches.shape) == ((0, 2), (0,))


@pytest.mark.parametrize(
    ("size", "mode", "message"),
    [
        ((65, 130), "L", r"t5\.png: 2 patches, ref\.png has 4"),
        ((65, 261), "L", "65 x 261 pixels are not a strip"),
        ((64, 256), "L", "64 x 256 pixels are not a strip"),
        ((66, 260), "L", "66 x 260 pixels, where at most 65 x"),
        ((65, 260), "RGB", "mode RGB, not grey"),
        ((65, 260), "P", "mode P, not grey"),
        ((65, 64), "L", "65 x 64 pixels are not a strip"),
        ((65, 260), "I;16", "mode I;16, not grey"),
    ],
)
def test_strips_that_do_not_fit_are_refused(strips, size, mode, message):
    Image.new(mode, size).save(strips[0] / "set/part/t5.png")
    with pytest.raises(DataError, match=message):
        build(strips[0], format="hpatches_patches")


def test_missing_strips_are_refused(strips):
    (strips[0] / "set/part/h3.png").unlink()
    with pytest.raises(DataError, match=r"h3\.png: no such file"):
        build(strips[0], format="hpatches_patches")
    shutil.rmtree(strips[0] / "set/part")
    with pytest.raises(DataError, match=r"ref\.png: no such file"):
        read_hpatches_patches(strips[0] / "set/part")


def test_a_real_strip(real_data, tmp_path):
    """1123 patches; the other strips of its sequence are not there, so it stands for them."""
    part = tmp_path / "set/part"
    part.mkdir(parents=True)
    for name in STRIPS:
        (part / f"{name}.png").symlink_to(real_data / "hpatches_patches/ref.png")
    found = build(tmp_path, format="hpatches_patches")
    assert found.patches.shape == (16 * 1123, 65, 65)
    with Image.open(real_data / "hpatches_patches/ref.png") as image:
        np.testing.assert_array_equal(found.patches[1122], np.asarray(image)[-65:])
    np.testing.assert_array_equal(found.patches[:1123], found.patches[-1123:])


def test_every_format_has_a_reader():
    formats = get_args(get_args(PatchSet)[0])
    assert {get_args(block.model_fields["format"].annotation)[0] for block in formats} == PATCH_READERS.keys()


def labels(**changes: Any) -> PatchLabels:
    plain = {
        "points": np.array(POINTS),
        "views": np.zeros(6, np.int64),
        "view_names": ("all",),
        "pairs": np.array([[0, 1], [0, 2]]),
        "matches": np.array([1, 0], np.uint8),
    }
    return PatchLabels(**(plain | changes))


def source(count: int = 6, **changes: Any) -> PatchSource:
    return PatchSource(labels(**changes), 4, iter(np.arange(count * 16, dtype=np.uint8).reshape(-1, 2, 4, 4)))


def test_equal_patches_are_equal_bytes_and_know_each_other(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_patches(source(), "set", "part", tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    digests = [read_patches(tmp_path / "a.h5").digest]
    for changes in (
        {"points": np.array([7, 7, 0, 3, 3, 4])},
        {"view_names": ("other",)},
        {"pairs": np.array([[0, 1], [0, 3]])},
    ):
        write_patches(source(**changes), "set", "part", tmp_path / "b.h5")
        digests.append(read_patches(tmp_path / "b.h5").digest)
    write_patches(PatchSource(labels(), 4, iter([np.zeros((6, 4, 4), np.uint8)])), "set", "part", tmp_path / "b.h5")
    digests.append(read_patches(tmp_path / "b.h5").digest)
    assert len(set(digests)) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.array([-1, 7, 0, 3, 3, 3])}, "point -1 is outside"),
        ({"views": np.array([0, 0, 0, 0, 0, 1])}, "view 1 is outside 0 to 0"),
        ({"pairs": np.array([[0, 1], [0, 6]])}, "patch of a pair 6 is outside 0 to 5"),
        ({"matches": np.array([1, 2], np.uint8)}, "label of a pair 2 is outside 0 to 1"),
        ({"matches": np.array([1, 1], np.uint8)}, r"label of pair \[0, 2\] is not that of the points"),
        ({"matches": np.array([1], np.uint8)}, "2 pairs and 1 labels"),
        ({"views": np.zeros(5, np.int64)}, "6 points and 5 views"),
    ],
)
def test_labels_that_do_not_fit_are_neither_written_nor_read(tmp_path, changes, message):
    path = tmp_path / "p.h5"
    with pytest.raises(DataError, match=rf"patch_sets\.set: part part: .*{message}"):
        write_patches(source(**changes), "set", "part", path)
    assert not path.exists()
    write_patches(source(), "set", "part", path)
    with altered(path) as file:
        for name, values in changes.items():
            del file[name]
            file.create_dataset(name, data=values, track_times=False)
    with pytest.raises(DataError, match=rf"p\.h5: .*{message}"):
        read_patches(path)


@pytest.mark.parametrize(("count", "message"), [(4, "4 patches instead of 6"), (8, "more than 6 patches")])
def test_patches_of_another_number_than_labels_are_refused(tmp_path, count, message):
    with pytest.raises(DataError, match=message):
        write_patches(source(count), "set", "part", tmp_path / "p.h5")
    assert not (tmp_path / "p.h5").exists()


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "p.h5"
    write_patches(source(), "set", "part", path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.h5: damaged"):
        read_patches(path)
