"""Whether files are still what a bundle, or the provenance of a table, says of them."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from descbench.bundle.contents import CellFiles, read_table
from descbench.bundle.crate import METADATA
from descbench.command_files import read_configuration
from descbench.errors import DataError
from descbench.io.digests import sha256_file
from descbench.plan import Plan

# Bounds of a bundle that is read: members, bytes of the description, bytes in all and of a member's expansion.
_MEMBERS, _DESCRIPTION, _BYTES, _RATIO = 100_000, 64 << 20, 4 << 30, 1000
_CHUNK = 1 << 20


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


def verify(target: str | Path, *, configfiles: Sequence[str | Path] = ()) -> tuple[int, list[Difference]]:
    """Hash files again, and compare with what was recorded.

    Args:
        target: a bundle (zip file), or a table, whose downloads, weights and files of the user's are hashed.
        configfiles: overlays of the configuration, for tables.

    Returns:
        how many files were compared, and what differs.

    Raises:
        ConfigError: no such table.
        DataError: a bundle that cannot be read, or scores or provenance that are damaged or not there.
    """
    path = Path(target)
    if path.suffix == ".zip":
        return _verify_bundle(path)
    files = [Path(file) for file in configfiles]
    plan = Plan(read_configuration(files))
    table = read_table(plan, str(target), files)
    compared, found = 2 * len(table.cells) + 1, []
    for file, expected in _recorded(plan, table.cells).items():
        compared += 1
        if not Path(file).is_file():
            found.append(Difference("missing", file, "it was there when the table was computed"))
        elif (now := _digest(file)) != expected:
            found.append(Difference("differs", file, f"SHA-256 {now}, recorded {expected}"))
    return compared, found


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
    """Digest as it was recorded: of a checkpoint's weights, of any other file's bytes."""
    if file.endswith(".pt"):
        from descbench.models.checkpoints import checkpoint_digest

        return checkpoint_digest(Path(file))
    return sha256_file(file)


def _verify_bundle(path: Path) -> tuple[int, list[Difference]]:
    try:
        with zipfile.ZipFile(path) as archive:
            recorded, there = _read_description(archive, path), _members(archive, path)
            found = list(_compare(archive, recorded, there))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: not a zip file that can be read ({error}); bundle the table again.") from error
    return len(recorded), found


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > _MEMBERS or sum(entry.file_size for entry in entries) > _BYTES:
        raise DataError(f"{path}: holds more files or bytes than any bundle of descbench; it is none.")
    names = {entry.filename: entry for entry in entries}
    if len(names) < len(entries):
        raise DataError(f"{path}: holds a file twice; bundle the table again.")
    return names


def _read_description(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """SHA-256 of every file that the description names."""
    try:
        entry = archive.getinfo(METADATA)
        if entry.file_size > _DESCRIPTION:
            raise DataError(f"{path}: {METADATA} is too large for a bundle of descbench.")
        graph = json.loads(archive.read(entry))["@graph"]
        found = {one["@id"]: one["sha256"] for one in graph if _is_file(one)}
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: no bundle of descbench, whose {METADATA} names every file ({error!r:.80})."
        ) from error
    if not found:
        raise DataError(f"{path}: its {METADATA} names no file; bundle the table again.")
    return found


def _is_file(entity: Mapping[str, Any]) -> bool:
    kinds = entity["@type"]
    named = "File" in (kinds if isinstance(kinds, list) else [kinds])
    return named and isinstance(entity["@id"], str) and isinstance(entity["sha256"], str)


def _compare(
    archive: zipfile.ZipFile, recorded: Mapping[str, str], there: Mapping[str, zipfile.ZipInfo]
) -> Iterator[Difference]:
    for name, expected in sorted(recorded.items()):
        if name not in there:
            yield Difference("missing", name, "the description names it")
        elif (now := _hash_member(archive, there[name])) != expected:
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
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        return f"not computed: {error}"
    return digest.hexdigest()
