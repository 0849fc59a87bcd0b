"""Files between stages, sealed anew after the damage: what their readers do behind a checksum that is right."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mutations import damage_json, damage_lines
from registry import register

from descbench.choices.choice import Rescored, RescoredCell, read_rescored
from descbench.datasets.crop_labels import CropLabels, Extras, read_crop_labels, write_crop_labels
from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.manifest import Manifest, read_manifest, rows_of, write_manifest
from descbench.datasets.pairs import TrainingPairs, read_pairs, write_pairs
from descbench.datasets.places import PlaceLabels, write_places
from descbench.features.store import ShardReader
from descbench.io.csvfiles import checksum_path
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import write_checked_json
from descbench.io.seal import check_seal, seal
from descbench.metrics.protocols import read_labels
from descbench.metrics.scores import FACTS, Metric, Scores, read_scores, write_scores
from descbench.retrieval.codebook import read_codebook
from descbench.retrieval.index import read_index, unreadable_images
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.statistics import collect_statistics, read_statistics
from descbench.tables.stage_times import JobTime, StageFiles, read_job_times

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))

from retrieval_data import draw_images, make_codebook, make_index, search_all, write_shard


def hdf5_seed(make: Callable[[Path], Path]) -> Callable[[], list[bytes]]:
    """Content of a file that a stage makes in a folder, without its seal."""

    def seeds() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder))
            return [path.read_bytes()[: check_seal(path)]]

    return seeds


def json_seed(*writers: Callable[[Path], None]) -> Callable[[], list[bytes]]:
    """Content of JSON files, without their checksums."""

    def seeds() -> list[bytes]:
        contents = []
        with tempfile.TemporaryDirectory() as folder:
            for write in writers:
                path = Path(folder) / "file.json"
                write(path)
                value = json.loads(path.read_bytes())
                del value["checksum"]
                contents.append(json.dumps(value).encode())
        return contents

    return seeds


def sealed(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """The reader of an HDF5 file, which is sealed first."""

    def seal_and_read(path: Path) -> object:
        seal(path)
        return read(path)

    return seal_and_read


def checked(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """The reader of a JSON file, which is given a checksum first."""

    def check_and_read(path: Path) -> object:
        head = path.read_bytes().rstrip().removesuffix(b"}") + b', "checksum": "'
        path.write_bytes(head + hashlib.sha256(head).hexdigest().encode() + b'"}\n')
        return read(path)

    return check_and_read


def read_listed(path: Path) -> object:
    note = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    Path(checksum_path(path)).write_text(note)
    return read_manifest(path)


def manifest_seeds() -> list[bytes]:
    rows = (*rows_of("query", ["a/1.jpg"], [[0.5, 1, 20, 30]]), *rows_of("database", ["b.jpg", "c, d.jpg"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        write_manifest(Manifest(rows), path)
        return [path.read_bytes()]


def read_shard(path: Path) -> None:
    with ShardReader(path) as reader:
        reader.read(0, reader.num_images)


def read_inverted_file(path: Path) -> None:
    info, _ = read_index(path)
    unreadable_images(path, info)


def _shard(folder: Path) -> Path:
    return write_shard(folder / "s.h5", draw_images([5, 0, 7]), skip=(1,))


def _index(folder: Path) -> Path:
    return make_index([_shard(folder)], make_codebook(folder / "c.h5"), folder)[0]


def _statistics(folder: Path) -> Path:
    collect_statistics([_index(folder)], folder / "idf.h5", stale=False)
    return folder / "idf.h5"


def _ranking(folder: Path) -> Path:
    search_all([_shard(folder)], folder / "c.h5", [_index(folder)], folder, 3)
    return folder / "ranking.h5"


LABELS = GroundTruth("revisited", ({"easy": (0,), "hard": (1,), "junk": ()},))
PLACES = PlaceLabels(25.0, ((0,), ()), ((0,), ()))
CROPPED = Manifest(tuple(rows_of("train", ["a.jpg", "b.jpg"])))
CROP_LABELS = CropLabels((Extras("s.jpg", "k.pkl"), Extras(None, None)))
METRICS = {"recall@1": Metric(0.5, 0.1, 0.9, "wilson"), "map": Metric(None, None, None, "bootstrap")}
SCORES = Scores(
    "retrieval", "places", 2, METRICS, {"recall@1": [0.0, 1.0], "map": [None, None]}, dict.fromkeys(FACTS["places"], 3)
)

for name, make, read in (
    ("feature shards", _shard, read_shard),
    ("codebooks", lambda folder: make_codebook(folder / "c.h5"), read_codebook),
    ("indexes", _index, read_inverted_file),
    ("statistics", _statistics, read_statistics),
    ("rankings", _ranking, read_ranking),
):
    register(name, sealed(read), hdf5_seed(make), file="file.h5")
register("manifests", read_listed, manifest_seeds, file="m.csv", mutations=(damage_lines,))
register(
    "ground truth",
    checked(read_labels),
    json_seed(lambda path: write_ground_truth(LABELS, path), lambda path: write_places(PLACES, path)),
    mutations=(damage_json,),
)
register(
    "training pairs",
    checked(read_pairs),
    json_seed(lambda path: write_pairs(TrainingPairs((0, 2), (1, 3)), path)),
    mutations=(damage_json,),
)
register(
    "training images",
    checked(lambda path: read_crop_labels(path, CROPPED)),
    json_seed(lambda path: write_crop_labels(CROP_LABELS, path)),
    mutations=(damage_json,),
)
register("scores", checked(read_scores), json_seed(lambda path: write_scores(SCORES, path)), mutations=(damage_json,))


def read_choices(path: Path) -> None:
    """What a cell scores under each choice, beside the scores that it was compared with."""
    scores = path.parent / "scores.json"
    if not scores.exists():
        write_scores(SCORES, scores)
    read_rescored(path, "a on b", scores)


def write_choices(path: Path) -> None:
    scores = path.parent / "scores.json"
    write_scores(SCORES, scores)
    found = [Rescored("one", "a text", "", {"map_hard": 0.5}), Rescored("two", "a text", "us", {}, "a reason")]
    write_checked_json(path, asdict(RescoredCell("a on b", sha256_file(scores), found)))


register("choices of scoring", checked(read_choices), json_seed(write_choices), mutations=(damage_json,))


def read_benchmark(path: Path) -> list[JobTime]:
    """A benchmark file beside what its job made."""
    (path.parent / "made").touch()
    return read_job_times({"search": StageFiles(f"{path}", f"{path.parent}/made", f"{path.parent}/log")})


register(
    "times of jobs",
    read_benchmark,
    lambda: [b"s\th:m:s\tmax_rss\tcpu_time\n1.58\t0:00:01\t246.95\t1.48\n"],
    file="search.tsv",
    mutations=(damage_lines,),
)
