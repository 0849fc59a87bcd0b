"""Web pages that come where a file was expected; among them the confirmation page of Google Drive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

_BEGINNINGS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<script")


def looks_like_html(first: bytes, content_type: str) -> bool:
    """Whether the first bytes of an answer are a web page; the type a server states is not enough alone."""
    start = first[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith(_BEGINNINGS) or (start.startswith(b"<") and "html" in content_type.lower())


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
    form = _DownloadForm()
    form.feed(page)
    if form.action is not None:
        return _with_query(urljoin(url, form.action), form.fields)
    for name, value in cookies.items():
        if name.startswith("download_warning"):
            return _with_query(url, {"confirm": value})
    return None


def page_title(page: str) -> str:
    """Title of a page in quotes, for a message."""
    found = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    title = " ".join(found[1].split()) if found else ""
    return f'"{title[:80]}"' if title else "without a title"


class _DownloadForm(HTMLParser):
    """Collects the action and the hidden fields of the form ``download-form``."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and values.get("id") == "download-form":
            self.action, self._inside = values.get("action", ""), True
        elif tag == "input" and self._inside and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def _with_query(url: str, fields: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | dict(fields)
    return urlunsplit(parts._replace(query=urlencode(query)))
