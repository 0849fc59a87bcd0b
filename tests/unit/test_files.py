"""Files between stages: a flipped bit, a cut, or content that no stage writes is refused with the file's name."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scores_files import write_told
from sealed import altered

from descbench.errors import DataError
from descbench.features.store import ShardInfo, ShardReader, ShardWriter
from descbench.io.atomic import work_folder, write_text
from descbench.io.carried import damage, stated_checksum
from descbench.io.csvfiles import checksum_path, read_csv, write_csv
from descbench.io.hdf5 import created, opened
from descbench.io.jsonfiles import read_json, write_checked_json
from descbench.io.seal import seal, seal_length
from descbench.metrics.scores import read_scores
from descbench.models.sealed import read_sealed, write_sealed
from descbench.retrieval.ranking import PartInfo, ranking_writer, read_ranking


def write_array(path):
    with created(path, "thing", 3, {"name": "some", "size": 5}) as file:
        file.put("values", np.arange(40.0))


def read_array(path):
    with opened(path, "thing", 3) as file:
        return file.array("values", np.float64)


def write_shard(path):
    with ShardWriter(path, ShardInfo("local", "f", "i", "c", "cpu"), 64) as writer:
        for image in range(3):
            writer.add(image, np.ones((200, 64)))


FILES = {
    "array.h5": (write_array, read_array),
    "shard.h5": (write_shard, lambda path: ShardReader(path).close()),
    "record.json": (lambda path: write_checked_json(path, {"text": "ü", "values": [1e5, None]}), read_json),
    "list.csv": (lambda path: write_csv(path, ("a", "b"), [(1, "x, y"), (2, "")]), lambda p: read_csv(p, "list")),
    "weights.pt": (lambda path: write_sealed({"w": torch.arange(90.0)}, path), read_sealed),
}


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_and_every_cut_is_refused(tmp_path, name):
    write, read = FILES[name]
    path = tmp_path / name
    write(path)
    read(path)
    assert damage(path) == ""
    content = path.read_bytes()
    places = range(8 * len(content))
    if len(content) > 400:
        places = [*np.random.default_rng(0).choice(len(places), 400, replace=False), *places[-1000:]]
    for bit in map(int, places):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            read(path)
        assert name in damage(path)
    for size in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=name):
            read(path)
        assert name in damage(path)
    path.write_bytes(content + b"\n")
    with pytest.raises(DataError, match=name):
        read(path)


@pytest.mark.parametrize("name", FILES)
def test_equal_content_is_equal_bytes(tmp_path, name):
    write, _ = FILES[name]
    for folder in ("a", "b"):
        write(tmp_path / folder / name)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_files_state_their_checksum_without_being_read(tmp_path):
    """The one of equal bytes only; none of files of others, and of what is not there."""
    names = {"a.h5": 1.0, "b.h5": 1.0, "c.h5": 2.0}
    for name, value in names.items():
        with created(tmp_path / name, "thing", 3, {}) as file:
            file.put("values", np.full(9, value))
        write_checked_json(tmp_path / f"{name}.json", {"value": value}, indent=None)
        write_csv(tmp_path / f"{name}.csv", ("value",), [(value,)])
    for suffix in ("", ".json", ".csv"):
        one, same, other = (stated_checksum(tmp_path / f"{name}{suffix}") for name in names)
        assert one == same != other
        assert one
    (tmp_path / "theirs.txt").write_text("x")
    (tmp_path / "theirs.json").write_text("{}")
    (tmp_path / "theirs.h5").write_text("x")
    (tmp_path / "theirs.csv").write_text("x")
    assert {stated_checksum(path) for path in [*tmp_path.glob("theirs.*"), tmp_path / "absent.h5"]} == {None}
    assert "carries no checksum" in damage(tmp_path / "theirs.h5")
    assert "without its checksum" in damage(tmp_path / "theirs.csv")


def test_a_csv_without_its_checksum_is_refused(tmp_path):
    write_csv(tmp_path / "l.csv", ("a",), [(1,)])
    Path(checksum_path(tmp_path / "l.csv")).unlink()
    with pytest.raises(DataError, match=r"l\.csv: a list without its checksum .*delete it and rerun"):
        read_csv(tmp_path / "l.csv", "list")


def soft_link(file):
    file["values"] = h5py.SoftLink("/others")


def external_link(file):
    file["values"] = h5py.ExternalLink("/etc/other.h5", "x")


def external_data(file):
    file.create_dataset("values", (40,), float, external=[("/etc/passwd", 0, 320)])


def texts_of_any_length(file):
    file["values"] = ["a"] * 40


def object_references(file):
    file.create_dataset("values", (40,), h5py.ref_dtype)


def compressed(file):
    file.create_dataset("values", data=np.arange(40.0), compression="gzip")


def other_type(file):
    file["values"] = np.arange(40)


def other_end(file):
    file["values"] = np.arange(40.0).astype(">f8")


def a_group(file):
    file.create_group("values")


def a_virtual_dataset(file):
    layout = h5py.VirtualLayout((40,), float)
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (40,))
    file.create_virtual_dataset("values", layout)


REFUSED = (
    *(soft_link, external_link, external_data, texts_of_any_length, object_references),
    *(compressed, other_type, other_end, a_group, a_virtual_dataset),
)


@pytest.mark.parametrize("change", REFUSED)
def test_hdf5_that_no_stage_writes_is_refused(tmp_path, change):
    """Though it is sealed: what a file may hold does not depend on who sealed it."""
    write_array(tmp_path / "x.h5")
    with altered(tmp_path / "x.h5") as file:
        del file["values"]
        change(file)
    with pytest.raises(DataError, match=r"x\.h5: not a thing as this version writes it \(.*values"):
        read_array(tmp_path / "x.h5")


def test_hdf5_without_checksums_of_metadata_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w", libver=("earliest", "v110")) as file:
        file["values"] = np.arange(40.0)
    seal(tmp_path / "x.h5")
    with pytest.raises(DataError, match="metadata carry no checksums"):
        read_array(tmp_path / "x.h5")


def test_one_module_knows_hdf5(project):
    """Of the package, the scripts of the workflow and the examples; files of hloc are not files between stages."""
    imports = re.compile(r"^\s*(import|from)\s+(h5py|tables|pyfive|netCDF4)\b|import_module\(.h5py", re.MULTILINE)
    files = [path for room in ("src", "workflow", "examples") for path in (project / room).rglob("*.py")]
    users = [path.name for path in files if imports.search(path.read_text(encoding="utf-8"))]
    assert len(files) > 100
    assert sorted(users) == ["hdf5.py", "hloc_files.py"]


@pytest.mark.parametrize(
    ("ids", "scores", "message"),
    [
        ([[0, 1, 1]], [[3, 2, 1]], "query 0 ranks an image twice"),
        ([[0, 1, 9]], [[3, 2, 1]], "query 0 ranks images outside 0 to 3"),
        ([[2, 1, 0]], [[1, 2, 3]], "scores of query 0 are infinite, or not best first"),
        ([[1, 0, 2]], [[1, 1, 0]], "scores of query 0 are infinite, or not best first"),
        ([[1, 0, 2]], [[np.inf, 1, 0]], "scores of query 0 are infinite"),
        ([[1, 0, 2]], [[np.nan, 1, 0]], "scores of query 0 are infinite"),
    ],
)
def test_rows_that_are_no_ranking_are_refused(tmp_path, ids, scores, message):
    with ranking_writer(tmp_path / "r.h5", PartInfo(0, 4, {}), np.arange(1), 3) as writer:
        writer.write(0, np.array(ids), np.array(scores, float))
    with pytest.raises(DataError, match=rf"r\.h5: .*{message}"):
        read_ranking(tmp_path / "r.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 9.4302}, "map has the value 9.4302, not a fraction of 0.0 to 1.0"),
        ({"low": -0.1}, "map has the value -0.1, not a fraction"),
        ({"low": 0.9, "high": 0.1}, "map has an interval of 0.9 to 0.1"),
        ({"low": None}, "map has an interval of None"),
        ({"chance": 1.5}, "map has the value 1.5, not a fraction"),
        ({"value": 0.6}, "map is 0.6, not the mean of its values of queries"),
        ({"value": None}, "map is None of the queries that count"),
        ({"unit": "metres"}, "map is in an unknown unit metres"),
        ({"value": "a lot"}, "not a scores file .*metrics.map.value"),
        ({"direction": "left"}, "not a scores file .*metrics.map.direction"),
    ],
)
def test_scores_that_cannot_be_are_refused(tmp_path, changes, message):
    value = asdict(read_scores(write_told(tmp_path / "s.json", {"map": 0.5})))
    value["metrics"]["map"] |= changes
    write_checked_json(tmp_path / "s.json", value)
    with pytest.raises(DataError, match=rf"s\.json: .*{message}"):
        read_scores(tmp_path / "s.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "patches"},
        {"protocol": "new"},
        {"protocol": "places"},
        {"facts": {"radius": 25}},
        {"unreadable_images": -1},
        {"left_out": [{"x": "1"}]},
        {"num_queries": -3},
    ],
)
def test_scores_of_another_kind_are_refused(tmp_path, changes):
    value = asdict(read_scores(write_told(tmp_path / "s.json", {"map": 0.5}))) | changes
    write_checked_json(tmp_path / "s.json", value)
    with pytest.raises(DataError, match=r"s\.json: "):
        read_scores(tmp_path / "s.json")


def test_names_with_a_carriage_return_survive_a_list(tmp_path):
    rows = [("a\rb", "1"), ("c\nd, e", "2")]
    write_csv(tmp_path / "l.csv", ("a", "b"), rows)
    assert read_csv(tmp_path / "l.csv", "list")[1] == [{"a": a, "b": b} for a, b in rows]


def test_scores_without_values_of_their_queries_are_refused(tmp_path):
    value = asdict(read_scores(write_told(tmp_path / "s.json", {"map": 0.5})))
    for values in ([0.5], None):
        value["per_query"] = {} if values is None else {"map": values}
        write_checked_json(tmp_path / "s.json", value)
        with pytest.raises(
            DataError,
            match=r"s\.json: (map has 1 values of 3 queries|metrics and values of queries are not of the same)",
        ):
            read_scores(tmp_path / "s.json")


def test_nothing_takes_the_place_of_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "table.csv")
    with pytest.raises(DataError, match=r"table\.csv: is a named pipe, a socket or a device; name a file to write"):
        write_text(tmp_path / "table.csv", "a,b")
    assert (tmp_path / "table.csv").is_fifo()


def test_nothing_takes_the_place_of_a_link_to_an_output(tmp_path):
    """As /dev/stdout is one, whatever it leads to now. This one lies where nothing can be written in any case."""
    with open(tmp_path / "out.txt", "w") as stream:
        link = f"/proc/self/fd/{stream.fileno()}"
        with pytest.raises(DataError, match=f"{link}: is a named pipe, a socket or a device"):
            write_text(link, "a,b")


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    script = "import os; from descbench.io.atomic import atomic_path\n"
    script += "with atomic_path('out.json') as t: t.write_text('half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, timeout=60)
    (tmp_path / "out.json.tmp-elsewhere-1").write_text("of a job on another computer")
    others = ["out.json.tmp-x", "out.json2.tmp-elsewhere-1"]
    for name in others:
        (tmp_path / name).write_text("of somebody else")
    assert len(list(tmp_path.iterdir())) == 4
    write_text(tmp_path / "out.json", json.dumps({}))
    assert sorted(os.listdir(tmp_path)) == sorted(["out.json", *others])  # noqa: PTH208


def test_folders_of_killed_jobs_are_removed(tmp_path):
    script = """
import os
from pathlib import Path
from descbench.io.atomic import work_folder
with work_folder(Path("ranking.h5")) as folder:
    (folder / "part.h5").write_text("half")
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, timeout=60)
    assert len(list(tmp_path.iterdir())) == 1
    with work_folder(tmp_path / "ranking.h5") as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert list(folder.iterdir()) == []
        (folder / "part.h5").write_text("a part")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_a_checkpoint_is_saved(tmp_path):
    script = """
import resource, signal, torch
from pathlib import Path
from descbench.errors import DataError
from descbench.models.sealed import write_sealed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_sealed({"w": torch.zeros(100_000)}, Path("w.pt"))
except DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("w.pt: could not be written: disk full"), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [1, 8, 30])
def test_a_disk_that_is_full_within_the_checksum(tmp_path, missing):
    """All but the last bytes fit: the system takes these and says how many, which is not an error of its own."""
    path = tmp_path / "w.bin"
    path.write_bytes(bytes(1000))
    limit = 1000 + seal_length() - missing
    script = f"""
import resource, signal
from descbench.io.seal import seal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    seal("w.bin")
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "File too large\n", done.stderr
