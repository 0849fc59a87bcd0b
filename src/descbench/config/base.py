"""What all sections of the configuration share."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from descbench.listing import listed

# Names that a message shows of many.
_SHOWN = 10
# Control characters would end a line of a log or of a table, or hide what a name is.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Path of a key, and what is wrong there.
Problem = tuple[tuple[Any, ...], str]
HOW_SCALES = (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)


class Strict(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, values: Any) -> Any:
        """Pydantic would read true as 1."""
        for key, value in values.items() if isinstance(values, dict) else ():
            kinds = _kinds(cls.model_fields[key].annotation) if key in cls.model_fields else set()
            if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
                raise ValueError(f"`{key}` is a number, not {str(value).lower()}")
        return values


def _kinds(annotation: Any) -> set[Any]:
    """All types that a value may have."""
    parts = [] if get_origin(annotation) is Literal else get_args(annotation)
    return {annotation}.union(*map(_kinds, parts))


class Block(Strict):
    """Base of what stands under a name in a section."""

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Yield ``(path below the block, message)`` for what does not fit the other blocks of a configuration.

        Args:
            name: of this block.
            config: the :class:`descbench.config.models.Config`, in which all names lead somewhere.
        """
        yield from ()


@dataclass(frozen=True)
class Effect:
    """Mark of a key that does not decide a result as other keys do: ``Annotated[int, SPEED] = Field(...)``."""

    name: str


SPEED = Effect("how fast a result comes, nothing else")
ENDING = Effect("when a training ends and which of its epochs are validated and kept, not what an epoch gives")
NOTE = Effect("what a reader is told, nothing else")
SCORING = Effect("how descriptors are compared, not what they are")
CHECK = Effect("what is refused, not what a result is")


def decisive(block: BaseModel, *without: Effect) -> dict[str, Any]:
    """A block as plain values, without its keys, and those of the blocks in it, that have such an effect.

    What results are compared by (digests, the parameters of rules) is made of this, so that a key that decides
    nothing makes nothing anew.
    """
    values = block.model_dump(mode="json")
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if any(effect in field.metadata for effect in without):
            del values[name]
        elif isinstance(value, BaseModel):
            values[name] = decisive(value, *without)
    return values


@dataclass(frozen=True)
class Section:
    """Mark of a name that leads to a block of that section, or of one of several: ``Annotated[Name, Section(...)]``."""

    names: tuple[str, ...]


def names_used(block: BaseModel, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], tuple[str, ...], str]]:
    """Yield ``(path, sections, name)`` for every name of another block in a block, and in the blocks in it."""
    for key, field in type(block).model_fields.items():
        yield from _names_in(getattr(block, key), Annotated[field.annotation, None, *field.metadata], (*path, key))


def _names_in(value: Any, kind: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], tuple[str, ...], str]]:
    if isinstance(value, BaseModel):
        yield from names_used(value, path)
        return
    origin, parts = get_origin(kind), get_args(kind)
    if value is None or not parts:
        return
    if origin is Annotated:
        sections = next((mark.names for mark in parts if isinstance(mark, Section)), None)
        yield from _names_in(value, parts[0], path) if sections is None else [(path, sections, value)]
    elif origin is tuple:
        for number, item in enumerate(value):
            yield from _names_in(item, parts[0], (*path, number))
    elif origin is dict:
        for key, item in value.items():
            yield from _names_in(key, parts[0], path)
            yield from _names_in(item, parts[1], (*path, key))
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _names_in(value, part, path)


def left_out(*keys: str) -> ConfigDict:
    """Keys that files may leave out, because :mod:`descbench.config.derive` knows them: not required by the schema."""

    def not_required(schema: dict[str, Any]) -> None:
        schema["required"] = [key for key in schema["required"] if key not in keys]

    return ConfigDict(json_schema_extra=not_required)


@dataclass(frozen=True)
class Metrics:
    """What the scores on a dataset or patch set hold.

    Attributes:
        names: keys of the scores; none: there is nothing to score with.
        why: what the protocol is, or why there are none.
    """

    names: tuple[str, ...] = ()
    why: str = "it has no ground truth"


def close_names(name: str, known: Iterable[str]) -> str:
    """What may have been meant by a name that leads nowhere: close names, names that hold it, or known ones."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3)
    if not close and len(known) > _SHOWN:
        close = [key for key in known if name and name.lower() in key.lower()]
    return f"close names: {first_names(close)}" if close else f"known: {first_names(known) or 'none'}"


def first_names(names: Sequence[str]) -> str:
    """Names in a row, those with blanks in quotes; of many, the first ones and how many more there are."""
    hint = " (`descbench list` shows datasets, methods and models)" if len(names) > _SHOWN else ""
    return listed(names, _SHOWN) + hint


def _parse_count(value: Any) -> Any:
    """Read "64k" as 65536 and "1M" as 1048576, as the original asmk package does."""
    units = {"k": 1024, "M": 1024**2}
    if isinstance(value, str) and value[-1:] in units and re.fullmatch("[0-9]{1,9}", value[:-1]):
        return int(value[:-1]) * units[value[-1]]
    return value


def _one_line(text: str) -> str:
    if found := _CONTROL.search(text):
        raise ValueError(f"holds the control character {found[0]!r}; it must be one line of plain text")
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _plain_text(text: str) -> str:
    if found := _CONTROL_IN_TEXT.search(text):
        raise ValueError(f"holds the control character {found[0]!r}; it must be plain text")
    return text


def _not_blank(path: Any) -> Any:
    """An empty text would be read as the folder one is in."""
    if isinstance(path, str) and not path.strip():
        raise ValueError("must not be empty")
    return path


def _user_path(path: Path) -> Path:
    """A path of the user's, with ``~`` as the shell has it."""
    _one_line(str(path))
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"`~` leads nowhere: {error}") from None


def _workflow_path(path: Path) -> Path:
    if "{" in str(path) or "}" in str(path):
        raise ValueError("must not hold { or }, which mark wildcards in Snakemake's paths")
    return path


def _inside(path: str) -> str:
    """A path below a folder of the project's, in normal form."""
    _one_line(path)
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        raise ValueError(
            "must be a path inside that folder (of datasets: <data_dir>/datasets, where a link may lead elsewhere): "
            "without a leading / or ~, and without .."
        )
    return posixpath.normpath(path)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [value for position, value in enumerate(values) if value in values[:position]]
    if twice:
        raise ValueError(f"{twice[0]!r} is written twice")
    return values


Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=100, description="A name used in file names.")
]
SourceName = Annotated[Name, Section(("sources",))]
DatasetName = Annotated[Name, Section(("datasets",))]
ModelName = Annotated[Name, Section(("models",))]
TrainingName = Annotated[Name, Section(("training",))]
FeaturesName = Annotated[Name, Section(("features",))]
PatchSetName = Annotated[Name, Section(("patch_sets",))]
ReferenceName = Annotated[Name, Section(("references",))]
# What methods are scored on: images, or patches.
ScoredName = Annotated[Name, Section(("datasets", "patch_sets"))]
MethodName = Annotated[Name, Section(("methods",))]
Label = Annotated[str, Field(max_length=1000), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=100_000), AfterValidator(_plain_text)]
# What images are there for; ids count from 0 within each role. `map` images have poses that queries are located by.
Role = Literal["query", "database", "train", "val", "map"]
ROLES: tuple[Role, ...] = get_args(Role)
Count = Annotated[int, BeforeValidator(_parse_count), Field(gt=0, le=2**24)]
# numpy takes no other seeds.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
ImageSize = Annotated[int, Field(ge=8, le=100_000)]
Scale = Annotated[float, Field(ge=0.01, le=16)]
Scales = Annotated[tuple[Scale, ...], Field(min_length=1, max_length=64), AfterValidator(_distinct)]
Several = Annotated[int, Field(gt=0, le=2**31 - 1)]
UserPath = Annotated[Path, BeforeValidator(_not_blank), AfterValidator(_user_path)]
WorkflowPath = Annotated[UserPath, AfterValidator(_workflow_path)]
Below = Annotated[str, Field(max_length=1000), AfterValidator(_inside)]
Names = Annotated[tuple[Name, ...], AfterValidator(_distinct)]
SourceNames = Annotated[tuple[SourceName, ...], AfterValidator(_distinct)]
