"""Published counts measured again: with the authors' weights and images where they are at hand, and refusals."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from descbench.config.load import load_config, read_yaml
from descbench.config.point_networks import R2D2Model, SuperPointModel
from descbench.config.remeasured import MatchCounts, PublishedCounts
from descbench.errors import ConfigError, DataError, StaleFileError
from descbench.features.images import to_tensor
from descbench.metrics.counts_file import read_counts
from descbench.metrics.match_counts import count_matches
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.r2d2 import R2D2, Pyramid
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.tables.remeasured import FEATURES_TOLERANCE, Remeasured, build_remeasured, matches_tolerance

HOME = Path(__file__).resolve().parents[2]
TINY = {"architecture": "r2d2", "mchan": 1, "min_size": 0, "min_scale": 0.5, "weights": {"source": "random"}}
PUBLISHED = PublishedCounts(features=(40, 40), matches=(12,))
BLOCK = MatchCounts(dataset="d", sequence="v_x", max_features=40, counts={"tiny": PUBLISHED}, reference="book")


# --- the published networks on the published images ----------------------------------------------


def published(real_data):
    """Published counts whose weights and images are at hand, by weights and sequence, then by settings."""
    folder = real_data / "r2d2"
    if not (folder / "published_counts.json").is_file():
        pytest.skip(f"no {folder / 'published_counts.json'}: weights and counts of R2D2 are third-party, not shipped")
    weights = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.glob("*.pt")}
    found = defaultdict(lambda: defaultdict(dict))
    for entry in json.loads((folder / "published_counts.json").read_text())["entries"]:
        images = [real_data / "hpatches_seq" / entry["sequence"] / f"{number}.ppm" for number in entry["pair"]]
        if entry["weights_sha256"] in weights and all(map(Path.is_file, images)):
            place = weights[entry["weights_sha256"]], entry["sequence"]
            found[place][entry["settings"]][tuple(entry["pair"])] = entry["published"]
    if not found:
        pytest.skip(f"the images or weights of published_counts.json do not lie in {real_data}")
    return found


def network_of(settings):
    """Model block and number of keypoints of settings as the file words them."""
    number = r"(\d+(?:\.\d+)?)"
    limits = {key: float(re.search(rf"{key} {number}", settings)[1]) for key in R2D2Model.LEVELS}
    base, power = re.search(rf"scale_f {number}\*\*{number}", settings).groups()
    reliability, repeatability = map(float, re.search(rf"thr {number}/{number}", settings).groups())
    model = R2D2Model(
        architecture="r2d2",
        **{key: int(value) if key.endswith("size") else value for key, value in limits.items()},
        scale_factor=float(base) ** float(power),
        reliability=reliability,
        repeatability=repeatability,
        weights={"source": "official", "file": "published.pt"},
    )
    return model, int(re.search(r"top (\d+)", settings)[1])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_published_counts_are_measured_again(real_data, tmp_path):
    """R2D2's features and mutual nearest neighbours: every number of the authors that can be counted here."""
    backend = "onnxruntime" if importlib.util.find_spec("onnxruntime") else "torch"
    for (weights, sequence), by_settings in published(real_data).items():
        images = sorted({number for pairs in by_settings.values() for pair in pairs for number in pair})
        networks, most = {}, set()
        for number, settings in enumerate(by_settings):
            model, kept = network_of(settings)
            checkpoint = tmp_path / f"setting{number}.pt"
            convert_checkpoint(model, weights, checkpoint)
            networks[checkpoint.stem] = checkpoint, model
            most.add(kept)
        paths = [real_data / "hpatches_seq" / sequence / f"{number}.ppm" for number in images]
        output = tmp_path / f"{sequence}.json"
        count_matches(sequence, networks, paths, output, most=most.pop(), settings="x", backend=backend)
        counts = read_counts(output, sequence, "x").counts
        assert not most
        for counted, pairs in zip(counts.values(), by_settings.values(), strict=True):
            for (first, second), numbers in pairs.items():
                assert first == images[0]
                ours = [counted.features[images.index(image)] for image in (first, second)]
                assert np.abs(np.subtract(ours, numbers["n_feats"])).max() <= FEATURES_TOLERANCE
                matches = counted.matches[images.index(second) - 1]
                assert abs(matches - numbers["n_matches"]) <= matches_tolerance(numbers["n_matches"])


def test_the_catalogue_has_the_published_counts(real_data):
    """Numbers of the catalogue are those of the authors' files, where these are at hand."""
    config = load_config(read_yaml(HOME / "config/config.yaml"), home=HOME)
    levels = {name: Pyramid(*(getattr(model, key) for key in R2D2Model.LEVELS), model.scale_factor)
              for name, model in config.models.items() if model.architecture == "r2d2"}  # fmt: skip
    compared = 0
    for (weights, sequence), by_settings in published(real_data).items():
        for block in config.remeasured.values():
            for name, counts in block.counts.items():
                if config.models[name].weights.file != weights.name or block.sequence != sequence:
                    continue
                for settings, pairs in by_settings.items():
                    model, most = network_of(settings)
                    pyramid = Pyramid(*(getattr(model, key) for key in R2D2Model.LEVELS), model.scale_factor)
                    if (pyramid, most) == (levels[name], block.max_features):
                        assert {(1, k): n for k, n in enumerate(counts.matches, 2)} == {
                            pair: numbers["n_matches"] for pair, numbers in pairs.items()
                        }
                        compared += 1
    assert compared


# --- counting ------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for number in range(1, 4):
        rough = Image.fromarray(random.integers(0, 255, (18, 25, 3), np.uint8)).resize((100, 72))
        rough.save(tmp_path / f"{number}.ppm")
    return [tmp_path / f"{number}.ppm" for number in range(1, 4)]


def tiny(folder, name="tiny", **changes):
    model = R2D2Model.model_validate({**TINY, **changes})
    convert_checkpoint(model, None, folder / f"{name}.pt")
    return folder / f"{name}.pt", model


def test_networks_of_equal_weights_share_levels(images, tmp_path, monkeypatch):
    networks = {
        "tiny": tiny(tmp_path),
        "large": tiny(tmp_path, "large", min_scale=0.8),
        "other": tiny(tmp_path, "other", reliability=0.5),
    }
    networks["alone"] = tiny(tmp_path, "alone", min_scale=0.8)
    looked = []
    monkeypatch.setattr(R2D2, "run_level", lambda self, image: looked.append(image.shape[3]) or self.level(image))
    count_matches("one", networks, images, tmp_path / "one.json", most=40, settings="digest", device="cpu")
    # Five levels of three images, once for three networks of the same weights, and once for another threshold.
    assert sorted(looked) == sorted([100, 84, 71, 59, 50] * 6)
    found = read_counts(tmp_path / "one.json", "one", "digest")
    assert list(found.counts) == ["tiny", "large", "other", "alone"]
    assert found.counts["tiny"].features == (40, 40, 40)
    assert found.counts["large"].matches == found.counts["alone"].matches != found.counts["tiny"].matches
    count_matches(
        "two", {"large": networks["large"]}, images, tmp_path / "two.json", most=40, settings="", device="cpu"
    )
    assert read_counts(tmp_path / "two.json", "two", "").counts["large"].matches == found.counts["large"].matches


def test_images_and_networks_that_give_no_counts(images, tmp_path):
    small = tmp_path / "small.ppm"
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(small)
    model = SuperPointModel(architecture="superpoint", weights={"source": "random"})
    convert_checkpoint(model, None, tmp_path / "sp.pt")
    superpoint = {"sp": (tmp_path / "sp.pt", model)}
    for path, message in ((small, r"small\.ppm: 5 x 4 pixels"), (tmp_path / "4.ppm", r"4\.ppm: no such image")):
        with pytest.raises(DataError, match=message):
            count_matches("x", superpoint, [images[0], path], tmp_path / "x.json", most=5, settings="")
    patches = SuperPointModel.model_construct(architecture="superpoint")
    object.__setattr__(patches, "DETECTS_KEYPOINTS", False)
    with pytest.raises(ConfigError, match="does not find and describe keypoints"):
        count_matches("x", {"sp": (tmp_path / "sp.pt", patches)}, images, tmp_path / "x.json", most=5, settings="")
    # An image in which nothing is found has no neighbours.
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(small)
    dark = {"tiny": tiny(tmp_path, repeatability=1.0)}
    count_matches("x", dark, [small, small], tmp_path / "x.json", most=5, settings="")
    assert read_counts(tmp_path / "x.json", "x", "").counts["tiny"].matches == (0,)


def written(images, folder):
    count_matches("one", {"tiny": tiny(folder)}, images[:2], folder / "one.json", most=40, settings="digest")
    return folder / "one.json"


def test_damaged_and_foreign_files_of_counts(images, tmp_path):
    file = written(images, tmp_path)
    for name, settings in (("other", "digest"), ("one", "other")):
        with pytest.raises(StaleFileError, match="another configuration"):
            read_counts(file, name, settings)
    file.write_text(file.read_text().replace("40", "41", 1))
    with pytest.raises(DataError, match="damaged or edited"):
        read_counts(file, "one", "digest")


def test_the_table(images, tmp_path):
    file, output = written(images, tmp_path), tmp_path / "remeasured.csv"
    entry = Remeasured(BLOCK, file, "digest", "=book", {"tiny": "CC BY-NC-SA 3.0"})
    build_remeasured({"one": entry}, output)
    rows = list(csv.DictReader(output.open()))
    ours = read_counts(file, "one", "digest").counts["tiny"].matches[0]
    assert [row["what"] for row in rows] == [
        "features of image 1",
        "features of image 2",
        "mutual nearest neighbours of images 1 and 2",
    ]
    assert rows[2]["difference"] == str(ours - 12)
    assert {row["verdict"] for row in rows[:2]} == {"match"}
    assert rows[2]["verdict"] == ("match" if abs(ours - 12) <= 3 else "off")
    assert {(row["source"], row["licence"]) for row in rows} == {("'=book", "CC BY-NC-SA 3.0")}
    lacking = BLOCK.model_copy(update={"counts": {"tiny": PUBLISHED, "more": PUBLISHED}})
    with pytest.raises(DataError, match="lacks counts of 'more'"):
        build_remeasured({"one": Remeasured(lacking, file, "digest", "", {})}, output)


def test_tolerances():
    assert [matches_tolerance(count) for count in (0, 600, 3177)] == [3, 3, pytest.approx(15.885)]


def test_counts_that_do_not_fit_each_other():
    with pytest.raises(ValidationError, match="2 pairs of 2 images"):
        PublishedCounts(features=(1, 2), matches=(3, 4))


def test_descriptors_are_those_of_the_matches(images, tmp_path):
    """Counted matches are those of the extraction itself."""
    file = written(images, tmp_path)
    checkpoint, model = tiny(tmp_path)
    network = load_network(checkpoint, model)
    with torch.inference_mode():
        a, b = (
            network.find_points(to_tensor(np.array(Image.open(path)), network.mean, network.std)[None], 40).descriptors
            for path in images[:2]
        )
    expected = len(mutual_nearest_neighbours(a.numpy(), b.numpy())[0])
    assert abs(read_counts(file, "one", "digest").counts["tiny"].matches[0] - expected) <= 1
