"""What the rule of the report hands to its job, as plain values: what each result rests on, and what is on disk.

Light, as all that a Snakefile imports.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.config.models import Config
from descbench.config.published import figures_on
from descbench.io.run_notes import Stages
from descbench.tables.text import relative_address

Cell = tuple[str, str]
_REPORT = "build_report"


def report_cells(
    config: Config,
    plan: Any,
    cells: Iterable[Cell],
    asked: Collection[str] = (),
    is_made: Callable[[str], bool] = lambda path: False,
) -> list[dict[str, Any]]:
    """For each method and dataset: names behind it, its page and its choices of scoring where they are there, and what
    a search of it reads.

    Args:
        config: the configuration.
        plan: of it.
        cells: that the report shows.
        asked: files that this run was asked for: a page among them will be there when the run has ended.
        is_made: whether some rule makes a file, such as a page.
    """
    return [
        {
            "method": method,
            "dataset": dataset,
            "behind": plan.lineage.names_behind(method, dataset),
            "page": (page := plan.paths.page(method, dataset)),
            "page_is_there": _is_there(page, asked),
            "page_is_made": is_made(page),
            "rescored": (rescored := plan.paths.rescored(method, dataset)),
            "rescored_is_there": Path(rescored).is_file(),
            "searched": _searched(config, plan, method, dataset),
        }
        for method, dataset in cells
    ]


def pages_there(plan: Any, cells: Iterable[Cell], asked: Collection[str]) -> list[tuple[str, str, str]]:
    """Method, dataset and page of the results that have one, or will have when the run has ended.

    Args:
        plan: of the configuration.
        cells: whose pages are meant.
        asked: files that this run was asked for.
    """
    named = [(*cell, plan.paths.page(*cell)) for cell in dict.fromkeys(cells)]
    return [found for found in named if _is_there(found[-1], asked)]


def _is_there(page: str, asked: Collection[str]) -> bool:
    return os.path.normpath(page) in asked or Path(page).is_file()


def page_addresses(pages: Iterable[Sequence[str]], output: str) -> dict[Cell, str]:
    """What :func:`pages_there` gave as addresses of links in an output, by method and dataset."""
    return {(method, dataset): relative_address(Path(page), Path(output)) for method, dataset, page in pages}


def published_curves(config: Config, cells: Iterable[Cell], home: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Published figures of the datasets with image pairs that the report shows, by dataset."""
    shown = dict.fromkeys(dataset for _, dataset in cells)
    paired = [name for name in shown if name in config.datasets and config.datasets[name].FAMILY == "matching"]
    return {name: figures_on(config, name, home) for name in paired}


def prefix_of(rules: Iterable[Any]) -> str:
    """What the names of our rules begin with: a workflow that has ours as a module may put something before them."""
    return next((rule.name.removesuffix(_REPORT) for rule in rules if rule.name.endswith(_REPORT)), "")


def timed_stages(rules: Iterable[Any]) -> dict[str, tuple[str, str, str]]:
    """Patterns of benchmark file, first output and log of each rule that makes a part of a result.

    Args:
        rules: of the workflow, as Snakemake has them.
    """
    from snakemake.io import strip_wildcard_constraints  # only here: the package itself needs no Snakemake

    rules = list(rules)
    prefix = prefix_of(rules)
    timed = {rule.name.removeprefix(prefix): rule for rule in rules if rule.benchmark and rule.output and rule.log}
    return {
        name: tuple(strip_wildcard_constraints(str(file)) for file in (rule.benchmark, rule.output[0], rule.log[0]))
        for name, rule in timed.items()
        if not name.startswith("show_")
    }


def stages_behind(dag: Any, rule: str) -> Stages:
    """Jobs of each rule behind those of ``rule``, and the rules that it reads from; empty where it has no job.

    Args:
        dag: of Snakemake, whose jobs are there whether they have to run or not.
        rule: name of a rule.
    """
    found, waiting = set(), [job for job in dag.jobs if job.rule.name == rule]
    while waiting:
        job = waiting.pop()
        if job not in found:
            found.add(job)
            waiting.extend(dag.dependencies[job])
    jobs = Counter(job.rule.name for job in found)
    after: dict[str, set[str]] = {name: set() for name in jobs}
    for job in found:
        after[job.rule.name] |= {before.rule.name for before in dag.dependencies[job]} - {job.rule.name}
    return {name: (jobs[name], sorted(after[name])) for name in sorted(jobs)}


def makes_page(rules: Iterable[Any]) -> Callable[[str], bool]:
    """Whether one of the rules that show results makes a page; arguments as of :func:`timed_stages`."""
    rules = list(rules)
    prefix = prefix_of(rules)
    showing = [rule for rule in rules if rule.name.removeprefix(prefix).startswith("show_")]
    return lambda path: any(rule.is_producer(path) for rule in showing)


def _searched(config: Config, plan: Any, method: str, dataset: str) -> dict[str, Any]:
    """Files that a search reads, and the images that they describe; none where that is not known."""
    block = config.methods[method]
    nothing: dict[str, Any] = {"files": [], "images": 0}
    if block.family != "retrieval" or block.based_on or not block.all_features:
        return nothing
    counts = [plan.count(name, "database") for name in plan.lineage.searched_datasets(dataset)]
    if None in counts:
        return nothing
    files: Sequence[str] = (plan.index if block.needs_codebook else plan.searched_features)(method, dataset)
    return {"files": list(files), "images": sum(counts)}


def as_evidence(cells: Iterable[Mapping[str, Any]]) -> dict[str, dict[Cell, Any]]:
    """What :func:`report_cells` gave, by attributes of :class:`descbench.tables.results.Evidence`."""
    found: dict[str, dict[Cell, Any]] = {"behind": {}, "pages": {}, "page_targets": {}, "rescored": {}, "stored": {}}
    for entry in cells:
        cell = entry["method"], entry["dataset"]
        found["behind"][cell] = entry["behind"]
        if entry["page_is_there"]:
            found["pages"][cell] = Path(entry["page"])
        elif entry["page_is_made"]:
            found["page_targets"][cell] = entry["page"]
        if entry["rescored_is_there"]:
            found["rescored"][cell] = Path(entry["rescored"])
        if entry["searched"]["files"]:
            found["stored"][cell] = [Path(file) for file in entry["searched"]["files"]], entry["searched"]["images"]
    return found
