"""The documentation as a site: it builds without a warning, its links lead somewhere, nothing comes from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


class Page(HTMLParser):
    """Links of a page, what it loads by itself, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {"", "__top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") == "stylesheet":
            self.loaded.append(values["href"])


@pytest.fixture(scope="module")
def site(project, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=project,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_of_the_documentation_is_in_it(project, site, pages) -> None:
    wanted = {path.relative_to(project / "docs").with_suffix(".html") for path in (project / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in pages} == {*wanted, Path("config.html"), Path("changelog.html")}


def test_links_lead_somewhere(pages) -> None:
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = path.parent / unquote(parts.path) if parts.path else path
            target = (target / "index.html" if target.is_dir() else target).resolve()
            if not target.is_file() or (target.suffix == ".html" and parts.fragment not in pages[target].anchors):
                wrong.append(f"{path.name}: {link}")
    assert not wrong


def test_nothing_is_loaded_from_elsewhere(pages) -> None:
    assert [link for page in pages.values() for link in page.loaded if re.match(r"(?:[a-z]+:)?//", link)] == []


def test_files_outside_the_folder_are_copied(project, site) -> None:
    copied = [path.relative_to(site / "files") for path in (site / "files").rglob("*") if path.is_file()]
    assert copied
    for path in copied:
        assert (site / "files" / path).read_bytes() == (project / path).read_bytes()
