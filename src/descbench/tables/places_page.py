"""A page of place recognition to look at: a sample of queries with their first results, and a map of all."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from descbench.datasets.manifest import ManifestRow, read_manifest
from descbench.datasets.places import PlaceLabels, read_places
from descbench.errors import DataError
from descbench.features.images import load_image
from descbench.io.atomic import write_text
from descbench.metrics.places import find_first_hits, what_counts
from descbench.metrics.score import check_queries
from descbench.retrieval.ranking import found_images, images_without_features, read_ranking
from descbench.tables.places_map import draw_map

_RESULTS = 5
_THUMBNAIL = 160
_QUALITY = 70
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
figure { margin: 0 } #map { margin: 1rem 0 } figcaption { color: #4a5462; font-size: .85em; overflow-wrap: anywhere }
svg { max-width: 55rem; width: 100%; font-size: 13px; fill: #1c2430 }
svg .frame { fill: none; stroke: #9aa4b1 }
svg .database { fill: none; stroke: #9aa4b1; stroke-width: 4; stroke-linecap: round }
ul { display: flex; flex-wrap: wrap; gap: .7rem; list-style: none; padding: 0; margin: .3rem 0 1.6rem }
li { width: 168px } img { display: block; border: 4px solid #66707d; max-width: 160px }
.right img { border-color: #17663a } .wrong img { border-color: #a12622; border-style: dashed }
.right strong { color: #17663a } .wrong strong { color: #a12622 }
"""


@dataclass(frozen=True)
class _Outcome:
    """What the page shows: everything of one method on one dataset."""

    database: Sequence[ManifestRow]
    queries: Sequence[ManifestRow]
    labels: PlaceLabels
    image_ids: np.ndarray
    found: np.ndarray
    ranks: np.ndarray
    unreadable: int


def show_places(
    ranking: Path,
    ground_truth: Path,
    manifest: Path,
    image_root: Path,
    output: Path,
    *,
    method: str,
    dataset: str,
    queries: int = 24,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
) -> None:
    """Write a page that needs no other file: a map of all queries, and results of some with small pictures.

    Half of the queries shown are those with the worst rank of the first right image, where there is one to be
    found; the others lie evenly spaced in the list. Results are those that scores count.

    Args:
        ranking: of the dataset's queries.
        ground_truth: its labels (protocol ``places``).
        manifest: its images with their positions.
        image_root: folder that the manifest's paths are relative to.
        output: the page (HTML).
        method, dataset: names for the heading.
        queries: number of queries that are shown with pictures.
        reading: ``truncated_images`` and ``deep_images`` of the features, so that pictures are read as they were.
        on_bad_image: ``skip``: a picture that cannot be read is a drawing with the reason.

    Raises:
        DataError: no place-recognition labels, a ranking of other queries or images, images without positions,
            or a picture that is missing or damaged; the file is named.
    """
    result = _read(ranking, ground_truth, manifest, f"{method} on {dataset}")
    write_text(
        output, _page(result, f"{method} on {dataset}", queries, _pictures(image_root, reading or {}, on_bad_image))
    )


def choose_worst(ranks: np.ndarray, number: int) -> np.ndarray:
    """Up to ``number`` queries with the latest first right image, or none (rank 0), ascending.

    Of those that are equally bad the ones at even steps are taken, since neighbours in a list often show
    the same place. Queries with the right image first are never among them.
    """
    badness = np.where(ranks == 0, np.inf, ranks)
    bad = np.flatnonzero(badness > 1)
    if len(bad) <= number:
        return bad
    limit = np.sort(badness[bad])[::-1][number - 1] if number else np.inf
    worse = bad[badness[bad] > limit]
    equal = bad[badness[bad] == limit]
    return np.sort(np.concatenate([worse, choose_spaced(equal, number - len(worse))]))


def choose_spaced(ids: np.ndarray, number: int) -> np.ndarray:
    """Up to ``number`` of the ids (n,), at even steps from the first to the last."""
    if len(ids) <= number:
        return ids
    return ids[np.round(np.linspace(0, len(ids) - 1, number)).astype(np.int64)]


def _read(ranking: Path, ground_truth: Path, manifest: Path, cell: str) -> _Outcome:
    labels, ranked, listed = read_places(ground_truth), read_ranking(ranking, cell), read_manifest(manifest)
    check_queries(ranked, len(labels.positives), ranking, ground_truth)
    database, queries = listed.of_role("database").rows, listed.of_role("query").rows
    if len(queries) != len(labels.positives) or ranked.image_ids.max(initial=-1) >= len(database):
        raise DataError(f"{ranking}: ranks other images than {manifest} lists; rebuild both from the same dataset.")
    unplaced = next((row for row in (*database, *queries) if row.easting is None or row.northing is None), None)
    if unplaced is not None:
        raise DataError(f"{manifest}: {unplaced.path} has no position; rebuild the manifest.")
    found = found_images(ranked)
    ranks = find_first_hits(ranked.image_ids, labels, complete=True, found=found).ranks
    return _Outcome(database, queries, labels, ranked.image_ids, found, ranks, len(images_without_features(ranking)))


def _page(result: _Outcome, title: str, queries: int, picture: Callable[[str], str]) -> str:
    hopeless = np.array([not ids for ids in result.labels.positives], bool)
    worst = choose_worst(np.where(hopeless, 1, result.ranks), queries // 2)
    spaced = choose_spaced(np.setdiff1d(np.arange(len(result.queries)), worst), queries - len(worst))
    groups = {"Queries with the worst rank": worst, "Queries at even steps of the list": spaced}
    times = np.array(result.labels.database_times)
    sections = [
        f"<h2>{heading}</h2>" + "".join(_query(result, query, times, picture) for query in chosen.tolist())
        for heading, chosen in groups.items()
        if len(chosen)
    ]
    page = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"/><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{_rule(result)}</p>",
        draw_map(_places(result.database), _places(result.queries), result.ranks),
        *sections,
        "</body></html>",
    ]
    return "\n".join(page) + "\n"


def _rule(result: _Outcome) -> str:
    """What counts as right, and how many queries find it."""
    labels, ranks = result.labels, result.ranks
    found = ", ".join(f"{((ranks > 0) & (ranks <= depth)).sum()} among the first {depth}" for depth in (1, 5, 20))
    parts = [f"Right is what lies within {labels.radius:g} m of the query."]
    if labels.views_per_panorama is not None:
        parts.append(f"Only the first hit of each panorama ({labels.views_per_panorama} images) counts.")
    if labels.query_times:
        parts.append("Images of the query's own time stamp are left out.")
    parts.append(f"Of {len(ranks)} queries so many have a right image: {found}.")
    if missed := int((~result.found.any(axis=1)).sum()):
        parts.append(f"{missed} queries could not be read, and count as missed.")
    if result.unreadable:
        parts.append(f"{result.unreadable} database images could not be read, and are never found.")
    return " ".join(parts)


def _query(result: _Outcome, query: int, times: np.ndarray, picture: Callable[[str], str]) -> str:
    """A query and its first results."""
    row, rank = result.queries[query], int(result.ranks[query])
    first = f"first right image at rank {rank}" if rank else "no right image in the ranking"
    if not result.labels.positives[query]:
        first = f"no database image lies within {result.labels.radius:g} m"
    items = [_figure("query", f"query {query}", f"<strong>query</strong> {escape(row.path)}", picture(row.path))]
    if not result.found[query].any():
        first = "could not be read, and counts as missed"
    counted = what_counts(result.image_ids[query][result.found[query]], query, result.labels, times)[:_RESULTS]
    for place, image in enumerate(counted.tolist(), start=1):
        items.append(_result(result, query, place, image, picture))
    return f'<section id="query-{query}"><h3>Query {query}: {first}</h3><ul>{"".join(items)}</ul></section>'


def _result(result: _Outcome, query: int, place: int, image: int, picture: Callable[[str], str]) -> str:
    """The result at rank ``place``: picture, verdict in words, distance."""
    if image < 0:
        # Distractors are other datasets' images; all that is known of them here is that they are wrong.
        return f'<li class="wrong">{place}. <strong>wrong</strong>, distractor {-image}</li>'
    row, asked = result.database[image], result.queries[query]
    metres = float(np.hypot(row.easting - asked.easting, row.northing - asked.northing))
    verdict = "right" if image in result.labels.positives[query] else "wrong"
    caption = f"{place}. <strong>{verdict}</strong>, {metres:.1f} m<br/>{escape(row.path)}"
    alt = f"result {place} of query {query}: {verdict}, {metres:.1f} m away"
    return _figure(verdict, alt, caption, picture(row.path))


def _figure(kind: str, alt: str, caption: str, source: str) -> str:
    return (
        f'<li class="{kind}"><figure><img src="{source}" alt="{escape(alt)}"/>'
        f"<figcaption>{caption}</figcaption></figure></li>"
    )


def _pictures(root: Path, reading: Mapping[str, Any], on_bad_image: str) -> Callable[[str], str]:
    """A function from a path of the manifest to its thumbnail as a data address; each is read once."""

    @cache
    def picture(path: str) -> str:
        stream = io.BytesIO()
        try:
            pixels = load_image(root / path, _THUMBNAIL, **reading).pixels
        except DataError as error:
            if on_bad_image == "stop":
                raise
            return _placeholder(str(error))
        Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

    return picture


def _placeholder(reason: str) -> str:
    """A data address of a grey drawing that says why there is no picture."""
    lines = [reason[start : start + 26] for start in range(0, min(len(reason), 26 * 8), 26)]
    words = "".join(f'<text x="4" y="{14 + 13 * n}">{escape(line)}</text>' for n, line in enumerate(lines))
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_THUMBNAIL}" height="120" font-size="11" '
        f'font-family="sans-serif"><title>{escape(reason)}</title><rect width="100%" height="100%" fill="#d5dae1"/>'
        f"{words}</svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode("utf-8")).decode("ascii")


def _places(rows: Sequence[ManifestRow]) -> np.ndarray:
    """East and north of rows in metres: (n, 2)."""
    return np.array([(row.easting, row.northing) for row in rows], np.float64).reshape(-1, 2)
