"""Targets that nothing makes: what was probably meant."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.config.base import ROLES, close_names
from descbench.config.yaml_files import read_yaml
from descbench.errors import ConfigError
from descbench.plan import Plan
from descbench.project import project_folder, snakemake_command

# Wildcard of a path -> section of the configuration that has its names.
_SECTIONS = {
    "table": "tables",
    "cross_table": "cross_tables",
    "remeasured": "remeasured",
    "method": "methods",
    "dataset": "datasets",
    "patch_set": "patch_sets",
    "searched": "datasets",
    "images": "datasets",
    "queries": "datasets",
    "model": "models",
    "features": "features",
    "source": "sources",
    "file": "sources",
}
_NOT_TOGETHER = "its names are known, but no {} is made of these together"
_ADVICE = "Names of another configuration need its --configfile."


@dataclass(frozen=True)
class _Reading:
    """A target read as one kind of file, whatever the names in it."""

    pattern: str
    names: Mapping[str, str]
    unknown: Mapping[str, str]


def explain_target(target: str, patterns: Iterable[str], plan: Plan, rules: Sequence[str]) -> str:
    """One sentence on a target that no rule makes.

    Args:
        target: as written on the command line.
        patterns: paths of all files that rules make, with wildcards in braces.
        plan: of the configuration.
        rules: names of rules that are targets too.
    """
    tables = {name: plan.paths.table(name) for name in plan.config.tables}
    if target in tables:
        return f"{target!r} is the name of a table; its target is {tables[target]}."
    if (other := configuration_of(target, plan)) is not None:
        return _of_another(target, other, tables)
    readings = [reading for pattern in patterns if (reading := _read(target, pattern, plan))]
    if readings:
        # That which most names fit, then that with close names, then that of most letters of its own.
        best = min(
            readings,
            key=lambda r: (len(r.unknown), -_close(r, plan), -len(re.sub(r"\{\w+\}", "", r.pattern))),
        )
        wrong = "; ".join(_unknown(key, name, plan) for key, name in best.unknown.items())
        return f"nothing makes {target}: {wrong or _not_together(best, plan)}. {_ADVICE}"
    return _of_no_kind(target, tables, plan, rules)


def configuration_of(target: str, plan: Plan) -> Path | None:
    """The file of a folder ``config`` whose results or data the target lies below, and not only those of the plan."""
    place = os.path.normpath(target)
    ours = {os.path.normpath(folder) for folder in (plan.paths.results, plan.paths.data)}
    found = [
        (folder, file)
        for file, folder in _folders()
        if place.startswith(f"{folder}/") and not any(own == folder or own.startswith(f"{folder}/") for own in ours)
    ]
    return max(found, key=lambda one: len(one[0]))[1] if found else None


def _folders() -> Iterator[tuple[Path, str]]:
    """Configurations of this folder and of the project, with the folders of results and data that they name."""
    for file in dict.fromkeys(sorted(Path("config").glob("*.yaml")) + sorted(project_folder().glob("config/*.yaml"))):
        try:
            content = read_yaml(file)
        except ConfigError:
            continue  # whoever asks for it is told
        for key in ("results_dir", "data_dir"):
            if isinstance(content.get(key), str):
                yield file, os.path.normpath(content[key])


def _of_another(target: str, file: Path, tables: Mapping[str, str]) -> str:
    """What is said of a target of a configuration that was not given."""
    here = tables.get(Path(target).stem)
    meant = f" Or did you mean {here}, of the configuration that is given?" if here else ""
    return (
        f"{target} is of the configuration {file}, which is not given: "
        f"`{snakemake_command([file])} {target}` asks for it.{meant}"
    )


def _close(reading: _Reading, plan: Plan) -> int:
    """How many of the unknown names are close to one that is known."""
    return sum(bool(difflib.get_close_matches(name, _known(key, plan))) for key, name in reading.unknown.items())


def _not_together(reading: _Reading, plan: Plan) -> str:
    """Names that are all known: a method may be scored on something else."""
    method = plan.config.methods.get(reading.names.get("method", ""))
    for key in ("dataset", "patch_set"):
        name = reading.names.get(key)
        if method is not None and name is not None and name not in getattr(plan.config, method.SCORED_ON):
            wanted = method.SCORED_ON.replace("_", " ")
            return f"{reading.names['method']!r} is scored on {wanted}, and {name!r} is none of them"
    return _NOT_TOGETHER.format(reading.pattern)


def _read(target: str, pattern: str, plan: Plan) -> _Reading | None:
    seen: set[str] = set()

    def group(part: str) -> str:
        if not part.startswith("{"):
            return re.escape(part)
        name = part[1:-1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return rf"(?P<{name}>[^/]+?)"

    found = re.fullmatch("".join(map(group, re.split(r"(\{\w+\})", pattern))), target)
    if found is None:
        return None
    names = found.groupdict()
    return _Reading(pattern, names, {key: name for key, name in names.items() if not _fits(key, name, plan)})


def _fits(key: str, name: str, plan: Plan) -> bool:
    if key == "role":
        return name in ROLES
    if key == "shard":
        return re.fullmatch(r"\d{5}", name) is not None
    known = _known(key, plan)
    return name in known if known else key not in _SECTIONS


def _known(key: str, plan: Plan) -> list[str]:
    if key == "part":
        return plan.patch_parts()
    return plan.config.names(_SECTIONS[key]) if key in _SECTIONS else []


def _unknown(key: str, name: str, plan: Plan) -> str:
    if key == "role":
        return f"{name!r} is not a role ({', '.join(ROLES)})"
    if key == "shard":
        return f"{name!r} is not a shard (00000 and so on)"
    known = _known(key, plan)
    close = difflib.get_close_matches(name, known, n=3)
    kind = _SECTIONS.get(key, key).removesuffix("s").replace("_", " ")
    if close and key == "table":
        return f"there is no table {name!r}; did you mean {close[0]}? Tables are {', '.join(known)}"
    return f"there is no {kind} {name!r}; {close_names(name, known)}"


def _of_no_kind(target: str, tables: Mapping[str, str], plan: Plan, rules: Sequence[str]) -> str:
    listed = f"Tables are {', '.join(tables.values()) or 'none'}."
    files = [*tables.values(), *map(plan.paths.table_markdown, tables), plan.paths.report()]
    files += [plan.paths.cross_table(name) for name in plan.config.cross_tables]
    # An ending may have been forgotten.
    stems = {file.rpartition(".")[0]: file for file in reversed(files)}
    choices = {**tables, **stems, **{name: name for name in (*rules, *files)}}
    close = difflib.get_close_matches(os.path.normpath(target), list(choices), n=1)
    meant = f" Did you mean {choices[close[0]]}?" if close else ""
    results = f"{plan.paths.results}/"
    elsewhere = "" if target.startswith(results) or "/" not in target else f" Results lie in {results}."
    return f"nothing makes {target}.{meant}{elsewhere} {listed} {_ADVICE}"
