"""What all sections of the configuration share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="A name used in file names.")]
Role = Literal["query", "database", "train", "val"]
HOW_SCALES = (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)


class Strict(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _parse_count(value: Any) -> Any:
    """Read "64k" as 65536 and "1M" as 1048576, as the original asmk package does."""
    units = {"k": 1024, "M": 1024**2}
    if isinstance(value, str) and value[-1:] in units and value[:-1].isdigit():
        return int(value[:-1]) * units[value[-1]]
    return value


Count = Annotated[int, BeforeValidator(_parse_count), Field(gt=0)]
