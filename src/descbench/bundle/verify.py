"""Whether files are still what a bundle, or the provenance of a table, says of them."""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from descbench.bundle.between import Compared, compare_between
from descbench.bundle.contents import (
    CellFiles,
    TableFiles,
    blocks_that_differ,
    files_that_differ,
    find_damaged,
    read_table,
)
from descbench.bundle.crate import METADATA
from descbench.command_files import read_configuration
from descbench.errors import DataError
from descbench.io.digests import sha256_file
from descbench.plan import Plan

# Bounds of a bundle that is read: members, bytes of the description, bytes in all and of a member's expansion.
_MEMBERS, _DESCRIPTION, _BYTES, _RATIO = 100_000, 64 << 20, 4 << 30, 1000
_CHUNK = 1 << 20
# What zipfile raises for untrusted files: damaged (BadZipFile, EOFError, errors of the decompressors), cut short on
# disk (OSError), of an unknown compression (NotImplementedError), encrypted (RuntimeError). All become one DataError.
_BROKEN = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Difference:
    """A file that is not what was written of it.

    Attributes:
        state: ``differs``, ``missing``, or ``unknown``: it is there, and nothing was written of it.
        name: of the file.
        told: what was expected and found.
    """

    state: Literal["differs", "missing", "unknown"]
    name: str
    told: str


class Verified(NamedTuple):
    """What was compared, and what came of it.

    Attributes:
        compared: how many files.
        differences: those that are not as recorded.
        between: how many of them lie between data and scores.
        absent: recorded files that are not there, so that nothing can be said of them.
        told: sentences on what was and what was not compared.
    """

    compared: int
    differences: list[Difference]
    between: int = 0
    absent: tuple[str, ...] = ()
    told: str = "Images, weights and features are not in a bundle, and were not compared."

    def closing(self) -> str:
        """The last line: how many, and what was not compared."""
        return f"{self.compared} files compared, {len(self.differences)} not as recorded. {self.told}"


def verify(target: str | Path, *, configfiles: Sequence[str | Path] = ()) -> Verified:
    """Hash files again, and compare with what was recorded.

    Args:
        target: a bundle (zip file), or a table: its files, downloads, weights, files of the user's, and all that stages
            between data and scores wrote and that is there.
        configfiles: overlays of the configuration, for tables.

    Raises:
        ConfigError: no such table.
        DataError: a bundle that cannot be read, or scores or provenance that are not there.
    """
    path = Path(target)
    if path.is_dir():
        return _verify_folder(path)
    if path.suffix.lower() == ".zip" and not path.is_file():
        raise DataError(f"{path}: no such bundle; correct its name.")
    if path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        return _verify_zip(path)
    files = [Path(file) for file in configfiles]
    plan = Plan(read_configuration(files))
    try:
        table = read_table(plan, str(target), files)
    except DataError:
        # All of them, and not the first alone; without these files nothing more can be compared.
        damaged = [Difference("differs", str(file), told) for file, told in find_damaged(plan, str(target))]
        if not damaged:
            raise
        return Verified(len(damaged), damaged, told="Nothing more can be compared without these files.")
    return _verify_table(plan, table)


def _verify_table(plan: Plan, table: TableFiles) -> Verified:
    told = "not what the scores of its cells give"
    found = [Difference("differs", str(file), told) for file in files_that_differ(plan, table)]
    for file, block in blocks_that_differ(plan, table):
        found.append(Difference("differs", str(file), f"made with another {block} than is configured"))
    recorded = _recorded(plan, table.cells)
    between = compare_between(plan, table.cells, recorded)
    found += [Difference("differs", file, told) for file, told in between.changed]
    for file, expected in recorded.items():
        if not Path(file).is_file():
            found.append(Difference("missing", file, "it was there when the table was computed"))
        elif (now := _digest(file)) != expected:
            found.append(Difference("differs", file, f"{now}, recorded SHA-256 {expected}"))
    # Scores and provenance were compared with their checksums when they were read.
    compared = len(table.made) + len(recorded) + between.files
    return Verified(compared, found, between.files, between.absent, _told(between))


def _told(between: Compared) -> str:
    """What of a table was compared beside its own files, and what was not."""
    told = f"{between.files} of them lie between data and scores. Not compared: images and other data once unpacked"
    if between.absent:
        told += f"; {len(between.absent)} files that the scores were made from and that are not present"
    if between.silent:
        told += f"; what the scores of {len(between.silent)} cells were made from, which an older version recorded not"
    return f"{told}."


def _recorded(plan: Plan, cells: Sequence[CellFiles]) -> dict[str, str]:
    """Files that provenance has digests of, with these."""
    found: dict[str, str] = {}
    for cell in cells:
        for source in cell.provenance["sources"].values():
            found |= {plan.paths.raw(file["file"]): file["sha256"] for file in source["files"] if file.get("sha256")}
        found |= cell.provenance["own_files"]
        checkpoint, models = cell.provenance["features"].get("checkpoint"), _models(cell)
        if checkpoint and models:
            found[plan.paths.checkpoint(models[0])] = checkpoint
    return found


def _models(cell: CellFiles) -> list[str]:
    """The network behind a cell's features, where it is one."""
    blocks = cell.provenance["configuration"]
    named = [block.get("model") for block in blocks.get("features", {}).values()]
    return list(dict.fromkeys(name for name in named if name))[:1]


def _digest(file: str) -> str:
    """Digest as it was recorded: of a checkpoint's weights, of any other file's bytes; or why there is none."""
    if file.endswith(".pt"):
        from descbench.models.checkpoints import checkpoint_digest

        try:
            return checkpoint_digest(Path(file))
        except DataError as error:
            return str(error)
    return sha256_file(file)


def _verify_zip(path: Path) -> Verified:
    try:
        with zipfile.ZipFile(path) as archive:
            there = _members(archive, path)
            entry = there.get(METADATA)
            if entry is not None and entry.file_size > _DESCRIPTION:
                raise DataError(f"{path}: {METADATA} is too large for a bundle of descbench.")
            recorded = _recorded_files(b"" if entry is None else archive.read(entry), path)
            found = list(_compare(recorded, {name: partial(_hash_member, archive, of) for name, of in there.items()}))
    except _BROKEN as error:
        raise DataError(f"{path}: not a zip file that can be read ({error}); bundle the table again.") from error
    return Verified(len(recorded), found)


def _verify_folder(path: Path) -> Verified:
    """Of a bundle that was unpacked."""
    description = path / METADATA
    if not description.is_file() or description.stat().st_size > _DESCRIPTION:
        raise DataError(f"{path}: a folder without {METADATA} is not a bundle; name a bundle or a table.")
    recorded = _recorded_files(description.read_bytes(), path)
    there = {
        file.relative_to(path).as_posix(): partial(_hash_file, file)
        for file in path.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    return Verified(len(recorded), list(_compare(recorded, there)))


def _hash_file(path: Path) -> str:
    """SHA-256 of a file; links and what else is not a regular file have none."""
    return sha256_file(path) if path.is_file() and not path.is_symlink() else "not computed: a link, or no regular file"


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > _MEMBERS or sum(entry.file_size for entry in entries) > _BYTES:
        raise DataError(f"{path}: holds more files or bytes than any bundle of descbench; it is none.")
    names = {entry.filename: entry for entry in entries}
    if len(names) < len(entries):
        raise DataError(f"{path}: holds a file twice; bundle the table again.")
    return names


def _recorded_files(description: bytes, path: Path) -> dict[str, str]:
    """SHA-256 of every file that the description names."""
    try:
        graph = json.loads(description)["@graph"]
        listed = [(unquote(one["@id"]), one["sha256"]) for one in graph if _is_file(one)]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: no bundle of descbench, whose {METADATA} names every file ({error!r:.80})."
        ) from error
    found = dict(listed)
    if len(found) < len(listed):
        raise DataError(f"{path}: its {METADATA} names a file twice; bundle the table again.")
    if not found:
        raise DataError(f"{path}: its {METADATA} names no file; bundle the table again.")
    return found


def _is_file(entity: Mapping[str, Any]) -> bool:
    kinds = entity["@type"]
    named = "File" in (kinds if isinstance(kinds, list) else [kinds])
    return named and isinstance(entity["@id"], str) and isinstance(entity["sha256"], str)


def _compare(recorded: Mapping[str, str], there: Mapping[str, Callable[[], str]]) -> Iterator[Difference]:
    for name, expected in sorted(recorded.items()):
        if name not in there:
            yield Difference("missing", name, "the description names it")
        elif (now := there[name]()) != expected:
            yield Difference("differs", name, f"SHA-256 {now}, recorded {expected}")
    for name in sorted(there.keys() - recorded.keys() - {METADATA}):
        yield Difference("unknown", name, "the description does not name it")


def _hash_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """SHA-256 of a member; what does not unpack as its head says has none of its own."""
    if entry.file_size > _RATIO * max(entry.compress_size, 1):
        return "not computed: it expands too much"
    digest = hashlib.sha256()
    try:
        with archive.open(entry) as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
    except _BROKEN as error:
        return f"not computed: {error}"
    return digest.hexdigest()
