"""Pages: the templates in ``templates/``, filled by Jinja2, which escapes every value that comes into them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from descbench.io.atomic import write_text

# What a page shows of a query.
Query = TypeVar("Query")
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Script:
    """A script of a page, and what the page's Content-Security-Policy lets run: this text and no other."""

    text: Markup
    allowed: str


def read_script(name: str) -> Script:
    """A script in ``templates/``, which is ours and so stands in the page as it is; templates ask for it by name."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"sha256-{digest}")


def write_page(output: Path, template: str, **values: Any) -> None:
    """Write a page that needs no other file.

    What is no :class:`markupsafe.Markup` is shown as text: no label, path or note of the configuration becomes an
    element, an attribute or an address of the page.

    Args:
        output: the page (HTML).
        template: name of a file in ``templates/``.
        values: what it shows; one that it names and that is missing is an error.
    """
    page = _environment().get_template(template).render(values)
    # Names of files may hold bytes that are not text.
    write_text(output, page.encode("utf-8", "backslashreplace").decode())


@dataclass(frozen=True)
class ShownGroup(Generic[Query]):
    """Queries under one heading of a page."""

    heading: str
    queries: tuple[Query, ...]


def choose_queries(values: np.ndarray, each: int) -> dict[str, list[int]]:
    """Positions of the worst, the median and the best values (n,), each once; NaN does not count."""
    order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
    worst = order[:each]
    best = order[len(worst) :][::-1][:each]
    left = order[len(worst) : len(order) - len(best)]
    start = max((len(left) - each) // 2, 0)
    found = {"The worst queries": worst, "Median queries": left[start : start + each], "The best queries": best}
    return {heading: chosen.tolist() for heading, chosen in found.items()}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["read_script"] = read_script
    return environment
