"""The note beside every downloaded file: where it came from, how long it is, and its SHA-256."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from descbench.errors import DataError

_LONGEST = 1 << 20


class Origin(BaseModel):
    """Content of ``<file>.provenance.json``.

    Attributes:
        file: name of the file.
        url: address asked for, or path of the user's own copy.
        final_url: address that sent the bytes, behind all redirects; None for copies and in older notes.
        size: bytes.
        sha256: in hex.
        retrieved_from: ``mirror`` or ``local copy``.
        note: what a reader of results must know.
        licence: as stated by the owners.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    file: str
    url: str
    final_url: str | None = None
    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    retrieved_from: str
    note: str | None = None
    licence: str | None = None


def origin_name(file: str) -> str:
    """Name of the note on a downloaded file of that name."""
    return f"{file}.provenance.json"


def origin_path(file: Path) -> Path:
    """Where the origin of a downloaded file is noted."""
    return file.with_name(origin_name(file.name))


def read_origin(record: Path) -> Origin | None:
    """The note at ``record``; None where there is none.

    Raises:
        DataError: it is damaged.
    """
    try:
        with open(record, "rb") as stream:
            return Origin.model_validate_json(stream.read(_LONGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise DataError(f"{record}: no readable note of where a file came from ({what}); delete it.") from error
