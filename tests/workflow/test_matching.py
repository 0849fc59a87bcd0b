"""Image pairs through the workflow's own rules on a tiny town: matches, and what each key changes."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from in_process import Bench, merged

from descbench.config.load import load_config_files
from descbench.datasets.image_pairs import read_image_pairs
from descbench.datasets.manifest import read_manifest
from descbench.errors import ConfigError
from descbench.matching.matcher import distance_of
from descbench.matching.matches import read_matches

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 200, "image_size": 64}
TOWN = {
    "toytown": {"sequences": {"width": 96, "height": 72, "illumination": 1, "viewpoint": 1}},
    "features": {"sift": SIFT, "few": {**SIFT, "max_features": 30}},
    "methods": {"sift": {"match": "nearest"}},
}
MATCHES = "results/matches/sift/facades/00000.h5"


@pytest.fixture(scope="module")
def matched(base) -> Bench:
    """A bench where the drawn sequences were matched once."""
    bench = base.copy("matching")
    ran = bench.make(MATCHES, overlay=TOWN)
    assert ran.count("match_features") == 1
    return bench


def indices(bench: Bench, target: str = MATCHES) -> list[list[int]]:
    return read_matches(bench.folder / target, cell="sift on facades").indices.tolist()


def test_all_pairs_are_matched(matched):
    manifest = read_manifest(matched.folder / "results/manifests/facades.csv")
    pairs = read_image_pairs(matched.folder / "results/manifests/facades.pairs.csv", manifest)
    found = read_matches(matched.folder / MATCHES)
    assert found.pairs.tolist() == [[pair.image_a, pair.image_b] for pair in pairs]
    assert len(found.indices) > 5 * len(pairs)


@pytest.mark.parametrize(
    ("key", "value", "anew"),
    [
        ("n", 20, "match_features"),
        ("mutual", False, "match_features"),
        ("ratio", 0.7, "match_features"),
        ("max_distance", 0.3, "match_features"),
        ("features", "few", "extract_features"),
    ],
)
def test_keys_of_methods_change_matches(matched, key, value, anew):
    changed = matched.copy(f"match-{key}")
    overlay = merged(TOWN, {"methods": {"sift": {key: value}}})
    assert anew in changed.make(MATCHES, overlay=overlay, anew=[anew])
    assert indices(changed) != indices(matched)


def test_what_distances_are_measured_in(matched):
    limit = float(np.median(distance_of(read_matches(matched.folder / MATCHES).scores.astype(float), "euclidean")))
    seen = []
    for distance in ("euclidean", "angle"):
        bench = matched.copy(f"distance-{distance}")
        overlay = merged(TOWN, {"methods": {"sift": {"max_distance": limit + 1e-6, "distance": distance}}})
        bench.make(MATCHES, overlay=overlay, anew=["match_features"])
        seen.append(len(indices(bench)))
    assert seen[1] < seen[0]  # an arc is longer than its chord


def test_shards_of_pairs(matched):
    """Twelve images and ten pairs, of which four a shard."""
    bench = matched.copy("match-shards")
    overlay = merged(TOWN, {"datasets": {"facades": {"counts": {"database": 12}, "shard_size": 4}}})
    targets = [f"results/matches/sift/facades/{number:05d}.h5" for number in range(3)]
    ran = bench.make(*targets, overlay=overlay, anew=["build_manifest"])
    assert ran.count("extract_features") == ran.count("match_features") == 3
    assert [len(read_matches(bench.folder / target)) for target in targets] == [4, 4, 2]
    assert [match for target in targets for match in indices(bench, target)] == indices(matched)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": {"sift": {"features": "own"}}}, "needs local features"),
        ({"methods": {"sift": {"n": 201}}}, "raise `max_features`"),
        ({"methods": {"sift": {"ratio": 1.5}}}, "ratio"),
        ({"methods": {"sift": {"match": "guess"}}}, "match"),
        ({"methods": {"sift": {"features": "nobody"}}}, "nobody"),
    ],
)
def test_what_does_not_fit_is_refused_while_planning(base, change, message, monkeypatch):
    monkeypatch.chdir(base.folder)
    path = base.folder.parent / "refused-matching.yaml"
    path.write_text(yaml.safe_dump(merged(merged(base.config, TOWN), change)))
    with pytest.raises(ConfigError, match=message):
        load_config_files(path, home=base.project)
