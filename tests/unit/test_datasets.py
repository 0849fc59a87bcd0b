"""Official formats to manifests and ground truth, and what is refused in them."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from descbench.config.datasets import Dataset
from descbench.datasets.build import build_manifest
from descbench.datasets.folder import folder_root, list_images
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.manifest import (
    Manifest,
    ManifestRow,
    missing_files,
    read_manifest,
    read_manifest_part,
    write_manifest,
)
from descbench.errors import DataError
from descbench.metrics.protocols import read_labels

GND = {
    "imlist": ["a_1", "a_2", "b_1"],
    "qimlist": ["a_0", "b_0"],
    "gnd": [
        {"bbx": [1.5, 2, 30, 40], "easy": [0], "hard": np.array([1]), "junk": []},
        {"bbx": np.array([-4.0, 0, 9, 9]), "easy": [], "hard": (2,), "junk": np.array([], float)},
    ],
}
REVISITOP = {"format": "revisitop", "images": "test/town/jpg", "ground_truth": "test/town/gnd.pkl"}


def _dump(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


def _build(folder: Path, **block: Any) -> tuple[Manifest, GroundTruth | None]:
    dataset = TypeAdapter(Dataset).validate_python(block)
    manifest, labels = folder / "out" / "town.csv", folder / "out" / "town.gt.json"
    build_manifest("town", dataset, folder, manifest, labels)
    return read_manifest(manifest), (read_labels(labels) or ("none", None))[1]


def _refused(folder: Path, match: str, **block: Any) -> None:
    with pytest.raises(DataError, match=match):
        _build(folder, **block)
    assert not (folder / "out").exists()


def _revisited(**changes: Any) -> dict[str, Any]:
    """The ground truth above with the first query changed."""
    first = {key: value for key, value in (GND["gnd"][0] | changes).items() if value is not None}
    return GND | {"gnd": [first, GND["gnd"][1]]}


# --- Oxford and Paris --------------------------------------------------------------------------


def test_revisited(tmp_path: Path) -> None:
    _dump(tmp_path, "test/town/gnd.pkl", GND)
    manifest, labels = _build(tmp_path, **REVISITOP, counts={"query": 2, "database": 3})
    assert manifest.rows == (
        ManifestRow(0, "test/town/jpg/a_0.jpg", "query", (1.5, 2.0, 30.0, 40.0)),
        ManifestRow(1, "test/town/jpg/b_0.jpg", "query", (-4.0, 0.0, 9.0, 9.0)),
        ManifestRow(0, "test/town/jpg/a_1.jpg", "database"),
        ManifestRow(1, "test/town/jpg/a_2.jpg", "database"),
        ManifestRow(2, "test/town/jpg/b_1.jpg", "database"),
    )
    expected = ({"easy": (0,), "hard": (1,), "junk": ()}, {"easy": (), "hard": (2,), "junk": ()})
    assert labels == GroundTruth("revisited", expected)


def test_queries_that_are_whole(tmp_path: Path) -> None:
    """All as before, without boxes; a box that is none is refused all the same."""
    _dump(tmp_path, "test/town/gnd.pkl", GND)
    cropped, whole = (_build(tmp_path, **{**REVISITOP, "format": name}) for name in ("revisitop", "revisitop_whole"))
    assert whole[1] == cropped[1]
    assert [(row.path, row.role) for row in whole[0].rows] == [(row.path, row.role) for row in cropped[0].rows]
    assert [row.box is None for row in cropped[0].rows] == [False, False, True, True, True]
    assert all(row.box is None for row in whole[0].rows)
    shutil.rmtree(tmp_path / "out")
    _dump(tmp_path, "test/town/gnd.pkl", _revisited(bbx=[3, 3, 3, 9]))
    _refused(tmp_path, "has no area", **{**REVISITOP, "format": "revisitop_whole"})


def test_classic(tmp_path: Path) -> None:
    """Queries are database images too, junk may be absent, and there may be no box."""
    gnd = [{"ok": [0, 2], "junk": [1], "bbx": [0, 0, 5, 5]}, {"ok": np.array([1.0])}]
    _dump(tmp_path, "test/town/gnd.pkl", {"imlist": ["a", "b", "c"], "qimlist": np.array(["a", "c"]), "gnd": gnd})
    manifest, labels = _build(tmp_path, **REVISITOP, protocol="classic")
    assert [row.path[-5:] for row in manifest.rows] == ["a.jpg", "c.jpg", "a.jpg", "b.jpg", "c.jpg"]
    assert [row.box for row in manifest.of_role("query").rows] == [(0, 0, 5, 5), None]
    assert labels == GroundTruth("classic", ({"ok": (0, 2), "junk": (1,)}, {"ok": (1,), "junk": ()}))


@pytest.mark.parametrize(
    ("name", "database", "totals"),
    [("roxford5k", 4993, (3029, 2497, 1356)), ("rparis6k", 6322, (6874, 10350, 7153))],
)
def test_real_ground_truth(real_data: Path, tmp_path: Path, name: str, database: int, totals: tuple[int, ...]) -> None:
    shutil.copy(real_data / "revisited_gnd" / f"gnd_{name}.pkl", tmp_path)
    block = {"format": "revisitop", "images": "jpg", "ground_truth": f"gnd_{name}.pkl"}
    manifest, labels = _build(tmp_path, **block, counts={"query": 70, "database": database})
    assert labels is not None
    found = tuple(sum(len(q[label]) for q in labels.queries) for label in ("easy", "hard", "junk"))
    assert found == totals
    listed = (real_data / "revisited_gnd" / f"{name}_test_query_sizes.txt").read_text().split()
    sizes = {line.split(",")[0]: tuple(map(int, line.split(",")[2:])) for line in listed}
    for row in manifest.of_role("query").rows:
        x1, y1, x2, y2 = row.box
        # The list holds sizes of crops for Oxford, of whole photographs for Paris.
        width, height = sizes[row.path]
        assert 0 < x2 - x1 < width + 2
        assert 0 < y2 - y1 < height + 2


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (_revisited(easy=[3]), "image index 3 is outside the database of 3 images"),
        (_revisited(hard=[-1]), "image index -1 is outside"),
        (_revisited(easy=None), "query 0 has no easy; not of protocol revisited"),
        (_revisited(easy=[0.5]), "query 0: easy is not a list of whole numbers"),
        (_revisited(easy="01"), "query 0: easy is not a list but '01'"),
        (_revisited(easy=["0"]), "not a list of whole numbers"),
        (_revisited(junk=[float("nan")]), "not a list of whole numbers"),
        (_revisited(bbx=[1, 2, 3]), r"query 0: bbx \[1, 2, 3\] is not \[x1, y1, x2, y2\]"),
        (_revisited(bbx=["1", "2", "3", "4"]), "in numbers"),
        (_revisited(bbx=[1, 2, float("inf"), 4]), "in numbers"),
        (_revisited(bbx=7), "is not"),
        (_revisited(bbx=[5, 2, 5, 4]), "has no area"),
        (_revisited(bbx=[1, 9, 5, 4]), "has no area"),
        (GND | {"gnd": GND["gnd"][:1]}, "1 gnd entries for 2 queries"),
        (GND | {"gnd": [1, 2]}, "query 0: no mapping of labels"),
        (GND | {"gnd": {"0": 1}}, "gnd is not a list"),
        (GND | {"imlist": "abc"}, "imlist is not a list"),
        (GND | {"imlist": [b"a", "b", "c"]}, "is not text"),
        (GND | {"imlist": ["../../etc/passwd", "b", "c"]}, "leaves the dataset's folder"),
        (GND | {"qimlist": ["/etc/passwd", "b"]}, "leaves the dataset's folder"),
        (GND | {"imlist": ["a\0", "b", "c"]}, "leaves the dataset's folder"),
        (GND | {"imlist": ["\udc80", "b", "c"]}, "not valid Unicode"),
        ({"imlist": [], "gnd": []}, "keys imlist, qimlist, gnd are needed"),
        ([1, 2], "no retrieval ground truth"),
    ],
)
def test_bad_ground_truth(tmp_path: Path, content: Any, match: str) -> None:
    _dump(tmp_path, "test/town/gnd.pkl", content)
    _refused(tmp_path, f"gnd.pkl.*{match}|datasets.town.*{match}", **REVISITOP)


def test_counts_are_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _dump(tmp_path, "test/town/gnd.pkl", GND)
    _refused(tmp_path, "3 database images, but this dataset has 4993", **REVISITOP, counts={"database": 4993})
    manifest, _ = _build(tmp_path, **REVISITOP, counts={"database": 4993}, counts_verified=False)
    assert len(manifest.of_role("database")) == 3
    assert "3 database images, but this dataset has 4993" in caplog.text


def test_names_of_a_list_with_and_without_suffix(tmp_path: Path) -> None:
    content = GND | {"imlist": ["a.jpg", "b", "c.JPG"], "qimlist": ["q.jpeg", "b_0"]}
    _dump(tmp_path, "test/town/gnd.pkl", content)
    manifest, _ = _build(tmp_path, **REVISITOP)
    names = [row.path.rsplit("/", 1)[1] for row in manifest.rows]
    assert names == ["q.jpeg", "b_0.jpg", "a.jpg", "b.jpg", "c.JPG"]


def test_absent_ground_truth(tmp_path: Path) -> None:
    _refused(tmp_path, r"gnd\.pkl: no such file", **REVISITOP)


def test_missing_images_are_named(tmp_path: Path) -> None:
    _dump(tmp_path, "test/town/gnd.pkl", GND)
    manifest, _ = _build(tmp_path, **REVISITOP)
    (tmp_path / "test/town/jpg").mkdir()
    (tmp_path / "test/town/jpg/a_1.jpg").touch()
    (tmp_path / "test/town/jpg/a_2.jpg").mkdir()
    assert missing_files(manifest.of_role("database"), tmp_path) == ["test/town/jpg/a_2.jpg", "test/town/jpg/b_1.jpg"]


# --- SfM-120k ----------------------------------------------------------------------------------

CIDS = ["0123456789abcdef", "fedcba9876543210", "aabbccddeeff0011"]
SFM = {"format": "sfm120k", "images": "train/ims", "database": "train/sfm.pkl"}
SFM_VAL = {"format": "sfm_val", "images": "train/ims", "ground_truth": "train/val.pkl"}


def _sfm(**changes: Any) -> dict[str, Any]:
    train = {"cids": CIDS, "cluster": np.array([4, 4, 7]), "qidxs": [0], "pidxs": [1]} | changes
    return {"train": train, "val": {"cids": CIDS[:2], "cluster": [9, 9], "qidxs": [0], "pidxs": [1]}}


def test_sfm120k(tmp_path: Path) -> None:
    _dump(tmp_path, "train/sfm.pkl", _sfm())
    manifest, labels = _build(tmp_path, **SFM)
    assert manifest.rows == (
        ManifestRow(0, "train/ims/ef/cd/ab/0123456789abcdef", "train", cluster=4),
        ManifestRow(1, "train/ims/10/32/54/fedcba9876543210", "train", cluster=4),
        ManifestRow(2, "train/ims/11/00/ff/aabbccddeeff0011", "train", cluster=7),
    )
    assert labels is None
    manifest, _ = _build(tmp_path, **SFM, split="val")
    assert [(row.role, row.cluster) for row in manifest.rows] == [("val", 9), ("val", 9)]


def test_validation_list_of_how(tmp_path: Path) -> None:
    gnd = [{"ok": [0, 1], "junk": [2]}, {"ok": [1]}]
    _dump(tmp_path, "train/val.pkl", {"cids": CIDS, "qidx": np.array([2, 0]), "gnd": gnd})
    manifest, labels = _build(tmp_path, **SFM_VAL)
    images = [row.path for row in manifest.of_role("database").rows]
    assert [row.path for row in manifest.of_role("query").rows] == [images[2], images[0]]
    assert all(row.box is None for row in manifest.rows)
    assert labels == GroundTruth("classic", ({"ok": (0, 1), "junk": (2,)}, {"ok": (1,), "junk": ()}))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (_sfm(cluster=[1, 2]), "3 cids, but 2 cluster entries"),
        (_sfm(cluster=["a", "b", "c"]), "cluster is not a list of whole numbers"),
        (_sfm(cids=5), "cids is not a list"),
        (_sfm(cids=["12345", *CIDS[1:]]), "not an image id of SfM-120k"),
        (_sfm(cids=["../../../evil", *CIDS[1:]]), "leaves the dataset's folder"),
        (_sfm(cids=["aaaaaa..", *CIDS[1:]]), "leaves the dataset's folder"),
        (_sfm(cids=[3, *CIDS[1:]]), "is not text"),
        ({"val": {}}, "key 'train' is missing"),
        ({"train": None}, "key 'cids' is missing"),
        (None, "key 'train' is missing"),
    ],
)
def test_bad_sfm120k(tmp_path: Path, content: Any, match: str) -> None:
    _dump(tmp_path, "train/sfm.pkl", content)
    _refused(tmp_path, rf"sfm\.pkl: .*{match}", **SFM)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"qidx": [3, 0]}, "query index 3 is outside the list of 3 images"),
        ({"qidx": None}, "qidx is not a list"),
        ({"gnd": [{"ok": [7]}, {"ok": []}]}, "image index 7 is outside"),
        ({"gnd": [{"ok": []}]}, "ground truth of 1 queries for 2"),
        ({"gnd": [{"ok": [1], "junk": [1]}, {"ok": [1]}]}, r"image 1 \(.*\) is listed under ok and under junk"),
        ({"gnd": [{"ok": [0]}, {"ok": [1, 1]}]}, r"image 1 \(.*\) is listed twice under ok"),
    ],
)
def test_bad_validation_list(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    content = {"cids": CIDS, "qidx": [2, 0], "gnd": [{"ok": [0]}, {"ok": [1]}]} | changes
    _dump(tmp_path, "train/val.pkl", content)
    _refused(tmp_path, rf"val\.pkl.*: .*{match}", **SFM_VAL)


# --- lists, bags, distractors ------------------------------------------------------------------

R1M = {"format": "image_list", "images": "r1m/jpg", "list": "r1m/r1m.txt"}


def test_image_list(tmp_path: Path) -> None:
    (tmp_path / "r1m").mkdir()
    (tmp_path / "r1m/r1m.txt").write_bytes("\ufeff0/a.jpg\r\n\n1/b\u2028ü.png\n".encode())
    manifest, labels = _build(tmp_path, **R1M, counts={"database": 2})
    assert [row.path for row in manifest.rows] == ["r1m/jpg/0/a.jpg", "r1m/jpg/1/b\u2028ü.png"]
    assert {row.role for row in manifest.rows} == {"database"}
    assert labels is None


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"../x.jpg\n", "leaves"), (b"/x.jpg\n", "leaves"), (b"\n", "names no image"), (b"\xff\xd8\xff", "not a list")],
)
def test_bad_image_list(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "r1m").mkdir()
    _refused(tmp_path, "no such list", **R1M)
    (tmp_path / "r1m/r1m.txt").write_bytes(content)
    _refused(tmp_path, match, **R1M)


def test_descriptor_bag(tmp_path: Path) -> None:
    manifest, labels = _build(tmp_path, format="descriptor_bag", counts={"train": 1})
    assert [(row.image_id, row.role) for row in manifest.rows] == [(0, "train")]
    assert labels is None


def test_distractors_have_no_manifest_of_their_own(tmp_path: Path) -> None:
    _refused(tmp_path, "no images of its own", format="with_distractors", base="a", distractors="b")


# --- folders of photographs --------------------------------------------------------------------


def _photos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _paths(manifest: Manifest, role: str) -> list[str]:
    return [row.path for row in manifest.of_role(role).rows]


def test_folder_without_anything_else(tmp_path: Path) -> None:
    names = ("b.JPG", "a.png", "sub dir/c.jpeg", "notes.txt", ".hidden.jpg", "._a.png", ".cache/d.jpg")
    photos = _photos(tmp_path / "photos", *names)
    manifest, labels = _build(tmp_path, format="folder", database=photos)
    assert _paths(manifest, "database") == _paths(manifest, "query") == ["a.png", "b.JPG", "sub dir/c.jpeg"]
    assert labels is None
    assert missing_files(manifest, photos) == []


def test_folder_with_queries(tmp_path: Path) -> None:
    photos, queries = _photos(tmp_path / "mine/photos", "a.jpg"), _photos(tmp_path / "mine/asked", "q.jpg")
    dataset = {"format": "folder", "database": photos, "queries": queries}
    manifest, _ = _build(tmp_path, **dataset)
    assert (_paths(manifest, "database"), _paths(manifest, "query")) == (["photos/a.jpg"], ["asked/q.jpg"])
    assert missing_files(manifest, folder_root(TypeAdapter(Dataset).validate_python(dataset))) == []


def test_queries_inside_the_database_folder(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", "a.jpg", "queries/q.jpg")
    manifest, _ = _build(tmp_path, format="folder", database=photos, queries=photos / "queries")
    assert (_paths(manifest, "database"), _paths(manifest, "query")) == (["a.jpg"], ["queries/q.jpg"])


def test_links_in_a_folder(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", "a.jpg")
    elsewhere = _photos(tmp_path / "elsewhere", "b.jpg")
    (photos / "more").symlink_to(elsewhere)
    (photos / "loop").symlink_to(photos)
    manifest, _ = _build(tmp_path, format="folder", database=photos)
    assert _paths(manifest, "database") == ["a.jpg", "more/b.jpg"]


def _folder_with_labels(tmp_path: Path, content: Any, *names: str) -> dict[str, Any]:
    photos = _photos(tmp_path / "photos", *(names or ("a_1.jpg", "sub/a_2.png", "b_1.JPEG", "a_0.jpg", "b_0.jpg")))
    (tmp_path / "gnd.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return {"format": "folder", "database": photos, "queries": photos, "ground_truth": tmp_path / "gnd.json"}


LABELLED = {
    "imlist": ["b_1", "sub/a_2.png", "a_1"],
    "qimlist": ["a_0.jpg", "b_0"],
    "gnd": [{"bbx": [0, 0, 5, 5], "easy": [1], "hard": [], "junk": []}, {"easy": [], "hard": [0]}],
}


@pytest.mark.parametrize("same", [True, False])
def test_folder_with_ground_truth(tmp_path: Path, same: bool) -> None:
    """The order is that of the ground truth; names come with or without suffix."""
    block = _folder_with_labels(tmp_path, LABELLED)
    manifest, labels = _build(tmp_path, **block | ({} if same else {"queries": None}))
    assert _paths(manifest, "database") == ["b_1.JPEG", "sub/a_2.png", "a_1.jpg"]
    assert _paths(manifest, "query") == ["a_0.jpg", "b_0.jpg"]
    assert [row.box for row in manifest.of_role("query").rows] == [(0, 0, 5, 5), None]
    expected = ({"easy": (1,), "hard": (), "junk": ()}, {"easy": (), "hard": (0,), "junk": ()})
    assert labels == GroundTruth("revisited", expected)


def test_folder_with_classic_ground_truth(tmp_path: Path) -> None:
    content = LABELLED | {"gnd": [{"ok": [0], "junk": [1]}, {"ok": []}]}
    _, labels = _build(tmp_path, **_folder_with_labels(tmp_path, content))
    assert labels == GroundTruth("classic", ({"ok": (0,), "junk": (1,)}, {"ok": (), "junk": ()}))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (LABELLED | {"imlist": ["b_1", "c_1", "a_1"]}, "1 of 3 images are not in .*photos: c_1"),
        (LABELLED | {"imlist": ["b_1", "../gnd", "a_1"]}, "leaves the dataset's folder"),
        (LABELLED | {"imlist": ["b_1", None, "a_1"]}, "is not text"),
        (LABELLED | {"gnd": [{"ok": []}, {"easy": [], "hard": []}]}, "query 1 has no ok; not of protocol classic"),
        (LABELLED | {"gnd": [{"easy": [9], "hard": []}, {"easy": [], "hard": []}]}, "image index 9 is outside"),
        (LABELLED | {"gnd": [{"easy": [-1], "hard": []}, {"easy": [], "hard": []}]}, "image index -1 is outside"),
        (LABELLED | {"gnd": [{"easy": [0.5], "hard": []}, {"easy": [], "hard": []}]}, "not a list of whole numbers"),
        (LABELLED | {"gnd": [{"easy": [True], "hard": []}, {"easy": [], "hard": []}]}, "not a list of whole numbers"),
        (LABELLED | {"gnd": [{"easy": "01", "hard": []}, {"easy": [], "hard": []}]}, "query 0: easy is not a list"),
        (LABELLED | {"gnd": [{"ok": [0]}, {"ok": [0], "hard": []}]}, "query 1 has hard, not a label of protocol"),
        (LABELLED | {"gnd": [None, None]}, "no mapping of labels"),
        (
            LABELLED | {"gnd": [{"easy": [0], "hard": [], "Junk": [1]}] * 2},
            "query 0 has 'Junk'; its keys can be easy",
        ),
        (LABELLED | {"gnd": [{"easy": [], "hard": [], "junk": [1]}] * 2}, "nothing is right for any of its 2 queries"),
        (LABELLED | {"qimlist": [], "gnd": []}, "qimlist is empty"),
        (LABELLED | {"imlist": [], "gnd": [{"ok": []}] * 2}, "imlist is empty"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no retrieval ground truth"),
        ('"\udc80"'.encode("utf-8", "surrogatepass").decode("latin1"), "no retrieval ground truth"),
    ],
)
def test_bad_folder_ground_truth(tmp_path: Path, content: Any, match: str) -> None:
    _refused(tmp_path, match, **_folder_with_labels(tmp_path, content))


CONTRADICTIONS = [
    ({"easy": [1], "hard": [], "junk": [1]}, "under easy and under junk"),
    ({"easy": [], "hard": [1], "junk": [0, 1]}, "under hard and under junk"),
    ({"easy": [1], "hard": [1]}, "under easy and under hard"),
    ({"easy": [0, 1, 1], "hard": []}, "twice under easy"),
    ({"ok": [1], "junk": [1]}, "under ok and under junk"),
]


@pytest.mark.parametrize(("labels", "match"), CONTRADICTIONS)
def test_contradictory_ground_truth(tmp_path: Path, labels: dict[str, list[int]], match: str) -> None:
    """Precisions above 1 came of it; the message names the image and the query, in JSON and in pickles."""
    empty: dict[str, list[int]] = {label: [] for label in labels}
    content = LABELLED | {"gnd": [empty, labels]}
    both = rf"query 1 \(.*b_0\.jpg\): image 1 \(.*a_2\.(png|jpg)\) is listed {match}"
    _refused(tmp_path, r"gnd\.json: " + both, **_folder_with_labels(tmp_path, content))
    gnd = [{label: np.array(ids, int) for label, ids in query.items()} for query in (empty, labels)]
    _dump(tmp_path, "test/town/gnd.pkl", GND | {"gnd": gnd})
    both = r"gnd\.pkl: " + both
    _refused(tmp_path, both, **REVISITOP, protocol="classic" if "ok" in labels else "revisited")


def test_a_name_that_fits_two_files(tmp_path: Path) -> None:
    names = ("a_1.jpg", "a_1.png", "sub/a_2.png", "b_1.jpg", "a_0.jpg", "b_0.jpg")
    _refused(tmp_path, r"'a_1' may be a_1\.jpg or a_1\.png", **_folder_with_labels(tmp_path, LABELLED, *names))
    exact = LABELLED | {"imlist": ["b_1", "sub/a_2.png", "a_1.png"]}
    manifest, _ = _build(tmp_path, **_folder_with_labels(tmp_path, exact, *names))
    assert _paths(manifest, "database")[2] == "a_1.png"


def test_a_name_with_a_suffix_is_no_stem(tmp_path: Path) -> None:
    """`a_1.jpg` that is missing is not `a_1.jpg.png`, another image."""
    names = ("a_1.jpg.png", "sub/a_2.png", "b_1.jpg", "a_0.jpg", "b_0.jpg")
    content = LABELLED | {"imlist": ["b_1", "sub/a_2", "a_1.jpg"]}
    _refused(
        tmp_path, r"1 of 3 images are not in .*photos: a_1\.jpg\.$", **_folder_with_labels(tmp_path, content, *names)
    )


def test_queries_that_find_themselves_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unless labels say what they are to themselves."""
    names = {"imlist": ["a_1", "a_2"], "qimlist": ["a_1"]}
    for junk, told in (([], True), ([0], False)):
        caplog.clear()
        content = {**names, "gnd": [{"easy": [1], "hard": [], "junk": junk}]}
        _photos(tmp_path / "photos", "a_1.jpg", "a_2.jpg")
        (tmp_path / "gnd.json").write_text(json.dumps(content))
        _build(tmp_path, format="folder", database=tmp_path / "photos", ground_truth=tmp_path / "gnd.json")
        assert ("1 queries are images of the database too, such as a_1.jpg" in caplog.text) is told


def test_folders_that_are_absent_or_empty(tmp_path: Path) -> None:
    _refused(tmp_path, "no such folder", format="folder", database=tmp_path / "none")
    empty = _photos(tmp_path / "empty", "notes.txt")
    _refused(tmp_path, "no image in it", format="folder", database=empty)
    block = {"format": "folder", "database": _photos(tmp_path / "photos", "a.jpg")}
    _refused(tmp_path, "no such ground truth", **block, ground_truth=tmp_path / "none.json")
    _refused(tmp_path, r"empty: is a folder, where a text file is needed", **block, ground_truth=empty)


def test_landmarks(real_data: Path, tmp_path: Path) -> None:
    """Real photographs: one folder holds database and queries, the ground truth tells them apart."""
    folder = real_data / "landmarks"
    block = {"format": "folder", "database": folder / "images", "queries": folder / "images"}
    manifest, labels = _build(tmp_path, **block, ground_truth=folder / "gnd_landmarks.json")
    assert (len(manifest.of_role("database")), len(manifest.of_role("query"))) == (17, 4)
    assert missing_files(manifest, folder / "images") == []
    assert not set(_paths(manifest, "database")) & set(_paths(manifest, "query"))
    assert manifest.rows[0].box == (205, 50, 785, 720)
    assert labels is not None
    assert labels.queries[0]["easy"] == (2, 5, 7, 9, 12, 10)
    images = list_images(TypeAdapter(Dataset).validate_python(block))
    assert len(images["database"]) == len(images["query"]) == 21


@pytest.mark.parametrize("name", ["plain", 'a "b", c', "one\rtwo", "two\nlines"])
def test_a_part_of_a_manifest_is_that_of_the_whole(tmp_path: Path, name: str) -> None:
    rows = [ManifestRow(i // 2, f"{name}{i}.jpg", ("query", "database")[i % 2]) for i in range(9)]
    rows.append(
        ManifestRow(4, "boxed.jpg", "database", box=(1.0, 2.5, 3.0, 4.0), easting=7.0, northing=8.5, content="x")
    )
    write_manifest(Manifest(tuple(rows)), tmp_path / "m.csv")
    whole = read_manifest(tmp_path / "m.csv")
    for role in ("query", "database", "train"):
        for start, stop in ((0, None), (1, 3), (2, 9), (4, 5), (7, None)):
            part = read_manifest_part(tmp_path / "m.csv", role, start, stop)
            assert part == whole.of_role(role).slice(start, stop)


def test_a_part_of_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    path, part = tmp_path / "m.csv", (tmp_path / "m.csv", "query", 1, 2)
    write_manifest(Manifest(tuple(ManifestRow(i, f"{i}.jpg", "query") for i in range(3))), path)
    path.write_text(path.read_text().replace("0.jpg", "9.jpg"))
    with pytest.raises(DataError, match="damaged or edited by hand"):
        read_manifest_part(*part)
    write_manifest(Manifest(tuple(ManifestRow(i, f"{i}.jpg", "query") for i in (0, 2, 1))), path)
    with pytest.raises(DataError, match="image_id 2 of role query is out of order"):
        read_manifest_part(*part)
    path.unlink()
    with pytest.raises(DataError, match="no manifest that can be read"):
        read_manifest_part(*part)
