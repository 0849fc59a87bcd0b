"""What the commands about results do: two methods compared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from descbench.bundle.contents import changed_blocks
from descbench.command_files import made, named, read_configuration
from descbench.io.jsonfiles import read_json
from descbench.metrics.compare import compare_scores
from descbench.metrics.scores import read_scores
from descbench.plan import Plan

_log = logging.getLogger(__name__)


def compare_methods(
    first: str, second: str, dataset: str, metrics: Sequence[str] | None, configfiles: Sequence[Path]
) -> list[str]:
    """Lines that say whether two methods differ on a dataset or patch set that both have scores of.

    Raises:
        ConfigError: a name that is not in the configuration, or a metric that the scores lack.
        DataError: scores that are not there yet, or of other queries.
    """
    config = read_configuration(configfiles)
    plan = Plan(config)
    for method in (first, second):
        named(config.methods, "method", method)
    named({**config.datasets, **config.patch_sets}, "dataset or patch set", dataset)
    both = [
        read_scores(made(Path(plan.paths.scores(method, dataset)), configfiles), f"{method} on {dataset}")
        for method in (first, second)
    ]
    for method in (first, second):
        if changed := _changed_blocks(plan, method, dataset):
            told = f"these scores were made with another {changed[0]} than is configured; snakemake makes them again"
            _log.warning("%s on %s: %s.", method, dataset, told)
    of = f"{both[0].num_queries} {both[0].facts.get('queries', 'queries')}"
    return [f"{second} minus {first} on {dataset}, {of}", *compare_scores(*both, metrics, (first, second))]


def _changed_blocks(plan: Plan, method: str, dataset: str) -> list[str]:
    """Blocks of the configuration that are others than scores were made with; none where their record is not there."""
    provenance = Path(plan.paths.provenance(method, dataset))
    if not provenance.is_file():
        return []
    return list(changed_blocks(plan, method, dataset, read_json(provenance, "provenance")))
