"""Formats of other pipelines, each with the same methods: what it lies in, features and matches out and in."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from descbench.errors import ConfigError, DataError
from descbench.interop.exchanged import ExchangedFeatures, ExchangedMatches
from descbench.interop.hloc_features import read_hloc_features, write_hloc_features
from descbench.interop.hloc_matches import read_hloc_matches, write_hloc_matches
from descbench.interop.kapture_features import (
    read_kapture_features,
    read_kapture_matches,
    write_kapture_features,
    write_kapture_matches,
)
from descbench.io.atomic import into_folder
from descbench.io.digests import sha256_file
from descbench.io.hloc_files import opened_hloc
from descbench.io.outputs import check_output

Features = Iterable[tuple[str, ExchangedFeatures]]
Matches = Iterable[tuple[str, str, int, ExchangedMatches]]
_KIND = re.compile(r"[\w-][\w.-]*")  # a folder


class ExchangeFormat(ABC):
    """Files of another pipeline.

    Attributes:
        name: of the pipeline.
        holds: what its features or matches lie in.
        has_sizes: whether features come with the size of their image.
    """

    name: str
    holds: str
    has_sizes: bool

    def check_place(self, place: Path, kind: str | None, *, there: bool) -> None:
        """Refuse a folder where the format has a file or the other way round, and a kind that is not a name.

        Args:
            place: file or folder.
            kind: name of the features in it; None: not given.
            there: whether it must be there, to be read.

        Raises:
            ConfigError: so it is, or what should be read is absent.
        """
        if (place.exists() or there) and not self.fits(place):
            raise ConfigError(f"{place}: {self.name} has {self.holds} for this, and that is none.")
        if kind is not None and not self.takes_kind(kind):
            raise ConfigError(
                f"--kind {kind!r}: names the features of a kapture folder, in letters, digits, `_`, `-` and `.`; "
                "hloc's files have no such name."
            )

    @abstractmethod
    def fits(self, place: Path) -> bool:
        """Whether a place that is there is what the format has."""

    @abstractmethod
    def takes_kind(self, kind: str) -> bool:
        """Whether features can have this name."""

    @abstractmethod
    def check_target(self, place: Path, inputs: Sequence[Path]) -> None:
        """Refuse to write over what is not of the format, or is one of ``inputs``; ConfigError."""

    @abstractmethod
    def origin(self, place: Path) -> str:
        """Where features were read from, as shards say it."""

    @abstractmethod
    def write_features(self, features: Features, place: Path, kind: str) -> int:
        """Write features of images by name; how many images. DataError where the format cannot have them."""

    @abstractmethod
    def read_features(self, place: Path, kind: str, names: Sequence[str]) -> Mapping[str, ExchangedFeatures]:
        """Features of these images by name. DataError: damaged, or an image is absent."""

    @abstractmethod
    def write_matches(self, pairs: Matches, place: Path, kind: str) -> int:
        """Write matches of pairs of images (names, number of features of the first); how many pairs."""

    @abstractmethod
    def match_reader(
        self, place: Path, kind: str, names: Sequence[tuple[str, str]]
    ) -> Callable[[str, str], ExchangedMatches]:
        """What gives the matches of two images by name, of these pairs. DataError: damaged, or a pair is absent."""


class Hloc(ExchangeFormat):
    """HDF5 files of hloc."""

    name, holds, has_sizes = "hloc", "a file", True

    def fits(self, place: Path) -> bool:
        """A file."""
        return place.is_file()

    def takes_kind(self, kind: str) -> bool:
        """Never: its files have no names of features."""
        return False

    def check_target(self, place: Path, inputs: Sequence[Path]) -> None:
        """Only over files of hloc."""
        check_output(place, inputs, endings=(".h5", ".hdf5"), read=_read_groups)

    def origin(self, place: Path) -> str:
        """With the checksum of the file."""
        return f"hloc, sha256 {sha256_file(place)}"

    def write_features(self, features: Features, place: Path, kind: str) -> int:
        """:func:`write_hloc_features`."""
        return write_hloc_features(features, place)

    def read_features(self, place: Path, kind: str, names: Sequence[str]) -> Mapping[str, ExchangedFeatures]:
        """:func:`read_hloc_features`."""
        return read_hloc_features(place, names)

    def write_matches(self, pairs: Matches, place: Path, kind: str) -> int:
        """:func:`write_hloc_matches`."""
        return write_hloc_matches(pairs, place)

    def match_reader(
        self, place: Path, kind: str, names: Sequence[tuple[str, str]]
    ) -> Callable[[str, str], ExchangedMatches]:
        """All pairs are read at once."""
        known = dict(zip(names, read_hloc_matches(place, names), strict=True))
        return lambda first, second: known[first, second]


class Kapture(ExchangeFormat):
    """Folders of kapture."""

    name, holds, has_sizes = "kapture", "a folder", False

    def fits(self, place: Path) -> bool:
        """A folder."""
        return place.is_dir()

    def takes_kind(self, kind: str) -> bool:
        """What can be the name of a folder."""
        return _KIND.fullmatch(kind) is not None

    def check_target(self, place: Path, inputs: Sequence[Path]) -> None:
        """Any folder: what is in it stays."""

    def origin(self, place: Path) -> str:
        """Its many files have no checksum."""
        return "kapture"

    def write_features(self, features: Features, place: Path, kind: str) -> int:
        """:func:`write_kapture_features`."""
        with into_folder(place) as folder:
            return write_kapture_features(features, folder, kind)

    def read_features(self, place: Path, kind: str, names: Sequence[str]) -> Mapping[str, ExchangedFeatures]:
        """:func:`read_kapture_features`."""
        return read_kapture_features(place, kind, names)

    def write_matches(self, pairs: Matches, place: Path, kind: str) -> int:
        """A file a pair."""
        count = 0
        with into_folder(place) as folder:
            for first, second, _, matched in pairs:
                write_kapture_matches(folder, kind, first, second, matched)
                count += 1
        return count

    def match_reader(
        self, place: Path, kind: str, names: Sequence[tuple[str, str]]
    ) -> Callable[[str, str], ExchangedMatches]:
        """A pair is read when it is asked for."""
        return lambda first, second: read_kapture_matches(place, kind, first, second)


FORMATS: Mapping[str, ExchangeFormat] = {form.name: form for form in (Hloc(), Kapture())}


def _read_groups(path: Path) -> None:
    """Refuse what is not a file of hloc; those of the workflow have no groups."""
    with opened_hloc(path, "file") as groups:
        if not any(groups):
            raise DataError(f"{path}: has no groups.")
