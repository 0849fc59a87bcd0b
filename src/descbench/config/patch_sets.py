"""Blocks of section `patch_sets`: cut-out patches with labels of which show the same point, by official format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from descbench.config.base import (
    CHECK,
    NOTE,
    SCORING,
    Below,
    Block,
    Metrics,
    Name,
    Names,
    Problem,
    Several,
    SourceNames,
    Text,
)
from descbench.config.checks import not_drawn, not_unpacked

# Pools of HPatches' retrieval: how many patches a query is compared with.
POOLS = (100, 500, 1000, 5000, 10000, 15000, 20000)
_NOISES = ("easy", "hard", "tough")


def _task_metrics() -> Iterator[str]:
    """Metrics of HPatches (docs/protocols/hpatches_patches.md, Summaries)."""
    for task in ("verification", "matching", "retrieval"):
        yield from (task, f"matlab_{task}")
    for noise in _NOISES:
        yield from (f"verification_{noise}_{kind}_{curve}" for kind in ("inter", "intra") for curve in ("ap", "auc"))
        yield from (f"matching_{noise}", f"matching_{noise}_success", f"retrieval_{noise}")
        yield from (f"retrieval_{noise}@{pool}" for pool in POOLS)


TASKS = Metrics(tuple(_task_metrics()), "the tasks of HPatches")


class PatchSetBase(Block):
    """What all patch sets share.

    Attributes:
        FAMILY: of the methods that are scored on it.
        LISTS_PAIRS: whether the set lists test pairs of its own.
        DRAWN: folder in which the generator draws patch sets of this format.
    """

    FAMILY: ClassVar[str] = "patches"
    LISTS_PAIRS: ClassVar[bool] = False
    DRAWN: ClassVar[str]

    sources: SourceNames = Field((), description="Sources of the patches and their labels.")
    generator: Literal["toytown"] | None = Field(None, description="Drawn by a generator instead of downloaded.")
    folder: Below = Field(description="Folder below <data_dir>/datasets that holds a folder of each part.")
    parts: Names = Field(min_length=1, description="Parts of the set: names of these folders.")
    counts: Annotated[dict[Name, Several], CHECK] = Field(
        {}, description="Number of patches of parts; other numbers are refused, whatever archive they came in."
    )
    note: Annotated[Text | None, NOTE] = Field(
        None, description="What a reader of the results must know about this patch set."
    )

    @model_validator(mode="after")
    def _counts_of_parts(self) -> PatchSetBase:
        for part in self.counts:
            if part not in self.parts:
                raise ValueError(f"`counts` of {part}, which is none of its parts")
        return self

    @property
    def lists(self) -> tuple[str, ...]:
        """Files and folders below <data_dir>/datasets that say what is scored."""
        return (self.folder,)

    @property
    def image_sources(self) -> tuple[str, ...]:
        """Patches and lists come together."""
        return ()

    def base_of(self, name: str) -> str:
        """Itself."""
        return name

    def searched_as(self, name: str) -> tuple[str, ...]:
        """Itself."""
        return (name,)

    def metrics(self) -> Metrics:
        """Keys that scores on this patch set have."""
        return Metrics()

    def learns_from_split(self) -> bool:
        """Whether it has training sequences, which a normalisation of descriptors is learned on."""
        return False

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """Its sources are unpacked, the town draws it, and no dataset has its name, whose scores would be its own."""
        if name in config.datasets:
            yield (), f"there is a dataset {name!r} too, whose scores would have the same names; rename one"
        yield from not_unpacked(config, self, "sources")
        yield from not_drawn(config, self)
        way = self.folder.split("/")
        if way[0] == self.generator and way[:2] != self.DRAWN.split("/"):
            yield ("folder",), f"{self.generator} draws patch sets of format {self.format} in {self.DRAWN} alone"

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
    DRAWN = "toytown/phototour"

    format: Literal["phototour"]

    def metrics(self) -> Metrics:
        """The false positive rate of each part."""
        return Metrics(tuple(f"fpr95_{part}" for part in self.parts), "false positives at 95 % recall")

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The drawn town has the parts."""
        yield from super().fits(name, config)
        drawn = config.toytown.phototour
        if drawn is not None and self.folder == self.DRAWN:
            yield from self._undrawn(drawn.parts, "`toytown.phototour.parts`")


class HPatchesPatchSet(PatchSetBase):
    """HPatches patches: 16 strips of 65 x 65 patches (ref.png, e1.png to t5.png); parts are the sequences."""

    DRAWN = "toytown/strips"

    format: Literal["hpatches_patches"]
    splits: Annotated[Below | None, SCORING] = Field(
        None, description="File of the splits below <data_dir>/datasets; null = splits.json in the folder."
    )
    split: Annotated[Literal["a", "b", "c", "illum", "view", "full"], SCORING] = Field(
        "full", description="Split that is scored."
    )
    tasks: Annotated[Below | None, SCORING] = Field(
        None,
        description="Folder of the published task lists below <data_dir>/datasets; lists that are not there are drawn "
        "as the original generator draws them, which gives the same ones.",
    )
    pairs: Annotated[Several, Field(ge=5), SCORING] = Field(
        1_000_000, description="Pairs of each kind that are drawn for verification."
    )
    queries: Annotated[Several, SCORING] = Field(10_000, description="Patches that are drawn to be retrieved.")
    distractors: Annotated[Several, SCORING] = Field(
        20_000, description="Patches that are drawn to stand in their way."
    )

    @property
    def lists(self) -> tuple[str, ...]:
        """Those of the splits and of the tasks too."""
        return (self.folder, *(path for path in (self.splits, self.tasks) if path is not None))

    def metrics(self) -> Metrics:
        """Those of the three tasks."""
        return TASKS

    def learns_from_split(self) -> bool:
        """Splits a, b and c have them."""
        return self.split in ("a", "b", "c")

    def fits(self, name: str, config: Any) -> Iterator[Problem]:
        """The drawn town has the sequences."""
        yield from super().fits(name, config)
        drawn = config.toytown.strips
        if drawn is not None and self.folder == self.DRAWN:
            yield from self._undrawn(drawn.sequences(), "sequences of `toytown.strips`")


PatchSet = Annotated[PhotoTourPatchSet | HPatchesPatchSet, Field(discriminator="format")]
