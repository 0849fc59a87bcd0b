"""Splits, lists of tasks and descriptor files of HPatches: read as published, refused where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from descbench.datasets.descriptor_csv import (
    read_descriptor_csv,
    read_descriptors,
    write_descriptor_csv,
    write_descriptors,
)
from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.hpatches_tasks import (
    Split,
    contrast,
    draw_retrieval,
    draw_verification,
    read_retrieval,
    read_splits,
    read_verification,
    write_tasks,
)
from descbench.errors import DataError

SPLIT = Split("a", ("i_a", "v_b"), ("v_c",))
LENGTHS = {"i_a": 30, "v_b": 20, "v_c": 10}
CONTRASTS = {name: np.full(length, 20.0) for name, length in LENGTHS.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    verification = draw_verification(SPLIT, LENGTHS, 40)
    write_tasks(tmp_path, SPLIT, verification, draw_retrieval(SPLIT, CONTRASTS, 5, 12))
    return tmp_path


def test_lists_come_back(folder):
    drawn, read = draw_verification(SPLIT, LENGTHS, 40), read_verification(folder, SPLIT, LENGTHS)
    for kind in ("positives", "intra", "inter"):
        for one, other in zip(getattr(drawn, kind), getattr(read, kind), strict=True):
            for key in ("sequences", "images", "patches"):
                np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    queries = read_retrieval(folder, SPLIT, LENGTHS)
    assert (len(queries.queries), len(queries.distractors)) == (5, 12)
    for path in folder.glob("*.csv"):  # with the line ends of Windows they say the same
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    again = read_verification(folder, SPLIT, LENGTHS)
    np.testing.assert_array_equal(again.inter[1].patches, read.inter[1].patches)


def test_what_is_drawn_is_of_its_kind():
    drawn = draw_verification(SPLIT, LENGTHS, 300)
    (first, same), (_, within), (_, other) = drawn.positives, drawn.intra, drawn.inter
    assert (first.patches == same.patches).all()
    assert (first.patches != within.patches).all()
    assert (first.images != same.images).all()
    assert {*first.images.tolist(), *same.images.tolist()} == {0, 1, 2, 3, 4}
    assert set(other.sequences.tolist()) == {0, 1}
    sizes = np.array([LENGTHS[name] for name in SPLIT.test])
    for side in (first, same, within, other):
        assert (side.patches < sizes[side.sequences]).all()


def test_patches_without_contrast_are_not_looked_for():
    contrasts = {name: np.where(np.arange(length) % 2, 20.0, 10.0) for name, length in LENGTHS.items()}
    found = draw_retrieval(SPLIT, contrasts, 500, 500)
    both = [found.queries, found.distractors]
    assert all((listed.patches % 2 == 1).all() for listed in both)
    keys = [(s, p) for listed in both for s, p in zip(listed.sequences.tolist(), listed.patches.tolist(), strict=True)]
    assert len(set(keys)) == len(keys) <= 25
    patches = np.zeros((2, 65, 65), np.uint8)
    patches[1, ::2] = 40
    np.testing.assert_allclose(contrast(patches), [0, np.std(patches[1])])


def test_blank_patches_are_not_looked_for():
    contrasts = {name: np.zeros(length) for name, length in LENGTHS.items()}
    with pytest.raises(
        DataError, match="split 'a': no reference patch has grey values of a standard deviation above 10"
    ):
        draw_retrieval(SPLIT, contrasts)


def test_a_sequence_that_is_not_there_is_named():
    with pytest.raises(DataError, match="sequence v_b of split 'a' has no patches; add it to the `parts`"):
        draw_verification(SPLIT, {"i_a": 30}, 3)


PAIRS, LISTS = "verif_pos_split-a.csv", "retr_queries_split-a.csv"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (PAIRS, lambda text: text[:-3], r"line 41: .* is not of the form 's1,t1.*' \(the file is cut short\)"),
        (PAIRS, lambda text: text.rsplit("\n", 2)[0] + "\n", "40 pairs, but .*39; fetch both again"),
        (PAIRS, lambda text: text[3:], r"line 1: 't1,idx1.*' instead of 's1,t1,idx1,s2,t2,idx2'"),
        (PAIRS, lambda text: text.split("\n", 1)[0] + "\n", "lists nothing"),
        (PAIRS, lambda text: text + "i_a,6,1,i_a,1,1\n", "line 42: 'i_a,6,1,i_a,1,1' is not of the form"),
        (PAIRS, lambda text: text + "i_a,1,nan,i_a,1,1\n", "line 42: 'i_a,1,nan,i_a,1,1' is not"),
        (PAIRS, lambda text: text + "i_a,1,-1,i_a,1,1\n", "line 42"),
        (PAIRS, lambda text: text + "\n", "line 42: '' is not of the form"),
        (PAIRS, lambda text: text + "i_z,1,1,i_a,1,1\n", "line 42: 'i_z' is not a test sequence of split 'a'"),
        (PAIRS, lambda text: text + "v_c,1,1,i_a,1,1\n", "line 42: 'v_c' is not a test sequence"),
        (PAIRS, lambda text: text + "i_a,1,1,v_b,1,20\n", "line 42: patch 20 of v_b, which has 20"),
        (PAIRS, lambda text: text + "i_a,1,1234567890,v_b,1,2\n", "line 42: .* is not of the form"),
        ("verif_neg_inter_split-a.csv", lambda text: swapped(text), "its first patches are not those of verif_pos"),
        (PAIRS, None, "no such file; fetch it, or have the lists drawn anew"),
        (LISTS, lambda text: text[:-1], r"line 6: .* \(the file is cut short\)"),
        (LISTS, lambda text: text + text.split("\n")[1] + "\n", "line 7: patch .* is listed twice"),
        (LISTS, lambda text: text + "i_a,30\n", "line 7: patch 30 of i_a, which has 30; list and patches must be"),
        (LISTS, lambda text: text + "i_a\n", "line 7: 'i_a' is not of the form 's,idx'"),
        (LISTS, lambda text: text + "i_a,\xff\n", "line 7"),
        ("retr_distractors_split-a.csv", None, "no such file"),
    ],
)
def test_lists_that_are_refused(folder, name, change, message):
    path = folder / name
    text = path.read_text()
    path.unlink()
    if change is not None:
        path.write_text(change(text))
    read = read_verification if name.startswith("verif") else read_retrieval
    with pytest.raises(DataError, match=message) as caught:
        read(folder, SPLIT, LENGTHS)
    assert "\n" not in str(caught.value)


def swapped(text: str) -> str:
    """The first two different lines change places."""
    header, first, *rest = text.splitlines(keepends=True)
    return "".join([header, *rest, first])


def test_splits(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(
        json.dumps({"a": {"name": "a", "test": ["v_b", "i_a"], "train": ["v_c"]}, "full": {"test": ["v_b"]}})
    )
    assert read_splits(path) == {"a": Split("a", ("v_b", "i_a"), ("v_c",)), "full": Split("full", ("v_b",))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON, or cut short"),
        ('{"a": {"test": ["i_a"]', "not JSON, or cut short"),
        ("[" * 100_000, "not JSON"),
        ("[]", "holds no splits"),
        ("{}", "holds no splits"),
        ('{"a": ["i_a"]}', "split 'a' is not a block with its own name"),
        ('{"a": {"name": "b", "test": ["i_a"]}}', "split 'a' is not a block with its own name"),
        ('{"a": {"test": "i_a"}}', "split 'a': `test` is not a list of sequences"),
        ('{"a": {"test": ["i_a", 3]}}', "`test` is not a list of sequences"),
        ('{"a": {"test": ["i_a"], "train": [null]}}', "`train` is not a list of sequences"),
        ('{"a": {"test": []}}', "lists no test sequences"),
        ('{"a": {"test": ["i_a", "i_a"]}}', "or a sequence twice"),
        ('{"a": {"test": ["i_a"], "train": ["i_a"]}}', "or a sequence twice"),
    ],
)
def test_splits_that_are_refused(tmp_path, text, message):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(DataError, match=rf"splits\.json: .*{message}"):
        read_splits(tmp_path / "splits.json")


# --- Descriptor files ----------------------------------------------------------


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize(("style", "error"), [("fixed", 5e-6), ("general", 5e-5), ("exact", 0)])
def test_descriptors_come_back(tmp_path, delimiter, style, error):
    views = drawn((16, 5, 7))
    files = write_descriptors(tmp_path, "i_a", views, delimiter, style)
    assert [path.name for path in files] == [f"{view}.csv" for view in STRIPS]
    found = read_descriptors(tmp_path, "i_a", 5, tmp_path / "i_a.h5", delimiter)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, views, rtol=0, atol=error * max(1, np.abs(views).max()) + 1e-9 * (error > 0))
    first = files[0].read_text().split("\n", 1)[0]
    assert first.count(delimiter) == 6
    if style == "fixed":
        assert {len(field) for field in first.split(delimiter)} == {10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,4", "line 2: does not end, the file is cut short"),
        ("1,2\n3\n", "line 2: 1 numbers, line 1 has 2"),
        ("1,2\n\n3,4\n", "line 2: 1 numbers, line 1 has 2"),
        ("1,2\n3,4,5\n", "line 2: 3 numbers, line 1 has 2"),
        ("1;2\n3;4\n", "line 1: one number in a row, .* the delimiter seems to be ';'"),
        ("1\n2\n", "line 1: one number in a row, .* is ',' the delimiter"),
        ("", "empty"),
        ("\n", "line 1: one number in a row"),
        ("1,2\n3,nan\n", "line 2: 'nan' is not a finite 32-bit number"),
        ("1,2\n3,-inf\n", "line 2: '-inf' is not a finite 32-bit number"),
        ("1,2\n3,1e39\n", "line 2: '1e39' is not a finite 32-bit number"),
        ("1,2\n3,\n", "line 2: '' is not a finite 32-bit number"),
        ("1,2\n3,x\n", "line 2: 'x' is not a finite 32-bit number"),
        ("1,2\n3,# 4\n", "line 2: '# 4' is not a finite 32-bit number"),
        ("1,2\n3,0x1p3\n", "line 2: '0x1p3'"),
        ("1,2\n3,1_0\n", "line 2: '1_0'"),
    ],
)
def test_descriptor_files_that_are_refused(tmp_path, text, message):
    (tmp_path / "e1.csv").write_text(text)
    with pytest.raises(DataError, match=rf"e1\.csv: .*{message}"):
        read_descriptor_csv(tmp_path / "e1.csv")


def test_descriptors_of_other_patches_are_refused(tmp_path):
    write_descriptors(tmp_path, "i_a", drawn((16, 5, 7)))
    with pytest.raises(DataError, match=r"i_a/ref\.csv: 5 descriptors, but .*i_a\.h5 has 6 patches of each view"):
        read_descriptors(tmp_path, "i_a", 6, tmp_path / "i_a.h5")
    write_descriptor_csv(tmp_path / "i_a/h2.csv", drawn((5, 6)))
    with pytest.raises(DataError, match=r"i_a/h2\.csv: descriptors of 6 dimensions, ref\.csv has 7"):
        read_descriptors(tmp_path, "i_a", 5, tmp_path / "i_a.h5")
    (tmp_path / "i_a/h2.csv").unlink()
    with pytest.raises(DataError, match=r"i_a/h2\.csv: no such file; every sequence needs the files ref\.csv to t5"):
        read_descriptors(tmp_path, "i_a", 5, tmp_path / "i_a.h5")


@pytest.mark.parametrize(
    ("descriptors", "message"),
    [
        (np.zeros((3, 1)), r"shape \(3, 1\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.array([[1, 2], [np.inf, 3]]), "descriptor 1 holds NaN or infinity"),
    ],
)
def test_what_cannot_be_written(tmp_path, descriptors, message):
    with pytest.raises(DataError, match=message):
        write_descriptor_csv(tmp_path / "ref.csv", descriptors)
    assert not (tmp_path / "ref.csv").exists()
