"""Queries of a page: a line for each of them and pictures of many, as far as a page can hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from markupsafe import Markup, escape

from descbench.tables.pages import ShownGroup
from descbench.tables.thumbnails import Picture

# Characters of lines, pictures and drawings, so that a page stays below 5 MB.
ROOM = 4_000_000
# Of these for lines, so that pictures have room whatever the number of queries.
LINES_ROOM = 3_000_000
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


def list_lines(order: Iterable[int], line: Callable[[int], QueryLine], used: int = 0) -> list[QueryLine]:
    """Lines of the first queries, all of them or as many as a page can hold.

    Args:
        order: numbers of all queries, in the order of the table.
        line: of a query.
        used: characters of the page that are neither lines nor pictures.
    """
    lines: list[QueryLine] = []
    room = LINES_ROOM - used
    for number in order:
        found = line(number)
        room -= found.size
        if room < 0:
            break
        lines.append(found)
    return lines


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


def what_is_shown(
    pictured: int,
    listed: int,
    total: int,
    values: Path | None = None,
    what: tuple[str, str] = ("query", "queries"),
    order: str = "the worst first",
) -> str:
    """How many have pictures and how many a line, in a sentence or two.

    Args:
        pictured, listed, total: so many have pictures, have a line in the table, and are there.
        values: file that has the values of all; None: there is none.
        what: they are, one and several.
        order: of the table.
    """
    if pictured == total:
        return f"Every {what[0]} has pictures below."
    some = f"{pictured:,} of {total:,} {what[1]} have pictures below"
    limit = "more would make the page larger than 5 MB."
    if listed == total:
        return f"{some}; the other {total - pictured:,} stand in the table alone: {limit}"
    where = f" {values.as_posix()} has the values of all." if values else ""
    return f"{some}, and {listed:,} stand in the table, {order}: {limit} {total - listed:,} are not listed.{where}"
