"""A report of made-up scores for tests: three tables, provenance, a page of pictures, times, curves and stages."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from descbench.config.tables import Table
from descbench.io.atomic import write_text
from descbench.metrics.scores import Scores, mean, write_scores
from descbench.tables.provenance import write_provenance
from descbench.tables.report import build_report
from descbench.tables.results import Evidence
from descbench.tables.stage_times import StageFiles

SOURCE = "README of the code, https://example.org/code (Table 1)"
CAUSE = "Photographs served today are blurred (docs/table2.md)."
SHA256 = "0123456789abcdef" * 4
QUERIES = 540
# Metrics by method and dataset; `far` has none of `plain`.
VALUES = {
    ("local", "town"): {"map_medium": 0.80, "map_hard": 0.50},
    ("plain", "town"): {"map_medium": 0.60, "map_hard": 0.45},
    ("other", "town"): {"map_medium": 0.70, "map_hard": 0.20},
    ("match", "facades"): {f"mma@{t}{end}": 0.2 + t / 20 for t in range(1, 11) for end in ("", "_v", "_i")},
    ("plain", "streets"): {f"recall@{n}": 0.30 + n / 400 for n in (1, 5, 10, 20, 50)},
    ("other", "streets"): {f"recall@{n}": 0.40 + n / 300 for n in (1, 5, 10, 20, 50)},
}
PLACES = {
    "queries_without_positive": 0,
    "radius": 25.0,
    "views_per_panorama": None,
    "exclude_same_time": False,
    "num_ranked": 100,
    "first_hit": [1] * QUERIES,
}
FACADES = {
    **{key: [] for key in ("queries", "features", "matches", "matches_v", "matches_i", "corner_errors")},
    **dict.fromkeys(("without_matches", "without_homography", "sequences"), 0),
    **{"pairs": QUERIES, "pixels": "original", "image_size": None, "matching": {"mutual": True, "ratio": None}},
    **{"estimator": "ransac", "threshold": 3.0, "corners": "first", "opencv": "4.12.0"},
}
PROTOCOLS = {
    "town": ("retrieval", "revisited", {}),
    "streets": ("retrieval", "places", PLACES),
    "facades": ("matching", "homographies", FACADES),
}
RUN = {"result": "theirs", "kind": "paper", "source": SOURCE}


def _figure(metric: str, **figures: float) -> dict[str, Any]:
    return {"dataset": "town", "metric": metric, "source": SOURCE, **figures}


def example_tables() -> dict[str, Table]:
    """A table with figures of papers and of released weights, and one of drawn images."""
    rows = [
        {
            "label": "Local features & codebook",
            "method": "local",
            "reference_results": [_figure("map_medium", paper=95.0, released=80.2), _figure("map_hard", paper=52.0)],
        },
        {"label": "Plain", "method": "plain", "reference_results": [_figure("map_medium", released=75.0)]},
        {"label": "Another", "method": "other", "leave_empty": ["far"]},
    ]
    columns = [
        {"dataset": "town", "metric": "map_medium", "label": "Town (M)"},
        {"dataset": "town", "metric": "map_hard", "label": "Town (H)"},
    ]
    published = {
        "title": "mAP of a town",
        "columns": columns,
        "rows": rows,
        "causes": [{"text": CAUSE}, {"text": "Of another town.", "datasets": ["elsewhere"]}],
    }
    drawn = {
        "title": "recall on drawn streets",
        "synthetic": True,
        "columns": [{"dataset": "streets", "metric": "recall@1", "label": "R@1"}],
        "rows": [{"label": "Plain", "method": "plain"}, {"label": "Another", "method": "other"}],
    }
    matching = {
        "title": "matching accuracy",
        "synthetic": True,
        "columns": [{"dataset": "facades", "metric": "mma@3", "label": "MMA@3"}],
        "rows": [{"label": "Matches", "method": "match"}],
    }
    blocks = {"table2": published, "table1": drawn, "table7": matching}
    return {name: Table.model_validate(block) for name, block in blocks.items()}


def example_report(folder: Path) -> Path:
    """Write the report below a folder; gives its path."""
    scores, provenance, behind, stored = {}, {}, {}, {}
    for cell, metrics in VALUES.items():
        scores[cell] = _scores(folder / f"scores/{cell[0]}/{cell[1]}.json", cell, metrics)
        provenance[cell] = _provenance(folder / f"provenance/{cell[0]}/{cell[1]}.json", cell)
        method, dataset = cell
        names = {"methods": [method], "features": [], "models": ["net"], "scored": [dataset], "datasets": [dataset]}
        behind[cell] = names | {"sources": ["net.pth"], "files": ["net.pth"]}
        index = folder / f"indexes/{method}/{dataset}/00000.h5"
        write_text(index, "x" * (1000 * len(stored) + 1000))
        stored[cell] = ([index], 100)
    page = folder / "pages/local/town.html"
    write_text(page, "<!doctype html><title>results</title>")
    evidence = Evidence(
        provenance=provenance,
        behind=behind,
        pages={("local", "town"): page},
        command="snakemake --cores 8 --configfile my.yaml --",
        page_targets={("plain", "town"): "pages/plain/town.html"},
        stages=_stages(folder),
        stored=stored,
        restricted={"local": {"net.pth": "CC BY-NC-SA 4.0"}},
        figures={
            "facades": [
                RUN | {"metric": f"mma@{t}{end}", "value": 30.0 + 5 * t} for t in range(1, 11) for end in ("_v", "_i")
            ]
        },
        graph={
            "convert_checkpoint": (1, []),
            "search_flat": (3, ["convert_checkpoint"]),
            "score_ranking": (5, ["search_flat", "convert_checkpoint"]),
            "build_report": (1, ["score_ranking"]),
        },
    )
    build_report(example_tables(), scores, {}, folder / "report.html", evidence)
    return folder / "report.html"


def _scores(path: Path, cell: tuple[str, str], values: dict[str, float]) -> Path:
    draw = random.Random(" ".join(cell))
    per_query = {}
    for name, value in values.items():
        parts = [draw.uniform(-0.1, 0.1) for _ in range(QUERIES // 2)]
        per_query[name] = [value + part for part in parts] + [value - part for part in parts]
    metrics = {name: mean(found, sum(found) / QUERIES) for name, found in per_query.items()}
    family, protocol, facts = PROTOCOLS[cell[1]]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scores(Scores(family, protocol, QUERIES, metrics, per_query, dict(facts), cell=" on ".join(cell)), path)
    return path


def _provenance(path: Path, cell: tuple[str, str]) -> Path:
    method, dataset = cell
    origin = path.parent / f"{method}.{dataset}.pth.provenance.json"
    noted = f'{{"file": "net.pth", "url": "https://example.org/net.pth", "size": 7, "sha256": "{SHA256}", '
    write_text(origin, noted + '"retrieved_from": "mirror"}')
    write_provenance(
        path,
        blocks={
            "methods": {method: {"search": "inner_product"}},
            "models": {"net": {"architecture": "gem", "weights": {"source": "official", "file": "net.pth"}}},
            "datasets": {dataset: {"format": "revisitop"}},
        },
        sources={"net.pth": {"note": "a note", "licence": "CC BY-NC-SA 4.0", "records": [origin]}},
        own_files={},
        features={"features": "ab" * 32, "device": "cpu", "checkpoint": "cd" * 32},
        inputs=[],
    )
    return path


def _stages(folder: Path) -> dict[str, StageFiles]:
    """Benchmark files as Snakemake writes them, what the jobs made, and their logs."""
    stages = {
        "convert_checkpoint": ("{model}", "checkpoints/{model}"),
        "search_flat": ("{method}/{dataset}/{searched}/{shard}", "rankings/{method}/{dataset}/{searched}/{shard}"),
    }
    jobs = {"convert_checkpoint": ["net"], "search_flat": ["/".join((*cell, cell[1], "00000")) for cell in VALUES]}
    found = {}
    for stage, (names, output) in stages.items():
        benchmark, log = f"{folder}/benchmarks/{stage}/{names}.tsv", f"{folder}/logs/{stage}/{names}.log"
        found[stage] = StageFiles(benchmark, f"{folder}/{output}", log)
        for job in jobs[stage]:
            write_text(folder / f"benchmarks/{stage}/{job}.tsv", "s\tmax_rss\tcpu_time\n12.50\t300.25\t24.00\n")
            write_text(folder / output.partition("{")[0] / job, "made")
            write_text(folder / f"logs/{stage}/{job}.log", "INFO done in 8.500 s, 16.250 s of processor time\n")
    return found
