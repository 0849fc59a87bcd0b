"""Extraction: from images on disk, whole or broken, to a feature shard."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from descbench.config.features import GlobalFeatures, LocalFeatures
from descbench.config.networks import FireModel, GemModel, HowModel
from descbench.config.weights import RandomWeights
from descbench.datasets.manifest import Manifest, ManifestRow, read_manifest, rows_of, write_manifest
from descbench.device import device_name, pick_device
from descbench.errors import ConfigError, DataError
from descbench.features.extract import extract_features
from descbench.features.extractor import Network
from descbench.features.images import load_image, to_tensor
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.models.checkpoints import checkpoint_digest, convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.sealed import read_sealed, write_sealed

HOW = HowModel(architecture="how", backbone="resnet18", dim=16, weights=RandomWeights(source="random"))
GEM = GemModel(architecture="gem", backbone="vgg16", weights=RandomWeights(source="random"))
FIRE = FireModel(
    architecture="fire",
    backbone="resnet18",
    templates=7,
    dim_lit=32,
    dim=16,
    weights=RandomWeights(source="random"),
)
LOCAL = LocalFeatures(kind="local", model="how", image_size=160, scales=(1.0, 0.5), max_features=12)
GLOBAL = GlobalFeatures(kind="global", model="gem", image_size=96)
SIZES = [(200, 150), (120, 160), (64, 64)]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, model in (("how", HOW), ("gem", GEM), ("fire", FIRE)):
        convert_checkpoint(model, None, folder / f"{name}.pt")
    return {name: folder / f"{name}.pt" for name in ("how", "gem", "fire")}


@pytest.fixture
def town(tmp_path):
    """Three textured images, a manifest, and a folder for shards."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, (width, height) in enumerate(SIZES):
        coarse = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(
            tmp_path / "images" / f"{number}.png"
        )
    rows = rows_of("database", [f"{number}.png" for number in range(3)])
    rows += [ManifestRow(0, "0.png", "query", (20.0, 10.0, 180.0, 140.0))]
    write_manifest(Manifest(tuple(rows)), tmp_path / "town.csv")
    return tmp_path


def run(town, checkpoint, model=HOW, settings=LOCAL, name="s.h5", role="database", start=0, stop=3, **more):
    more = {"device": "cpu", "workers": 0} | more
    shard = ShardSpec.read(town / "town.csv", role, start, stop, features="d" * 64)
    networks = {settings.model: Network(checkpoint, model)}
    extract_features(shard, town / "images", networks, settings, town / name, **more)
    return town / name


def test_local_features_are_those_of_the_network(town, checkpoints):
    path = run(town, checkpoints["how"])
    network = prepare_for_inference(load_network(checkpoints["how"], HOW))
    with ShardReader(path) as reader:
        assert reader.info.features == "d" * 64
        assert reader.info.images == read_manifest(town / "town.csv").of_role("database").digest()
        assert reader.info.checkpoint == checkpoint_digest(checkpoints["how"])
        assert (reader.info.kind, reader.info.device, reader.dim) == ("local", "cpu", 16)
        assert reader.info.backend == f"torch {torch.__version__}"
        assert reader.image_ids.tolist() == [0, 1, 2]
        blocks = [reader.read(i, i + 1) for i in range(3)]
    for number, block in enumerate(blocks):
        image = load_image(town / "images" / f"{number}.png", 160)
        with torch.inference_mode():
            found = network.local(to_tensor(image.pixels, network.mean, network.std)[None], LOCAL.scales, 12)
        np.testing.assert_array_equal(block.descriptors, found.descriptors.numpy())
        np.testing.assert_array_equal(block.strengths, found.strengths.numpy())
        np.testing.assert_array_equal(block.scales, found.scales.float().numpy())
        assert block.strengths[0] == 1


def test_super_features_have_no_place_in_the_image(town, checkpoints):
    path = run(town, checkpoints["fire"], FIRE)
    network = prepare_for_inference(load_network(checkpoints["fire"], FIRE))
    with ShardReader(path) as reader:
        # Two scales of seven, of which twelve are kept.
        assert reader.counts().tolist() == [12, 12, 12]
        block = reader.read(2, 3)
    with torch.inference_mode():
        image = load_image(town / "images" / "2.png", 160)
        found = network.local(to_tensor(image.pixels, network.mean, network.std)[None], LOCAL.scales, 12)
    assert block.keypoints is None
    np.testing.assert_array_equal(block.descriptors, found.descriptors.numpy())
    np.testing.assert_array_equal(block.strengths, found.strengths.numpy())
    # FIRe's strengths are norms, not divided by the largest of the image.
    assert block.strengths[0] > 2


def test_keypoints_are_in_pixels_of_the_original(town, checkpoints):
    """Cell centres lie on a grid of 32 pixels of the resized image; undone here by hand."""
    wide = LOCAL.model_copy(update={"scales": (1.0,), "max_features": 1000})
    with ShardReader(run(town, checkpoints["how"], settings=wide)) as reader:
        block = reader.read(0, 1)
    # 200 x 150 is shrunk to 160 x 120: a map of 5 x 4 cells, 40 pixels of the original apart.
    expected = {(x * 40 + 20.0, y * 40 + 20.0) for x in range(5) for y in range(4)}
    assert {tuple(point) for point in block.keypoints.tolist()} == expected


def test_keypoints_of_a_crop(town, checkpoints):
    wide = LOCAL.model_copy(update={"scales": (1.0,), "max_features": 1000, "image_size": 1000})
    with ShardReader(run(town, checkpoints["how"], settings=wide, role="query", stop=1)) as reader:
        block = reader.read()
    # 160 x 130 from (20, 10), not enlarged: 5 x 5 cells of 32 pixels.
    expected = {(20 + x * 32 + 16.0, 10 + y * 32 + 16.0) for x in range(5) for y in range(5)}
    assert {tuple(point) for point in block.keypoints.tolist()} == expected


def test_keypoints_of_all_scales_stay_in_the_image(town, checkpoints):
    wide = LOCAL.model_copy(update={"scales": (2.0, 1.0, 0.707, 0.25), "max_features": 1000})
    with ShardReader(run(town, checkpoints["how"], settings=wide)) as reader:
        for number, (width, height) in enumerate(SIZES):
            points = reader.read(number, number + 1).keypoints
            # The last cell of a row may hang over the edge by half a cell of its own scale.
            assert (points > 0).all()
            assert (points < np.asarray([width, height]) + 16 / 0.25 * 1.3).all()


def test_workers_do_not_change_the_file(town, checkpoints):
    alone = run(town, checkpoints["how"], name="0.h5", workers=0).read_bytes()
    assert run(town, checkpoints["how"], name="2.h5", workers=2).read_bytes() == alone


def test_shards_hold_what_the_whole_holds(town, checkpoints):
    whole = run(town, checkpoints["how"], name="whole.h5")
    part = run(town, checkpoints["how"], name="part.h5", start=1, stop=3)
    with ShardReader(whole) as w, ShardReader(part) as p:
        assert p.image_ids.tolist() == [1, 2]
        assert p.info.images != w.info.images
        np.testing.assert_array_equal(p.read().descriptors, w.read(1, 3).descriptors)


def test_prefix_is_the_smaller_extraction(town, checkpoints):
    """One pass of the network serves methods with fewer features."""
    few = LOCAL.model_copy(update={"max_features": 5})
    with (
        ShardReader(run(town, checkpoints["how"], name="many.h5")) as many,
        ShardReader(run(town, checkpoints["how"], name="few.h5", settings=few)) as small,
    ):
        prefix, direct = many.read(n=5), small.read()
    for name in ("descriptors", "image_ids", "keypoints", "scales", "strengths"):
        np.testing.assert_array_equal(getattr(prefix, name), getattr(direct, name))


def test_global_features(town, checkpoints):
    path = run(town, checkpoints["gem"], GEM, GLOBAL)
    with ShardReader(path) as reader:
        block = reader.read()
        assert (reader.info.kind, reader.num_images, reader.dim) == ("global", 3, 512)
    assert block.keypoints is None
    np.testing.assert_allclose(np.linalg.norm(block.descriptors, axis=1), 1, atol=1e-5)
    network = prepare_for_inference(load_network(checkpoints["gem"], GEM))
    image = to_tensor(load_image(town / "images/1.png", 96).pixels, network.mean, network.std)[None]
    with torch.inference_mode():
        np.testing.assert_array_equal(block.descriptors[1], network.describe(image)[0].numpy())


def test_float16(town, checkpoints):
    half = LOCAL.model_copy(update={"dtype": "float16"})
    with (
        ShardReader(run(town, checkpoints["how"], name="single.h5")) as single,
        ShardReader(run(town, checkpoints["how"], name="half.h5", settings=half)) as reader,
    ):
        np.testing.assert_array_equal(reader.read().descriptors, single.read().descriptors.astype(np.float16))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\nrubbish"])
def test_broken_image_stops(town, checkpoints, content, workers):
    (town / "images/1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"images/1\.png.*on_bad_image: skip"):
        run(town, checkpoints["how"], workers=workers)
    assert sorted(p.name for p in town.iterdir()) == ["images", "town.csv", "town.csv.sha256"]


def test_broken_image_is_skipped(town, checkpoints, caplog):
    whole = run(town, checkpoints["how"], name="whole.h5")
    (town / "images/1.png").write_bytes(b"rubbish")
    patient = LOCAL.model_copy(update={"on_bad_image": "skip"})
    with caplog.at_level(logging.WARNING):
        broken = run(town, checkpoints["how"], name="broken.h5", settings=patient)
    assert "images/1.png" in caplog.text
    with ShardReader(whole) as w, ShardReader(broken) as b:
        assert b.image_ids.tolist() == [0, 1, 2]
        assert b.counts().tolist() == [12, 0, 5]
        assert list(b.skipped) == [1]
        assert "images/1.png" in b.skipped[1]
        np.testing.assert_array_equal(b.read(2, 3).descriptors, w.read(2, 3).descriptors)


def test_broken_image_of_global_features(town, checkpoints):
    (town / "images/0.png").write_bytes(b"rubbish")
    patient = GLOBAL.model_copy(update={"on_bad_image": "skip"})
    with ShardReader(run(town, checkpoints["gem"], GEM, patient)) as reader:
        assert reader.counts().tolist() == [0, 1, 1]
        assert list(reader.skipped) == [0]


def test_image_too_small_for_the_network(town, checkpoints):
    Image.new("RGB", (5, 5)).save(town / "images/1.png")
    with pytest.raises(DataError, match=r"1\.png: 5 x 5 pixels are too small"):
        run(town, checkpoints["gem"], GEM, GLOBAL)
    tiny = LOCAL.model_copy(update={"scales": (0.125,), "on_bad_image": "skip"})
    with ShardReader(run(town, checkpoints["how"], settings=tiny)) as reader:
        assert list(reader.skipped) == [1]


def test_absent_images_are_named_at_once(town, checkpoints):
    (town / "images/1.png").unlink()
    (town / "images/2.png").unlink()
    with pytest.raises(DataError, match=r"2 of 3 images are not below .*1\.png, 2\.png"):
        run(town, checkpoints["how"])
    patient = LOCAL.model_copy(update={"on_bad_image": "skip"})
    with ShardReader(run(town, checkpoints["how"], settings=patient)) as reader:
        assert list(reader.skipped) == [1, 2]


def test_manifest_shorter_than_the_shard(town, checkpoints):
    with pytest.raises(DataError, match=r"town\.csv: ends before image 4 of role database"):
        run(town, checkpoints["how"], stop=4)


def test_not_finite(town, checkpoints, tmp_path):
    """Weights that are not finite are refused, and finite ones that give NaN are noticed where they are first used."""
    content = read_sealed(checkpoints["how"])
    weight = content["state_dict"]["dim_reduction.weight"]
    for value, message in (
        (float("nan"), r"bad\.pt: key 'dim_reduction\.weight' holds NaN"),
        (3e38, r"s\.h5: not written, image 0 descriptors hold NaN"),
    ):
        weight[3] = value
        write_sealed({**content, "name": "bad"}, tmp_path / "bad.pt")
        with pytest.raises(DataError, match=message):
            run(town, tmp_path / "bad.pt")
        assert not (town / "s.h5").exists()


def test_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")) == "cpu"
    with pytest.raises(ConfigError, match="cuda was asked for"):
        pick_device("cuda")
    with pytest.raises(ConfigError, match="onnxruntime runs on the CPU"):
        pick_device("cuda", "onnxruntime")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda")
    assert pick_device("cpu") == pick_device("auto", "openvino") == torch.device("cpu")


def test_images_of_one_size_whatever_their_shape(town, checkpoints):
    settings = GLOBAL.model_copy(update={"resize": (80, 112)})
    run(town, checkpoints["gem"], GEM, settings)
    with ShardReader(town / "s.h5") as reader:
        found = reader.read().descriptors
    network = load_network(checkpoints["gem"], GEM)
    for number, descriptor in enumerate(found):
        pixels = Image.open(town / f"images/{number}.png").resize((112, 80), Image.Resampling.BILINEAR)
        image = to_tensor(np.asarray(pixels), network.mean, network.std)[None]
        with torch.inference_mode():
            np.testing.assert_allclose(descriptor, network.describe(image)[0], atol=1e-5)
