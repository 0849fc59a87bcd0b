"""Blocks of section `patch_sets`: cut-out patches with labels of which show the same point, by official format."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from descbench.config.base import NOTE, Below, Names, Strict, Text


class PatchSetBase(Strict):
    """What all patch sets share."""

    sources: Names = Field((), description="Sources of the patches and their labels.")
    generator: Literal["toytown"] | None = Field(None, description="Drawn by a generator instead of downloaded.")
    folder: Below = Field(description="Folder below <data_dir>/datasets that holds a folder of each part.")
    parts: Names = Field(min_length=1, description="Parts of the set: names of these folders.")
    note: Annotated[Text | None, NOTE] = Field(
        None, description="What a reader of the results must know about this patch set."
    )


class PhotoTourPatchSet(PatchSetBase):
    """Brown PhotoTour: bitmaps of 16 x 16 patches, info.txt and a list of test pairs; parts such as liberty."""

    format: Literal["phototour"]


class HPatchesPatchSet(PatchSetBase):
    """HPatches patches: 16 strips of 65 x 65 patches (ref.png, e1.png to t5.png); parts are the sequences."""

    format: Literal["hpatches_patches"]


PatchSet = Annotated[PhotoTourPatchSet | HPatchesPatchSet, Field(discriminator="format")]
