"""What is missing for a table or a cell, before anything starts: data, addresses, disk, memory, GPU, packages.

Nothing is downloaded and nothing is written.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import requests

from descbench.command_files import named
from descbench.config.base import close_names
from descbench.custom_modules import find_module
from descbench.errors import ConfigError, DataError
from descbench.hardware import memory_gb
from descbench.io.download import addresses_of
from descbench.licences import forbids_commerce
from descbench.listing import listed
from descbench.machine import count_gpus
from descbench.plan import Plan
from descbench.table_kinds import all_tables, check_configuration, known_table

# What a rule of the workflow asks for at most at its first attempt, in MB (workflow/rules).
MOST_MEMORY = 24_000
_SECONDS = 10
_SHOWN = 4  # names in a line
_NUMBER_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True)
class Finding:
    """What was looked at.

    Attributes:
        state: ``ok``; ``note``, worth knowing; or ``missing``, nothing would come of a start.
        what: was looked at.
        told: what was found, and what to do.
        downloads: files of it that the run will download.
    """

    state: Literal["ok", "note", "missing"]
    what: str
    told: str
    downloads: int = 0


def examine(plan: Plan, target: str, *, online: bool = False) -> list[Finding]:
    """Look at all that a target needs.

    Args:
        plan: of the configuration.
        target: a table, of other choices of scoring too, or a cross table, by its name or one of its files; or a
            scores file.
        online: whether the addresses of what must be downloaded are asked; otherwise nothing touches the network.

    Raises:
        ConfigError: the target is none of these.
    """
    cells = find_cells(plan, target)
    sources = list(dict.fromkeys(name for cell in cells for name in plan.lineage.sources_behind(*cell)))
    findings = [*_sources(plan, sources, online), *_own_files(plan, cells), *_disk(plan, cells, sources)]
    return [*findings, *_machine(plan, cells), *_packages(plan), *_licences(plan, cells, sources)]


def find_cells(plan: Plan, target: str) -> list[tuple[str, str]]:
    """Method and dataset of each cell of a target.

    Raises:
        ConfigError: it is not a table, no file of one and no scores file of names in the configuration.
    """
    if (table := known_table(plan, target)) is not None:
        kind, name = table
        return kind.needed(plan, name)
    config, paths = plan.config, plan.paths
    place = os.path.relpath(target)  # however the path is written
    scores = re.fullmatch(
        re.escape(os.path.relpath(paths.scores("{method}", "{dataset}")))
        .replace(r"\{method\}", "([^/]+)")
        .replace(r"\{dataset\}", "([^/]+)"),
        place,
    )
    if scores is None:
        check_configuration(plan, target)
        raise ConfigError(
            f"{target!r}: no table and no scores file; name one like {paths.scores('METHOD', 'DATASET')}, or a table, "
            f"{close_names(Path(target).stem, dict.fromkeys(name for _, name in all_tables(plan)))}."
        )
    block = named(config.methods, "method", scores[1])
    named(getattr(config, block.SCORED_ON), "dataset or patch set", scores[2])
    return [(scores[1], scores[2])]


def _sources(plan: Plan, names: Sequence[str], online: bool) -> Iterator[Finding]:
    """Downloads, copies of the user's, and what must be asked for."""
    for name in names:
        source = plan.config.sources[name]
        files = plan.lineage.source_files(name)
        absent = [file for file in files if not Path(plan.paths.raw(file)).exists()]
        if Path(plan.paths.unpacked(name)).exists() or not absent:
            yield Finding("ok", name, "is here")
        elif source.local_copy is not None:
            copies = [Path(str(source.local_copy).replace("{part}", str(n))) for n in range(1, (source.parts or 1) + 1)]
            gone = [copy for copy in copies if not copy.exists()]
            told = f"your copy {gone[0]} is not there; correct `local_copy`" if gone else f"your copy {copies[0]}"
            yield Finding("missing" if gone else "ok", name, told)
        elif source.access == "request":
            wanted = f" It must hold: {source.layout}." if source.layout else ""
            yield Finding(
                "missing", name, f"ask for it or fetch it by hand: {source.ask}; then set `local_copy`.{wanted}"
            )
        elif plan.config.offline:
            yield Finding("missing", name, "is not here, and `offline: true` downloads nothing; set `local_copy`")
        else:
            yield _download(plan, name, absent, online)


def _download(plan: Plan, name: str, files: Sequence[str], online: bool) -> Finding:
    source = plan.config.sources[name]
    size = f", {source.size / 1e6:,.1f} MB" if source.size else ""
    what = f"{len(files)} files to download{size}" if len(files) > 1 else f"to download{size}"
    addresses = addresses_of(source, source.parts and 1, plan.config.mirrors)
    if not online:
        return Finding("note", name, f"{what}: {addresses[0]}", len(files))
    refusals = []
    for address in addresses:
        refusal = _ask(address)
        if refusal is None:
            return Finding("ok", name, f"{what}: {address} answers", len(files))
        refusals.append(f"{address}: {refusal}")
    return Finding("missing", name, f"no address answers ({'; '.join(refusals)}); set `local_copy`")


def _ask(address: str) -> str | None:
    """Why an address gives nothing; None where it does. Only the head of the file is asked for."""
    try:
        with requests.get(address, stream=True, timeout=_SECONDS, headers={"Range": "bytes=0-0"}) as answer:
            return None if answer.ok else f"status {answer.status_code}"
    except requests.RequestException as error:
        return type(error).__name__


def _own_files(plan: Plan, cells: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Folders and files of the user's."""
    for name in dict.fromkeys(data for cell in cells for section, data in plan.lineage.data_behind(*cell)):
        if name in plan.config.datasets and plan.own_folders.holds(name):
            try:
                images = len(plan.own_folders.list_images(name).manifest)
                yield Finding("ok", name, f"your folder, {images:,} images")
            except DataError as error:
                yield Finding("missing", name, str(error))
        elif folder := _put_by_hand(plan, name):
            there = (
                f"your folder {folder}" if folder.is_dir() else f"{folder} is not there; put the images or a link there"
            )
            yield Finding("ok" if folder.is_dir() else "missing", name, there)
    models = dict.fromkeys(model for method, _ in cells for model in plan.lineage.models_behind(method))
    for model in models:
        block = plan.config.models[model]
        if block.own_code is not None:
            yield _own_code(model, block.own_code)
        for path in block.weights.own_files:
            if not path.exists():
                yield Finding("missing", model, f"its weights {path} are not there")


def _own_code(model: str, name: str) -> Finding:
    """The module of a custom network."""
    try:
        return Finding("ok", model, f"your code {find_module(name)}")
    except ConfigError as error:
        return Finding("missing", model, str(error))


def _put_by_hand(plan: Plan, name: str) -> Path | None:
    """Folder below the data's that the user puts the images of a dataset into; None where something else does."""
    block = plan.config.datasets.get(name)
    images = getattr(block, "images", None)
    if images is None or block.sources or block.image_sources or block.generator:
        return None
    return Path(plan.paths.datasets(), images)


def _disk(plan: Plan, cells: Sequence[tuple[str, str]], sources: Sequence[str]) -> Iterator[Finding]:
    """Room for descriptors that are not made yet, as far as the configuration tells their number."""
    wanted, unknown = 0, {f"patches of {data}" for name, data in cells if plan.config.methods[name].family == "patches"}
    for features, dataset, role, images in dict.fromkeys(_described(plan, cells)):
        try:
            shards, count = plan.features(features, dataset, role, images), plan.count(dataset, role)
        except DataError:
            continue  # a folder of the user's that is not there, which is told of itself
        if all(Path(path).exists() for path in shards):
            continue
        size = _bytes_of_image(plan.config, features)
        if size is None or count is None:
            unknown.add(f"{features} of {dataset}")
        else:
            wanted += size * min(count, images or count)
    known = sum(plan.config.sources[name].size or 0 for name in sources)
    parts = [f"descriptors at most {wanted / 1e9:,.1f} GB"] if wanted or not unknown else []
    parts += [f"of unknown size: {listed(sorted(unknown), _SHOWN)}"] if unknown else []
    unsized = sum(plan.config.sources[name].size is None for name in sources)
    parts += [f"archives come on top ({unsized} of {len(sources)} of unknown size)"] if sources else []
    for what, folder, needed in (("results", plan.config.results_dir, wanted), ("data", plan.config.data_dir, known)):
        there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding("missing", f"folder of {what}", f"{there} is not a folder that can be written to")
            continue
        free = shutil.disk_usage(there)
        state = "missing" if free.free < needed else "ok"
        told = [f"{free.free / 1e9:,.1f} GB free", *(parts if what == "results" else [])]
        yield Finding(state, f"disk of {what}", "; ".join(told))


def _described(plan: Plan, cells: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str, int | None]]:
    """Features that are extracted for the cells: block, dataset, role, and how many images of it."""
    for method, dataset in cells:
        for name in plan.lineage.methods_behind(method):
            block = plan.config.methods[name]
            if block.SCORED_ON != "datasets":
                continue
            for searched in plan.lineage.searched_datasets(dataset):
                for features in block.all_features[:1]:
                    roles = plan.config.datasets[searched].roles()
                    yield from ((features, searched, role, None) for role in roles)
            codebook = getattr(block, "codebook", None)
            if codebook is not None:
                yield codebook.features, codebook.dataset, codebook.role, codebook.images


def _bytes_of_image(config: Any, features: str) -> int | None:
    """Bytes of the descriptors of an image, at most; None where only the network or the files tell."""
    block = config.features[features]
    if not block.READS_IMAGES:
        return None
    dimensions = block.most_dimensions(config)
    number = 1 if block.IS_LOCAL is False else block.max_features
    return None if not dimensions or not number else dimensions * number * _NUMBER_BYTES[block.dtype]


def _machine(plan: Plan, cells: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Memory and GPUs."""
    memory = memory_gb()
    enough = memory * 2**30 >= MOST_MEMORY * 1e6
    told = f"{memory:,.1f} GiB; rules ask for up to {MOST_MEMORY / 1000:g} GB (docs/slurm.md)"
    yield Finding("ok" if enough else "note", "memory", told)
    models = dict.fromkeys(model for method, _ in cells for model in plan.lineage.models_behind(method))
    trained = [model for model in models if plan.config.models[model].weights.trained_by]
    if not models:
        yield Finding("ok", "GPU", "no network runs")
        return
    found, device = count_gpus(), plan.config.device
    if found and device != "cpu":
        yield Finding("ok", "GPU", f"{found} of CUDA")
    elif device == "cuda":
        yield Finding("missing", "GPU", "`device: cuda`, and torch sees none; set `device: auto` or `cpu`")
    else:
        more = f"; trained here: {listed(trained)}" if trained else ""
        yield Finding("note", "GPU", f"networks run on the CPU{more}")


def _packages(plan: Plan) -> Iterator[Finding]:
    """Packages that are required and not installed."""
    wanted: dict[str, Callable[[], bool]] = {
        name: lambda name=name: _is_installed(name) for name in ("snakemake", *_required())
    }
    wanted["faiss-cpu or faiss-gpu-cu12"] = lambda: importlib.util.find_spec("faiss") is not None
    if plan.config.backend in ("onnxruntime", "openvino"):
        wanted[plan.config.backend] = lambda: _is_installed(plan.config.backend)
    absent = [name for name, is_there in wanted.items() if not is_there()]
    if absent:
        yield Finding("missing", "packages", f"not installed: {', '.join(absent)}; `make setup`")
    else:
        yield Finding("ok", "packages", f"{len(wanted)} are installed")


def _required() -> list[str]:
    """Names of the packages that descbench requires, without its extras."""
    try:
        lines = metadata.requires("descbench") or []
    except metadata.PackageNotFoundError:  # run from a folder, never installed
        return []
    return [re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in lines if "extra ==" not in line]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _licences(plan: Plan, cells: Sequence[tuple[str, str]], sources: Sequence[str]) -> Iterator[Finding]:
    """Licences of all sources, and of weights of the user's; those that forbid commercial use are told first."""
    by_licence: dict[str, list[str]] = {}
    for name in sources:
        by_licence.setdefault(plan.config.sources[name].licence or "not stated by the owners", []).append(name)
    for name in dict.fromkeys(model for method, _ in cells for model in plan.lineage.models_behind(method)):
        if (licence := plan.config.models[name].weights.own_licence) is not None:
            by_licence.setdefault(licence, []).append(name)
    for licence in sorted(by_licence, key=lambda text: not forbids_commerce(text)):
        names = by_licence[licence]
        yield Finding("note", "licence", f"{licence}: {listed(names, _SHOWN)}")
