"""Real image sequences from extraction to scores (see docs/contributing.md): those of HPatches' and VGG's layouts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from real_r2d2 import RealR2D2, real_r2d2

from descbench.config.datasets import HPatchesSequencesDataset
from descbench.config.keypoint_features import KeypointFeatures
from descbench.datasets.build import build_manifest, build_pairs
from descbench.features.extract import extract_features
from descbench.features.shards import ShardSpec
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import MatchSettings
from descbench.metrics.matched_pairs import MatchedFiles
from descbench.metrics.mma import THRESHOLDS
from descbench.metrics.score_matches import MatchScoring, score_matches
from descbench.metrics.scores import Scores, read_scores

# The figures beside the photographs are of OpenCV's SIFT at its 2,048 strongest keypoints.
FEATURES = KeypointFeatures(kind="keypoints", describe="sift", image_size=None, max_features=2048)
# A row of the table beside them: `| v_calder 1-4 | 610 | .185 .292 .320 .336 |`, at 1, 3, 5 and 10 pixels.
_ROW = re.compile(r"^\| *(?:(\w+) )?1-([2-6]) *\| *(\d+) *\| *([.\d]+) ([.\d]+) ([.\d]+) ([.\d]+) *\|$", re.M)
_LAYOUTS = {"hpatches": "H_1_[2-6]", "vgg": "H1to[2-6]p"}
# Our patches are cut and described one by one: as many right matches, give or take these shares.
_ACCURACY, _MATCHES = 0.12, 0.4
# Of R2D2 in images of 360 pixels, at 10 pixels of the originals: 0.77, 0.76, 0.95 and 0.40 here.
_R2D2 = {"v_calder": 0.6, "v_churchill": 0.6, "kaze_iguazu": 0.8, "vgg_graf": 0.25}


@dataclass(frozen=True)
class RealSequence:
    """A folder of photographs.

    Attributes:
        path: the folder.
        layout: of its files.
        name: that it has in the note beside it.
    """

    path: Path
    layout: str

    @property
    def name(self) -> str:
        return self.path.name

    def expected(self) -> dict[int, tuple[int, list[float]]]:
        """Image -> matches and accuracies that the note beside it tells of its pair with image 1."""
        source = next(path for place in (self.path, self.path.parent) for path in place.glob("SOURCE.*"))
        rows = _ROW.findall(source.read_text(encoding="utf-8"))
        ours = [row for row in rows if not row[0] or self.name.endswith(row[0])]
        return {int(row[1]): (int(row[2]), [float(value) for value in row[3:]]) for row in ours}


def find_real_sequences(folder: Path) -> list[RealSequence]:
    """All folders with homographies of a known layout."""
    return [
        RealSequence(path, layout)
        for path in sorted(path for path in folder.glob("**/") if path != folder)
        for layout, pattern in _LAYOUTS.items()
        if any(path.glob(pattern))
    ]


def scored(
    sequence: RealSequence, work: Path, features: KeypointFeatures = FEATURES, network: RealR2D2 | None = None
) -> Scores:
    """Scores of the pairs of one sequence, by the stages of the workflow."""
    networks, backend = ({}, "torch") if network is None else (network.networks, network.backend)
    work.mkdir()
    (work / "sequences").mkdir()
    (work / "sequences" / sequence.name).symlink_to(sequence.path)
    dataset = HPatchesSequencesDataset(
        format="hpatches_sequences", images="sequences", layout=sequence.layout, incomplete="take"
    )
    manifest, pairs, shard, matches = (work / name for name in ("m.csv", "p.csv", "f.h5", "x.h5"))
    build_manifest("real", dataset, work, manifest, work / "m.gt.json")
    build_pairs("real", dataset, work, manifest, pairs)
    spec = ShardSpec.read(manifest, "database", 0, None, features="sift")
    extract_features(spec, work, networks, features, shard, device="cpu", backend=backend, workers=0)
    match_features([shard], PairShard(pairs, manifest), matches, MatchSettings())
    files = MatchedFiles([matches], [shard], pairs, manifest, work)
    score_matches(files, MatchScoring(), work / "scores.json")
    return read_scores(work / "scores.json")


def curves_of(found: Scores) -> list[tuple[float, ...]]:
    """MMA of each pair at all thresholds, which it rises with."""
    curves = list(zip(*(found.per_query[f"mma@{t}_micro"] for t in THRESHOLDS), strict=True))
    assert all(list(curve) == sorted(curve) for curve in curves)
    return curves


def test_sift_on_real_sequences(real_data, tmp_path):
    sequences = find_real_sequences(real_data)
    if not sequences:
        pytest.skip(f"no image sequences in {real_data}: not shipped, see docs/contributing.md")
    for sequence in sequences:
        found = scored(sequence, tmp_path / sequence.name)
        curves = curves_of(found)
        expected = sequence.expected()
        for name, curve in zip(found.facts["pairs"], curves, strict=True):
            if (number := int(name[-1])) in expected:
                for threshold, accuracy in zip((1, 3, 5, 10), expected[number][1], strict=True):
                    assert abs(curve[threshold - 1] - accuracy) < _ACCURACY, (name, threshold)
        if len(expected) == found.num_queries:
            matches = sum(count for count, _ in expected.values()) / len(expected)
            assert found.facts["matches"] == pytest.approx(matches, rel=_MATCHES), sequence


@pytest.mark.slow
def test_r2d2_on_real_sequences(real_data, tmp_path):
    """Its published weights; sequences that are not named above only rise with the threshold."""
    sequences = find_real_sequences(real_data)
    if not sequences:
        pytest.skip(f"no image sequences in {real_data}: not shipped, see docs/contributing.md")
    network = real_r2d2(real_data, tmp_path)
    for sequence in sequences:
        found = scored(sequence, tmp_path / sequence.name, network.features(360, 1500), network)
        curves = curves_of(found)
        assert sum(curve[-1] for curve in curves) / len(curves) >= _R2D2.get(sequence.name, 0), sequence
