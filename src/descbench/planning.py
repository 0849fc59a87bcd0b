"""The plan as a Snakefile uses it: what is refused while planning ends Snakemake with one sentence.

Snakemake wraps whatever an input function raises into a traceback of its own, but lets SystemExit pass.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from descbench.config.models import Config
from descbench.config.yaml_files import read_yaml
from descbench.errors import DescbenchError
from descbench.machine import check_machine
from descbench.plan import Plan
from descbench.targets import explain_target

DEFAULT_CONFIG = "config/config.yaml"


def refuse(error: Exception | str) -> NoReturn:
    """End Snakemake with a message and exit code 1."""
    raise SystemExit(f"descbench: {error}") from None


def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose errors for users end Snakemake."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except DescbenchError as error:
            refuse(error)
        except OSError as error:
            refuse(f"{error.filename}: cannot be read while planning ({error.strerror}).")

    return call


class Planner:
    """A plan, or a part of one, whose methods end Snakemake where they refuse, as do those of its own parts."""

    def __init__(self, plan: Any, parts: Sequence[str] = Plan.PARTS) -> None:
        self._plan = plan
        for name in parts:
            setattr(self, name, Planner(getattr(plan, name), parts=()))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._plan, name)
        if callable(value):
            value = refusing(value)
            setattr(self, name, value)
        return value


@refusing
def find_default_config(home: str) -> str:
    """The default configuration: that of the working directory, or else the workflow's own.

    It is read here already, because Snakemake names neither file nor line of broken YAML.

    Args:
        home: folder that holds the workflow's ``config/``.
    """
    own = Path(home) / DEFAULT_CONFIG
    found = Path(DEFAULT_CONFIG) if Path(DEFAULT_CONFIG).exists() or not own.exists() else own
    read_yaml(found)
    return str(found)


def check_targets(rules: Sequence[Any], plan: Any) -> None:
    """End Snakemake where a target is asked for that nothing makes, with what was probably meant.

    Args:
        rules: of the workflow, as Snakemake has them.
        plan: of the configuration.
    """
    from snakemake.io import strip_wildcard_constraints  # only here: the package itself needs no Snakemake

    names = [rule.name for rule in rules]
    patterns = [strip_wildcard_constraints(str(file)) for rule in rules for file in rule.output]
    plain = [rule.name for rule in rules if not rule.has_wildcards()]
    for target in _targets():
        path = os.path.normpath(target)
        if target in names or any(rule.is_producer(path) for rule in rules):
            continue
        refuse(explain_target(target, patterns, plan, plain))


def check_job(config: Config, rules: Sequence[Any]) -> None:
    """In a job on another machine, before Snakemake deletes what the job makes anew: has that machine a GPU?

    Args:
        config: says where networks run.
        rules: of the workflow, as Snakemake has them.
    """
    asked = {job.rulename for job in getattr(_command_line(), "target_jobs", ())}
    refusing(check_machine)(config, asked, gpu_rules=gpu_rules(rules))


def gpu_rules(rules: Iterable[Any]) -> set[str]:
    """Names of the rules that ask for a GPU."""
    return {rule.name for rule in rules if "gpu" in rule.resources}


def asked_files() -> set[str]:
    """What the command line asks for by name, as normal paths."""
    return set(map(os.path.normpath, _targets()))


def _targets() -> list[str]:
    return list(getattr(_command_line(), "targets", ()))


def _command_line() -> Any:
    """What Snakemake was started with, which it tells no Snakefile; None where it was not by its command."""
    if "snakemake" not in Path(sys.argv[0]).parts[-2:]:
        return None
    from snakemake.cli import get_argument_parser

    return get_argument_parser().parse_known_args(sys.argv[1:])[0]
