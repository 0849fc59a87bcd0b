"""Pages that the project cites exist, and so do the sections, links and names on them.

A section is cited as ``docs/protocols/<page>.md, <heading>``. Behind the heading comes a sign that ends it, or ``to``
and a later one.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("benchmarks", "config", "docs", "envs", "examples", "profiles", "requirements", "src", "tests", "workflow")
KINDS = {".c", ".cfg", ".cpp", ".h", ".md", ".py", ".pyx", ".rst", ".sh", ".smk", ".toml", ".txt", ".yaml", ".yml"}
PLAIN = ("Makefile", "Snakefile")
# This file has citations that lead nowhere; what that of the site names is checked when the site is built.
OTHERS = (Path(__file__).name, "mkdocs.yml")
# Not a page: what stands in quotes by itself (a file that code writes), a path with placeholders, an address.
CITED = re.compile(r"(?<![\w./<>{}*\"':-])(?!results/)((?:\.\./)*(?:[\w.-]+/)*[\w-]+\.md)\b")
SECTION = re.compile(r"docs/protocols/([\w-]+\.md), (.{0,100})")
ENDS = re.compile(r"[).;:,\"'`]|$| to ")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([\w./-]+\.(?:py|pyx|h|cpp))(?:::([\w.]+))?`")


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file of the project that people write, with its text."""
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*"))]
    for path in [*sorted(root.iterdir()), *found]:
        if path.is_file() and path.name not in OTHERS and (path.suffix in KINDS or path.name in PLAIN):
            yield path, path.read_text(encoding="utf-8")


def pages(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def in_one_line(text: str) -> str:
    """Text without its ends of lines and the signs of comments behind them."""
    return re.sub(r"\s*\n\s*(?:(?:#|\*|//)+ )?\s*", " ", text)


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+?)\s*$", page.read_text(encoding="utf-8"), re.M) if page.is_file() else []


def anchor(heading: str) -> str:
    """What a link to a heading ends in."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def missing_pages(root: Path) -> list[str]:
    """Citations of pages that are neither below the root nor beside the file that cites them."""
    return [
        f"{path.relative_to(root)}: {name}"
        for path, text in texts(root)
        for name in CITED.findall(text)
        if not ((root / name).is_file() or (path.parent / name).is_file())
    ]


def missing_sections(root: Path) -> list[str]:
    """Citations of headings that are not on their page."""
    wrong = []
    for path, text in texts(root):
        for name, rest in SECTION.findall(in_one_line(text)):
            known = [title for title in headings(root / "docs/protocols" / name) if rest.startswith(title)]
            if not any(ENDS.match(rest[len(title) :]) for title in known):
                wrong.append(f"{path.relative_to(root)}: {name}, {rest[:40]}")
    return wrong


def broken_links(root: Path) -> list[str]:
    """Relative links to files, or to headings of pages, that are not there."""
    wrong = []
    for page in pages(root):
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            name, _, place = link.partition("#")
            if re.match(r"[a-z]+:", name):
                continue
            target = page.parent / name if name else page
            if not target.exists() or (place and place not in map(anchor, headings(target))):
                wrong.append(f"{page.relative_to(root)}: {link}")
    return wrong


def missing_names(root: Path) -> list[str]:
    """Files of the code, and names in them, that the pages of protocols point to but that are not there."""
    wrong = []
    for page in sorted((root / "docs/protocols").glob("*.md")):
        for name, inside in CODE.findall(page.read_text(encoding="utf-8")):
            files = [file for file in (root / "src/descbench" / name, root / name) if file.is_file()]
            text = files[0].read_text(encoding="utf-8") if files else ""
            parts = [part for part in inside.split(".") if part]
            made = (rf"(?:def |class |^){part}\b|\bvoid {part}\(" for part in parts)
            if not files or not all(re.search(pattern, text, re.M) for pattern in made):
                wrong.append(f"{page.relative_to(root)}: {name}::{inside}")
    return wrong


@pytest.mark.parametrize("check", [missing_pages, missing_sections, broken_links, missing_names])
def test_the_project(project: Path, check) -> None:
    assert len(list((project / "docs/protocols").glob("*.md"))) >= 8
    assert check(project) == []


# --- the checks themselves ---------------------------------------------------------------------


def small_project(root: Path, **files: str) -> Path:
    """A page of protocols, and files by their path with __ for a slash and _ for the suffix."""
    for name, text in {"docs__protocols__one_md": "# One\n\n## Two words\n\n## Two\n", **files}.items():
        place, _, suffix = name.replace("__", "/").rpartition("_")
        path = root / f"{place}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("PAGE", "docs/protocols/one.md"), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "text",
    [
        '"""Definition: PAGE, Two words."""',
        '"""Definition (PAGE,\n    Two\n    words)."""',
        "# As PAGE, Two\n# words to Two has it.",
        '"""See PAGE and docs/protocols/one.md; PAGE, Two."""',
        'write(folder / "t.md", "results/mine.md", f"{name}.md")  # results/mine.md of https://a.org/b/README.md',
    ],
)
def test_good_citations(tmp_path: Path, text: str) -> None:
    root = small_project(tmp_path, src__a_py=text)
    assert missing_pages(root) == missing_sections(root) == []


@pytest.mark.parametrize(
    ("text", "pages_missing", "sections_missing"),
    [
        ('"""Definition: how.md, section 5."""', 1, 0),
        ('"""Definition: ``how.md`` and docs/how.md."""', 2, 0),
        ('"""Definition: PAGE, Three."""', 0, 1),
        ('"""Definition: PAGE, Two wordss."""', 0, 1),
        ('"""Definition: PAGE,\n    section 2."""', 0, 1),
        ("# docs/protocols/none.md, Two", 1, 1),
    ],
)
def test_bad_citations(tmp_path: Path, text: str, pages_missing: int, sections_missing: int) -> None:
    root = small_project(tmp_path, workflow__rules__a_smk=text)
    assert len(missing_pages(root)) == pages_missing
    assert len(missing_sections(root)) == sections_missing


def test_links(tmp_path: Path) -> None:
    good = "[a](protocols/one.md) [b](protocols/one.md#two-words) [c](#d) [e](https://a.org/x)\n\n# D\n"
    root = small_project(tmp_path, README_md="[a](docs/a.md)\n", docs__a_md=good)
    assert broken_links(root) == []
    small_project(root, docs__b_md="[a](one.md) [b](protocols/one.md#three) [c](#none)\n")
    assert [line.split(": ")[1] for line in broken_links(root)] == ["one.md", "protocols/one.md#three", "#none"]


def test_names(tmp_path: Path) -> None:
    code = "LIMIT = 1\n\nclass Thing:\n    def do(self): ...\n"
    page = "# Two\n\n`a/b.py::Thing.do` `a/b.py::LIMIT` `a/b.py` `a/c.py` `a/b.py::thing` `a/b.py::Thing.make`\n"
    root = small_project(tmp_path, src__descbench__a__b_py=code, docs__protocols__two_md=page)
    assert [line.split(": ")[1] for line in missing_names(root)] == ["a/c.py::", "a/b.py::thing", "a/b.py::Thing.make"]
