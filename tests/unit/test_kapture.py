"""Kapture folders: the order of their records, and what is refused."""

import pytest

from descbench.config.datasets import KaptureDataset
from descbench.datasets.kapture import kapture_root, list_records, read_kapture
from descbench.errors import DataError

SENSORS = """# kapture format: 1.1
# sensor_id, name, sensor_type, [sensor_params]+
cam0, , camera, SIMPLE_PINHOLE, 128, 96, 110, 64, 48
cam1, front, camera, UNKNOWN_CAMERA, 96, 128
lid, , lidar
"""
RECORDS = """# kapture format: 1.1
# timestamp, device_id, image_path
20, cam0, 001.png
10, cam0, 000.png
10, cam1, c1/000.png
20, cam1, c1/001.png
"""


@pytest.fixture
def folder(tmp_path):
    def make(sensors=SENSORS, records=RECORDS):
        (tmp_path / "sensors").mkdir(exist_ok=True)
        for name, text in (("sensors", sensors), ("records_camera", records)):
            path = tmp_path / "sensors" / f"{name}.txt"
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        return KaptureDataset(format="kapture", folder=tmp_path)

    return make


def test_records_are_grouped_by_timestamp(folder):
    assert list_records(folder()) == ["001.png", "c1/001.png", "000.png", "c1/000.png"]


def test_manifest(folder, tmp_path):
    dataset = folder()
    rows = read_kapture(dataset)[0].rows
    assert [(row.image_id, row.role) for row in rows] == [(i, "database") for i in range(4)]
    assert kapture_root(dataset) == tmp_path / "sensors/records_data"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("30, lid, scan.png\n30, ghost, none.png\n", []),
        ("-5, cam0, early.png\n007, cam0, seven.png\n", ["early.png", "seven.png"]),
        ("\n# a comment\n30, cam0, 001.png\n", ["001.png"]),
        ("30,cam0,  spaced.png  \r\n", ["spaced.png"]),
    ],
)
def test_rows_of_all_kinds(folder, more, expected):
    assert list_records(folder(records=RECORDS + more))[4:] == expected


def test_the_later_of_two_rows_counts_in_the_place_of_the_first(folder):
    assert list_records(folder(records=RECORDS + "10, cam0, other.png\n"))[2] == "other.png"


def test_rows_that_are_left_out_are_named(folder):
    """With the line that is the reason; the same image twice is not a loss."""
    more = "30, ghost, none.png\n10, cam0, other.png\n10, cam0, other.png\n"
    manifest, left_out = read_kapture(folder(records=RECORDS + more))
    line = RECORDS.count("\n") + 1
    assert len(manifest) == 4
    assert [item.path for item in left_out] == ["none.png", "000.png"]
    assert f"records_camera.txt, line {line}: ghost is not a camera of sensors.txt" in left_out[0].reason
    assert f"records_camera.txt, line {line + 1}: another image has the same timestamp" in left_out[1].reason


@pytest.mark.parametrize(
    ("sensors", "records", "message"),
    [
        (SENSORS, None, r"records_camera\.txt: no such file; a kapture folder has sensors/records_camera\.txt"),
        (None, RECORDS, r"sensors\.txt: no such file"),
        ("cam0, , camera\n", RECORDS, r"sensors\.txt: the first line does not say"),
        (SENSORS.replace("1.1", "2.0"), RECORDS, "kapture format 2.0 is newer than 1.1"),
        (SENSORS + "cam3\n", RECORDS, r"sensors\.txt: line 6 has 1 fields"),
        (SENSORS, "", r"records_camera\.txt: no image of a camera"),
        (SENSORS, "10, lid, scan.png\n", "no image of a camera"),
        (SENSORS, "1.5, cam0, a.png\n", r"line 1: '1\.5' is not a whole number"),
        (SENSORS, "10, cam0, a,b.png\n", "line 1 has 4 fields"),
        (SENSORS, " # 10, cam0, a.png\n", "is not a whole number"),
        (SENSORS, "10, cam0, ../../etc/passwd\n", r"records_camera\.txt"),
    ],
)
def test_refused(folder, sensors, records, message):
    with pytest.raises(DataError, match=message):
        list_records(folder(sensors, records))


@pytest.mark.parametrize("table", ["sensors", "records_camera"])
def test_tables_of_other_editors_are_read(folder, table):
    """A byte order mark, CRLF, blanks behind the fields: what editors leave in a table says nothing."""
    dataset = folder()
    path = dataset.folder / "sensors" / f"{table}.txt"
    text = path.read_text().replace("\n", "  \r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert list_records(dataset) == ["001.png", "c1/001.png", "000.png", "c1/000.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RECORDS.encode() + b"30, cam0, caf\xe9.png\n", r"records_camera\.txt: line 7: byte 0xe9 is not UTF-8"),
        (RECORDS.encode("utf-16"), r"records_camera\.txt: line 1: text in UTF-16"),
    ],
)
def test_other_encodings_are_refused_by_line(folder, content, message):
    dataset = folder()
    (dataset.folder / "sensors/records_camera.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_records(dataset)


def test_files_in_the_place_of_folders(folder, tmp_path):
    dataset = folder()
    (tmp_path / "a_file").touch()
    with pytest.raises(DataError, match=r"sensors\.txt: cannot be read, a folder of its path is a file"):
        list_records(KaptureDataset(format="kapture", folder=tmp_path / "a_file"))
    (dataset.folder / "sensors/records_camera.txt").unlink()
    (dataset.folder / "sensors/records_camera.txt").mkdir()
    with pytest.raises(DataError, match=r"records_camera\.txt: is a folder"):
        list_records(dataset)


def test_older_formats_are_read(folder):
    assert len(list_records(folder(SENSORS.replace("1.1", "1.0")))) == 4
