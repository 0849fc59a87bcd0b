"""Row of table 7: from stored features of image sequences to their scores, as the workflow's stages do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.case import Case, Sizes
from benchmarks.plain.sequences import score_pair
from descbench.datasets.image_pairs import Homography, ImagePair, write_image_pairs
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.features.store import ShardInfo, ShardReader, ShardWriter
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import MatchSettings
from descbench.metrics.matched_pairs import MatchedFiles
from descbench.metrics.score_matches import MatchScoring, score_matches
from descbench.metrics.scores import read_scores

SEQUENCES = 108  # of the published protocol
_IMAGES, _SIZE, _DIM = 6, (800, 600), 128
_OFF, _WRONG = 1.0, 0.5  # pixels that right matches are off, and share of features that have no partner
_TOLERANCE = 1e-6
Found = list[tuple[list[float], float]]


def mma_case(sizes: Sizes, folder: Path) -> Case:
    """The row ``mma``: matching and scoring of some sequences, files read and written.

    Args:
        sizes: of the benchmark.
        folder: where files may lie meanwhile.
    """
    place = folder / "sequences"
    place.mkdir()
    pairs = _draw(place, sizes.sequences, sizes.keypoints)
    write_image_pairs(pairs, place / "pairs.csv")

    def plain() -> Found:
        with ShardReader(place / "features.h5") as shard:
            images = [shard.read(number, number + 1) for number in range(_IMAGES * sizes.sequences)]
        parts = [(found.keypoints - np.float32(0.5), found.descriptors) for found in images]
        return [
            score_pair(parts[pair.image_a], parts[pair.image_b], np.reshape(pair.relation.values, (3, 3)), _SIZE)
            for pair in pairs
        ]

    return Case(
        "mma",
        plain,
        lambda: _ours(place),
        _same,
        f"{sizes.sequences} of {SEQUENCES} sequences with {sizes.keypoints} drawn features an image, matching and "
        "scores; the goal is 120 s for all of them, in proportion; plain: the whole matrix in torch, nothing written",
    )


def _draw(place: Path, sequences: int, keypoints: int) -> list[ImagePair]:
    """Stored features of images of which each shows the first of its sequence moved, and their pairs."""
    dice, pairs, names = np.random.default_rng(0), [], []
    with ShardWriter(place / "features.h5", ShardInfo("local", "f", "i", "", "cpu"), _DIM) as writer:
        for sequence in range(sequences):
            points = dice.uniform(20, np.array(_SIZE) - 20, (keypoints, 2))
            rows = _unit(dice.normal(size=(keypoints, _DIM)))
            for number in range(_IMAGES):
                homography = np.eye(3) + np.diag([0.02, -0.02], 1) * number + np.diag([4.0 * number], 2)
                homography[2] = (1e-5 * number, 0, 1)
                moved = np.column_stack([points, np.ones(keypoints)]) @ homography.T
                moved = moved[:, :2] / moved[:, 2:] + dice.normal(0, _OFF * (number > 0), points.shape)
                lost = dice.random(keypoints) < _WRONG * (number > 0)
                noisy = rows + 0.05 * dice.normal(size=rows.shape) * (number > 0)
                described = _unit(np.where(lost[:, None], dice.normal(size=rows.shape), noisy))
                writer.add(len(names), described, keypoints=(moved + 0.5).astype(np.float32))
                names.append(f"v_{sequence}/{number + 1}.png")
                (place / names[-1]).parent.mkdir(exist_ok=True)
                Image.new("L", _SIZE).save(place / names[-1])
                if number:
                    first = len(names) - 1 - number
                    pairs.append(ImagePair(first, first + number, Homography(tuple(homography.ravel().tolist()))))
    write_manifest(Manifest(tuple(rows_of("database", names))), place / "manifest.csv")
    return pairs


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _ours(place: Path) -> Found:
    """What the stages ``match_features`` and ``score_matches`` write."""
    shard = PairShard(place / "pairs.csv", place / "manifest.csv")
    match_features([place / "features.h5"], shard, place / "matches.h5", MatchSettings(), threads=1)
    files = MatchedFiles([place / "matches.h5"], [place / "features.h5"], shard.pairs, shard.manifest, place)
    score_matches(files, MatchScoring(), place / "scores.json")
    scores = read_scores(place / "scores.json")
    curves = zip(*(scores.per_query[f"mma@{threshold}_micro"] for threshold in range(1, 11)), strict=True)
    return list(zip(map(list, curves), scores.facts["corner_errors"], strict=True))


def _same(theirs: Found, ours: Found) -> bool:
    """Whether accuracies agree to rounding, and corner errors to a thousandth of a pixel."""
    return len(theirs) == len(ours) and all(
        np.allclose(one[0], other[0], atol=_TOLERANCE) and abs(one[1] - other[1]) < 1e-3
        for one, other in zip(theirs, ours, strict=True)
    )
