"""A folder of small images, and a configuration whose networks take no time, for the calls on images of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from retrieval_data import make_codebook

from descbench.command_files import read_configuration
from descbench.features.extractor import Network, digest_networks
from descbench.models.checkpoints import convert_checkpoint
from descbench.plan import Plan

NETWORKS = '''
from torch import nn


class Whole(nn.Module):
    """The mean colours of the quarters of an image."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(nn.init.ones_(nn.Parameter(__import__("torch").empty(1))))

    def forward(self, image):
        cells = nn.functional.adaptive_avg_pool2d(image, 2)
        return (self.scale * cells).flatten(1)


class Parts(nn.Module):
    """The colours of each 4 x 4 pixels, with their length for attention."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 4, 4)

    def forward(self, image):
        maps = self.layer(image)
        return maps, maps.norm(dim=1)[0]


def whole():
    return Whole()


def parts():
    return Parts()
'''
CONFIG = {
    "catalog": [],
    "device": "cpu",
    "shard_size": 3,
    "datasets": {"mine": {"format": "folder", "database": "photos"}},
    "models": {
        "whole": {"architecture": "custom", "factory": "own_networks:whole"},
        "parts": {"architecture": "custom", "factory": "own_networks:parts"},
    },
    "features": {
        "whole": {"kind": "global", "image_size": 32},
        "parts": {"kind": "local", "image_size": 32, "scales": [1.0], "max_features": 20},
        "sift": {"kind": "keypoints", "describe": "sift", "image_size": None, "max_features": 300},
    },
    "methods": {
        "whole": {"search": "inner_product"},
        "parts": {
            "search": "asmk",
            "n": 20,
            "codebook": {"dataset": "mine", "role": "database", "size": 12},
            "query": {"multiple_assignment": 1},
        },
        "sift": {"match": "nearest"},
        "patches": {"describe": "sift"},
    },
}


def paint(path: Path, seed: int) -> Path:
    """A small image of 8 x 8 squares with colours of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((32, 32), Image.Resampling.NEAREST).save(path)
    return path


def set_up(folder: Path, images: int = 5) -> None:
    """Configuration, checkpoints, a codebook and images below a folder that is the working directory."""
    (folder / "own_networks.py").write_text(NETWORKS)
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    for number in range(images):
        paint(folder / f"photos/{number}.png", number)
    config = read_configuration([])
    paths = Plan(config).paths
    for name in ("whole", "parts"):
        checkpoint = Path(paths.checkpoint(name))
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        convert_checkpoint(config.models[name], None, checkpoint)
    codebook = Path(paths.codebook("parts"))
    codebook.parent.mkdir(parents=True, exist_ok=True)
    network = Network(Path(paths.checkpoint("parts")), config.models["parts"])
    # Shorter than descriptors, so that residuals are of these and not of the words.
    words = 0.05 * np.random.default_rng(5).standard_normal((12, 16)).astype(np.float32)
    make_codebook(codebook, checkpoint=digest_networks({"parts": network}), centroids=words)
