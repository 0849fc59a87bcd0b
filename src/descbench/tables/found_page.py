"""A page of what a search found: each query with its first images, by score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.tables.pages import write_page
from descbench.tables.thumbnails import Picture


@dataclass(frozen=True)
class ShownImage:
    """An image that was found."""

    path: str
    score: float
    picture: Picture


@dataclass(frozen=True)
class ShownQuery:
    """A query with the images that were found, best first."""

    path: str
    picture: Picture
    images: tuple[ShownImage, ...]


def show_found(
    found: Sequence[tuple[str, Sequence[tuple[str, float]]]],
    output: Path,
    *,
    title: str,
    rule: str,
    picture_of_query: Callable[[str], Picture],
    picture_of_image: Callable[[str], Picture],
) -> None:
    """Write a page that needs no other file.

    Args:
        found: queries with the paths and scores of their images, best first.
        output: the page (HTML).
        title: heading.
        rule: a sentence on what was searched how.
        picture_of_query, picture_of_image: see :func:`descbench.tables.thumbnails.thumbnails`.

    Raises:
        DataError: the page cannot be written.
    """
    queries = [
        ShownQuery(
            query,
            picture_of_query(query),
            tuple(ShownImage(path, score, picture_of_image(path)) for path, score in images),
        )
        for query, images in found
    ]
    write_page(output, "found.html.jinja", title=title, rule=rule, queries=queries)
