"""Import of descriptors released by the authors."""

import pickle

import numpy as np
import pytest

from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import DataError
from descbench.features.released import import_features
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader


def released(**changes):
    """Database images 0, 1, 3 with 3, 1, 4 descriptors, queries 0 and 1 with 2 and 2."""
    rng = np.random.default_rng(0)
    content = {
        "vecs": rng.standard_normal((8, 128)).astype(np.float32),
        "imids": np.repeat([0, 1, 3], [3, 1, 4]),
        "qvecs": rng.standard_normal((4, 128)).astype(np.float32),
        "qimids": np.repeat([0, 1], 2),
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def manifest(role, count):
    return Manifest(tuple(rows_of(role, [f"{number}.jpg" for number in range(count)])))


def run(folder, content, role="database", start=0, stop=5, num_images=5):
    (folder / "r.pkl").write_bytes(pickle.dumps(content, protocol=2))
    write_manifest(manifest(role, num_images), folder / "m.csv")
    shard = ShardSpec.read(folder / "m.csv", role, start, stop, features="f" * 64)
    import_features(folder / "r.pkl", shard, folder / "s.h5")
    return ShardReader(folder / "s.h5")


IMAGES = manifest("database", 5).digest()


def test_database(tmp_path):
    content = released()
    with run(tmp_path, content) as reader:
        assert reader.image_ids.tolist() == [0, 1, 2, 3, 4]
        assert reader.counts().tolist() == [3, 1, 0, 4, 0]
        assert (reader.info.kind, reader.info.features, reader.info.images) == ("local", "f" * 64, IMAGES)
        assert (reader.info.checkpoint, reader.info.device) == ("", "")
        block = reader.read()
    np.testing.assert_array_equal(block.descriptors, content["vecs"])
    np.testing.assert_array_equal(block.image_ids, content["imids"])
    assert (block.strengths, block.keypoints, block.scales) == (None, None, None)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 5])
def test_shards_make_up_the_whole(tmp_path, cut):
    content = released(imids=np.repeat([0, 1, 3], [3, 1, 4]).astype(np.uint32))
    parts = []
    for start, stop in ((0, cut), (cut, 5)):
        with run(tmp_path, content, start=start, stop=stop) as reader:
            assert reader.image_ids.tolist() == list(range(start, stop))
            parts.append(reader.read())
    np.testing.assert_array_equal(np.concatenate([p.descriptors for p in parts]), content["vecs"])
    np.testing.assert_array_equal(np.concatenate([p.image_ids for p in parts]), content["imids"])


def test_a_shard_without_end_holds_all_that_follow(tmp_path):
    with run(tmp_path, released(), start=3, stop=None) as reader:
        assert reader.image_ids.tolist() == [3, 4]
        assert reader.info.images == manifest("database", 5).slice(3, None).digest()


def test_queries(tmp_path):
    content = released()
    with run(tmp_path, content, "query", 1, 2, 2) as reader:
        np.testing.assert_array_equal(reader.read().descriptors, content["qvecs"][2:])


def test_descriptor_bag(tmp_path):
    """The codebook file has descriptors alone: one pseudo-image."""
    content = {"vecs": released()["vecs"]}
    with run(tmp_path, content, "train", 0, 1, 1) as reader:
        assert reader.image_ids.tolist() == [0]
        np.testing.assert_array_equal(reader.read().descriptors, content["vecs"])


VECS = released()["vecs"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], r"no array 'vecs' \(found list\)"),
        (released(vecs=None), r"no array 'vecs' \(found imids"),
        (released(imids=None), "no array 'imids'"),
        (released(imids=[0] * 8), "no array 'imids'"),
        (released(vecs=VECS.astype(np.float64)), "vecs is float64"),
        (released(vecs=VECS[0]), r"vecs is float32 \(128,\)"),
        (released(imids=np.zeros(7, np.int64)), r"image ids are int64 \(7,\) for 8 descriptors"),
        (released(imids=np.zeros((8, 1), np.int64)), "image ids are"),
        (released(imids=np.zeros(8)), "image ids are float64"),
        (released(imids=np.asarray([0, 0, 2, 1, 1, 3, 3, 3])), "image ids do not ascend"),
        (released(imids=np.asarray([0, 0, 2, 1, 1, 3, 3, 3], np.uint8)), "image ids do not ascend"),
        (released(imids=np.asarray([0, 0, 0, 1, 1, 3, 3, 5])), "image ids 0 to 5, but the dataset has 5 images"),
        (released(imids=np.asarray([-1, 0, 0, 1, 1, 3, 3, 4])), "image ids -1 to 4"),
    ],
)
def test_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"r\.pkl: .*{message}"):
        run(tmp_path, content)
    assert not (tmp_path / "s.h5").exists()


def test_not_finite(tmp_path):
    vecs = VECS.copy()
    vecs[5, 7] = np.nan
    with pytest.raises(DataError, match="image 3 descriptors hold NaN"):
        run(tmp_path, released(vecs=vecs))
    assert not (tmp_path / "s.h5").exists()


def test_a_pickle_that_would_run_something(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("boom",))

    with pytest.raises(DataError, match=r"r\.pkl"):
        run(tmp_path, {"vecs": Bomb()})


def test_role_without_descriptors(tmp_path):
    with pytest.raises(DataError, match="hold no val images"):
        run(tmp_path, released(), "val")


def test_manifest_shorter_than_the_shard(tmp_path):
    with pytest.raises(DataError, match="ends before image 6 of role database"):
        run(tmp_path, released(), stop=6)
