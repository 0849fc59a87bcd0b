"""Names in a row: none can be taken for two, whatever it holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descbench.config.base import close_names
from descbench.datasets.photographs import LeftOut
from descbench.listing import in_list, listed


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["how_r18", "it's"], "how_r18, it's"),
        (["my photo 1.jpg", "SIFT points"], "my photo 1.jpg, SIFT points"),
        ([" led", "ended "], '" led", "ended "'),
        (["GeM, ResNet101", "x"], '"GeM, ResNet101", x'),
        (['so "called"', "a\\b", ""], r'"so \"called\"", "a\\b", ""'),
        (['"a", "b"'], r'"\"a\", \"b\""'),
        (["two\nlines"], r'"two\nlines"'),
        ([], ""),
    ],
)
def test_names_in_a_row(names, shown):
    assert listed(names) == shown


def test_sentences_in_a_row_are_quoted_for_what_separates_them():
    licences = ["MIT, of the authors", "code MIT; of the weights nothing is said"]
    assert listed(licences, separator="; ") == f'MIT, of the authors; "{licences[1]}"'


def test_of_many_the_first_are_shown():
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listed(["a", "b"], 2) == "a, b"


def parsed(text: str, separator: str) -> list[str]:
    """The names of a list, read again from its text."""
    names, decoder = [], json.JSONDecoder()
    while True:
        if text.startswith('"'):
            name, end = decoder.raw_decode(text)
        else:
            end = text.find(separator) if separator in text else len(text)
            name = text[:end]
        names.append(name)
        if end == len(text):
            return names
        assert text[end : end + len(separator)] == separator
        text = text[end + len(separator) :]


@pytest.mark.parametrize("separator", [", ", "; "])
@given(names=st.lists(st.text("ab,; \"\\\n'", max_size=6), min_size=1, max_size=4))
def test_lists_say_which_names_they_are_of(separator, names):
    assert parsed(listed(names, separator=separator), separator) == names


def test_messages_name_labels_and_files_so():
    label = 'say "cheese", please'
    assert close_names("x", [label]) == r'known: "say \"cheese\", please"'
    assert str(LeftOut(label, "no image")) == r'"say \"cheese\", please" (no image)'
    assert in_list("plain.jpg") == "plain.jpg"
