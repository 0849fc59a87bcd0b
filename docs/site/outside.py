"""A hook of MkDocs: files of the project that the documentation links to, but that lie outside its folder.

Two of them are pages of the site, under names of their own; all others are copied as they are, below ``files/``.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

# File of the project -> page of the site.
PAGES = {"config/README.md": "config.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages from outside, and every other file that a page links to."""
    root = Path(config.config_file_path).parent
    for path, page in PAGES.items():
        text = (root / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_relinked(text, posixpath.dirname(path), "")))
    for page in list(files.documentation_pages()):
        for link in _LINK.findall(page.content_string):
            path = _outside(link, posixpath.join("docs", posixpath.dirname(page.src_uri)))
            if path and path not in PAGES and files.get_file_from_path(f"files/{path}") is None:
                files.append(File.generated(config, f"files/{path}", abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The text of a page, whose links to files outside lead to their places in the site."""
    here = posixpath.dirname(page.file.src_uri)
    return markdown if page.file.src_uri in PAGES.values() else _relinked(markdown, posixpath.join("docs", here), here)


def _relinked(text: str, folder: str, here: str) -> str:
    """A text of a folder of the project, as a page of a folder of the site."""

    def place(found: re.Match[str]) -> str:
        link = found[1]
        path = _outside(link, folder)
        if path is None:
            inside = posixpath.normpath(posixpath.join(folder, link))
            return posixpath.relpath(inside, posixpath.join("docs", here)) if inside.startswith("docs/") else link
        return posixpath.relpath(PAGES.get(path, f"files/{path}"), here or ".")

    return _LINK.sub(place, text)


def _outside(link: str, folder: str) -> str | None:
    """A relative link of a page in a folder, as a path from the project's root, if it leads out of docs/."""
    if re.match(r"[a-z]+:", link):
        return None
    path = posixpath.normpath(posixpath.join(folder, link))
    return None if path.startswith("docs/") else path
