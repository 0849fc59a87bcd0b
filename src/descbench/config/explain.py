"""Errors of pydantic as sentences: which key, what is wrong with it, what is allowed there."""

from __future__ import annotations

import datetime
import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Tag

from descbench.config.base import Problem
from descbench.config.methods import KINDS, RETRIEVAL
from descbench.config.models import Config

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def explain(detail: Mapping[str, Any], merged: Mapping[str, Any]) -> Problem:
    """A pydantic error as (path, message); the tags pydantic puts into the path of a union are dropped.

    Args:
        detail: an item of ``ValidationError.errors()``.
        merged: what was validated.
    """
    path, context = _real_path(detail["loc"], merged, detail["type"] == "missing"), detail.get("ctx", {})
    tag_key = context.get("discriminator", "").strip("'")
    match detail["type"]:
        case "extra_forbidden":
            allowed = _allowed_keys(detail["loc"][:-1])
            return path, f"unknown key{_close(path[-1], allowed)}; allowed here: {', '.join(allowed)}"
        case "missing":
            return path, "this key is required"
        case "union_tag_not_found":
            keys = KINDS if detail["loc"][-1] == RETRIEVAL else (tag_key,)
            for given in detail["input"] if isinstance(detail["input"], Mapping) else ():
                if hint := _close(given, keys):
                    return (*path, given), f"unknown key{hint}"
            named = f"one of the keys {', '.join(keys)}" if len(keys) > 1 else f"key {tag_key}"
            return path, f"{named} is required: it says what kind of block this is"
        case "union_tag_invalid":
            hint = _close(context["tag"], [tag.strip("' ") for tag in context["expected_tags"].split(",")])
            tag = _SHORT.repr(context["tag"])
            return path, f"{tag_key} is {tag}{hint}, allowed: {context['expected_tags']}"
        case "value_error":
            found = detail["input"]
            given = "" if isinstance(found, Mapping | BaseModel | list | tuple) else f", not {_SHORT.repr(found)}"
            return path, f"{context['error']}{given}"
        case "string_pattern_mismatch" if detail["loc"][-1] == "[key]":
            rule = "must begin with a letter or digit and hold only letters, digits, _ . + and -"
            return path, f"a name {rule}"
    if detail["input"] is None:
        return path, f"{detail['msg']}, but it is empty (null)"
    return path, f"{detail['msg']}, not {_SHORT.repr(detail['input'])}{_quotes(detail)}"


def _close(name: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _quotes(detail: Mapping[str, Any]) -> str:
    """Where YAML made something else of what was meant as text."""
    if detail["type"] != "string_type" or not isinstance(detail["input"], bool | int | float | datetime.date):
        return ""
    return " (YAML reads yes, no, on, off, numbers and dates as such: put text in quotes)"


def _real_path(location: Sequence[Any], merged: Any, missing: bool) -> tuple[Any, ...]:
    """The keys of a location that are there, and, of a missing key, the key."""
    path: list[Any] = []
    current = merged
    for key in location:
        if (isinstance(current, Mapping) and key in current) or is_index(current, key):
            current = current[key]
            path.append(key)
    return (*path, location[-1]) if missing else tuple(path)


def is_index(content: Any, key: Any) -> bool:
    """Whether a list has an item at ``key``."""
    return isinstance(content, list | tuple) and isinstance(key, int) and key < len(content)


def _allowed_keys(location: Sequence[Any]) -> list[str]:
    """Field names of the model that sits at a pydantic location, which names the tag of each union it goes through."""
    found = [Config]
    for key in location:
        found = [below for annotation in found for below in _step(annotation, key)]
    models = [leaf for annotation in found for leaf in _models(annotation)]
    return sorted({name for model in models for name in model.model_fields})


def _step(annotation: Any, key: Any) -> Iterator[Any]:
    """Annotations below one key (a field, the key of a mapping, an index, the tag of a union)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if key in annotation.model_fields:
            yield annotation.model_fields[key].annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _step(arguments[0], key)
    elif origin is dict:
        yield arguments[1]
    elif origin in (tuple, list):
        yield arguments[0]
    elif families := [member for member in arguments if _has_tag(member, key)]:
        yield from families
    else:  # a union: its member with that tag, or, where the location passes over it, all members
        members = [member for argument in arguments for member in _members(argument)]
        tagged = [member for member in members if key in _tags(member)]
        if tagged:
            yield from tagged
        else:
            yield from (below for member in members for below in _step(member, key))


def _has_tag(annotation: Any, key: Any) -> bool:
    """Whether a member of a union is marked with a tag of its own."""
    return any(isinstance(mark, Tag) and mark.tag == key for mark in get_args(annotation))


def _members(annotation: Any) -> list[Any]:
    """The members of a union inside Annotated, or the annotation itself."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _members(arguments[0])
    if origin in (dict, tuple, list) or not arguments:
        return [annotation]
    return [member for argument in arguments for member in _members(argument)]


def _tags(model: Any) -> set[Any]:
    fields = getattr(model, "model_fields", {}).values()
    return {tag for f in fields if get_origin(f.annotation) is Literal for tag in get_args(f.annotation)}


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
