"""Files of hloc and kapture: what is written is read again, what others wrote is understood or refused."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from descbench.cli import main
from descbench.errors import DataError
from descbench.interop.exchanged import ExchangedFeatures, ExchangedMatches
from descbench.interop.hloc_features import read_hloc_features, write_hloc_features
from descbench.interop.hloc_matches import read_hloc_matches, write_hloc_matches
from descbench.interop.kapture_features import (
    descriptors_folder,
    keypoints_folder,
    matches_file,
    read_kapture_features,
    read_kapture_matches,
    read_kind,
    read_rows,
    write_kapture_features,
    write_kapture_matches,
    write_kind,
    write_rows,
)
from descbench.interop.pairs_files import NamedPair, read_pairs_file, write_pairs_file

NAMES = ("db/one.jpg", "two.jpg", "none.jpg")
LATEST = {"libver": "latest"}


def drawn(count: int, seed: int = 0, **more: object) -> ExchangedFeatures:
    random = np.random.default_rng(seed)
    keypoints = random.uniform(0.5, 4000, (count, 2)).astype(np.float32)
    scores = np.sort(random.random(count).astype(np.float32))[::-1]
    columns = {"scores": scores, "scales": scores + 1, "orientations": scores - 0.5}
    descriptors = random.standard_normal((count, 8)).astype(np.float32)
    return ExchangedFeatures(keypoints, descriptors, **columns, size=(4000, 3000), **more)


def images() -> dict[str, ExchangedFeatures]:
    return {name: drawn(count, count) for name, count in zip(NAMES, (9, 5, 0), strict=True)}


def assert_equal(one: ExchangedFeatures, other: ExchangedFeatures, *without: str) -> None:
    for name, value in vars(one).items():
        if name not in without:
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


# --- features of hloc ------------------------------------------------------------------------------


def test_hloc_features_come_back(tmp_path: Path) -> None:
    written = {**images(), "sure.jpg": drawn(3, uncertainty=1.5)}
    for name in ("a.h5", "b.h5"):
        assert write_hloc_features(written.items(), tmp_path / name) == 4
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    found = read_hloc_features(tmp_path / "a.h5")
    assert sorted(found) == sorted(written)
    for name, features in written.items():
        assert_equal(features, found[name])


def test_hloc_features_are_laid_out_as_hloc_reads_them(tmp_path: Path) -> None:
    features = images()
    write_hloc_features(features.items(), tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        group, ours = file["db/one.jpg"], features["db/one.jpg"]
        np.testing.assert_array_equal(group["keypoints"][()], ours.keypoints - np.float32(0.5))
        np.testing.assert_array_equal(group["descriptors"][()], ours.descriptors.T)
        np.testing.assert_array_equal(group["image_size"][()], (4000, 3000))
        np.testing.assert_array_equal(group["scores"][()], ours.scores)
        assert file["none.jpg/descriptors"].shape == (8, 0)


def hloc_file(path: Path, name: str = "a/b.jpg", **changed: object) -> Path:
    """A feature file as hloc writes it, of halves; datasets may be changed, or left out by None."""
    content: dict[str, object] = {
        "keypoints": np.array([[0, 0], [10.5, 2]], np.float16),
        "descriptors": np.array([[1, 0], [0, 1], [0, 0]], np.float16),
        "scores": np.array([0.25, 0.5], np.float16),
        "image_size": np.array([64, 48]),
        **changed,
    }
    with h5py.File(path, "w", **LATEST) as file:
        group = file.create_group(name)
        for key, values in content.items():
            if values is not None:
                group.create_dataset(key, data=values)
        if content["keypoints"] is not None:
            group["keypoints"].attrs["uncertainty"] = np.float32(2)
    return path


def test_halves_of_hloc(tmp_path: Path) -> None:
    found = read_hloc_features(hloc_file(tmp_path / "f.h5"))["a/b.jpg"]
    assert found.keypoints.tolist() == [[0.5, 0.5], [11, 2.5]]
    assert found.descriptors.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert (found.size, found.uncertainty, found.scales) == ((64, 48), 2.0, None)
    first = found.strongest_first()
    assert first.keypoints.tolist() == [[11, 2.5], [0.5, 0.5]]
    assert first.scores.tolist() == [0.5, 0.25]
    assert first.order() is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keypoints": None}, "holds no keypoints of any image"),
        ({"descriptors": None}, "has no descriptors"),
        ({"keypoints": np.array([[0, np.nan], [1, 1]])}, "keypoints hold NaN"),
        ({"descriptors": np.full((3, 2), np.inf)}, "descriptors hold NaN or infinity"),
        ({"descriptors": np.zeros((3, 5))}, "descriptors have shape"),
        ({"keypoints": np.zeros((2, 3))}, "keypoints have shape"),
        ({"keypoints": np.zeros((2, 2), np.int32)}, "keypoints of 'a/b.jpg' are int32"),
        ({"keypoints": np.zeros(4)}, "have 1 axes, not 2"),
        ({"scores": np.zeros(3)}, "scores have shape"),
        ({"image_size": np.array([64])}, "image_size of 'a/b.jpg' has 1 numbers"),
        ({"image_size": np.array([64, 0])}, "64 x 0 pixels"),
        ({"name": "../b.jpg"}, "leaves the dataset's folder"),
    ],
)
def test_wrong_features_of_hloc(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_hloc_features(hloc_file(tmp_path / "f.h5", **changed))


def test_hostile_files_of_hloc(tmp_path: Path) -> None:
    good = hloc_file(tmp_path / "good.h5")

    def refused(name: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_hloc_features(tmp_path / name)

    refused("absent.h5", "no such feature file")
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:-100])
    refused("cut.h5", "no feature file of hloc that can be read")
    (tmp_path / "text.h5").write_text("no HDF5")
    refused("text.h5", "it is a text file")
    hloc_file(tmp_path / "links.h5")
    with h5py.File(tmp_path / "links.h5", "a", **LATEST) as file:
        file["other.jpg"] = h5py.ExternalLink("good.h5", "a/b.jpg")
    refused("links.h5", "link to elsewhere")
    hloc_file(tmp_path / "circle.h5")
    with h5py.File(tmp_path / "circle.h5", "a", **LATEST) as file:
        file["a/again"] = file["a"]
    refused("circle.h5", "reached twice")
    hloc_file(tmp_path / "claims.h5", keypoints=None)
    with h5py.File(tmp_path / "claims.h5", "a", **LATEST) as file:
        file["a/b.jpg"].create_dataset("keypoints", (1 << 40, 2), np.float32, chunks=(1 << 10, 2))
    refused("claims.h5", "are not in the file")
    hloc_file(tmp_path / "packed.h5", keypoints=None)
    with h5py.File(tmp_path / "packed.h5", "a", **LATEST) as file:
        file["a/b.jpg"].create_dataset("keypoints", data=np.zeros((2, 2)), compression="gzip")
    refused("packed.h5", "are compressed")
    with h5py.File(tmp_path / "old.h5", "w", libver=("earliest", "v108")) as file:
        file.create_dataset("a/keypoints", data=np.zeros((2, 2)))
    refused("old.h5", "older format")
    with pytest.raises(DataError, match=r"lacks 1 of 1 images \(c.jpg\)"):
        read_hloc_features(good, ["c.jpg"])


def test_features_that_hloc_cannot_have(tmp_path: Path) -> None:
    one = drawn(3)
    for content, message in (
        ([("a.jpg", one), ("a.jpg", one)], "comes twice"),
        ([("../a.jpg", one)], "leaves the dataset's folder"),
        ([("a.jpg", replace(one, size=None))], "has no size"),
        ([("a.jpg", one), ("./a.jpg", one)], "cannot be written for hloc"),
    ):
        with pytest.raises(DataError, match=message):
            write_hloc_features(content, tmp_path / "f.h5")
    assert list(tmp_path.iterdir()) == []


# --- matches of hloc -------------------------------------------------------------------------------


def matched() -> ExchangedMatches:
    return ExchangedMatches(np.array([[0, 3], [2, 1], [5, 0]]), np.array([1.0, -0.5, 0.25]))


def test_hloc_matches_come_back(tmp_path: Path) -> None:
    path, empty = tmp_path / "m.h5", ExchangedMatches(np.zeros((0, 2), np.int64), np.zeros(0))
    assert write_hloc_matches([("a/b.jpg", "c/d.jpg", 7, matched()), ("a/b.jpg", "e.jpg", 7, empty)], path) == 2
    with h5py.File(path) as file:
        assert file["a-b.jpg/c-d.jpg/matches0"][()].tolist() == [3, -1, 1, -1, -1, 0, -1]
        assert file["a-b.jpg/c-d.jpg/matching_scores0"][()].tolist() == [1, 0, 0.25, 0, 0, 0.625, 0]
    found, none, turned = read_hloc_matches(
        path, [("a/b.jpg", "c/d.jpg"), ("a/b.jpg", "e.jpg"), ("c/d.jpg", "a/b.jpg")]
    )
    for name, value in vars(matched()).items():
        np.testing.assert_array_equal(value, getattr(found, name))
    assert len(none.scores) == 0
    assert turned.indices.tolist() == [[0, 5], [1, 2], [3, 0]]
    assert turned.scores.tolist() == [0.25, -0.5, 1.0]


def matches_of_hloc(path: Path, group: str = "a/b", **changed: object) -> Path:
    content = {
        "matches0": np.array([1, -1, 0], np.int16),
        "matching_scores0": np.array([0.5, 0, 1], np.float16),
        **changed,
    }
    with h5py.File(path, "w", **LATEST) as file:
        for key, values in content.items():
            if values is not None:
                file[f"{group}/{key}"] = values
    return path


def test_older_names_and_no_scores(tmp_path: Path) -> None:
    for group, pair in (("a_b", ("a", "b")), ("b_a", ("a", "b")), ("b/a", ("a", "b"))):
        found = read_hloc_matches(matches_of_hloc(tmp_path / "m.h5", group), [pair])[0]
        assert found.indices.tolist() == ([[0, 1], [2, 0]] if group == "a_b" else [[0, 2], [1, 0]])
    found = read_hloc_matches(matches_of_hloc(tmp_path / "m.h5", matching_scores0=None), [("a", "b")])[0]
    assert found.scores.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"matches0": None}, "has no matches0"),
        ({"matches0": np.array([1, -2, 0])}, "numbers below -1"),
        ({"matches0": np.array([1.0, -1, 0])}, "matches0 of 'a/b' are float64"),
        ({"matching_scores0": np.array([np.nan, 0, 1])}, "not one a feature, in 0..1"),
        ({"matching_scores0": np.array([0.5, 0])}, "not one a feature"),
        ({"matching_scores0": np.array([7.0, 0, 1])}, "in 0..1"),
        ({"group": "a/c"}, "no matches of a, b: match these two as well"),
    ],
)
def test_wrong_matches_of_hloc(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_hloc_matches(matches_of_hloc(tmp_path / "m.h5", **changed), [("a", "b")])


def test_matches_that_hloc_cannot_have(tmp_path: Path) -> None:
    twice = ExchangedMatches(np.array([[0, 1], [0, 2]]), np.ones(2))
    for pairs, message in (
        ([("a/b", "c", 7, matched()), ("a-b", "c", 7, matched())], "have the same name in hloc"),
        ([("a", "c", 5, matched())], "beyond the 5"),
        ([("a", "c", 5, twice)], "a feature with two matches"),
    ):
        with pytest.raises(DataError, match=message):
            write_hloc_matches(pairs, tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


# --- kapture ---------------------------------------------------------------------------------------


def test_kapture_features_come_back(tmp_path: Path) -> None:
    written = images()
    assert write_kapture_features(written.items(), tmp_path, "sift") == 3
    found = read_kapture_features(tmp_path, "sift", NAMES)
    for name, features in written.items():
        assert_equal(
            features, found[name], "scores", "size", *(("scales", "orientations") if name == "none.jpg" else ())
        )
    assert (keypoints_folder(tmp_path, "sift") / "keypoints.txt").read_text() == (
        "# kapture format: 1.1\n# name, dtype, dsize\nsift, float32, 4\n"
    )
    assert (
        (descriptors_folder(tmp_path, "sift") / "descriptors.txt").read_text().endswith("sift, float32, 8, sift, L2\n")
    )


def test_kapture_matches_come_back(tmp_path: Path) -> None:
    for first, second, rows in (
        ("a/1.jpg", "b.jpg", [[0, 3, 1], [2, 1, -0.5], [5, 0, 0.25]]),
        ("z.jpg", "b.jpg", [[3, 0, 1], [1, 2, -0.5], [0, 5, 0.25]]),
    ):
        path = write_kapture_matches(tmp_path, "sift", first, second, matched())
        assert path == matches_file(tmp_path, "sift", *sorted((first, second)))
        assert np.fromfile(path).reshape(-1, 3).tolist() == rows
        found = read_kapture_matches(tmp_path, "sift", first, second)
        assert found.indices.tolist() == matched().indices.tolist()
        assert found.scores.tolist() == matched().scores.tolist()


def test_wrong_files_of_kapture(tmp_path: Path) -> None:
    write_kapture_features(images().items(), tmp_path, "sift")
    points, described = keypoints_folder(tmp_path, "sift"), descriptors_folder(tmp_path, "sift")
    text, place = points / "keypoints.txt", points / "two.jpg.kpt"

    def refused(path: Path, content: bytes, message: str) -> None:
        kept = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_kapture_features(tmp_path, "sift", ["two.jpg"])
        path.write_bytes(kept)

    refused(place, place.read_bytes()[:-1], "it was cut off")
    refused(place, place.read_bytes()[:-16], "does not fit|4 keypoints, 5 descriptors")
    refused(place, np.full(20, np.nan, "<f4").tobytes(), "holds NaN")
    for row, message in (
        (b"", "0 lines of content"),
        (b"a, float32, 4\nb, float32, 4\n", "2 lines of content"),
        (b"a, float32\n", "is not name, dtype, dsize"),
        (b"a, object, 4\n", "numbers of type 'object'"),
        (b"a, float32, 0\n", "rows of 0 numbers"),
        (b"a, float32, 99999999999\n", "rows of 99999999999 numbers"),
        (b"a, float32, 1\n", "keypoints of one number"),
        (b"\xff\n", "not UTF-8"),
    ):
        refused(text, row, message)
    refused(described / "descriptors.txt", b"a, float32, 8, orb, L2\n", "of keypoints 'orb', not 'sift'")
    for names, message in ((["../two.jpg"], "leaves the dataset's folder"), (["three.jpg"], "cannot be read")):
        with pytest.raises(DataError, match=message):
            read_kapture_features(tmp_path, "sift", names)
    with pytest.raises(DataError, match="no such file"):
        read_kapture_features(tmp_path, "orb", NAMES)


def test_wrong_matches_of_kapture(tmp_path: Path) -> None:
    path = write_kapture_matches(tmp_path, "sift", "a", "b", matched())
    for rows, message in (
        ([[0.5, 1, 1]], "not whole numbers"),
        ([[-1, 1, 1]], "not whole numbers"),
        ([[1e300, 1, 1]], "not whole numbers"),
        ([[1, 1, np.nan]], "holds NaN"),
        ([[1, 1]], "it was cut off"),
    ):
        np.array(rows, np.float64).tofile(path)
        with pytest.raises(DataError, match=message):
            read_kapture_matches(tmp_path, "sift", "a", "b")
    for pair, message in ((("a", "c"), "cannot be read"), (("a", "../c"), "leaves the dataset's folder")):
        with pytest.raises(DataError, match=message):
            read_kapture_matches(tmp_path, "sift", *pair)
    for pair, message in ((("a", "a"), "with itself"), (("a", "b,c"), "holds a comma")):
        with pytest.raises(DataError, match=message):
            write_kapture_matches(tmp_path, "sift", *pair, matched())


def test_features_that_kapture_cannot_have(tmp_path: Path) -> None:
    bare = ExchangedFeatures(drawn(3).keypoints, drawn(3).descriptors)
    for content, message in (
        ([("a.jpg", drawn(3)), ("b.jpg", bare)], "other columns"),
        ([("a.jpg", drawn(3)), ("a.jpg", drawn(3))], "comes twice"),
        ([("a,b.jpg", bare)], "holds a comma"),
        ([("a.jpg", drawn(0))], "no image has any features"),
    ):
        with pytest.raises(DataError, match=message):
            write_kapture_features(content, tmp_path, "sift")
    assert not (keypoints_folder(tmp_path, "sift") / "keypoints.txt").exists()


def test_a_real_kapture_folder_is_written_as_it_was(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "kapture_maupertuis/kapture"
    originals = [
        path for path in sorted((folder / "reconstruction").rglob("*")) if path.suffix in (".kpt", ".desc", ".matches")
    ]
    assert len(originals) == 14
    names = [path.name.removesuffix(".kpt") for path in originals if path.suffix == ".kpt"]
    for place in (keypoints_folder, descriptors_folder):
        text = next(place(folder, "SIFT").glob("*.txt"))
        kind = read_kind(text)
        write_kind(kind, place(tmp_path, "SIFT") / text.name)
        assert read_kind(place(tmp_path, "SIFT") / text.name) == kind
        for path in originals:
            if path.parent == place(folder, "SIFT"):
                write_rows(read_rows(path, kind.stored, kind.dsize), kind.stored, place(tmp_path, "SIFT") / path.name)
    for path in originals:
        if path.suffix == ".matches":
            pair = path.parent.name.removesuffix(".overlapping"), path.name.removesuffix(".matches")
            write_kapture_matches(tmp_path, "SIFT", *pair, read_kapture_matches(folder, "SIFT", *pair))
    for path in originals:
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), path
    assert sorted(read_kapture_features(tmp_path, "SIFT", names)) == names


def test_keypoints_of_kapture_are_those_of_colmap(real_data: Path) -> None:
    """So their first pixel has its middle at 0.5, 0.5."""
    folder = real_data / "kapture_maupertuis"
    database = folder / "colmap/colmap.db"
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    query = "select name, rows, cols, data from keypoints join images using (image_id)"
    stored = connection.execute(query).fetchall()
    connection.close()
    found = read_kapture_features(folder / "kapture", "SIFT", [name for name, *_ in stored])
    for name, count, columns, data in stored:
        np.testing.assert_array_equal(
            found[name].keypoints, np.frombuffer(data, np.float32).reshape(count, columns)[:, :2]
        )
        assert (found[name].scales > 0).all()


# --- pairs files -----------------------------------------------------------------------------------


def test_pairs_are_converted_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hloc, kapture, again = (tmp_path / name for name in ("h.txt", "k.txt", "h2.txt"))
    hloc.write_text("query/a.jpg db/b.jpg\nquery/a.jpg db/c.jpg\n\n")
    assert main(["convert-pairs", str(hloc), str(kapture), "--to", "kapture"]) == 0
    assert kapture.read_text() == (
        "# kapture format: 1.1\n# query_image, map_image, score\n"
        "query/a.jpg, db/b.jpg, 1.0\nquery/a.jpg, db/c.jpg, 1.0\n"
    )
    assert main(["convert-pairs", str(kapture), str(again), "--to", "hloc"]) == 0
    assert again.read_text() == "query/a.jpg db/b.jpg\nquery/a.jpg db/c.jpg\n"
    assert "2 pairs" in capsys.readouterr().out
    scored = [NamedPair("a b.jpg", "c.jpg", 0.1), NamedPair("a b.jpg", "d.jpg", -2.5e-8)]
    write_pairs_file(scored, kapture, "kapture")
    assert read_pairs_file(kapture, "kapture") == scored
    assert main(["convert-pairs", str(kapture), str(again), "--to", "hloc"]) == 1
    assert "'a b.jpg' cannot stand in a pairs file of hloc" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("hloc", "", "holds no pair"),
        ("hloc", "a b\na\n", "line 2: 'a' is not a pair of hloc"),
        ("hloc", "a b c\n", "line 1"),
        ("hloc", "a ../b\n", "leaves the dataset's folder"),
        ("kapture", "# a, b, 1\n", "holds no pair"),
        ("kapture", "a, b\n", "two names and a score"),
        ("kapture", "a, b, x\n", "line 1"),
        ("kapture", "a, b, nan\n", "not a finite number"),
        ("kapture", "a, /b, 1\n", "leaves the dataset's folder"),
        ("kapture", "a, , 1\n", "leaves the dataset's folder"),
    ],
)
def test_wrong_pairs_files(tmp_path: Path, form: str, content: str, message: str) -> None:
    (tmp_path / "p.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_pairs_file(tmp_path / "p.txt", form)
    with pytest.raises(DataError, match="no such pairs file"):
        read_pairs_file(tmp_path / "absent.txt", form)
