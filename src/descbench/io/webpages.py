"""What comes where a file was expected: web pages (among them the question of Google Drive) and git-lfs pointers."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

# So many bytes of a file tell what it is.
HEAD = 2048
_BEGINNINGS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<script")
_PREAMBLES = (b"<?xml", b"<!--", b"<!doctype")
_POINTER = b"version https://git-lfs.github.com/spec/"
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# Every expression below stops at the next `<`, so that no page takes more than one walk through it.
_TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.IGNORECASE)
_TAG = re.compile(r"<(/?)(form|input)\b([^<>]{0,4000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?<![\w-])([\w-]+)\s?=\s?(?:"([^"<>]*)"|'([^'<>]*)')""")


def looks_like_html(first: bytes, content_type: str = "") -> bool:
    """Whether the first bytes of a file are a web page; the type a server states is not enough alone."""
    start = page_text(first[:HEAD]).encode().lstrip().lower()
    if start.startswith(_BEGINNINGS) or (start.startswith(b"<") and "html" in content_type.lower()):
        return True
    return start.startswith(_PREAMBLES) and b"<html" in start


def stand_in(first: bytes, content_type: str = "", page_wanted: bool = False) -> str | None:
    """What the beginning of a file says it is, where it is not a file at all but stands in for one.

    Args:
        first: its first bytes, up to :data:`HEAD` of them.
        content_type: as a server stated it.
        page_wanted: whether a web page is what was asked for.

    Returns:
        ``a web page ("Moved")`` or ``a git-lfs pointer ...``; None for anything else.
    """
    if first.startswith(_POINTER):
        return "a git-lfs pointer, a small text that only names the file"
    if not page_wanted and looks_like_html(first, content_type):
        return f"a web page ({page_title(page_text(first))})"
    return None


def page_text(page: bytes) -> str:
    """The text of a page, in whatever encoding its first bytes announce."""
    encoding = _UTF16.get(page[:2])
    return page[2:].decode(encoding, "replace") if encoding else page.decode("utf-8-sig", "replace")


def page_title(page: str) -> str:
    """Title of a page in quotes, for a message."""
    found = _TITLE.search(page)
    title = printable(html.unescape(found[1][:1000]) if found else "")
    return f'"{title}"' if title else "without a title"


def printable(text: str, longest: int = 80) -> str:
    """Untrusted text, fit for one line of a terminal."""
    shown = " ".join("".join(char if char.isprintable() else " " for char in text[: 10 * longest]).split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


# --- Google Drive ------------------------------------------------------------------------------


def direct_address(url: str) -> str:
    """Turn a share link of Google Drive (``/file/d/ID/view``, ``open?id=ID``) into a download address."""
    parts = urlsplit(url)
    if parts.hostname not in ("drive.google.com", "docs.google.com"):
        return url
    named = re.match(r"/file/d/([\w-]+)", parts.path)
    identity = named[1] if named else parse_qs(parts.query).get("id", [None])[0]
    return f"https://drive.google.com/uc?export=download&id={identity}" if identity else url


def confirmed_address(page: str, url: str, cookies: Mapping[str, str]) -> str | None:
    """Where the "cannot be scanned for viruses, download anyway" page of Google Drive leads.

    Args:
        page: text of the page.
        url: address the page came from.
        cookies: cookies it set; older pages carry the token there.

    Returns:
        The address that gives the file, or None for any other page.
    """
    action: str | None = None
    inside, fields = False, {}
    for closing, tag, text in _TAG.findall(page):
        values = {name.lower(): html.unescape(one or other) for name, one, other in _ATTRIBUTE.findall(text)}
        if tag.lower() == "form":
            inside = not closing and action is None and values.get("id") == "download-form"
            action = values.get("action", "") if inside else action
        elif inside and values.get("name"):
            fields[values["name"]] = values.get("value", "")
    if action is not None:
        return _with_query(urljoin(url, action), fields)
    for name, value in cookies.items():
        if name.startswith("download_warning"):
            return _with_query(url, {"confirm": value})
    return None


def _with_query(url: str, fields: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | dict(fields)
    return urlunsplit(parts._replace(query=urlencode(query)))
