"""Digests of files and of plain values."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from descbench.errors import StaleFileError

_BLOCK = 1 << 20


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    return _digest_file(path, hashlib.sha256())


def md5_file(path: str | os.PathLike[str]) -> str:
    """Hex MD5 of a file, read in blocks: a check of what was published with it, no protection against intent."""
    return _digest_file(path, hashlib.md5(usedforsecurity=False))


def git_blob_sha1_file(path: str | os.PathLike[str]) -> str:
    """Hex git blob id of a file: SHA-1 of ``"blob <size>\\0"`` followed by the content."""
    size = Path(path).stat().st_size
    return _digest_file(path, hashlib.sha1(f"blob {size}\0".encode()))


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value; equal values give equal digests whatever their key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_digest(path: Path, what: str, found: str, expected: str) -> None:
    """Refuse a file whose digest of ``what`` is not the expected one.

    Raises:
        StaleFileError: names the file and both digests.
    """
    if found != expected:
        raise StaleFileError(
            f"{path}: made with another {what}: it has {found or 'none'}, expected {expected or 'none'}. "
            "Delete the older of the two files and run again."
        )


def _digest_file(path: str | os.PathLike[str], digest: Any) -> str:
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
