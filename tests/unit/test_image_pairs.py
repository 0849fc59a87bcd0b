"""Image pairs and their relations: the file, and HPatches sequences in their official layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from descbench.config.datasets import Dataset, HPatchesSequencesDataset, ImageListDataset
from descbench.datasets.build import PAIR_READERS, build_manifest, build_pairs
from descbench.datasets.hpatches_sequences import read_homography, read_hpatches_sequences
from descbench.datasets.image_pairs import Homography, ImagePair, read_image_pairs, write_image_pairs
from descbench.datasets.manifest import Manifest, read_manifest, rows_of
from descbench.errors import DataError, StaleFileError
from descbench.io.csvfiles import read_csv, write_csv

IDENTITY = Homography((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
ODD = Homography((0.1 + 0.2, -1e-17, 3e3, 2.5, -7.0, 1 / 3, 5e-324, 1.4e-3, 1.0))
MANIFEST = Manifest(tuple(rows_of("database", ["a.ppm", "b.ppm", "c.ppm"])))


def block(**changes: Any) -> HPatchesSequencesDataset:
    return HPatchesSequencesDataset(format="hpatches_sequences", **{"images": "seqs", **changes})


def write_sequence(folder: Path, name: str, shift: float = 0.0) -> None:
    (folder / "seqs" / name).mkdir(parents=True)
    for k in range(1, 7):
        Image.fromarray(np.full((4, 6, 3), k, np.uint8)).save(folder / "seqs" / name / f"{k}.ppm")
        if k > 1:
            (folder / "seqs" / name / f"H_1_{k}").write_text(f"1 0 {shift + k}\n0 1 0\n0 0 1\n")


@pytest.fixture
def sequences(tmp_path) -> Path:
    """Two sequences, ``v_b`` and ``i_a``."""
    write_sequence(tmp_path, "v_b", shift=10)
    write_sequence(tmp_path, "i_a")
    (tmp_path / "seqs/.hidden").mkdir()
    (tmp_path / "seqs/README").write_text("no folder")
    return tmp_path


def build(datasets_dir: Path, dataset: Any, out: Path) -> tuple[Manifest, tuple[ImagePair, ...]]:
    paths = out / "m.csv", out / "m.gt.json", out / "m.pairs.csv"
    build_manifest("seqs", dataset, datasets_dir, *paths[:2])
    build_pairs("seqs", dataset, datasets_dir, paths[0], paths[2])
    manifest = read_manifest(paths[0])
    return manifest, read_image_pairs(paths[2], manifest)


def test_pairs_are_read_as_they_were_written(tmp_path):
    pairs = (ImagePair(0, 2, ODD), ImagePair(1, 0, IDENTITY))
    write_image_pairs(pairs, tmp_path / "p.csv")
    assert read_image_pairs(tmp_path / "p.csv", MANIFEST) == pairs
    columns, rows = read_csv(tmp_path / "p.csv", "file")
    assert columns == ["image_a", "image_b", "relation"]
    assert rows[1]["relation"] == "homography:1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0"
    assert IDENTITY.matrix.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, 3, "homography:1 0 0 0 1 0 0 0 1"), "image 3 of a pair is not among the 3 of the manifest"),
        ((-1, 1, "homography:1 0 0 0 1 0 0 0 1"), "image -1 of a pair"),
        ((1, 1, "homography:1 0 0 0 1 0 0 0 1"), "image 1 is paired with itself"),
        (("x", 1, "homography:1 0 0 0 1 0 0 0 1"), "not an image pair"),
        ((0, 1, "homography:1 0 0 0 1 0 0 0"), "8 numbers are no 3 x 3 matrix"),
        ((0, 1, "homography:1 0 0 0 1 0 0 0 1 0"), "10 numbers"),
        ((0, 1, "homography:1 0 0 0 1 0 0 0 nan"), "NaN or infinity"),
        ((0, 1, "homography:1 0 0 0 1 0 0 0 1e999"), "NaN or infinity"),
        ((0, 1, "homography:1 2 3 2 4 6 0 0 1"), "singular"),
        ((0, 1, "homography:0 0 0 0 0 0 0 0 0"), "singular"),
        ((0, 1, "homography:1_0 0 0 0 1 0 0 0 1"), "not numbers"),
        ((0, 1, "essential:1 0 0 0 1 0 0 0 1"), "relation 'essential' is none of homography"),
        ((0, 1, "1 0 0 0 1 0 0 0 1"), "relation '1 0 0 0 1 0 0 0 1' is none of"),
        ((0, 1), "not an image pair"),
    ],
)
def test_rows_that_are_no_pairs_are_refused(tmp_path, row, message):
    write_csv(tmp_path / "p.csv", ["image_a", "image_b", "relation"], [row])
    with pytest.raises(DataError, match=rf"p\.csv.*{message}"):
        read_image_pairs(tmp_path / "p.csv", MANIFEST)


def test_files_that_are_no_pairs_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    write_csv(path, ["image_a", "image_b"], [(0, 1)])
    with pytest.raises(DataError, match="columns must be image_a, image_b, relation"):
        read_image_pairs(path, MANIFEST)
    write_image_pairs([], path)
    with pytest.raises(DataError, match="holds no image pairs"):
        read_image_pairs(path, MANIFEST)
    write_image_pairs([ImagePair(0, 1, IDENTITY)], path)
    two_roles = Manifest((*MANIFEST.rows, *rows_of("query", ["q.ppm"])))
    with pytest.raises(DataError, match="images of one role, the manifest has database, query"):
        read_image_pairs(path, two_roles)
    path.write_text(path.read_text().replace("1.0", "2.0"))
    with pytest.raises(DataError, match="damaged or edited"):
        read_image_pairs(path, MANIFEST)


def test_sequences_in_the_official_layout(sequences, tmp_path):
    manifest, pairs = build(sequences, block(), tmp_path)
    assert [row.path for row in manifest.rows] == [f"seqs/{s}/{k}.ppm" for s in ("i_a", "v_b") for k in range(1, 7)]
    assert [(pair.image_a, pair.image_b) for pair in pairs] == [(0, k) for k in range(1, 6)] + [
        (6, k) for k in range(7, 12)
    ]
    # The homography of the pair (1, k) is that of H_1_k.
    assert [pair.relation.matrix[0, 2] for pair in pairs] == [2, 3, 4, 5, 6, 12, 13, 14, 15, 16]


def test_excluded_sequences_are_left_out(sequences, tmp_path):
    manifest, pairs = build(sequences, block(exclude=["i_a"]), tmp_path)
    assert {Path(row.path).parent.name for row in manifest.rows} == {"v_b"}
    assert len(pairs) == 5
    with pytest.raises(DataError, match="`exclude` names 'i_aa', which is not a sequence there; close names: i_a"):
        read_hpatches_sequences(block(exclude=["i_aa"]), sequences)
    with pytest.raises(DataError, match="holds no sequences"):
        read_hpatches_sequences(block(exclude=["i_a", "v_b"]), sequences)


def test_sequences_that_are_incomplete_are_refused(sequences):
    with pytest.raises(DataError, match="no such folder of sequences"):
        read_hpatches_sequences(block(images="none"), sequences)
    (sequences / "seqs/i_a/3.ppm").unlink()
    (sequences / "seqs/i_a/H_1_6").unlink()
    with pytest.raises(DataError, match=r"i_a: the sequence has no 3\.ppm, H_1_6"):
        read_hpatches_sequences(block(), sequences)
    (sequences / "seqs/homographies").mkdir()
    with pytest.raises(DataError, match=r"homographies: the name of a sequence begins with neither i_ nor v_"):
        read_hpatches_sequences(block(exclude=["i_a"]), sequences)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 0 0\n0 1 0\n", "not three lines of three numbers"),
        (b"1 0 0 0 1 0 0 0 1\n", "not three lines of three numbers"),
        (b"1 0 0\n0 1 0\n0 0 one\n", "no homography"),
        (b"1 0 0\n0 1 0\n0 0 inf\n", "NaN or infinity"),
        (b"1 0 0\n0 1 0\n1 1 0\n", "singular"),
        (b"1 0 0\n0 1 0\n0 0 \xff\n", "not UTF-8"),
    ],
)
def test_files_that_are_no_homographies_are_refused(tmp_path, content, message):
    path = tmp_path / "H_1_2"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"H_1_2.*{message}"):
        read_homography(path)
    with pytest.raises(DataError, match="no such homography"):
        read_homography(tmp_path / "H_1_3")


def test_a_link_that_leads_nowhere_is_no_sequence_to_leave_out(sequences, tmp_path):
    (sequences / "seqs/v_gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"v_gone: a link that leads nowhere"):
        read_hpatches_sequences(block(), sequences)


def test_pairs_of_another_manifest_are_refused(sequences, tmp_path):
    build(sequences, block(), tmp_path)
    with pytest.raises(StaleFileError, match="images of seqs are others now"):
        build_pairs("seqs", block(exclude=["i_a"]), sequences, tmp_path / "m.csv", tmp_path / "m.pairs.csv")


def test_every_format_that_promises_pairs_has_a_reader():
    formats = [block for block in get_args(get_args(Dataset)[0]) if block.HAS_IMAGE_PAIRS]
    assert {get_args(block.model_fields["format"].annotation)[0] for block in formats} == PAIR_READERS.keys()


def test_formats_without_pairs_have_none(tmp_path):
    plain = ImageListDataset(format="image_list", images="jpg", list="l.txt")
    with pytest.raises(DataError, match="format 'image_list' have no known relations"):
        build_pairs("plain", plain, tmp_path, tmp_path / "m.csv", tmp_path / "p.csv")


def test_real_sequences(real_data, tmp_path):
    """Homographies that the published list has too, and that lay one photograph over the other."""
    (tmp_path / "seqs").symlink_to(real_data / "hpatches_seq")
    manifest, pairs = build(tmp_path, block(exclude=["homographies", "v_calder"]), tmp_path)
    assert len(manifest) == 6
    first = grey(tmp_path / manifest.rows[0].path)
    for k, pair in enumerate(pairs, 2):
        published = (real_data / f"hpatches_seq/homographies/hpatches_1_{k}.csv").read_text().splitlines()
        (row,) = (line.split(",") for line in published if line.startswith("v_churchill,"))
        listed = np.array(row[5:14], float).reshape(3, 3)
        found = pair.relation.matrix
        np.testing.assert_allclose(found / found[2, 2], listed / listed[2, 2], rtol=1e-3, atol=1e-7)
        assert likeness(first, grey(tmp_path / manifest.rows[pair.image_b].path), found) > 0.6
        assert likeness(first, grey(tmp_path / manifest.rows[pair.image_b].path), np.linalg.inv(found)) < 0.4


def grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"), float)


def likeness(first: np.ndarray, other: np.ndarray, homography: np.ndarray) -> float:
    """Correlation of pixels of the first image with those of the other where a homography maps them to."""
    y, x = np.mgrid[0 : first.shape[0] : 4, 0 : first.shape[1] : 4].reshape(2, -1)
    mapped = homography @ np.stack([x, y, np.ones_like(x)])
    at = mapped[:2] / mapped[2]
    inside = (at >= 0).all(0) & (at[0] < other.shape[1] - 1) & (at[1] < other.shape[0] - 1)
    seen = map_coordinates(other, at[::-1, inside], order=1)
    return float(np.corrcoef(first[y[inside], x[inside]], seen)[0, 1])
