"""Commands that hand features and matches of the workflow to hloc and kapture, and take theirs."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from PIL import ExifTags, Image

from descbench.cli import main
from descbench.command_files import read_configuration
from descbench.datasets.image_pairs import Homography, ImagePair, write_image_pairs
from descbench.datasets.manifest import Manifest, read_manifest, rows_of, write_manifest
from descbench.features.image_features import ImageFeatures
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardInfo, ShardReader, ShardWriter
from descbench.io.csvfiles import write_csv
from descbench.localization.match_images import match_images
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import MatchSettings
from descbench.matching.matches import read_matches
from descbench.plan import Plan

WALLS = ("walls/v_a/1.png", "walls/v_a/2.png", "walls/v_a/3.png")
MAP, QUERY = ("square/db/1.png", "square/db/2.png"), ("square/query/1.png",)
SHARD = Path("results/features/sift/walls/database/00000.h5")
MATCHES = Path("results/matches/sift/walls/00000.h5")
SETTINGS = MatchSettings(ratio=0.9)
CONFIG = {
    "catalog": [],
    "datasets": {
        "walls": {"format": "hpatches_sequences", "generator": "toytown", "images": "walls"},
        "square": {"format": "aachen", "generator": "toytown", "images": "square", "model": "m", "queries": ["q"]},
    },
    "features": {"sift": {"kind": "keypoints", "describe": "sift", "image_size": None, "max_features": 50}},
    "methods": {
        "sift": {"match": "nearest"},
        "poses": {"localise": "pnp", "features": "sift"},
        "flat": {"describe": "sift"},
    },
}


def write_shard(plan: Plan, dataset: str, role: str, manifest: Path) -> None:
    """Features that are alike in all images of a dataset, in an order of each image's own, with a little noise."""
    path = Path(plan.features("sift", dataset, role)[0])
    images = ShardSpec(read_manifest(manifest), str(manifest), role, 0, None, "").find_images()
    info = ShardInfo("local", plan.lineage.digest_features("sift"), images.digest(), "", "cpu")
    points = np.random.default_rng(0).uniform(1, 60, (30, 2))
    described = np.random.default_rng(1).standard_normal((30, 16))
    with ShardWriter(path, info, 16) as writer:
        for row in images.rows:
            random = np.random.default_rng([row.image_id, len(role)])
            order = random.permutation(30)[: 30 - row.image_id]
            strengths = np.sort(random.random(len(order)))[::-1]
            columns = (points[order], strengths + 1, strengths, strengths - 0.5)
            descriptors = described[order] + 0.05 * random.standard_normal((len(order), 16))
            writer.add(row.image_id, descriptors.astype(np.float32), *(c.astype(np.float32) for c in columns))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A folder where features and matches of two small datasets are, as Snakemake would have made them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    plan = Plan(read_configuration([]))
    for name in (*WALLS, *MAP, *QUERY):
        path = Path(plan.image_root("walls")) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48)).save(path)
    walls, square = (Path(plan.paths.manifest(name)) for name in ("walls", "square"))
    write_manifest(Manifest(tuple(rows_of("database", WALLS))), walls)
    write_manifest(Manifest((*rows_of("map", MAP), *rows_of("query", QUERY))), square)
    for dataset, role, manifest in (
        ("walls", "database", walls),
        ("square", "map", square),
        ("square", "query", square),
    ):
        write_shard(plan, dataset, role, manifest)
    match_walls(plan, walls)
    pairs = Path(plan.paths.map_pairs("poses", "square"))
    pairs.parent.mkdir(parents=True)
    write_csv(pairs, ["role", "image", "map_image"], [("map", 0, 1), ("query", 0, 1), ("query", 0, 0)])
    for role in ("map", "query"):
        features = [[Path(path) for path in plan.features("sift", "square", part)] for part in (role, "map")]
        output = Path(plan.paths.image_matches("poses", "square", role))
        named = {"configuration": plan.lineage.digest_map_matching("poses"), "cell": "poses on square"}
        match_images(*features, pairs, output, SETTINGS, role=role, **named)
    return plan


def match_walls(plan: Plan, manifest: Path) -> None:
    pairs = Path(plan.paths.image_pairs("walls"))
    same = Homography((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    write_image_pairs([ImagePair(0, 1, same), ImagePair(0, 2, same)], pairs)
    named = {"configuration": plan.lineage.digest_matching("sift"), "cell": "sift on walls"}
    match_features([SHARD], PairShard(pairs, manifest), MATCHES, SETTINGS, **named)


def features(shards: list[Path]) -> list[dict[str, list]]:
    with ImageFeatures(shards) as found:
        blocks = [found.of(image) for image in range(len(found))]
        return [{name: values.tolist() for name, values in vars(block).items()} for block in blocks]


def matches(path: Path) -> tuple[list, list, list]:
    found = read_matches(path)
    return found.pairs.tolist(), found.counts.tolist(), found.indices.tolist()


def refused(capsys: pytest.CaptureFixture, message: str, *arguments: str) -> None:
    assert main(list(arguments)) == 1
    assert message in capsys.readouterr().err


def test_sizes_are_of_upright_images_where_features_are(plan: Plan) -> None:
    upright = {"features": {"sift": {**CONFIG["features"]["sift"], "exif_orientation": "apply"}}}
    Path("config/config.yaml").write_text(yaml.safe_dump(CONFIG | upright))
    plan = Plan(read_configuration([]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    Image.new("RGB", (64, 48)).save(Path(plan.image_root("walls")) / WALLS[1], exif=exif)
    write_shard(plan, "walls", "database", Path(plan.paths.manifest("walls")))
    assert main(["export-features", "hloc", "sift", "walls", "f.h5", "--below", "walls"]) == 0
    with h5py.File("f.h5") as file:
        assert [file[f"v_a/{n}.png/image_size"][()].tolist() for n in (1, 2)] == [[64, 48], [48, 64]]


def test_features_go_to_hloc_and_back(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    before = features([SHARD])
    assert main(["export-features", "hloc", "sift", "walls", "f.h5", "--below", "walls"]) == 0
    assert "f.h5: features of 3 images" in capsys.readouterr().out
    with h5py.File("f.h5") as file:
        assert file["v_a/2.png/descriptors"].shape == (16, 29)
        assert file["v_a/2.png/image_size"][()].tolist() == [64, 48]
    again = ["import-features", "hloc", "sift", "walls", "f.h5", "--below", "walls"]
    refused(capsys, "is there already", *again)
    SHARD.unlink()
    assert main(again) == 0
    assert features([SHARD]) == before
    with ShardReader(SHARD) as reader:
        assert reader.info.features == plan.lineage.digest_features("sift")
        assert reader.info.backend.startswith("imported from hloc, sha256 ")
    refused(capsys, "lacks 3 of 3 images", *again[:-2], "--replace")
    refused(capsys, "does not lie below 'roofs'", *again[:-1], "roofs", "--replace")


def test_features_go_to_kapture_and_back(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    shards = [Path(plan.features("sift", "square", role)[0]) for role in ("map", "query")]
    before = [features([shard]) for shard in shards]
    assert main(["export-features", "kapture", "sift", "square", "room", "--kind", "mine"]) == 0
    assert Path("room/reconstruction/keypoints/mine/square/query/1.png.kpt").stat().st_size == 30 * 4 * 4
    back = ["import-features", "kapture", "sift", "square", "room", "--kind", "mine", "--replace"]
    assert main([*back, "--role", "query"]) == 0
    with ShardReader(shards[0]) as reader:
        assert reader.info.device == "cpu"
    assert main(back) == 0
    for shard, was in zip(shards, before, strict=True):
        for image in was:
            del image["strengths"]
        with ImageFeatures([shard]) as found:
            assert all(found.of(image).strengths is None for image in range(len(found)))
            for number, image in enumerate(was):
                assert {name: getattr(found.of(number), name).tolist() for name in image} == image
    refused(capsys, "no images of role 'train'", *back, "--role", "train")


@pytest.mark.parametrize(("form", "place"), [("hloc", "m.h5"), ("kapture", "room")])
def test_matches_go_out_and_back(plan: Plan, capsys: pytest.CaptureFixture, form: str, place: str) -> None:
    of_square = [Path(plan.paths.image_matches("poses", "square", role)) for role in ("map", "query")]
    for method, dataset, files in (("sift", "walls", [MATCHES]), ("poses", "square", of_square)):
        before = [read_matches(path) for path in files]
        assert sum(len(found.indices) for found in before) > 40
        assert main(["export-matches", form, method, dataset, place]) == 0
        back = ["import-matches", form, method, dataset, place]
        refused(capsys, "is there already", *back)
        for path in files:
            path.unlink()
        assert main(back) == 0
        for path, was in zip(files, before, strict=True):
            found = read_matches(path, cell=was.info.cell)
            assert found.info == was.info
            for name in ("pairs", "counts", "pair_offsets", "indices"):
                np.testing.assert_array_equal(getattr(found, name), getattr(was, name), err_msg=name)
            np.testing.assert_allclose(found.scores, was.scores, atol=1e-6)


def test_matches_of_features_that_hloc_had_in_another_order(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    """The store has the strongest first: matches of hloc's order are matches of the same places."""
    assert main(["export-features", "hloc", "sift", "walls", "f.h5"]) == 0
    assert main(["export-matches", "hloc", "sift", "walls", "m.h5"]) == 0
    before = matches(MATCHES)
    with h5py.File("f.h5", "a", libver="latest") as file:
        for name in WALLS:
            for key in ("keypoints", "scores", "scales", "oris"):
                file[name][key][...] = np.roll(file[name][key][()], 1, axis=0)
            file[name]["descriptors"][...] = np.roll(file[name]["descriptors"][()], 1, axis=1)
    counts = dict(zip(WALLS, (30, 29, 28), strict=True))
    with h5py.File("m.h5", "a", libver="latest") as file:
        for second in WALLS[1:]:
            group = file[WALLS[0].replace("/", "-")][second.replace("/", "-")]
            found = np.roll(group["matches0"][()], 1)
            group["matches0"][...] = np.where(found < 0, -1, (found + 1) % counts[second])
            group["matching_scores0"][...] = np.roll(group["matching_scores0"][()], 1)
    back = ["import-matches", "hloc", "sift", "walls", "m.h5", "--replace"]
    assert main(["import-features", "hloc", "sift", "walls", "f.h5", "--replace"]) == 0
    refused(capsys, "give that file as --features-file", *back)
    refused(capsys, "give that file as --features-file", *back, "--features-file", "m.h5")
    assert main([*back, "--features-file", "f.h5"]) == 0
    assert matches(MATCHES) == before


def test_a_refused_import_changes_nothing(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    """Features of the map before the ones of the queries are found wanting: the two would not fit each other."""
    assert main(["export-features", "hloc", "sift", "square", "f.h5"]) == 0
    with h5py.File("f.h5", "a", libver="latest") as file:
        file[f"{MAP[0]}/descriptors"][...] *= 2
        del file[QUERY[0]]
    shards = [Path(plan.features("sift", "square", role)[0]) for role in ("map", "query")]
    before = [shard.read_bytes() for shard in shards]
    refused(capsys, "f.h5: lacks 1 of 1 images", "import-features", "hloc", "sift", "square", "f.h5", "--replace")
    assert [shard.read_bytes() for shard in shards] == before
    assert [path for shard in shards for path in shard.parent.iterdir()] == shards


def test_nothing_else_is_written_over(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    """Such as a configuration, a photograph, or what Snakemake made."""
    for place, message in (
        ("config/config.yaml", "does not end in .h5 or .hdf5"),
        (str(SHARD), "is there and holds something else"),
        ("notes.h5", "is there and holds something else"),
    ):
        Path("notes.h5").write_text("precious")
        before = Path(place).read_bytes()
        refused(capsys, message, "export-features", "hloc", "sift", "walls", place)
        refused(capsys, message, "export-matches", "hloc", "sift", "walls", place)
        assert Path(place).read_bytes() == before
    for _ in range(2):
        assert main(["export-features", "hloc", "sift", "walls", "f.h5"]) == 0
    Path("p.txt").write_text("a b\n")
    Path("q.txt").write_text("precious\n")
    refused(capsys, "is read by this call", "convert-pairs", "p.txt", "./p.txt", "--to", "kapture")
    refused(capsys, "holds something else", "convert-pairs", "p.txt", "q.txt", "--to", "kapture")
    for nothing in ("", "# kapture format: 1.1\n# query_image, map_image, score\n"):
        Path("q.txt").write_text(nothing)
        assert main(["convert-pairs", "p.txt", "q.txt", "--to", "kapture"]) == 0


@pytest.mark.parametrize("kind", ["../out", "a/b", " ", "..", ""])
def test_a_kind_is_the_name_of_a_folder(plan: Plan, capsys: pytest.CaptureFixture, kind: str) -> None:
    refused(capsys, "names the features", "export-features", "kapture", "sift", "walls", "room", f"--kind={kind}")
    refused(capsys, "names the features", "export-features", "hloc", "sift", "walls", "f.h5", "--kind=mine")
    assert not Path("room").exists()


def test_what_is_refused(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    refused(capsys, "there is no dataset 'wall'", "export-features", "hloc", "sift", "wall", "f.h5")
    refused(capsys, "there is no features block 'sitf'", "export-features", "hloc", "sitf", "walls", "f.h5")
    refused(capsys, "there is no method 'orb'", "export-matches", "hloc", "orb", "walls", "m.h5")
    refused(capsys, "does not match features", "export-matches", "hloc", "flat", "walls", "m.h5")
    refused(capsys, "does not match features", "export-matches", "hloc", "sift", "square", "m.h5")
    for command, name in (("import-features", "sift"), ("import-matches", "sift")):
        refused(capsys, "m.h5: hloc has a file for this", command, "hloc", name, "walls", "m.h5", "--replace")
        refused(capsys, "room: kapture has a folder", command, "kapture", name, "walls", "room", "--replace")
    refused(capsys, "data: hloc has a file for this", "export-features", "hloc", "sift", "walls", "data")
    refused(
        capsys, "config.yaml: kapture has a folder", "export-features", "kapture", "sift", "walls", "config/config.yaml"
    )
    assert main(["export-matches", "hloc", "sift", "walls", "m.h5"]) == 0
    with h5py.File("m.h5", "a", libver="latest") as file:
        file["walls-v_a-1.png/walls-v_a-2.png/matches0"][0] = 29
    refused(
        capsys,
        "m.h5: walls/v_a/1.png, walls/v_a/2.png: a match of feature 29",
        "import-matches",
        "hloc",
        "sift",
        "walls",
        "m.h5",
        "--replace",
    )
    MATCHES.unlink()
    refused(capsys, "makes it", "export-matches", "hloc", "sift", "walls", "m2.h5")
    SHARD.unlink()
    refused(capsys, "makes it", "export-features", "hloc", "sift", "walls", "f.h5")
    assert not Path("f.h5").exists()
