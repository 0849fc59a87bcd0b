"""An example of each section of the configuration, for its page and for editors; together they are a configuration."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "toytown": {"cities": ["north", "south"], "streets": {"yaws": 2, "test": {"panoramas": 60, "queries": 100}}},
    "sources": {
        "network.pth": {"mirrors": ["https://example.org/network.pth"], "sha256": "0123abcd"},
        "lists.tar.gz": {"mirrors": ["https://example.org/lists.tar.gz"], "unpack": {"to": "pictures"}},
    },
    "datasets": {
        "mine": {"format": "folder", "database": "/path/to/photographs", "ground_truth": "/path/to/gnd.json"},
        "streets": {"format": "utm_names", "database": "/path/to/database", "queries": "/path/to/queries"},
        "traverses": {"format": "frames", "database": "/path/to/day", "queries": "/path/to/night", "tolerance": 2},
        "listed": {
            "format": "positives",
            "database": "/path/to/database",
            "queries": "/path/to/queries",
            "positives": "/path/to/positives.json",
        },
        "pictures": {
            "format": "sfm120k",
            "sources": ["lists.tar.gz"],
            "images": "pictures/ims",
            "database": "pictures/lists.pkl",
        },
        "my_sequences": {"format": "hpatches_sequences", "images": "my_sequences"},
    },
    "patch_sets": {
        "brown": {"format": "phototour", "folder": "brown", "parts": ["liberty", "notredame", "yosemite"]},
        "strips": {
            "format": "hpatches_patches",
            "folder": "hpatches-release",
            "parts": ["i_zion", "v_strand"],
            "splits": "splits.json",
        },
    },
    "models": {
        "how_r18_start": {
            "architecture": "how",
            "backbone": "resnet18",
            "weights": {"source": "imagenet", "file": "network.pth"},
        },
        "how_r18_mine": {
            "architecture": "how",
            "backbone": "resnet18",
            "weights": {"source": "train", "start": "how_r18_start", "training": "brief"},
        },
        "netvlad_random": {"architecture": "netvlad", "weights": {"source": "random"}},
        "r2d2": {"architecture": "r2d2", "weights": {"source": "official", "file": "network.pth"}},
    },
    "training": {"brief": {"recipe": "how", "dataset": "pictures", "learning_rate": 5.0e-6, "epochs": 10}},
    "features": {"how_r18_mine": {"image_size": 512}},
    "methods": {
        "how_r18_mine_n500": {
            "search": "asmk",
            "features": "how_r18_mine",
            "n": 500,
            "codebook": {"dataset": "pictures", "size": 4096},
        },
        "netvlad_random": {"search": "euclidean"},
    },
    "tables": {
        "table_mine": {
            "title": "My photographs",
            "columns": [{"dataset": "mine", "metric": "map_medium", "label": "Mine (M)"}],
            "rows": [
                {"label": "HOW, trained here", "method": "how_r18_mine_n500", "reference": "theirs"},
                {"label": "NetVLAD, untrained", "method": "netvlad_random"},
            ],
        }
    },
    "cross_tables": {
        "all_on_mine": {
            "title": "All methods on my photographs",
            "rows": {"HOW, trained here": ["how_r18_mine_n500"], "NetVLAD, untrained": ["netvlad_random"]},
            "datasets": {"mine": ["map_medium", "map_hard"]},
        }
    },
    "remeasured": {
        "r2d2_mine": {
            "dataset": "my_sequences",
            "sequence": "v_mine",
            "counts": {"r2d2": {"features": [5000, 4801], "matches": [1203]}},
            "reference": "book",
        }
    },
    "references": {"book": "Table 2 of the book"},
}
# Lines of a file of published figures.
FIGURES = (
    ("theirs", "mine", "map_medium", "paper", "70.5", "", "book"),
    ("theirs", "mine", "map_medium", "released", "71.0", "1.0", "book"),
)
