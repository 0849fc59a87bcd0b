"""Where downloaded, unpacked and drawn files lie, and what about them or the user's own copies makes them anew."""

from __future__ import annotations

from pathlib import Path

from descbench.config.models import Config
from descbench.config.sources import Source
from descbench.errors import DataError
from descbench.io.origin import origin_path, read_origin
from descbench.io.own_copies import digest_copy
from descbench.lineage import Lineage


class RawFiles(Lineage):
    """The files of all sources, and the drawn town that stands in for them."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.data = config.data_dir.as_posix()
        self.datasets_dir = f"{self.data}/datasets"

    def source_files(self, name: str) -> list[str]:
        """File names below ``<data_dir>/raw`` that make up a source."""
        source = self._get("sources", name)
        return [name] if source.parts is None else [f"{part:03d}.{name}" for part in range(1, source.parts + 1)]

    def source_of_file(self, file: str) -> tuple[str, Source, int | None]:
        """Name, block and part number of the source that a raw file belongs to."""
        if file in self.config.sources and self.config.sources[file].parts is None:
            return file, self.config.sources[file], None
        part, _, name = file.partition(".")
        return name, self._get("sources", name), int(part)

    def raw_files(self) -> list[str]:
        """File names of all sources."""
        return [file for name in self.config.sources for file in self.source_files(name)]

    def raw(self, file: str) -> str:
        """Path of a downloaded file."""
        return f"{self.data}/raw/{file}"

    def unpacked(self, name: str) -> str:
        """Marker of a source whose content lies in place."""
        return f"{self.datasets_dir}/.unpacked/{name}.json"

    def toytown(self) -> str:
        """Marker of the drawn town."""
        return f"{self.datasets_dir}/toytown.json"

    def copy_digest(self, name: str, part: int | None = None) -> str:
        """Digest of the user's own copy of a source, so that another one is noticed; empty where there is none."""
        copy = self._get("sources", name).local_copy
        if copy is None:
            return ""
        return digest_copy(copy if part is None else Path(str(copy).replace("{part}", str(part))))

    def folder_digest(self, name: str) -> str:
        """:meth:`copy_digest` of a user's own folder; empty for a file, which has a link in its place."""
        copy = self._get("sources", name).local_copy
        return self.copy_digest(name) if copy is not None and copy.is_dir() else ""

    def run_digest(self, model: str) -> str:
        """:meth:`folder_digest` of the folder of a run that published weights are read from."""
        sources = self._get("models", model).weights.named_sources
        return "".join(self.folder_digest(name) for name in sources)

    def unfit(self, file: str) -> str:
        """What the checks of a source expect, where a raw file is there and its record says that it differs.

        Empty for a file that is not there yet too, so that checks that were added or corrected later make no file
        that passes them anew.
        """
        _, source, part = self.source_of_file(file)
        try:
            found = read_origin(origin_path(Path(self.raw(file))))
        except DataError:
            return "no readable record"
        if found is None or part is not None or not Path(self.raw(file)).exists():
            return ""
        fits = found.sha256.startswith(source.sha256 or "") and source.size in (None, found.size)
        return "" if fits else f"size {source.size}, SHA-256 {source.sha256}"

    def archives(self, name: str) -> list[str]:
        """Raw files to unpack; none where the user's own unpacked folder stands in for them."""
        source = self._get("sources", name)
        if source.local_copy is not None and source.local_copy.is_dir():
            return []
        return [self.raw(file) for file in self.source_files(name)]
