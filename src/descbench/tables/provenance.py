"""What a score was made from: configuration, weights, archives, versions, device, machine."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import descbench
from descbench.features.store import ShardReader
from descbench.hardware import describe_machine
from descbench.io.carried import stated_checksum
from descbench.io.jsonfiles import write_checked_json
from descbench.io.origin import read_origin

_ORIGIN = {"file", "url", "final_url", "size", "sha256", "retrieved_from"}
# All that a figure may come from; those that are not installed are left out.
_PACKAGES = (
    *("torch", "torchvision", "kornia", "onnxruntime", "openvino", "faiss-cpu", "faiss-gpu-cu12", "numpy", "scipy"),
    *("opencv-contrib-python-headless", "opencv-python-headless", "pyhesaff", "pycolmap", "poselib"),
    *("pillow", "pillow-heif", "h5py", "snakemake"),
)


def write_provenance(
    output: Path,
    *,
    blocks: Mapping[str, Any],
    sources: Mapping[str, Mapping[str, Any]],
    own_files: Mapping[str, str],
    features: Mapping[str, Any],
    inputs: Iterable[str | Path],
) -> None:
    """Write the provenance JSON of one scores file.

    Args:
        output: the JSON file.
        blocks: configuration blocks behind the score, by section and name.
        sources: per source its ``note``, ``licence`` and the ``records`` (provenance files) of its downloads.
        own_files: path -> SHA-256 of the user's own files behind the networks.
        features: what descriptors say of how they were made: digest, checkpoint and device.
        inputs: files that were scored; those that carry a checksum are recorded with it.
    """
    write_checked_json(
        output,
        {
            "configuration": blocks,
            "features": dict(features),
            "sources": {name: _source(entry) for name, entry in sources.items()},
            "own_files": dict(own_files),
            "inputs": {str(path): found for path in inputs if (found := stated_checksum(Path(path)))},
            "versions": _versions(),
            "git_revision": _git_revision(),
            "machine": describe_machine(),
        },
    )


def read_shard_info(shard: Path) -> dict[str, Any]:
    """What a feature shard says of how it was made."""
    with ShardReader(shard) as reader:
        return asdict(reader.info)


def _source(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Name and SHA-256 of every file of a source; a file without record was put there by hand."""
    files = []
    for record in map(Path, entry["records"]):
        if arrived := read_origin(record):
            files.append(arrived.model_dump(include=_ORIGIN))
        else:
            files.append({"file": record.name.removesuffix(".provenance.json"), "sha256": None})
    return {"note": entry["note"], "licence": entry["licence"], "files": files}


def _versions() -> dict[str, str]:
    found = {"descbench": descbench.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_revision() -> str | None:
    """Revision of the working copy the package runs from, with ``+`` when it was changed; None outside git."""
    folder = Path(descbench.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.strip() or None
