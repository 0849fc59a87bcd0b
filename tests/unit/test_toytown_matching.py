"""What toytown draws for image matching and patches: official layouts, true homographies, points seen again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_image_pairs import grey, likeness

from descbench.config.datasets import HPatchesSequencesDataset
from descbench.config.toytown import PhotoTour, Sequences, Strips, Toytown
from descbench.datasets.hpatches_patches import STRIPS, read_hpatches_patches
from descbench.datasets.hpatches_sequences import IMAGES, read_hpatches_pairs, read_hpatches_sequences
from descbench.datasets.hpatches_tasks import read_splits
from descbench.datasets.patch_sets import PatchLabels
from descbench.datasets.phototour import read_phototour
from descbench.datasets.toytown.draw import draw_toytown
from descbench.datasets.toytown.geometry import look_at
from descbench.datasets.toytown.phototour import Photograph, find_point, write_phototour
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.sequences import SequenceImage, camera_of, homography
from descbench.datasets.toytown.strips import take_strips
from descbench.errors import DataError

SEQUENCES = Sequences(width=160, height=120, illumination=1, viewpoint=2)
PATCHES = PhotoTour(parts=("quay", "mill"), width=320, height=240, buildings=2, photographs=3, points=20, pairs=60)
STRIPS_CUT = Strips(width=160, height=128, illumination=2, viewpoint=2, patches=12)
SMALL = Toytown(
    width=64, height=64, cities=("ham",), landmarks_per_city=2, database_per_city=8, queries_per_city=1,
    clusters=6, images_per_cluster=4, sequences=SEQUENCES, phototour=PATCHES,
    strips=STRIPS_CUT,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toytown")
    draw_toytown(SMALL, folder / "toytown", folder / "toytown.json")
    return folder


def test_same_bytes_whatever_the_number_of_processes(drawn, tmp_path):
    draw_toytown(SMALL, tmp_path / "toytown", tmp_path / "toytown.json", processes=2)
    for file in (path for path in sorted(drawn.rglob("*")) if path.is_file()):
        assert (tmp_path / file.relative_to(drawn)).read_bytes() == file.read_bytes(), file


def test_nothing_of_it_is_drawn_unasked(tmp_path):
    settings = SMALL.model_copy(update={"sequences": None, "phototour": None, "strips": None, "seed": 1})
    draw_toytown(settings, tmp_path / "toytown", tmp_path / "toytown.json")
    assert {path.name for path in (tmp_path / "toytown").iterdir()} == {"test", "train"}


def test_sequences_are_read_by_the_reader_of_hpatches(drawn):
    block = HPatchesSequencesDataset(format="hpatches_sequences", images="toytown/sequences")
    manifest, _ = read_hpatches_sequences(block, drawn)
    pairs = list(read_hpatches_pairs(block, drawn))
    assert (len(manifest), len(pairs)) == (3 * 6, 3 * 5)
    for pair in pairs:
        first, other = (drawn / manifest.rows[i].path for i in (pair.image_a, pair.image_b))
        matrix = pair.relation.matrix
        if first.parent.name.startswith("i_"):
            assert matrix.tolist() == np.eye(3).tolist()
            assert first.read_bytes() != other.read_bytes()
            continue
        found = likeness(grey(first), grey(other), matrix)
        assert found > 0.6
        # The homography is right to a part of a pixel: a pixel beside it fits less well.
        for shift in ((1.5, 0), (-1.5, 0), (0, 1.5), (0, -1.5)):
            beside = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]]) @ matrix
            assert likeness(grey(first), grey(other), beside) < found
    with Image.open(drawn / manifest.rows[0].path) as image:
        assert (image.size, image.mode, image.format) == ((160, 120), "RGB", "PPM")


def test_homographies_follow_the_cameras():
    """A point of the plane is projected into both images; pixels are counted from 0 at their centres."""
    first, other = (camera_of(SequenceImage("v_x", number), SEQUENCES, 0) for number in (1, 4))
    points = np.array([[0.5, 0, 14.0], [-2.0, 0, 16.0], [1.0, 0, 12.5]])
    seen, expected = (camera.project(points)[0] - 0.5 for camera in (first, other))
    mapped = np.column_stack([seen, np.ones(3)]) @ homography(first, other).T
    np.testing.assert_allclose(mapped[:, :2] / mapped[:, 2:], expected, atol=1e-8)


@pytest.fixture(scope="module")
def parts(drawn) -> dict[str, tuple[np.ndarray, PatchLabels]]:
    """Patches (N, 64, 64) and labels of each part."""
    found = {}
    for name in PATCHES.parts:
        source = read_phototour(drawn / "toytown/phototour" / name)
        found[name] = np.concatenate(list(source.blocks)), source.labels
    return found


def test_patches_are_read_by_the_reader_of_phototour(parts):
    for patches, labels in parts.values():
        counts = np.bincount(labels.points)
        assert len(patches) == counts.sum()
        assert len(counts) <= PATCHES.buildings * PATCHES.points
        assert 2 <= counts.min() <= counts.max() <= PATCHES.photographs
        assert len(labels.pairs) == PATCHES.pairs
        assert labels.matches.tolist() == [1, 0] * (PATCHES.pairs // 2)
        assert (labels.pairs[:, 0] != labels.pairs[:, 1]).all()
        assert patches.std(axis=(1, 2)).min() > 1
        assert len(np.unique(patches.reshape(len(patches), -1), axis=0)) == len(patches)
    first, second = (patches for patches, _ in parts.values())
    assert not set(map(bytes, first)) & set(map(bytes, second))


def test_patches_of_a_point_are_alike(parts):
    """Blurred patches of one point correlate; those of different points hardly do."""
    for patches, labels in parts.values():
        small = patches.reshape(len(patches), 8, 8, 8, 8).mean((2, 4)).reshape(len(patches), -1)
        likenesses = np.corrcoef(small)
        same = labels.points[:, None] == labels.points
        others = itertools.combinations(range(len(patches)), 2)
        split = {True: [], False: []}
        for a, b in others:
            split[bool(same[a, b])].append(likenesses[a, b])
        assert np.median(split[True]) > 0.7
        assert np.median(split[True]) > np.median(split[False]) + 0.5


def test_points_that_are_hidden_are_not_found():
    """A wall 10 m ahead; what lies behind it is of the same building all the same."""
    camera = look_at(np.array([0.0, 0.0, 2.0]), np.array([0.0, 1.0, 2.0]), 1.0, 80, 60)
    view = Photograph(np.zeros((30, 40)), camera, np.full((60, 80), 3), np.full((60, 80), 10.0))
    at, depth = find_point(view, np.array([1.0, 10.0, 2.5]), 3)
    np.testing.assert_allclose([*at, depth], [*camera.project(np.array([[1.0, 10.0, 2.5]]))[0][0], 10.0])
    for hidden in ([1.0, 11.0, 2.5], [1.0, 9.0, 2.5], [1.0, -10.0, 2.5], [9.0, 10.0, 2.5], [0.0, 10.0, 9.0]):
        assert find_point(view, np.array(hidden), 3) is None
    assert find_point(view, np.array([1.0, 10.0, 2.5]), 2) is None


def test_a_part_without_points_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"1 points of 'quay' are seen twice; raise `buildings`"):
        write_phototour(tmp_path, "quay", [np.zeros((2, 64, 64), np.uint8)], 4, rng_for(0))


@pytest.mark.parametrize(("width", "height"), [(160, 120), (160, 160), (120, 240), (64, 512), (512, 64)])
def test_no_camera_sees_past_the_facades(width, height):
    settings = SEQUENCES.model_copy(update={"width": width, "height": height})
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    for seed, number in itertools.product(range(30), range(1, IMAGES + 1)):
        camera = camera_of(SequenceImage(f"v_{seed}", number), settings, seed)
        from_plane = camera.K @ np.column_stack([camera.R[:, 0], camera.R[:, 2], camera.t])
        x, z, w = np.linalg.inv(from_plane) @ np.column_stack([corners, np.ones(4)]).T
        assert (abs(x / w) < 35).all(), (seed, number)
        assert ((z / w > 0) & (z / w < 30)).all(), (seed, number, z / w)


@pytest.fixture(scope="module")
def strips(drawn) -> dict[str, np.ndarray]:
    """(16, N, 65, 65) patches of each sequence, by the reader of HPatches."""
    found = {}
    for name in STRIPS_CUT.sequences():
        patches = np.concatenate(list(read_hpatches_patches(drawn / "toytown/strips" / name).blocks))
        found[name] = patches.reshape(len(STRIPS), -1, 65, 65)
    return found


def test_strips_are_read_by_the_reader_of_hpatches(strips, drawn):
    assert all(2 <= patches.shape[1] <= STRIPS_CUT.patches for patches in strips.values())
    splits = read_splits(drawn / "toytown/strips/splits.json")
    assert {name: (split.test, split.train) for name, split in splits.items()} == STRIPS_CUT.splits()
    assert splits["a"].test == ("i_walls01", "v_walls01")
    assert splits["a"].train == ("i_walls00", "v_walls00")
    assert {*splits["illum"].test, *splits["view"].test} == set(splits["full"].test) == strips.keys()


def test_patches_of_a_strip_are_less_alike_the_more_jitter(strips):
    """Each patch is most like its own reference, and easy ones more than hard ones more than tough ones."""
    own, first = [], []
    for patches in strips.values():
        small = patches.reshape(16, patches.shape[1], 13, 5, 13, 5).mean((3, 5)).reshape(16, patches.shape[1], -1)
        small = small - small.mean(axis=2, keepdims=True)
        small /= np.linalg.norm(small, axis=2, keepdims=True)
        likeness_to_reference = small[1:] @ small[0].T
        right = np.diagonal(likeness_to_reference, axis1=1, axis2=2)
        own.append(right.reshape(3, -1).mean(axis=1))
        first.append((likeness_to_reference.argmax(axis=2) == np.arange(patches.shape[1])).reshape(3, -1).mean(axis=1))
    easy, hard, tough = np.mean(own, axis=0)
    assert easy > 0.75
    assert easy > hard > tough
    easy, hard, tough = np.mean(first, axis=0)
    assert easy > 0.8
    assert easy > hard > tough


def test_a_sequence_without_corners_inside_is_refused(monkeypatch):
    monkeypatch.setattr("descbench.datasets.toytown.strips.find_corners", lambda grey, chosen: (np.array([1]),) * 2)
    with pytest.raises(DataError, match=r"toytown\.strips: 0 corners of v_walls00 are inside of all images; widen"):
        take_strips("v_walls00", STRIPS_CUT, 0)
