"""Models of COLMAP, NVM files, lists of intrinsics, poses and their labels."""

from __future__ import annotations

import struct
from pathlib import Path

from mutations import damage_json, damage_lines
from readers_stages import checked, json_seed
from registry import register

from descbench.datasets.cameras import Camera, Pose
from descbench.datasets.colmap_model import read_colmap_model
from descbench.datasets.nvm import read_intrinsics, read_nvm_poses
from descbench.datasets.pose_files import read_poses
from descbench.datasets.pose_labels import PoseLabels, read_pose_labels, write_pose_labels

FOLDER = {
    "cameras.txt": "1 SIMPLE_RADIAL 64 48 50 32 24 0.1\n",
    "images.txt": "1 1 0 0 0 0 0 0 1 a.jpg\n1 2 5 3 4 -1\n2 0.6 0 0.8 0 1 2 3 1 b.jpg\n9 8 5\n",
    "points3D.txt": "5 1 2 3 0 0 0 0.5 1 0 2 0\n",
}
BINARY = {
    "cameras.bin": struct.pack("<QIiQQ4d", 1, 1, 2, 64, 48, 50, 32, 24, 0.1),
    "images.bin": struct.pack("<QI7dI", 1, 1, 1, 0, 0, 0, 0, 0, 0, 1)
    + b"a.jpg\0"
    + struct.pack("<QddQddQ", 2, 1, 2, 5, 3, 4, 2**64 - 1),
    "points3D.bin": struct.pack("<QQ3d3BdQII", 1, 5, 1, 2, 3, 0, 0, 0, 0.5, 1, 1, 0),
}


def model_reader(name: str, others: dict[str, bytes]) -> None:
    """Have one file of a model fuzzed, the others being right."""

    def read(path: Path) -> None:
        for other, content in others.items():
            if other != name:
                (path.parent / other).write_bytes(content)
        read_colmap_model(path.parent, with_points=True)

    mutations = (damage_lines,) if name.endswith(".txt") else ()
    register(f"COLMAP {name}", read, lambda: [others[name]], file=name, mutations=mutations, share=0.5)


for file in FOLDER:
    model_reader(file, {name: text.encode() for name, text in FOLDER.items()})
for file in BINARY:
    model_reader(file, BINARY)

NVM = b"NVM_V3\n\n2\na.jpg 500 1 0 0 0 1 2 3 0 0\nb.jpg 500 0 1 0 0 1 2 3 0 0\n\n0\n"
register("NVM", read_nvm_poses, lambda: [NVM], mutations=(damage_lines,), share=0.5)
register(
    "intrinsics",
    read_intrinsics,
    lambda: [b"a.jpg SIMPLE_RADIAL 1600 1200 1469.2 800 600 -0.03\nb.jpg PINHOLE 64 48 50 50 32 24\n"],
    mutations=(damage_lines,),
    share=0.5,
)
register(
    "poses",
    read_poses,
    lambda: [b"# comment\na.jpg 1 0 0 0 1 2 3\nb.jpg 0.6 0 0.8 0 -1 2e-3 3\n"],
    mutations=(damage_lines,),
    share=0.5,
)


CAMERA, POSE = Camera("SIMPLE_PINHOLE", 64, 48, (50.0, 32.0, 24.0)), Pose((1.0, 0.0, 0.0, 0.0), (1.0, 2.0, 3.0))
LABELS = PoseLabels((CAMERA, CAMERA), (CAMERA,), (POSE, POSE), (POSE,), ("day",), ((0, 1),), ((0, 1),))
register(
    "labels of poses",
    checked(read_pose_labels),
    json_seed(lambda path: write_pose_labels(LABELS, path)),
    mutations=(damage_json,),
    share=0.5,
)
