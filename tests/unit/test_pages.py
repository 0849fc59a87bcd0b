"""Pages: what a value holds stays text, and the same input gives the same bytes wherever it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from scores_files import write_told
from setuptools import Distribution

from descbench.config.tables import Table
from descbench.io.csvfiles import write_csv
from descbench.tables.curves import learning_curve
from descbench.tables.pages import TEMPLATES, write_page
from descbench.tables.report import build_report

HISTORY = [(1, 0.9, "", 1), (2, 0.5, 0.3, 1), (3, 0.4, 0.2, 0)]
COLUMNS = [
    {"dataset": "town", "metric": "map_medium", "label": "Town (M)"},
    {"dataset": "far", "metric": "map_medium", "label": "Far (M)", "on_demand": True},
]
SOURCE = "README of the code, https://example.org/code (Table 1)"
FIGURES = [
    {"dataset": "town", "metric": "map_medium", "paper": 70.0, "released": 75.1, "source": SOURCE},
    {"dataset": "far", "metric": "map_medium", "paper": 60.0, "source": SOURCE},
]
ROWS = [{"label": "ours", "method": "m", "reference_results": FIGURES}]


class Elements(HTMLParser):
    """Start tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.found if attribute in attributes]


def report(folder: Path, models: tuple[str, ...] = (), **block) -> str:
    table = Table.model_validate({"title": "A table", "columns": COLUMNS, "rows": ROWS, **block})
    scores = write_told(folder / "scores.json", {"map_medium": 0.7549}, cell="m on town")
    write_csv(folder / "history.csv", ("epoch", "train_loss", "score", "best"), HISTORY)
    histories = dict.fromkeys(models, folder / "history.csv")
    build_report({"t": table}, {("m", "town"): scores}, histories, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    '<a href="javascript:alert(1)">a</a>',
    'https://example.org/"onmouseover="alert(1)',
    "</style></table></svg><script>alert(1)</script>",
    "{{ 7 * 191 }} {% raw %}",
    "$x$ $\\frac{1}{2}$ --> #1c2430",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_labels_come_out_as_text(tmp_path, text):
    """In titles, notes, labels of rows and columns, sources and names of models: no element, attribute or address."""
    figure = {**FIGURES[0], "source": text}
    rows = [{"label": text, "method": "m", "reference_results": [figure]}]
    page = report(tmp_path, (text,), title=text, note=text, columns=[{**COLUMNS[0], "label": text}], rows=rows)
    elements, plain = Elements(page), Elements(report(tmp_path, ("how",)))
    assert {tag for tag, _ in elements.found} <= {tag for tag, _ in plain.found}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert all(re.match(r"#|https://example\.org/", address) for address in elements.values("href"))
    assert "1337" not in page
    seen: list[str] = []
    reader = HTMLParser()
    reader.handle_data = seen.append
    reader.feed(page)
    assert "".join(seen).count(text) >= 5


def test_the_report_stands_alone_and_leads_somewhere(tmp_path):
    page = report(tmp_path, ("how", "fire"))
    elements = Elements(page)
    assert not elements.values("src")
    assert not re.search(r"@import|url\((?!#)", page)
    assert "prefers-color-scheme: dark" in page
    ids = elements.values("id")
    assert len(set(ids)) == len(ids)
    assert {"t", "training-how", "training-fire"} <= set(ids)
    addresses = elements.values("href")
    assert {"#t", "#training-how", "#training-fire"} <= set(addresses)
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(ids)
    assert all(clip[5:-1] in ids for clip in elements.values("clip-path"))
    assert '<table id="t">' in page


def test_published_figures_say_whether_they_are_measured_here(tmp_path):
    page = report(tmp_path)
    ours, far = re.findall(r"<td>.*?</td>", page, re.S)
    assert "75.5 <span" in ours
    assert re.search(r'released <span class="reference">75\.1</span>, paper <span class="reference">70\.0</span>', ours)
    assert '<strong class="match">match</strong>' in ours
    assert "–" in far
    assert re.search(r'paper <span class="reference">60\.0</span>.*not measured here', far, re.S)
    assert "1 of 2 published figures are measured here." in page
    assert ours.count('<a href="#t-source-1">1</a>') == far.count('<a href="#t-source-1">1</a>') == 1
    assert re.search(r'<li id="t-source-1">README of the code, <a href="https://example.org/code"[^>]*>', page)


def test_drawn_tables_speak_of_nothing_published(tmp_path):
    page = report(tmp_path, synthetic=True, rows=[{"label": "ours", "method": "m"}])
    assert "published figures were" not in page.lower()
    assert "within noise" not in page.partition("<body>")[2]


def test_a_value_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(UndefinedError, match="curves"):
        write_page(tmp_path / "page.html", "report.html.jinja", title="t", tables=[], chance="c")
    assert not (tmp_path / "page.html").exists()


DRAW = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
from descbench.tables.curves import learning_curve
print(learning_curve("how", Path(sys.argv[1])).drawing)
"""


def test_drawings_are_the_same_bytes_wherever_they_are_made(tmp_path):
    """Whatever Matplotlib's settings of the user say, and without a home folder; nothing of it is in the log."""
    write_csv(tmp_path / "history.csv", ("epoch", "train_loss", "score", "best"), HISTORY)
    here = str(learning_curve("how", tmp_path / "history.csv").drawing)
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nfont.size: 30\ntext.usetex: true\nno.such: 1\n")
    (tmp_path / "file").touch()
    places = {
        "matplotlibrc": {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")},
        "no home": {"HOME": str(tmp_path / "file")},
    }
    for place, changes in places.items():
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MPL", "XDG"))}
        command = [sys.executable, "-c", DRAW, str(tmp_path / "history.csv")]
        done = subprocess.run(command, env={**kept, **changes}, capture_output=True, text=True, check=True)
        assert done.stdout.rstrip("\n") == here, place
        assert done.stderr == "", place


def test_a_plan_is_made_without_what_only_pages_need():
    """Every job of a cluster reads the Snakefile again."""
    workflow = Path(__file__).parents[2] / "workflow"
    texts = "\n".join(path.read_text() for path in (workflow / "Snakefile", *sorted(workflow.glob("rules/*.smk"))))
    imports = "\n".join(re.findall(r"^from descbench\S* import (?:\([^)]*\)|.*)$", texts, re.M))
    assert "descbench.config.load" in imports
    code = f"import sys\n{imports}\nprint([m for m in ('jinja2', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_wheel_holds_every_template(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    distribution = Distribution({"name": "descbench", "package_dir": {"": "src"}, "packages": ["descbench.tables"]})
    distribution.parse_config_files(["pyproject.toml"])
    distribution.include_package_data = False
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {file for package, _, _, files in build.data_files if package == "descbench.tables" for file in files}
    assert packed == {f"templates/{path.name}" for path in TEMPLATES.iterdir()}
