"""Blocks of section `patch_sets`: cut-out patches with labels of which show the same point, by official format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from descbench.config.base import NOTE, Below, Block, Metrics, Names, Problem, SourceNames, Text
from descbench.config.checks import not_drawn, not_unpacked

FPR95 = Metrics(("fpr95",), "false positives at 95 % recall")


class PatchSetBase(Block):
    """What all patch sets share.

    Attributes:
        LISTS_PAIRS: whether the set lists test pairs of its own.
    """

    LISTS_PAIRS: ClassVar[bool] = False

    sources: SourceNames = Field((), description="Sources of the patches and their labels.")
    generator: Literal["toytown"] | None = Field(None, description="Drawn by a generator instead of downloaded.")
    folder: Below = Field(description="Folder below <data_dir>/datasets that holds a folder of each part.")
    parts: Names = Field(min_length=1, description="Parts of the set: names of these folders.")
    note: Annotated[Text | None, NOTE] = Field(
        None, description="What a reader of the results must know about this patch set."
    )

    @property
    def image_sources(self) -> tuple[str, ...]:
        """Patches and lists come together."""
        return ()

    def searched_as(self, name: str) -> tuple[str, ...]:
        """Itself."""
        return (name,)

    def metrics(self) -> Metrics:
        """Keys that scores on this patch set have."""
        return Metrics()

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its sources are unpacked, the town draws it, and no dataset has its name, whose scores would be its own."""
        if name in config.datasets:
            yield (), f"there is a dataset {name!r} too, whose scores would have the same names; rename one"
        yield from not_unpacked(config, self, "sources")
        yield from not_drawn(config, self)

    def _undrawn(self, drawn: tuple[str, ...], what: str) -> Iterator[Problem]:
        """Parts that the town does not draw."""
        if self.generator is None:
            return
        for number, part in enumerate(self.parts):
            if part not in drawn:
                yield ("parts", number), f"no part {part!r} is drawn: {what} are {', '.join(drawn)}"


class PhotoTourPatchSet(PatchSetBase):
    """Brown PhotoTour: bitmaps of 16 x 16 patches, info.txt and a list of test pairs; parts such as liberty."""

    LISTS_PAIRS = True

    format: Literal["phototour"]

    def metrics(self) -> Metrics:
        """The false positive rate."""
        return FPR95

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The drawn town has the parts."""
        yield from super().fits(name, config)
        drawn = config.toytown.phototour
        if drawn is not None and self.folder == "toytown/phototour":
            yield from self._undrawn(drawn.parts, "`toytown.phototour.parts`")


class HPatchesPatchSet(PatchSetBase):
    """HPatches patches: 16 strips of 65 x 65 patches (ref.png, e1.png to t5.png); parts are the sequences."""

    format: Literal["hpatches_patches"]

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The drawn town has the sequences."""
        yield from super().fits(name, config)
        drawn = config.toytown.strips
        if drawn is not None and self.folder == "toytown/strips":
            yield from self._undrawn(drawn.sequences(), "sequences of `toytown.strips`")


PatchSet = Annotated[PhotoTourPatchSet | HPatchesPatchSet, Field(discriminator="format")]
