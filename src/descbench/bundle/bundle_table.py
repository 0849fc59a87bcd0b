"""A table with all that it rests on as one zip file, which is a Provenance Run RO-Crate (``crate.py``)."""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from descbench.bundle.contents import (
    TableFiles,
    blocks_that_differ,
    files_that_differ,
    find_not_commercial,
    read_table,
    write_again,
)
from descbench.bundle.crate import METADATA, describe_crate
from descbench.bundle.croissant import describe_dataset
from descbench.command_files import read_configuration
from descbench.custom_modules import module_files
from descbench.errors import ConfigError, DataError
from descbench.io.atomic import atomic_path, work_folder
from descbench.io.csvfiles import read_csv
from descbench.io.digests import sha256_file
from descbench.plan import Plan
from descbench.project import project_folder, snakemake_command

# Of the workflow: what a run is made from, beside the package.
_WORKFLOW = ("Snakefile", "workflow", "config", "envs")
# The first date that a zip file can hold: equal contents give equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def bundle_table(
    target: str | Path,
    output: str | Path | None = None,
    *,
    configfiles: Sequence[str | Path] = (),
    commercial: bool = False,
) -> Path:
    """Write a table, its scores and provenance, lists of images, configuration and workflow into one zip file.

    Images, weights, features and rankings are not in it: the provenance and the descriptions of the datasets
    (Croissant) say where they come from, with digests and licences.

    Args:
        target: a table, also a cross table or one of other choices of scoring, or one of its files.
        output: the zip file; None: ``<table>.crate.zip`` beside the table.
        configfiles: overlays of the configuration.
        commercial: refuse cells that rest on weights without a licence for commercial use.

    Returns:
        the file.

    Raises:
        ConfigError: no such table, an output that is not a zip file, or a cell that ``commercial`` refuses.
        DataError: files that are not there yet or damaged, or an output that cannot be written.
    """
    files = [Path(file) for file in configfiles]
    config = read_configuration(files)
    plan = Plan(config)
    table = read_table(plan, str(target), files)
    for scores, block in blocks_that_differ(plan, table):
        raise DataError(
            f"{scores}: was made with another {block} than the configuration has now; give the --configfile that it "
            "was made with, or have it made again."
        )
    if others := files_that_differ(plan, table):
        message = "not what the scores of its cells give: it was edited, or they changed"
        raise DataError(f"{others[0]}: {message}; delete it, and have the table made again.")
    refused = list(find_not_commercial(table, config.sources, config.models)) if commercial else []
    if refused:
        raise ConfigError("\n".join([f"{table.name}: not for commercial use:", *(f"  {line}" for line in refused)]))
    written = Path(output) if output else table.csv.with_suffix(".crate.zip")
    if written.suffix != ".zip":
        raise ConfigError(f"{written}: a bundle is a zip file; name one that ends in .zip.")
    if written.exists() and not _is_bundle(written):
        raise ConfigError(f"{written}: is there, and is not a bundle; name another file, or move it away.")
    with work_folder(written) as folder:
        _gather(folder, table, plan, files)
        describe_crate(folder, table)
        with atomic_path(written) as temporary:
            _zip(folder, temporary)
    return written


def _is_bundle(path: Path) -> bool:
    """Whether a file is a bundle, which a new one may replace."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return METADATA in archive.namelist()


def _gather(folder: Path, table: TableFiles, plan: Plan, configfiles: Sequence[Path]) -> None:
    """Copy what is in a bundle to a folder."""
    for name in _WORKFLOW:
        _copy(project_folder() / name, folder / name)
    for number, file in enumerate(configfiles):
        _copy(file, folder / f"overlays/{number}_{file.name}")
    content = yaml.safe_dump(plan.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "configuration.yaml").write_text(content, encoding="utf-8")
    for cell in table.cells:
        for file in cell.files:
            _copy(file, folder / table.bundled(file))
    # Without links to pages of pictures, which are not in it.
    for file in table.files:
        (folder / table.bundled(file)).parent.mkdir(parents=True, exist_ok=True)
    write_again(plan, table, [folder / table.bundled(file) for file in table.files])
    for file in _own_code(plan, table):
        below = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else Path(file.name)
        _copy(file, folder / "code" / below)
    for dataset, block in table.datasets.items():
        _describe_data(folder, plan, table, dataset, block)


def _own_code(plan: Plan, table: TableFiles) -> list[Path]:
    """Files of the modules of custom networks behind a table."""
    models = dict.fromkeys(name for cell in table.cells for name in plan.lineage.models_behind(cell.method))
    named = [code for name in models if (code := plan.config.models[name].own_code)]
    return list(dict.fromkeys(file for code in named for file in module_files(code) if file.is_file()))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise DataError(f"{source}: cannot be copied into a bundle ({error.strerror}).") from error


def _describe_data(folder: Path, plan: Plan, table: TableFiles, dataset: str, block: Any) -> None:
    """The list of a dataset's images, where there is one, and the dataset as Croissant."""
    named = {*block.get("sources", ()), *block.get("image_sources", ())}
    sources = {name: entry for name, entry in table.sources.items() if name in named}
    listed = Path(plan.paths.manifest(dataset))
    manifest = None
    if listed.is_file():
        _copy(listed, folder / f"manifests/{dataset}.csv")
        columns, _ = read_csv(listed, "manifest")
        manifest = (f"../manifests/{dataset}.csv", sha256_file(listed), columns)
    elif dataset in plan.config.datasets:  # patch sets have no such list
        logging.warning(
            "%s is not there, so the bundle has no list of the images of %s; `%s %s` makes it.",
            listed,
            dataset,
            snakemake_command(),
            listed,
        )
    described = describe_dataset(dataset, block, sources, manifest)
    path = folder / f"datasets/{dataset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _zip(folder: Path, output: Path) -> None:
    """A zip file of a folder whose bytes follow from its content alone."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
