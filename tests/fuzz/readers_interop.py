"""Files of hloc and kapture, as strangers write them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
from mutations import damage_lines
from registry import register

from descbench.interop.hloc_features import read_hloc_features
from descbench.interop.hloc_matches import read_hloc_matches
from descbench.interop.kapture_features import (
    matches_file,
    read_kapture_features,
    read_kapture_matches,
)
from descbench.interop.pairs_files import read_pairs_file


def hloc_seeds(group: str, content: dict[str, np.ndarray]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.h5"
        with h5py.File(path, "w", libver="latest") as file:
            for name, values in content.items():
                file[f"{group}/{name}"] = values
            if "keypoints" in content:
                file[group]["keypoints"].attrs["uncertainty"] = 1.5
        return [path.read_bytes()]


FEATURES = {
    "keypoints": np.array([[1, 2], [3, 4]], np.float16),
    "descriptors": np.eye(2, dtype=np.float16),
    "scores": np.array([1, 0.5], np.float16),
    "image_size": np.array([64, 48]),
}
MATCHES = {"matches0": np.array([1, -1], np.int16), "matching_scores0": np.array([1, 0], np.float16)}
register("hloc features", read_hloc_features, lambda: hloc_seeds("a/b.jpg", FEATURES))
register("hloc matches", lambda path: read_hloc_matches(path, [("a", "b")]), lambda: hloc_seeds("a/b", MATCHES))

KAPTURE = {
    "keypoints/x/keypoints.txt": b"# kapture format: 1.1\n# name, dtype, dsize\nx, float32, 4\n",
    "keypoints/x/a.jpg.kpt": np.arange(8, dtype="<f4").tobytes(),
    "descriptors/x/descriptors.txt": b"# kapture format: 1.1\nx, uint8, 4, x, L2\n",
    "descriptors/x/a.jpg.desc": bytes(range(8)),
}


def kapture_reader(fuzzed: str) -> None:
    """Have one file of a kapture folder fuzzed, the others being right."""

    def read(path: Path) -> None:
        root = path.parent / "kapture"
        for name, content in KAPTURE.items():
            place = root / "reconstruction" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes() if name == fuzzed else content)
        read_kapture_features(root, "x", ["a.jpg"])

    mutations = (damage_lines,) if fuzzed.endswith(".txt") else ()
    register(f"kapture {Path(fuzzed).name}", read, lambda: [KAPTURE[fuzzed]], mutations=mutations, share=0.5)


for file in KAPTURE:
    kapture_reader(file)


def read_matches(path: Path) -> None:
    place = matches_file(path.parent, "x", "a.jpg", "b.jpg")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    read_kapture_matches(path.parent, "x", "a.jpg", "b.jpg")


register("kapture matches", read_matches, lambda: [np.arange(9.0).tobytes()], share=0.5)
register(
    "hloc pairs",
    lambda path: read_pairs_file(path, "hloc"),
    lambda: [b"query/a.jpg db/b.jpg\nquery/a.jpg db/c.jpg\n"],
    mutations=(damage_lines,),
    share=0.5,
)
register(
    "kapture pairs",
    lambda path: read_pairs_file(path, "kapture"),
    lambda: [b"# kapture format: 1.1\n# query_image, map_image, score\nq/a.jpg, db/b.jpg, 0.5\n"],
    mutations=(damage_lines,),
    share=0.5,
)
