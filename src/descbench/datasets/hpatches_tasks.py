"""Splits and task lists of HPatches as they are published, and the lists made anew where they are absent.

Definition: docs/protocols/hpatches_patches.md, Splits and tasks. Lists are drawn by NumPy's legacy generator in the
order of the original generators, so that they are equal to the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.io.kinds import shorten
from descbench.io.texts import parse_json, read_text

PAIRS_HEADER, LIST_HEADER = "s1,t1,idx1,s2,t2,idx2", "s,idx"
PAIRS, QUERIES, DISTRACTORS = 1_000_000, 10_000, 20_000
_SEED = 42
_DRAWN_IMAGES = 5  # 0 to 4: image 5 is in no list
_FLAT = 10.0  # standard deviation of grey values that a patch must exceed to be looked for
_NAME = r"[^,\r\n]{1,200}"
# One line of each list; possessive, so that a long list is matched without a way back.
_PAIR_LINE = rf"{_NAME},[0-5],[0-9]{{1,9}},{_NAME},[0-5],[0-9]{{1,9}}\r?\n"
_LIST_LINE = rf"{_NAME},[0-9]{{1,9}}\r?\n"


@dataclass(frozen=True)
class Split:
    """Sequences to test on and, in some splits, to train on; their order is that of the file, which lists rest on."""

    name: str
    test: tuple[str, ...]
    train: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """Patches of a list.

    Attributes:
        names: of sequences.
        sequences: (M,) int64 indices into ``names``.
        images: (M,) int64, 0 for the reference, k for ``e<k>``, ``h<k>``, ``t<k>``.
        patches: (M,) int64 from 0.
    """

    names: tuple[str, ...]
    sequences: np.ndarray
    images: np.ndarray
    patches: np.ndarray

    def __len__(self) -> int:
        return len(self.patches)


@dataclass(frozen=True)
class Verification:
    """Pairs of patches, as many of each kind: both patches of a pair in two lists with the same names.

    The first patches are the same in all three, as in the published lists.

    Attributes:
        positives: of one point.
        intra, inter: of two points, within a sequence or of any two.
    """

    positives: tuple[Listed, Listed]
    intra: tuple[Listed, Listed]
    inter: tuple[Listed, Listed]


@dataclass(frozen=True)
class Retrieval:
    """Reference patches that are looked for, and those that stand in the way."""

    queries: Listed
    distractors: Listed


def file_names(split: str) -> dict[str, str]:
    """Names of the published lists of a split, by what they hold."""
    kinds = {
        "positives": "verif_pos",
        "intra": "verif_neg_intra",
        "inter": "verif_neg_inter",
        "queries": "retr_queries",
        "distractors": "retr_distractors",
    }
    return {kind: f"{prefix}_split-{split}.csv" for kind, prefix in kinds.items()}


def read_splits(path: Path) -> dict[str, Split]:
    """Splits of ``splits.json`` by their names.

    Raises:
        DataError: the file is absent, or holds no splits.
    """
    text = _read(path)
    try:
        value = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON, or cut short ({shorten(error)}); fetch it again.") from None
    if not isinstance(value, dict) or not value:
        raise DataError(f"{path}: holds no splits by name; fetch it again.")
    return {name: _split(name, block, path) for name, block in value.items()}


def read_verification(folder: Path, split: Split, lengths: Mapping[str, int]) -> Verification:
    """The three lists of pairs of a split.

    Args:
        folder: that holds them under their published names.
        split: its test sequences are the only ones that may be listed.
        lengths: patches of each sequence.

    Raises:
        DataError: a list is absent, malformed or cut short, of another split, or of another length than the others.
    """
    names = file_names(split.name)
    lists = {kind: _read_pairs(folder / names[kind], split, lengths) for kind in ("positives", "intra", "inter")}
    for kind, (first, _) in lists.items():
        if len(first) != len(lists["positives"][0]):
            raise DataError(
                f"{folder / names[kind]}: {len(first)} pairs, but {names['positives']} has "
                f"{len(lists['positives'][0])}; fetch both again."
            )
        if not _same(first, lists["positives"][0]):
            raise DataError(
                f"{folder / names[kind]}: its first patches are not those of {names['positives']}; fetch both again."
            )
    return Verification(**lists)


def read_retrieval(folder: Path, split: Split, lengths: Mapping[str, int]) -> Retrieval:
    """Queries and distractors of a split; arguments and errors as in :func:`read_verification`."""
    names = file_names(split.name)
    found = {kind: _read_list(folder / names[kind], split, lengths) for kind in ("queries", "distractors")}
    return Retrieval(**found)


def draw_verification(split: Split, lengths: Mapping[str, int], count: int = PAIRS) -> Verification:
    """The lists of pairs as the original generator draws them; a million take about half a minute.

    Args:
        split: its test sequences are drawn from.
        lengths: patches of each sequence, at least 2.
        count: pairs of each kind.

    Raises:
        DataError: a sequence of the split is absent or has fewer than two patches.
    """
    sizes = _sizes(split, lengths, 2)
    random = np.random.RandomState(_SEED)
    first = random.choice(len(sizes), count)
    patches = np.array([random.permutation(size)[:2] for size in sizes[first].tolist()]).reshape(-1, 2)
    images = np.array([random.permutation(_DRAWN_IMAGES)[:2] for _ in range(count)]).reshape(-1, 2)
    second = random.choice(len(sizes), count)
    others = random.randint(0, sizes[second])
    start = Listed(split.test, first, images[:, 0], patches[:, 0])
    return Verification(
        positives=(start, Listed(split.test, first, images[:, 1], patches[:, 0])),
        intra=(start, Listed(split.test, first, images[:, 1], patches[:, 1])),
        inter=(start, Listed(split.test, second, images[:, 1], others)),
    )


def draw_retrieval(
    split: Split, contrasts: Mapping[str, np.ndarray], queries: int = QUERIES, distractors: int = DISTRACTORS
) -> Retrieval:
    """Queries and distractors as the original generator draws them.

    Args:
        split: its test sequences are drawn from.
        contrasts: of each sequence, the standard deviation of grey values of its reference patches (N,).
        queries, distractors: how many of each at most; there are fewer where patches run out.

    Raises:
        DataError: a sequence of the split is absent or empty, or no patch has contrast enough to be looked for.
    """
    sizes = _sizes(split, {name: len(values) for name, values in contrasts.items()}, 1)
    random = np.random.RandomState(_SEED)
    drawn = [_draw_patches(random, sizes, count) for count in (4 * queries, 10 * distractors)]
    keys = [_distinct(sequences, patches, split, contrasts) for sequences, patches in drawn]
    asked = keys[0][:queries]
    if not asked:
        raise DataError(
            f"split {split.name!r}: no reference patch has grey values of a standard deviation above {_FLAT:g}, so "
            "there is none to look for; see whether the strips are those of HPatches."
        )
    taken = set(asked)
    others = [key for key in keys[1] if key not in taken][:distractors]
    return Retrieval(_listed(split, asked), _listed(split, others))


def contrast(patches: np.ndarray) -> np.ndarray:
    """(N,) float64 standard deviations of grey values of patches (N, H, W) uint8."""
    return patches.reshape(len(patches), -1).std(axis=1)


def write_tasks(folder: Path, split: Split, verification: Verification, retrieval: Retrieval) -> None:
    """Write all lists of a split under their published names and in their format, each atomically."""
    names = file_names(split.name)
    for kind in ("positives", "intra", "inter"):
        write_text(folder / names[kind], pairs_text(getattr(verification, kind)))
    for kind in ("queries", "distractors"):
        write_text(folder / names[kind], list_text(getattr(retrieval, kind)))


def pairs_text(pairs: tuple[Listed, Listed]) -> str:
    """A list of pairs in the published format."""
    columns = [column for side in pairs for column in (_named(side), side.images.tolist(), side.patches.tolist())]
    lines = (f"{a},{b},{c},{d},{e},{f}\n" for a, b, c, d, e, f in zip(*columns, strict=True))
    return f"{PAIRS_HEADER}\n{''.join(lines)}"


def list_text(listed: Listed) -> str:
    """A list of reference patches in the published format."""
    rows = zip(_named(listed), listed.patches.tolist(), strict=True)
    return f"{LIST_HEADER}\n" + "".join(f"{name},{patch}\n" for name, patch in rows)


def _same(first: Listed, other: Listed) -> bool:
    return all(np.array_equal(getattr(first, key), getattr(other, key)) for key in ("sequences", "images", "patches"))


def _named(listed: Listed) -> list[str]:
    return [listed.names[number] for number in listed.sequences.tolist()]


def _split(name: str, block: Any, path: Path) -> Split:
    if not isinstance(block, dict) or block.get("name", name) != name:
        raise DataError(f"{path}: split {shorten(name, 40)!r} is not a block with its own name; fetch it again.")
    test, train = (block.get(key, []) for key in ("test", "train"))
    for key, names in (("test", test), ("train", train)):
        if not isinstance(names, list) or not all(isinstance(one, str) and re.fullmatch(_NAME, one) for one in names):
            raise DataError(f"{path}: split {shorten(name, 40)!r}: `{key}` is not a list of sequences; fetch it again.")
    if not test or len({*test, *train}) != len(test) + len(train):
        raise DataError(
            f"{path}: split {shorten(name, 40)!r} lists no test sequences, or a sequence twice; fetch it again."
        )
    return Split(name, tuple(test), tuple(train))


def _read_pairs(path: Path, split: Split, lengths: Mapping[str, int]) -> tuple[Listed, Listed]:
    columns = _columns(path, PAIRS_HEADER, _PAIR_LINE)
    first, second = (
        _checked(path, split, lengths, columns[start], columns[start + 1], columns[start + 2]) for start in (0, 3)
    )
    return first, second


def _read_list(path: Path, split: Split, lengths: Mapping[str, int]) -> Listed:
    names, patches = _columns(path, LIST_HEADER, _LIST_LINE)
    found = _checked(path, split, lengths, names, ["0"] * len(names), patches)
    _, places = np.unique(np.stack([found.sequences, found.patches]), axis=1, return_index=True)
    twice = np.setdiff1d(np.arange(len(found)), places)
    if len(twice):
        raise DataError(
            f"{path}: line {twice[0] + 2}: patch {patches[twice[0]]} of {names[twice[0]]} is listed twice; fetch it "
            "again."
        )
    return found


def _columns(path: Path, header: str, line: str) -> list[list[str]]:
    """The columns of a list as texts."""
    text = _read(path)
    begun = re.match(rf"{header}\r?\n", text)
    if begun is None:
        first = shorten(text.split("\n", 1)[0], 60)
        raise DataError(f"{path}: line 1: {first!r} instead of {header!r}; fetch it again.")
    end = re.compile(f"(?:{line})*+").match(text, begun.end()).end()
    if end != len(text):
        number, wrong = text.count("\n", 0, end) + 1, text[end:].split("\n", 1)
        cut = " (the file is cut short)" if len(wrong) == 1 else ""
        raise DataError(
            f"{path}: line {number}: {shorten(wrong[0], 60)!r} is not of the form {header!r}{cut}; fetch it again."
        )
    fields = text[begun.end() :].replace("\r", "").replace("\n", ",").split(",")[:-1]
    if not fields:
        raise DataError(f"{path}: lists nothing; fetch it again.")
    count = header.count(",") + 1
    return [fields[column::count] for column in range(count)]


def _checked(
    path: Path, split: Split, lengths: Mapping[str, int], names: list[str], images: list[str], patches: list[str]
) -> Listed:
    """A list whose sequences are those of the split and have its patches."""
    numbers = {name: number for number, name in enumerate(split.test)}
    found = np.array([numbers.get(name, -1) for name in names], np.int64)
    unknown = np.flatnonzero(found < 0)
    if len(unknown):
        name = shorten(names[unknown[0]], 60)
        raise DataError(
            f"{path}: line {unknown[0] + 2}: {name!r} is not a test sequence of split {split.name!r}; use the list of "
            "this split."
        )
    listed = Listed(split.test, found, np.array(images, np.int64), np.array(patches, np.int64))
    sizes = _sizes(split, lengths, 1)[found]
    beyond = np.flatnonzero(listed.patches >= sizes)
    if len(beyond):
        row = beyond[0]
        raise DataError(
            f"{path}: line {row + 2}: patch {patches[row]} of {names[row]}, which has {sizes[row]}; list and patches "
            "must be of one release."
        )
    return listed


def _sizes(split: Split, lengths: Mapping[str, int], least: int) -> np.ndarray:
    """(S,) int64 patches of each test sequence."""
    for name in split.test:
        if lengths.get(name, 0) < least:
            raise DataError(
                f"sequence {name} of split {split.name!r} has {lengths.get(name, 'no')} patches; add it to the `parts` "
                "of the patch set."
            )
    return np.array([lengths[name] for name in split.test], np.int64)


def _draw_patches(random: np.random.RandomState, sizes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    sequences = random.choice(len(sizes), count)
    return sequences, random.randint(0, sizes[sequences])


def _distinct(
    sequences: np.ndarray, patches: np.ndarray, split: Split, contrasts: Mapping[str, np.ndarray]
) -> list[tuple[int, int]]:
    """Drawn patches with enough contrast, each where it is drawn first."""
    seen = np.concatenate([contrasts[name] for name in split.test]) > _FLAT
    starts = np.cumsum([0, *(len(contrasts[name]) for name in split.test)])[sequences]
    kept = seen[starts + patches]
    return list(dict.fromkeys(zip(sequences[kept].tolist(), patches[kept].tolist(), strict=True)))


def _listed(split: Split, keys: Sequence[tuple[int, int]]) -> Listed:
    array = np.array(keys, np.int64).reshape(-1, 2)
    return Listed(split.test, array[:, 0], np.zeros(len(array), np.int64), array[:, 1])


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file; fetch it, or have the lists drawn anew.") from None
