"""Blocks of section `methods` that say how patches are described."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import (
    SCORING,
    ModelName,
    Problem,
    UserPath,
)
from descbench.config.keypoint_features import fits_describer
from descbench.config.method_base import MethodBase


class PatchMethodBase(MethodBase):
    """Descriptors of patches, compared by their distance."""

    family: ClassVar[str] = "patches"
    SCORED_ON: ClassVar[str] = "patch_sets"

    distance: Annotated[Literal["L2", "L1"], SCORING] = Field("L2", description="Distance of two descriptors.")
    normalisation: Annotated[Literal["none", "pca_power", "matlab_zca"], SCORING] = Field(
        "none",
        description="HPatches: PCA-whitening learned on the training sequences of the split, then power law (`+`); "
        "`matlab_zca`: that of the MATLAB benchmark, whose metrics (`matlab_...`) are the only ones then.",
    )
    clipped_energy: Annotated[float, SCORING] = Field(
        0.25,
        ge=0,
        lt=1,
        description="Share of the energy whose eigenvalues `matlab_zca` raises (the article's: SIFT 0.25, ORB 0.4).",
    )

    @model_validator(mode="after")
    def _clips_something(self) -> PatchMethodBase:
        # Jobs are given whole blocks, so that a default is nobody's choice.
        chosen = self.clipped_energy != PatchMethodBase.model_fields["clipped_energy"].default
        if chosen and self.normalisation != "matlab_zca":
            raise ValueError("`clipped_energy` belongs to normalisation matlab_zca")
        return self

    def unfit(self, scored_on: str, config: Any) -> str | None:
        """A normalisation needs something to be learned on."""
        if (why := super().unfit(scored_on, config)) is not None:
            return why
        if self.normalisation == "none" or config.patch_sets[scored_on].learns_from_split():
            return None
        return f"{scored_on!r} has no training sequences, which normalisation {self.normalisation} is learned on"


class PatchMethod(PatchMethodBase):
    """Descriptors that are made here."""

    stage: ClassVar[str] = "describe_patches"
    summary: ClassVar[str] = "descriptors of patches"

    describe: Literal["network", "pixels", "sift", "rootsift"] = Field(
        description="What makes descriptors: a network, the pixels themselves, or SIFT and RootSIFT of OpenCV."
    )
    model: ModelName | None = Field(
        None, description="Model of `describe: network`; left out: the one of the method's own name."
    )
    decimals: int | None = Field(
        None, ge=0, le=9, description="Decimals that numbers are rounded to (HPatches' text files: 5); null: all kept."
    )

    def described_by(self, config: Any) -> tuple[str, ...]:
        """Its model."""
        return () if self.model is None else (self.model,)

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """A network that describes patches, and no other descriptor has one."""
        yield from fits_describer(self, config)


class FilesMethod(PatchMethodBase):
    """Anyone's descriptors, read from files in the layout of the HPatches benchmark."""

    stage: ClassVar[str] = "import_descriptors"
    summary: ClassVar[str] = "descriptors of patches, read from files"

    describe: Literal["files"] = Field(description="Descriptors are read, and not made here.")
    folder: UserPath = Field(
        description="Folder of descriptors: `<folder>/<sequence>/<view>.csv`, a row a patch, for `ref`, `e1` to `t5`."
    )
    delimiter: Literal[",", ";"] = Field(",", description="What stands between the numbers of a row.")

    @property
    def own_folders(self) -> tuple[Path, ...]:
        """The folder of the descriptors."""
        return (self.folder,)


DescribedPatches = Annotated[PatchMethod | FilesMethod, Field(discriminator="describe")]
