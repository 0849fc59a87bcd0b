"""Sources: one block of the catalogue for every file that comes from the internet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from descbench.config.base import CHECK, Below, Label, Several, Strict, Text, UserPath

Address = Annotated[Label, Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^/\s]")]


class Unpack(Strict):
    """Where a downloaded file goes below ``<data_dir>/datasets``."""

    to: Below = Field(
        description="Folder below <data_dir>/datasets; a file that is not an archive is placed there as it is."
    )
    flatten: bool = Field(False, description="Drop the archive's own folders and put every file straight into `to`.")
    files: Annotated[Several | None, CHECK] = Field(
        None, description="Number of files the archive must hold; null if unknown."
    )
    archive: Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "none"] | None = Field(
        None, description="Kind of archive, `none` for a file placed as it is; null: the ending of the name says it."
    )
    members: Annotated[Several | None, CHECK] = Field(None, description="Most members of one archive; null: 1,000,000.")
    size: Annotated[int | None, CHECK] = Field(
        None, gt=0, le=2**62, description="Most bytes unpacked of one archive; null: 2^40."
    )
    ratio: Annotated[Several | None, CHECK] = Field(
        None, description="Most bytes unpacked for each byte of an archive, counted from 32 MiB on; null: 100."
    )


class Source(Strict):
    """One file on the internet: an archive, a list, a ground truth or a set of weights.

    The key of a source in the catalogue is its file name below ``<data_dir>/raw``.
    """

    mirrors: tuple[Address, ...] = Field(
        (), description="Addresses, tried in this order; `{part}` stands for the part number."
    )
    parts: int | None = Field(
        None, gt=0, le=999, description="Number of files `{part}` = 1..parts that make up this source."
    )
    size: int | None = Field(None, gt=0, description="Size in bytes, if published.")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{1,64}$", description="SHA-256 in hex, or its published beginning."
    )
    git_blob_sha1: str | None = Field(
        None, pattern="^[0-9a-f]{40}$", description="Git blob id, where nothing better is published."
    )
    md5: str | None = Field(
        None, pattern="^[0-9a-f]{32}$", description="MD5 in hex, where nothing better is published."
    )
    access: Literal["free", "request"] = Field(
        "free", description="`request`: never fetched, the owners must be asked."
    )
    ask: Label | None = Field(None, description="Page that explains how to get a `request` source.")
    layout: Text | None = Field(None, description="What the folder of a `request` source must look like.")
    local_copy: UserPath | None = Field(
        None, description="Your own copy (the file, or a folder of its unpacked content)."
    )
    unpack: Unpack | None = Field(None, description="Where the content goes; null for files used as they are.")
    licence: Text | None = Field(None, description="Licence as stated by the owners.")
    note: Text | None = Field(None, description="What a reader of the results must know about this file.")

    @model_validator(mode="after")
    def _reachable(self) -> Source:
        if self.access == "free" and not self.mirrors and self.local_copy is None:
            raise ValueError("a free source needs at least one address in `mirrors`, or a `local_copy`")
        if self.access == "request" and not self.ask:
            raise ValueError("a `request` source needs `ask`: the page that says how to get it")
        if self.parts and not all("{part}" in url for url in self.mirrors):
            raise ValueError("with `parts`, every mirror must contain `{part}`")
        return self
