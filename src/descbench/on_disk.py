"""What is on disk already, read while the workflow is planned: the user's own copies, downloads, scores.

What is found here makes a result anew, or has it shown; it never says where a file lies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from descbench.errors import DataError
from descbench.io.digests import git_blob_sha1_file, md5_file, sha256_file
from descbench.io.jsonfiles import read_json
from descbench.io.origin import origin_path, read_origin
from descbench.io.own_copies import digest_copy
from descbench.lineage import Lineage
from descbench.paths import Paths


@dataclass(frozen=True)
class ExtraCell:
    """Scores that a table shows because they are there: what they are of, their files, and their SHA-256."""

    method: str
    dataset: str
    scores: str
    provenance: str
    digest: str


class OnDisk:
    """Files of the user's that stand in for downloads, and files that earlier runs left."""

    def __init__(self, lineage: Lineage, paths: Paths) -> None:
        self._lineage, self._paths = lineage, paths
        self._config = lineage.config

    def find_copied_folder(self, source: str) -> Path | None:
        """The user's own folder that stands in for a source, unpacked already; None where there is none."""
        copy = self._config.block("sources", source).local_copy
        return copy if copy is not None and copy.is_dir() else None

    def digest_copy(self, source: str, part: int | None = None) -> str:
        """Digest of the user's own copy of a source, so that another one is noticed; empty where there is none."""
        copy = self._config.block("sources", source).local_copy
        if copy is None:
            return ""
        return digest_copy(copy if part is None else Path(str(copy).replace("{part}", str(part))))

    def digest_copied_folder(self, source: str) -> str:
        """:meth:`digest_copy` of a user's own folder; empty for a file, which has a link in its place."""
        return "" if self.find_copied_folder(source) is None else self.digest_copy(source)

    def digest_run_folder(self, model: str) -> str:
        """:meth:`digest_copied_folder` of the run of pytorch-NetVlad that published weights are read from."""
        sources = self._config.block("models", model).weights.named_sources
        return "".join(self.digest_copied_folder(name) for name in sources)

    def list_own_files(self, patch_set: str, part: str = "") -> list[str]:
        """Files of a patch set that the user put in place: those of a part, or the lists beside the parts.

        None of a patch set that is unpacked or drawn, which depends on that instead.
        """
        block = self._config.block("patch_sets", patch_set)
        if block.sources or block.generator:
            return []
        below = [f"{block.folder}/{part}"] if part else block.lists
        places = [Path(self._paths.datasets(), place) for place in below]
        files = [path for place in places for path in (place.iterdir() if place.is_dir() else [place])]
        return sorted({path.as_posix() for path in files if path.is_file()})

    def find_unfit(self, file: str) -> str:
        """What the checks of a source expect, where a download is there and its record says that it differs.

        Empty for a file that is not there yet too, so that checks that were added or corrected later make no file
        that passes them anew.
        """
        _, source, part = self._lineage.source_of_file(file)
        path = Path(self._paths.raw(file))
        try:
            found = read_origin(origin_path(path))
        except DataError:
            return "no readable record"
        if found is None or part is not None or not path.exists():
            return ""
        fits = found.sha256.startswith(source.sha256 or "") and source.size in (None, found.size)
        if not fits:
            return f"size {source.size}, SHA-256 {source.sha256}"
        # Records have no other digests; few sources are checked by these, and by small files.
        others = ((git_blob_sha1_file, source.git_blob_sha1), (md5_file, source.md5))
        return next((wanted for digest, wanted in others if wanted and digest(path) != wanted), "")

    def find_scores(self, cells: Iterable[tuple[str, str]]) -> list[ExtraCell]:
        """Of the scores of these methods on datasets, those that are there and would come out the same today.

        Nothing depends on them, so nothing is computed for their sake; their digests make a table that shows them
        be written again when they change.
        """
        scores = {cell: self._paths.scores(*cell) for cell in cells if self._is_current(*cell)}
        return [ExtraCell(*cell, s, self._paths.provenance(*cell), sha256_file(s)) for cell, s in scores.items()]

    def _is_current(self, method: str, dataset: str) -> bool:
        """Whether scores are there whose provenance names the present blocks of configuration and features."""
        try:
            record = read_json(self._paths.provenance(method, dataset))
        except DataError:  # absent or damaged
            return False
        return (
            Path(self._paths.scores(method, dataset)).is_file()
            and record["configuration"] == self._lineage.blocks_behind(method, dataset)
            and record["features"]["features"] == self._lineage.digest_descriptors(method)
        )
