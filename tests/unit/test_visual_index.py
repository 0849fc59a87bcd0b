"""COLMAP's visual index: what it finds, the same each time; distractors, images that could not be read, refusals."""

import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from sealed import altered

from descbench.errors import DataError, StaleFileError
from descbench.features.store import ShardInfo, ShardWriter
from descbench.retrieval.ranking import images_without_features, read_ranking
from descbench.retrieval.search_visual_index import VisualSearch, search_visual_index
from descbench.retrieval.vocabulary import build_vocabulary, read_vocabulary

LEARN = {"n": 60, "images": None, "size": 40, "iterations": 5, "rounds": 1, "seed": 0}
SEARCH = VisualSearch(n=60, neighbours=2, checks=40, verified=0, seed=0)
RANKED = {"num_queries": 4, "asks_itself": False, "top_k": None, "num_distractors": 0}


def draw(count, seed, dim=128):
    random = np.random.default_rng(seed)
    descriptors = random.standard_normal((count, dim))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return descriptors.astype(np.float32), random.uniform(0, 600, (count, 2))


def copied(image, shared, seed, moved=False):
    """An image whose first features are those of another one, at their places or anywhere."""
    descriptors, points = draw(len(image[0]), seed)
    descriptors[:shared] = image[0][:shared]
    points[:shared] = points[:shared] if moved else image[1][:shared] + 7
    return descriptors, points


def write(path, images, first=0, skip=(), features="f" * 64, geometry=True, dim=128):
    with ShardWriter(path, ShardInfo("local", features, path.name, "a" * 64, "cpu"), dim) as writer:
        for number, (descriptors, points) in enumerate(images, first):
            if number in skip:
                writer.skip(number, "broken")
                continue
            count = len(descriptors)
            shape = {"scales": np.full(count, 4.0), "orientations": np.zeros(count)} if geometry else {}
            writer.add(number, descriptors, points, strengths=np.arange(count, 0, -1), **shape)
    return path


@pytest.fixture
def town(tmp_path):
    """Image 4 shares most features with query 0, image 1 fewer; image 2 has none, 5 could not be read."""
    query, other = draw(60, 0), draw(60, 1)
    images = [draw(60, 10), copied(query, 20, 11), draw(0, 12), draw(60, 13), copied(query, 45, 14), draw(5, 15)]
    database = [write(tmp_path / "d0.h5", images[:3]), write(tmp_path / "d1.h5", images[3:], 3, skip=(5,))]
    queries = [write(tmp_path / "q.h5", [query, other, draw(0, 2), draw(9, 3)], skip=(3,))]
    build_vocabulary(database, tmp_path / "words.h5", **LEARN)
    return tmp_path, queries, database


def search(town, name="ranking.h5", **more):
    folder, queries, database = town
    changed = {key: more.pop(key) for key in asdict(SEARCH) if key in more}
    given = (folder / "words.h5", queries, database, folder / name, replace(SEARCH, **changed))
    search_visual_index(*given, cell="vi on town", **RANKED | more)
    return read_ranking(folder / name, "vi on town")


def test_what_shares_most_features_is_found_first(town):
    found = search(town)
    assert found.image_ids[0, :2].tolist() == [4, 1]
    assert found.scores[0, 0] > found.scores[0, 1] > 0
    assert (found.scores[2, :-1] == 0).all()
    assert np.isnan(found.scores[3]).all()
    assert (found.image_ids[:3, -1] == 5).all()
    assert np.isnan(found.scores[:3, -1]).all()
    assert images_without_features(town[0] / "ranking.h5") == (5,)
    assert all(sorted(row) == list(range(6)) for row in found.image_ids.tolist())


def test_rankings_and_words_are_the_same_each_time(town):
    folder, _, database = town
    build_vocabulary(database, folder / "again.h5", **LEARN)
    assert (folder / "again.h5").read_bytes() == (folder / "words.h5").read_bytes()
    search(town)
    search(town, "again_ranking.h5")
    assert (folder / "again_ranking.h5").read_bytes() == (folder / "ranking.h5").read_bytes()
    build_vocabulary(database, folder / "seed.h5", **{**LEARN, "seed": 1})
    assert (read_vocabulary(folder / "seed.h5")[1] != read_vocabulary(folder / "words.h5")[1]).any()


def test_distractors_come_first_and_rankings_have_a_length(town):
    found = search(town, num_distractors=3, top_k=2)
    assert found.image_ids[0].tolist() == [1, -2]


def test_images_that_ask_themselves_are_left_out(town):
    folder, _, database = town
    found = search((folder, database, database), num_queries=6, asks_itself=True)
    assert found.image_ids.shape == (6, 5)
    assert found.image_ids[4, 0] == 1
    assert all(query not in row for query, row in enumerate(found.image_ids.tolist()))


def test_verified_images_are_ordered_by_votes(tmp_path):
    """Image 0 has more of the query's features, at random places; image 1 has them in place."""
    query = draw(60, 0)
    images = [copied(query, 40, 10, moved=True), copied(query, 30, 11), *(draw(60, seed) for seed in (12, 13))]
    database, queries = [write(tmp_path / "d.h5", images)], [write(tmp_path / "q.h5", [query])]
    build_vocabulary(database, tmp_path / "words.h5", **LEARN)
    town = tmp_path, queries, database
    assert search(town, num_queries=1).image_ids[0, :2].tolist() == [0, 1]
    assert search(town, num_queries=1, verified=4).image_ids[0, 0] == 1


FULL = f"""
import resource, signal, sys
from pathlib import Path
from descbench.errors import DataError
from descbench.retrieval.search_visual_index import VisualSearch, search_visual_index
from descbench.retrieval.vocabulary import build_vocabulary
limit = int(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
database = [Path("d0.h5"), Path("d1.h5")]
try:
    if sys.argv[2] == "search":
        search_visual_index(Path("words.h5"), [Path("q.h5")], database, Path("out.h5"), {SEARCH}, **{RANKED})
    else:
        build_vocabulary(database, Path("out.h5"), **{LEARN})
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("stage", "limit", "message"),
    [
        ("search", 4352, "out.h5: could not be written: disk full"),  # COLMAP's vocabulary
        ("search", 100_000, "words.h5: COLMAP refuses it"),  # its database, of which it says nothing more
        ("build", 4352, "disk full"),
    ],
)
def test_a_full_disk_is_told_and_leaves_nothing(town, stage, limit, message):
    folder, before = town[0], sorted(town[0].iterdir())
    command = [sys.executable, "-c", FULL, str(limit), stage]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert message in done.stdout, done.stdout + done.stderr
    assert sorted(folder.iterdir()) == before


def test_what_does_not_fit_is_refused(town):
    folder, _, database = town
    with pytest.raises(DataError, match="these have 16"):
        build_vocabulary([write(folder / "less.h5", [draw(60, 0, 16)], dim=16)], folder / "no.h5", **LEARN)
    with pytest.raises(DataError, match="too few for a codebook of 9000"):
        build_vocabulary(database, folder / "no.h5", **{**LEARN, "size": 9000})
    stranger = write(folder / "s.h5", [draw(60, 0)], features="e" * 64)
    with pytest.raises(StaleFileError, match="features digest"):
        search((folder, [stranger], database))
    flat = write(folder / "flat.h5", [draw(60, 0)], geometry=False)
    with pytest.raises(DataError, match="without place, size or orientation"):
        search((folder, [flat], database))
    assert not list(folder.glob("*.work.*"))


@pytest.mark.parametrize("damage", ["version", "dtype", "content"])
def test_damaged_vocabularies_are_refused(town, damage):
    folder = town[0]
    with altered(folder / "words.h5") as file:
        if damage == "version":
            file.attrs["colmap_version"] = np.bytes_("0.1")
        else:
            values = file["content"][:]
            del file["content"]
            file["content"] = values.astype(np.int16) if damage == "dtype" else values[: len(values) // 3]
    with pytest.raises(DataError, match=r"words\.h5"):
        search(town)
