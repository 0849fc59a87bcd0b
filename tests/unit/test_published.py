"""Published figures: read strictly, with file and line of what is wrong, and put beside the rows that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from descbench.config.load import load_config
from descbench.config.models import Config
from descbench.errors import ConfigError

HEADER = "result,dataset,metric,kind,value,tolerance,source"
GOOD = (
    "theirs,images,map_medium,paper,70.5,,book",
    "theirs,images,map_medium,released,71.0,0.25,page",
    "theirs,images,map_hard,paper,50,2,book",
    "theirs,images,mp@10_hard,released,60,,page",
    "others,images,map_hard,released,0,,page",
)
SOURCES = {"book": "Table 2 of the book", "page": "the page"}
COLUMNS = [{"dataset": "images", "metric": f"map_{name}", "label": name} for name in ("easy", "medium", "hard")]


def load(folder: Path, rows: list[dict[str, Any]], lines: tuple[str, ...] = GOOD, **sections: Any) -> Config:
    path = folder / "figures.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    values = {
        "catalog": [str(path)],
        "references": SOURCES,
        "datasets": {"images": {"format": "folder", "database": "images", "ground_truth": "gnd.json"}},
        "models": {"gem": {"architecture": "gem", "backbone": "resnet50", "weights": {"source": "random"}}},
        "methods": {"gem": {"search": "inner_product"}},
        "tables": {"table": {"title": "T", "columns": COLUMNS, "rows": rows}},
    }
    return load_config({**values, **sections})


def refusal(*arguments: Any, **sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **sections)
    return str(caught.value)


def row(**keys: Any) -> dict[str, Any]:
    return {"label": "ours", "method": "gem", **keys}


def figures(config: Config) -> dict[str, tuple[Any, ...]]:
    found = config.tables["table"].rows[0].reference_results
    return {f.metric: (f.paper, f.released, f.tolerance, f.source) for f in found}


def test_a_row_has_the_figures_of_its_columns(tmp_path):
    assert figures(load(tmp_path, [row(reference="theirs")])) == {
        # The tolerance is that of the figure that ours is compared with.
        "map_medium": (70.5, 71.0, 0.25, "paper: Table 2 of the book; released: the page"),
        "map_hard": (50.0, None, 2.0, "Table 2 of the book"),
    }
    assert figures(load(tmp_path, [row(reference="others")])) == {"map_hard": (None, 0.0, None, "the page")}
    assert figures(load(tmp_path, [row()])) == {}


def test_a_row_has_a_tolerance_of_its_own(tmp_path):
    found = figures(load(tmp_path, [row(reference="theirs", tolerance=3)]))
    assert [tolerance for _, _, tolerance, _ in found.values()] == [3.0, 3.0]


def test_figures_of_the_row_itself_go_first(tmp_path):
    own = {"dataset": "images", "metric": "map_hard", "released": 55, "source": "a letter"}
    found = figures(load(tmp_path, [row(reference="theirs", reference_results=[own])]))
    assert found["map_hard"] == (None, 55.0, None, "a letter")
    assert found["map_medium"][:2] == (70.5, 71.0)


def test_a_result_that_no_file_has(tmp_path):
    message = refusal(tmp_path, [row(reference="their")])
    assert "tables.table.rows.0.reference: no published figures of 'their' in the .csv files of `catalog`" in message
    assert "close names: theirs" in message


def test_a_table_of_drawn_images_has_none(tmp_path):
    table = {"title": "T", "synthetic": True, "columns": COLUMNS, "rows": [row(reference="theirs")]}
    assert "a table of drawn images has no published" in refusal(tmp_path, [], tables={"table": table})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("theirs,images,map_hard,paper,50.1,,book", "a second figure of theirs, images, map_hard, paper; the first is"),
        ("new,images,map_hard,paper,100.5,,book", "value: Input should be less than or equal to 100, not 100.5"),
        ("new,images,map_hard,paper,-1,,book", "value: Value error, must be a plain decimal number"),
        ("new,images,map_hard,paper,nan,,book", "value: Value error, must be a plain decimal number"),
        ("new,images,map_hard,paper,,,book", "value: Value error, must be a plain decimal number"),
        ("new,images,map_hard,paper,50,-1,book", "tolerance: Value error, must be a plain decimal number"),
        ("new,images,map_hard,printed,50,,book", "kind: Input should be 'paper' or 'released', not printed"),
        ("a/b,images,map_hard,paper,50,,book", "result: String should match pattern"),
        ("new,images,,paper,50,,book", "metric: Value error, must not be empty"),
        ("new,images,map_hard,paper,50,,boek", "there is no source 'boek' in section `references`; close names: book"),
        (
            "new,image,map_hard,paper,50,,book",
            "there is no 'image' in section `datasets` or `patch_sets`; close names: images",
        ),
        ("new,images,map_hart,paper,50,,book", "scores on 'images' have no 'map_hart'; close names: map_hard"),
        ("new,images,map_hard,paper,50,book", "6 cells instead of 7"),
        ('new,images,map_hard,paper,50,,"book', "not valid CSV"),
    ],
)
def test_lines_that_are_wrong(tmp_path, line, expected):
    message = refusal(tmp_path, [row(reference="theirs")], (*GOOD, line))
    assert f"{tmp_path}/figures.csv, line {len(GOOD) + 2}: {expected}" in message


def test_all_wrong_lines_are_named_at_once(tmp_path):
    message = refusal(tmp_path, [row()], ("a,images,map_hard,paper,x,,book", *GOOD, "b,images,map_hard,paper,y,,book"))
    assert "line 2: value" in message
    assert f"line {len(GOOD) + 3}: value" in message


def test_a_file_of_many_wrong_lines_gives_a_short_message(tmp_path):
    message = refusal(tmp_path, [row()], tuple(str(number) for number in range(1000)))
    assert len(message.splitlines()) == 22
    assert message.endswith("... and 980 more")


def test_figures_are_counted_over_all_files(tmp_path):
    more = tmp_path / "more.csv"
    more.write_text(f"{HEADER}\n{GOOD[0]}\n")
    catalog = [str(tmp_path / "figures.csv"), str(more)]
    message = refusal(tmp_path, [row()], catalog=catalog)
    assert f"{more}, line 2: a second figure of" in message
    assert f"the first is in {tmp_path}/figures.csv, line 2" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ", line 1: the columns must be result,dataset,"),
        ("result,dataset\n", ", line 1: the columns must be"),
        ("\xff", ", line 1: byte 0xff is not UTF-8"),
    ],
)
def test_files_that_are_no_figures(tmp_path, text, expected):
    path = tmp_path / "other.csv"
    path.write_bytes(text.encode("latin-1"))
    assert f"{path}{expected}" in refusal(tmp_path, [row()], catalog=[str(path)])
    assert "no such configuration file" in refusal(tmp_path, [row()], catalog=[str(tmp_path / "absent.csv")])


def test_lines_may_be_empty_and_end_as_on_windows(tmp_path):
    path = tmp_path / "windows.csv"
    path.write_bytes("\r\n".join([HEADER, "", *GOOD, ""]).encode("utf-8-sig"))
    assert figures(load(tmp_path, [row(reference="others")], catalog=[str(path)]))["map_hard"][1] == 0


@pytest.mark.parametrize("value", ["7_0", "1e1", "+70", " 70", "nan", "70,5"])
def test_figures_are_plain_decimal_numbers(tmp_path, value):
    line = f'theirs,images,map_medium,paper,"{value}",,book'
    found = refusal(tmp_path, [row(reference="theirs")], (line,))
    assert "figures.csv, line 2: value: Value error, must be a plain decimal number, such as 75.1" in found


def test_a_row_over_several_lines_is_named_by_its_first(tmp_path):
    lines = (GOOD[0], '"th\neirs",images,map_hard,paper,70,,book', "theirs,images,map_hard,paper,x,,book")
    found = refusal(tmp_path, [row(reference="theirs")], lines)
    assert "figures.csv, line 3: result: " in found
    assert "figures.csv, line 5: value: " in found


def test_the_suffix_may_be_written_in_capitals(tmp_path):
    load(tmp_path, [row(reference="theirs")])
    capital = (tmp_path / "figures.csv").rename(tmp_path / "FIGURES.CSV")
    assert figures(load(tmp_path, [row(reference="theirs")], (), catalog=[str(capital)]))["map_hard"][0] == 50


def test_an_inline_figure_says_something(tmp_path):
    """It would hide the one of the file."""
    inline = {"dataset": "images", "metric": "map_hard", "source": "nowhere"}
    found = refusal(tmp_path, [row(reference="theirs", reference_results=[inline])])
    assert "has neither `paper` nor `released`" in found
