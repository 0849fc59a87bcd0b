"""A small configuration: files to download, photographs on request, a folder of one's own, and a table."""

CONFIG = {
    "catalog": [],
    "device": "cpu",
    "sources": {
        "lists.mat": {"mirrors": ["http://127.0.0.1:1/lists.mat"], "unpack": {"to": "lists"}, "size": 2_500_000},
        "photos": {
            **{"access": "request", "ask": "http://x", "layout": "a.jpg and so on"},
            **{"unpack": {"to": "photos"}, "licence": "research use"},
        },
        "net.pth": {"mirrors": ["http://127.0.0.1:1/net.pth"], "licence": "CC BY-NC-SA 4.0"},
    },
    "datasets": {
        "city": {
            "format": "dbstruct",
            **{"struct": "lists/a.mat", "images": "photos", "queries": "photos"},
            **{"sources": ["lists.mat"], "image_sources": ["photos"], "counts": {"query": 1000, "database": 249_000}},
        },
        "mine": {"format": "folder", "database": "my_photos"},
    },
    "models": {
        "net": {"architecture": "gem", "backbone": "resnet50", "weights": {"source": "official", "file": "net.pth"}}
    },
    "methods": {"net": {"search": "inner_product"}},
    "tables": {
        "cities": {
            "title": "Cities [all]",
            "columns": [{"dataset": "city", "metric": "recall@1", "label": "R@1"}],
            "rows": [{"label": "net", "method": "net"}],
        }
    },
}
