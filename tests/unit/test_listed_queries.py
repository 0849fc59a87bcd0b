"""Queries of a page: a line for each, and pictures of as many as there is room for."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from descbench.tables.listed_queries import QueryLine, add_others, list_lines, numbers_in, size_of, what_is_shown
from descbench.tables.pages import ShownGroup
from descbench.tables.thumbnails import Picture


@dataclass(frozen=True)
class Shown:
    number: int
    size: int = 100


@pytest.mark.parametrize(
    ("room", "used", "others"), [(300, 0, [3]), (300, 100, []), (299, 0, []), (1000, 0, [3, 0, 2]), (0, 0, [])]
)
def test_others_are_shown_as_long_as_there_is_room(monkeypatch, room, used, others):
    monkeypatch.setattr("descbench.tables.listed_queries.ROOM", room)
    chosen = [ShownGroup("worst", (Shown(1), Shown(4)))]
    groups = add_others(chosen, [1, 3, 0, 4, 2], Shown, used, "others")
    assert groups[:1] == chosen
    assert [query.number for group in groups[1:] for query in group.queries] == others
    assert numbers_in(groups) == {1, 4, *others}


def test_what_has_no_pictures_is_said():
    assert what_is_shown(3, 3, 3) == "Every query has pictures below."
    assert what_is_shown(24, 8280, 8280, Path("s.json")) == (
        "24 of 8,280 queries have pictures below; the other 8,256 stand in the table alone: more would make the page "
        "larger than 5 MB."
    )


def test_what_is_not_listed_is_said():
    assert what_is_shown(24, 14000, 50000, Path("results/s.json")) == (
        "24 of 50,000 queries have pictures below, and 14,000 stand in the table, the worst first: more would make the "
        "page larger than 5 MB. 36,000 are not listed. results/s.json has the values of all."
    )
    told = what_is_shown(6, 7, 9, None, ("pair", "pairs"), "by name")
    assert told.startswith("6 of 9 pairs have pictures below, and 7 stand in the table, by name: ")
    assert told.endswith(" 2 are not listed.")


@pytest.mark.parametrize(
    ("room", "used", "listed"), [(700, 0, [3, 1]), (700, 150, [3]), (10_000, 0, [3, 1, 2]), (9, 0, [])]
)
def test_lines_are_the_first_that_there_is_room_for(monkeypatch, room, used, listed):
    monkeypatch.setattr("descbench.tables.listed_queries.LINES_ROOM", room)
    lines = list_lines([3, 1, 2], lambda number: QueryLine(number, "x" * 150, (), None), used)
    assert [line.number for line in lines] == listed


def test_sizes_count_what_stands_on_the_page():
    """Names as they are escaped and encoded, and reasons in place of pictures."""
    plain = QueryLine(0, "abc", ("1",), 1).size
    assert QueryLine(0, "a&c", ("1",), 1).size == plain + len("&amp;") - 1
    assert QueryLine(0, "äbc", ("1",), 1).size == plain + 1
    assert size_of([Picture(reason="x" * 50)]) == size_of([Picture("y" * 50)]) > 50
