"""Licences as their owners state them: SPDX identifiers, and whether commercial use is allowed."""

from __future__ import annotations

import re

# What a statement says -> SPDX identifier (https://spdx.org/licenses).
_KNOWN = (
    (re.compile(r"CC BY(-NC)?(-SA|-ND)? (\d\.\d)"), None),
    (re.compile(r"\bMIT\b"), "MIT"),
    (re.compile(r"Apache[- ](?:License )?2\.0"), "Apache-2.0"),
    (re.compile(r"BSD[- ]3"), "BSD-3-Clause"),
)
_NO_COMMERCE = re.compile(r"non-?commercial|BY-NC|no commercial|research|academic", re.IGNORECASE)
# Statements that say nothing of what they are about.
_UNSTATED = re.compile(r"not stated|not looked at|nothing is said|the photographs belong", re.IGNORECASE)
NOT_STATED = "NOASSERTION"
# Those that allow commercial use; of others nobody here has read what they allow.
_COMMERCIAL = re.compile(r"MIT|Apache-2\.0|BSD-3-Clause|CC0-1\.0|CC-BY(-SA|-ND)?-\d\.\d")


def spdx_of(statement: str | None) -> str:
    """SPDX identifier of a licence: of the list, ``LicenseRef-...`` of others, ``NOASSERTION`` where none is stated."""
    if statement is None or _UNSTATED.search(statement):
        return NOT_STATED
    for pattern, identifier in _KNOWN:
        if found := pattern.search(statement):
            return identifier or f"CC-BY{found[1] or ''}{found[2] or ''}-{found[3]}"
    return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", statement).strip("-")[:60]


def forbids_commerce(statement: str | None) -> bool:
    """Whether a licence, as stated, allows no commercial use; False where nothing is stated."""
    return statement is not None and _NO_COMMERCE.search(statement) is not None


def why_not_commercial(statement: str | None) -> str | None:
    """Why commercial use cannot rest on a licence, in words; None where it can."""
    if forbids_commerce(statement):
        return f"allows no commercial use ({statement})"
    if spdx_of(statement) == NOT_STATED:
        return "has no licence that is stated: ask its owner"
    if not _COMMERCIAL.fullmatch(spdx_of(statement)):
        return f"has a licence that is not known to allow commercial use ({statement})"
    return None
