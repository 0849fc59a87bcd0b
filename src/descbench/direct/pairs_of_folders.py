"""The pairs file of kapture folders, without the workflow."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from descbench.command_files import read_configuration
from descbench.config.datasets import KaptureDataset
from descbench.datasets.kapture import kapture_root, read_kapture
from descbench.datasets.photographs import shown
from descbench.direct.search_images import OnBadFile
from descbench.direct.searched import check_searches, find_codebook
from descbench.direct.work_features import DescribedImages, WorkFeatures
from descbench.direct.work_place import hold_folder
from descbench.errors import ConfigError
from descbench.interop.pairs_files import check_replaced
from descbench.io.outputs import check_output
from descbench.retrieval.pairs import compute_pairs
from descbench.retrieval.run_search import prepare_database

_log = logging.getLogger(__name__)


def write_pairs(
    map_folder: Path,
    query_folder: Path | None,
    method: str,
    output: Path,
    *,
    top_k: int | None = None,
    configfiles: Sequence[Path] = (),
    work: Path | None = None,
    on_bad_file: OnBadFile = "stop",
) -> None:
    """Write the pairs file of a kapture map and its queries.

    Args:
        map_folder: kapture folder that is searched.
        query_folder: kapture folder of the queries; None: the map against itself.
        method: of the configuration.
        output: the file to write.
        top_k: pairs of each query; None: ``pairs_top_k`` of the configuration.
        configfiles: overlays of the configuration.
        work: folder to keep features in, for the next call; None: none is kept.
        on_bad_file: ``stop`` at an image that cannot be read, or ``skip`` it: it is in no pair.

    Raises:
        ConfigError: a method that searches no images by itself, or a file that cannot be written.
        DataError: a codebook or checkpoint that is not there (the message names the command that makes it), or images
            that cannot be read.
    """
    config = read_configuration(configfiles)
    check_searches(config, method)
    if top_k is not None and top_k < 1:
        raise ConfigError(f"--top-k {top_k}: at least 1.")
    folders = [folder for folder in (map_folder, query_folder) if folder is not None]
    inputs = [*(folder / "sensors" for folder in folders), *configfiles]
    check_output(output, inputs, read=partial(check_replaced, form="kapture"))
    with _work_folder(work, folders) as folder:
        block = config.methods[method]
        features = WorkFeatures(config, block.features, folder, configfiles, on_bad_file == "skip")
        codebook = find_codebook(config, method, configfiles)
        images = _describe(features, "map", map_folder)
        queries = images if query_folder is None else _describe(features, "query", query_folder)
        database = prepare_database(block, images.shards, folder, codebook)
        names = queries.manifest, images.manifest
        called = query_folder or map_folder, map_folder
        compute_pairs(block, queries.shards, database, names, output, top_k=top_k or config.pairs_top_k, called=called)


@contextmanager
def _work_folder(work: Path | None, apart_from: Sequence[Path]) -> Iterator[Path]:
    if work is None:
        with tempfile.TemporaryDirectory(prefix="descbench-pairs-") as folder:
            yield Path(folder)
    else:
        with hold_folder("--work", work, apart_from):
            yield work


def _describe(features: WorkFeatures, name: str, folder: Path) -> DescribedImages:
    try:
        dataset = KaptureDataset(format="kapture", folder=folder)
    except ValidationError as error:
        raise ConfigError(f"{str(folder)!r} is not a folder: {error.errors()[0]['msg']}.") from error
    images, left_out = read_kapture(dataset)
    if left_out:
        _log.warning("%s: %d images are left out: %s.", folder, len(left_out), shown(left_out))
    return features.describe(name, images, kapture_root(dataset), source=f"{folder}/sensors/records_camera.txt")
