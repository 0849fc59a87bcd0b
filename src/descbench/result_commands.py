"""What the commands about results do: two methods compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from descbench.command_files import made, named, read_configuration
from descbench.metrics.compare import compare_scores
from descbench.metrics.scores import read_scores
from descbench.plan import Plan


def compare_methods(
    first: str, second: str, dataset: str, metrics: Sequence[str] | None, configfiles: Sequence[Path]
) -> list[str]:
    """Lines that say whether two methods differ on a dataset or patch set that both have scores of.

    Raises:
        ConfigError: a name that is not in the configuration, or a metric that the scores lack.
        DataError: scores that are not there yet, or of other queries.
    """
    config = read_configuration(configfiles)
    paths = Plan(config).paths
    for method in (first, second):
        named(config.methods, "method", method)
    named({**config.datasets, **config.patch_sets}, "dataset or patch set", dataset)
    both = [
        read_scores(made(Path(paths.scores(method, dataset)), configfiles), f"{method} on {dataset}")
        for method in (first, second)
    ]
    of = f"{both[0].num_queries} {both[0].facts.get('queries', 'queries')}"
    return [f"{second} minus {first} on {dataset}, {of}", *compare_scores(*both, metrics, (first, second))]
