"""Mean average precision of a ranking as its definition says it, apart from the project's own metric."""

import json
from pathlib import Path

from descbench.retrieval.ranking import read_ranking


def plain_map(folder: Path, method: str, dataset: str, right: tuple[str, ...], junk: tuple[str, ...]) -> float:
    """Trapezoids under precision over recall, junk taken out first, averaged over queries that something is right for.

    Args:
        folder: of the results.
        method, dataset: whose ranking.
        right, junk: labels of the ground truth that count as such.
    """
    ranking = read_ranking(folder / f"rankings/{method}/{dataset}.h5")
    labels = json.loads((folder / f"manifests/{dataset}.gt.json").read_text())["queries"]
    values = []
    for ranked, query in zip(ranking.image_ids.tolist(), labels, strict=True):
        positives = {image for name in right for image in query[name]}
        ignored = {image for name in junk for image in query[name]}
        if not positives:
            continue
        area, found, precision = 0.0, 0, 1.0
        for rank, image in enumerate((image for image in ranked if image not in ignored), start=1):
            found += image in positives
            if image in positives:
                area += (precision + found / rank) / 2 / len(positives)
            precision = found / rank
        values.append(area)
    return sum(values) / len(values)
