"""Queries of a page: a line for each of them, and pictures of as many as a page can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from markupsafe import Markup, escape

from descbench.tables.pages import ShownGroup
from descbench.tables.thumbnails import Picture

# Characters of lines, pictures and drawings, so that a page stays below 5 MB.
ROOM = 4_000_000
# What the template puts around a line of the table, and around a picture.
_AROUND_LINE, _AROUND_PICTURE = 150, 350


class Pictured(Protocol):
    """What is shown with pictures: its number in the list, and the characters that it takes on the page."""

    @property
    def number(self) -> int: ...

    @property
    def size(self) -> int: ...


Query = TypeVar("Query", bound=Pictured)


@dataclass(frozen=True)
class QueryLine:
    """A query in the table of all.

    Attributes:
        number: of the query, from 0.
        path: of its image in the manifest.
        cells: its results in words, in the order of the columns.
        first: rank of the first right image; None where there is none.
        score: what queries are filtered by, from 0 to 1; None where it does not count.
    """

    number: int
    path: str
    cells: tuple[str, ...]
    first: int | None
    score: float | None = None

    @property
    def size(self) -> int:
        """Number of characters on the page, about."""
        return len(escape(self.path).encode("utf-8", "backslashreplace")) + sum(map(len, self.cells)) + _AROUND_LINE


def size_of(pictures: Iterable[Picture], drawings: Iterable[tuple[str, Markup]] = ()) -> int:
    """Number of characters that pictures and drawings take on a page, about."""
    shown = sum(len(picture.address) + len(picture.reason) + _AROUND_PICTURE for picture in pictures)
    return shown + sum(len(drawing) for _, drawing in drawings)


def add_others(
    groups: Sequence[ShownGroup[Query]],
    order: Iterable[int],
    show: Callable[[int], Query],
    used: int,
    heading: str,
) -> list[ShownGroup[Query]]:
    """The groups, and a last one of queries that are in none of them, as long as there is room for their pictures.

    Args:
        groups: what is shown whatever its size.
        order: numbers of all queries, in the order that the last group has them.
        show: a query with its pictures.
        used: characters of the page that are neither pictures nor drawings of queries.
        heading: of the last group.
    """
    shown = [query for group in groups for query in group.queries]
    room, known = ROOM - used - sum(query.size for query in shown), {query.number for query in shown}
    others: list[Query] = []
    for number in order:
        if number in known:
            continue
        query = show(number)
        room -= query.size
        if room < 0:
            break
        others.append(query)
    return [*groups, ShownGroup(heading, tuple(others))] if others else list(groups)


def numbers_in(groups: Iterable[ShownGroup[Query]]) -> set[int]:
    """Numbers of the queries that have pictures."""
    return {query.number for group in groups for query in group.queries}


def what_is_pictured(shown: int, total: int, what: tuple[str, str] = ("query", "queries")) -> str:
    """How many have pictures, in a sentence; ``what`` they are, one and several."""
    if shown == total:
        return f"Every {what[0]} has pictures below."
    left = f"the other {total - shown:,} stand in the table alone"
    return f"{shown:,} of {total:,} {what[1]} have pictures below; {left}: more would make the page larger than 5 MB."
