"""The steps of a run whose files a bundle holds, for a Provenance Run Crate (https://w3id.org/ro/wfrun/provenance/0.5).

They are the scoring of each cell, under other choices too where the table has these, and the writing of the table. What
stages before them made is not in a bundle, and so they are not steps of it; the provenance of each cell says what its
scores rest on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from descbench.bundle.contents import CellFiles, TableFiles

# Stage that scores, by family of the scores.
_SCORING = {
    "retrieval": "score_ranking",
    "patches": "score_patches",
    "matching": "score_matches",
    "localisation": "score_poses",
}
_DONE = "http://schema.org/CompletedActionStatus"


def stages_of(table: TableFiles) -> list[str]:
    """Stages that made the files of a table which a bundle holds, in their order; each is a script of its name."""
    again = [_rescoring(cell) for cell in table.cells if cell.rescored is not None]
    return [*dict.fromkeys([*map(_scoring, table.cells), *again]), table.kind.stage]


def script_of(stage: str) -> str:
    """Name of the script of a stage in a bundle."""
    return f"workflow/scripts/{stage}.py"


def add_steps(crate: Any, made: Mapping[str, Any], table: TableFiles, run: Any) -> None:
    """Describe the steps of a run, each with its script, what went in and what came out.

    Args:
        crate: of the rocrate package.
        made: entities of its files, by their names.
        table: what is in it.
        run: the action that is the run of the whole workflow.
    """
    stages = stages_of(table)
    steps = {stage: _add_step(crate, made, stage, number) for number, stage in enumerate(stages, 1)}
    workflow = crate.mainEntity
    workflow["hasPart"] = [made[script_of(stage)] for stage in stages]
    workflow["step"] = list(steps.values())
    done = [(_scoring(cell), _add_scoring(crate, made, table, cell)) for cell in table.cells]
    done += [
        (_rescoring(cell), _add_rescoring(crate, made, table, cell))
        for cell in table.cells
        if cell.rescored is not None
    ]
    read = [made[table.bundled(file)] for cell in table.cells for file in (cell.scores_file, cell.rescored) if file]
    files, stage = [made[table.bundled(file)] for file in table.files], table.kind.stage
    wrote = _add_action(crate, made, stage, f"#{stage}", f"Writing of {table.name}", table.csv, read, files)
    controls = [_add_control(crate, steps[stage], action) for stage, action in [*done, (stage, wrote)]]
    engine = _entity(crate, "#snakemake", "SoftwareApplication", name="Snakemake", url="https://snakemake.github.io")
    _entity(
        crate,
        "#orchestration",
        "OrganizeAction",
        name=f"Snakemake's run for {table.name}",
        instrument=engine,
        object=controls,
        result=run,
    )


def _add_step(crate: Any, made: Mapping[str, Any], stage: str, number: int) -> Any:
    tool = made[script_of(stage)]
    return _entity(crate, f"#step-{stage}", "HowToStep", name=stage, position=str(number), workExample=tool)


def _scoring(cell: CellFiles) -> str:
    return _SCORING[cell.scores.family]


def _rescoring(cell: CellFiles) -> str:
    return f"re{_scoring(cell)}"


def _add_scoring(crate: Any, made: Mapping[str, Any], table: TableFiles, cell: CellFiles) -> Any:
    stage, name = _scoring(cell), f"{cell.method} on {cell.dataset}"
    listed = [made[file] for file in (f"manifests/{cell.dataset}.csv",) if file in made]
    results = [made[table.bundled(file)] for file in (cell.scores_file, cell.provenance_file)]
    identifier = f"#{stage}-{cell.method}-{cell.dataset}"
    given = [made["configuration.yaml"], *listed]
    return _add_action(crate, made, stage, identifier, f"Scoring of {name}", cell.scores_file, given, results)


def _add_rescoring(crate: Any, made: Mapping[str, Any], table: TableFiles, cell: CellFiles) -> Any:
    stage, name = _rescoring(cell), f"{cell.method} on {cell.dataset} under other choices"
    identifier, file = f"#{stage}-{cell.method}-{cell.dataset}", cell.rescored
    given, results = [made["configuration.yaml"], made[table.bundled(cell.scores_file)]], [made[table.bundled(file)]]
    return _add_action(crate, made, stage, identifier, f"Scoring of {name}", file, given, results)


def _add_action(
    crate: Any,
    made: Mapping[str, Any],
    stage: str,
    identifier: str,
    name: str,
    file: Path,
    given: Sequence[Any],
    results: Sequence[Any],
) -> Any:
    """What a script did, which ended when it wrote ``file``."""
    ended = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat()
    properties = {"name": name, "endTime": ended, "actionStatus": _DONE}
    tool = made[script_of(stage)]
    return crate.add_action(tool, identifier=identifier, object=given, result=results, properties=properties)


def _add_control(crate: Any, step: Any, action: Any) -> Any:
    name = f"Execution of {action['name']}"
    return _entity(
        crate, f"#control-{action.id.lstrip('#')}", "ControlAction", name=name, instrument=step, object=action
    )


def _entity(crate: Any, identifier: str, kind: str, **properties: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    entity = crate.add(ContextEntity(crate, identifier, {"@type": kind}))
    for key, value in properties.items():
        entity[key] = value
    return entity
