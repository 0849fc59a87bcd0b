"""Folders of the user's own photographs: what is listed, what is left out, and when a file is read again."""

import os
import socket
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from retrieval_data import draw_images, write_shard

from descbench.config.datasets import Dataset, FolderDataset, UtmNamesDataset
from descbench.datasets import contents, own
from descbench.datasets.contents import ABSENT, contents_of
from descbench.datasets.folder import list_folder
from descbench.datasets.manifest import Manifest, ManifestRow, write_manifest
from descbench.datasets.own import label_own, list_own
from descbench.errors import DataError, StaleFileError
from descbench.features.checks import check_shard_files
from descbench.features.store import ShardInfo, ShardReader, ShardWriter


def photo(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (1, 2, 3)).save(path, **options)
    return path


def listing(folder, **block):
    return list_folder(FolderDataset(format="folder", database=folder, **block))


READABLE = ("a.jfif", "b.GIF", "c.avif", "d.webp", "e.TIFF", "f.jp2", "g.tga", "Ünï, code.png", "h.JPG")


def test_all_formats_of_pillow_are_images(tmp_path):
    for name in READABLE:
        photo(tmp_path / name)
    photo(tmp_path / "without_ending", format="PNG")
    photo(tmp_path / "@1@2@", format="JPEG")
    photo(tmp_path / "line\nbreak.png")
    assert set(listing(tmp_path).images["database"]) == {*READABLE, "without_ending", "@1@2@", "line\nbreak.png"}


def test_two_names_that_differ_in_case_are_two(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "A.png")
    assert listing(tmp_path).images["database"] == ["A.png", "a.png"]


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


BAD = {
    "gone.jpg": (lambda path: path.symlink_to("nowhere"), "link to nowhere"),
    "round.jpg": (lambda path: path.symlink_to("round.jpg"), "link to nowhere"),
    "raw.CR2": (lambda path: path.write_bytes(b"raw"), r"\.cr2 is not a format"),
    "film.mov": (lambda path: path.touch(), r"\.mov is not a format"),
    "copy.jpg.bak": (lambda path: photo(path, format="JPEG"), r"\.bak is not a format"),
    "noise": (lambda path: path.write_bytes(b"noise"), "no ending, and no image"),
    "socket.png": (put_socket, "no regular file"),
    "b\udce9.png": (lambda path: path.touch(), "not valid Unicode"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_an_image_is_refused_or_left_out(tmp_path, name):
    make, reason = BAD[name]
    photo(tmp_path / "mine/good.png")
    make(tmp_path / "mine" / name)
    with pytest.raises(DataError, match=f"1 entry of this folder.*{reason}.*on_bad_file: skip"):
        listing(tmp_path / "mine")
    found = listing(tmp_path / "mine", on_bad_file="skip")
    assert found.images["database"] == ["good.png"]
    assert len(found.left_out) == 1


def test_side_files_are_passed_over_and_hidden_images_are_listed(tmp_path):
    photo(tmp_path / "a.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._a.png", "README", "a.json", "a.txt", "t.CSV", "a.xmp"):
        (tmp_path / name).touch()
    photo(tmp_path / ".b.png")
    photo(tmp_path / ".trash/c.png")
    (tmp_path / "again").symlink_to(tmp_path)
    found = listing(tmp_path)
    assert found.images["database"] == ["a.png"]
    assert [(os.path.basename(item.path), item.reason) for item in found.left_out] == [  # noqa: PTH119
        (".b.png", "hidden file"),
        (".trash", "hidden folder with images"),
        ("again", "link to a folder listed already"),
    ]


def test_a_folder_that_a_link_leads_to_is_listed_once(tmp_path):
    """Beside it, before or after it by name, and by two links from elsewhere; but not where it is hidden."""
    photo(tmp_path / "mine/b/x.png")
    photo(tmp_path / "mine/.store/y.png")
    photo(tmp_path / "other/z.png")
    for name, place in (("a", "mine/b"), ("c", "mine/b"), ("d", "mine/.store"), ("e", "other"), ("f", "other")):
        (tmp_path / "mine" / name).symlink_to(tmp_path / place)
    found = listing(tmp_path / "mine")
    assert found.images["database"] == ["b/x.png", "d/y.png", "e/z.png"]
    names = [os.path.basename(item.path) for item in found.left_out if "listed already" in item.reason]  # noqa: PTH119
    assert names == ["a", "c", "f"]


def test_folders_that_cannot_be_opened_are_named(tmp_path, monkeypatch):
    photo(tmp_path / "a.png")
    photo(tmp_path / "closed/b.png")
    scan = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"closed \(folder: Permission denied\)"):
        listing(tmp_path)


def test_files_in_the_place_of_folders(tmp_path):
    with pytest.raises(DataError, match="is a file, where a folder of images is needed"):
        listing(photo(tmp_path / "a.png"))


def test_a_ground_truth_names_what_matters(tmp_path):
    photo(tmp_path / "mine/x.JPG")
    (tmp_path / "mine/y.heic.bak").touch()
    gnd = tmp_path / "gnd.json"
    for wanted, problem in (("x.jpg", None), ("x", None), ("x.JPG", None), ("y.heic", r"not in .*y\.heic")):
        gnd.write_text(f'{{"imlist": ["{wanted}"], "qimlist": ["x"], "gnd": [{{"ok": [0]}}]}}')
        if problem:
            with pytest.raises(DataError, match=problem):
                listing(tmp_path / "mine", ground_truth=gnd)
        else:
            found = listing(tmp_path / "mine", ground_truth=gnd)
            assert found.images["database"] == ["x.JPG"]
            assert not found.asks_itself
    gnd.write_text('{"imlist": ["x.jpg", "x"], "qimlist": ["x"], "gnd": [{"ok": [0]}]}')
    with pytest.raises(DataError, match=r"gnd\.json: imlist has 'x\.JPG' twice"):
        listing(tmp_path / "mine", ground_truth=gnd)
    gnd.write_text('{"imlist": ["x"], "qimlist": ["x"], "gnd": [{"ok": [], "ok": [0]}]}')
    with pytest.raises(DataError, match="key 'ok' is written twice"):
        listing(tmp_path / "mine", ground_truth=gnd)


def test_no_image_is_right_for_itself(tmp_path):
    for name in ("@500000@4000000@.png", "@500010@4000000@.png", "@509000@4000000@.png"):
        photo(tmp_path / name)
    dataset = UtmNamesDataset(format="utm_names", database=tmp_path, queries=tmp_path)
    own = list_own(dataset)
    assert own.asks_itself
    assert label_own(dataset, own).positives == ((1,), (0,), ())


def test_readers_compare_the_images_of_a_shard(tmp_path):
    shard = write_shard(tmp_path / "a.h5", draw_images([2, 3]))
    with ShardReader(shard) as reader:
        info = reader.info
    check_shard_files([shard], info.features, [info.images])
    rows = tuple(ManifestRow(i, f"{i}.jpg", "query") for i in range(4))
    write_manifest(Manifest(rows), tmp_path / "m.csv")
    info = ShardInfo("local", info.features, Manifest(rows[1:3]).digest(), "", "cpu")
    with ShardWriter(tmp_path / "b.h5", info, 4) as writer:
        for image in (1, 2):
            writer.add(image, np.zeros((1, 4), np.float32), strengths=np.ones(1, np.float32))
    place = {"manifest": str(tmp_path / "m.csv"), "role": "query", "start": 1, "stop": 3}
    check_shard_files([tmp_path / "b.h5"], info.features, [place])
    check_shard_files([tmp_path / "b.h5"] * 2, info.features, [place] * 2)
    for change in ({"start": 0}, {"stop": None}, {"role": "database"}):
        with pytest.raises(StaleFileError, match="the list of images changed"):
            check_shard_files([tmp_path / "b.h5"], info.features, [place | change])
    with pytest.raises(StaleFileError, match="the list of images changed"):
        check_shard_files([shard], info.features, ["others"])


# --- content -----------------------------------------------------------------------------------


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once; the number of files that were read."""
    read = []
    real = contents.content_of
    monkeypatch.setattr(contents, "_SETTLED_NS", -1)
    monkeypatch.setattr(contents, "content_of", lambda path: (read.append(path), real(path))[1])
    return read


def test_only_what_changed_is_read_again(tmp_path, settled):
    paths = [os.fspath(photo(tmp_path / f"{n}.png")) for n in range(3)]
    records = tmp_path / "records.txt"
    first = contents_of(paths, records)
    assert (len(settled), contents_of(paths, records), len(settled)) == (3, first, 3)
    # The same size and the same date, and yet another content.
    before = os.stat(paths[1])  # noqa: PTH116
    with open(paths[1], "r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    second = contents_of(paths, records)
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]
    assert settled[3:] == [paths[1]]
    os.unlink(paths[2])  # noqa: PTH108
    assert contents_of(paths, records)[2] == ABSENT


def test_a_file_that_changed_just_now_is_read_again(tmp_path, monkeypatch):
    path = os.fspath(photo(tmp_path / "a.png"))
    contents_of([path], tmp_path / "records.txt")
    read = []
    monkeypatch.setattr(contents, "content_of", lambda path: read.append(path) or "0")
    contents_of([path], tmp_path / "records.txt")
    assert read == [path]


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, None])
def test_damaged_records_are_made_again(tmp_path, settled, damage):
    path, records = os.fspath(photo(tmp_path / "a.png")), tmp_path / "records.txt"
    expected = contents_of([path], records)
    whole = records.read_bytes()
    # One flipped bit, or other bytes altogether.
    records.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:] if damage is None else damage)
    assert contents_of([path], records) == expected
    assert len(settled) == 2
    assert records.read_bytes() == whole


def test_what_can_be_listed_says_so():
    """The readers of the user's folders, and the blocks that say that they are such folders."""
    blocks = get_args(get_args(Dataset)[0])
    listed = {get_args(block.model_fields["format"].annotation)[0] for block in blocks if block.IS_LISTED}
    assert listed == set(own._FORMATS)
