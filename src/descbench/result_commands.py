"""What the commands about results do: two methods compared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from descbench.bundle.contents import changed_blocks
from descbench.command_files import made, named, read_configuration
from descbench.config.checks import scored_metrics
from descbench.config.cross_tables import why_unfit
from descbench.config.models import Config
from descbench.errors import ConfigError
from descbench.io.jsonfiles import read_json
from descbench.metrics.compare import compare_scores
from descbench.metrics.scores import read_scores
from descbench.plan import Plan

_log = logging.getLogger(__name__)


def compare_methods(
    first: str, second: str, dataset: str, metrics: Sequence[str] | None, configfiles: Sequence[Path]
) -> list[str]:
    """Lines that say whether two methods differ on a dataset or patch set that both have scores of.

    Args:
        first, second: methods, by name or by the label of a row of a table or cross table.
        dataset: that they were scored on.
        metrics: that are compared; None: the first ones.
        configfiles: overlays.

    Raises:
        ConfigError: a name that is not in the configuration, a method that cannot be scored on the dataset, or a
            metric that the scores lack.
        DataError: scores that are not there yet, or of other queries.
    """
    config = read_configuration(configfiles)
    plan = Plan(config)
    named({**config.datasets, **config.patch_sets}, "dataset or patch set", dataset)
    first, second = (_method(plan, name, dataset) for name in (first, second))
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


def _method(plan: Plan, name: str, dataset: str) -> str:
    """A method that has scores on a dataset, by its name or by the label of a row of some table.

    Raises:
        ConfigError: there is none of that name, or it cannot have scores there.
    """
    config = plan.config
    method = name if name in config.methods else _rows_on(config, dataset).get(name, name)
    named(config.methods, "method", method)
    why = why_unfit(method, dataset, config)
    if why is None and not (metrics := scored_metrics(config, dataset)).names:
        why = f"nothing on it can be scored: {metrics.why}"
    if why is not None:
        raise ConfigError(f"{method} on {dataset} has no scores: {why}.")
    return method


def _rows_on(config: Config, dataset: str) -> dict[str, str]:
    """Methods of the rows of tables and cross tables on a dataset, by label, where it is that of one method alone."""
    found: dict[str, set[str]] = {}
    for table in config.tables.values():
        for row in table.rows:
            found.setdefault(row.label, set()).update(row.methods_on(dataset))
    for crossed in config.cross_tables.values():
        if crossed.datasets.get(dataset):
            for cell in crossed.cells(config):
                if cell.dataset == dataset and cell.method is not None:
                    found.setdefault(cell.row, set()).add(cell.method)
    return {label: next(iter(methods)) for label, methods in found.items() if len(methods) == 1}


def _changed_blocks(plan: Plan, method: str, dataset: str) -> list[str]:
    """Blocks of the configuration that are others than scores were made with; none where their record is not there."""
    provenance = Path(plan.paths.provenance(method, dataset))
    if not provenance.is_file():
        return []
    return list(changed_blocks(plan, method, dataset, read_json(provenance, "provenance")))
