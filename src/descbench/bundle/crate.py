"""The description of a bundle: a Provenance Run RO-Crate (https://w3id.org/ro/wfrun/provenance/0.5).

It names every file with its SHA-256, the run of the workflow that made the results with the steps that wrote them, and
what was downloaded for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import descbench
from descbench.bundle.contents import TableFiles
from descbench.bundle.steps import add_steps, script_of, stages_of
from descbench.io.digests import sha256_file
from descbench.licences import spdx_of

METADATA = "ro-crate-metadata.json"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_MEDIA = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".yaml": "application/yaml",
}
_WORKFLOW = "Snakefile"


def describe_crate(folder: Path, table: TableFiles) -> None:
    """Write the description of all files in a folder, into it."""
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.name = f"descbench: {table.title}"
    cells = f"what its {len(table.cells)} cells rest on"
    crate.description = f"{table.name} of descbench {descbench.__version__}, and {cells}."
    crate.license = (
        "The workflow is under the MIT licence (https://spdx.org/licenses/MIT); lists of images, and all that is named "
        "here and not in the crate, are under those of their owners."
    )
    computed = datetime.fromtimestamp(table.csv.stat().st_mtime, UTC)
    crate.datePublished = computed
    made = _add_files(crate, folder, {script_of(stage) for stage in stages_of(table)})
    crate.root_dataset["conformsTo"] = [
        crate.add(ContextEntity(crate, address, {"@type": "CreativeWork", "name": name, "version": version}))
        for address, (name, version) in _PROFILES.items()
    ]
    properties = {
        "name": f"Computation of {table.name}",
        "endTime": computed.isoformat(),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    given = [file for name, file in made.items() if name.startswith(("manifests/", "overlays/"))]
    provenance = {cell.provenance_file for cell in table.cells}
    results = [made[table.bundled(file)] for file in table.made if file not in provenance]
    run = crate.add_action(
        made[_WORKFLOW],
        identifier="#run",
        object=[*given, made["configuration.yaml"]],
        result=results,
        properties=properties,
    )
    add_steps(crate, made, table, run)
    _add_sources(crate, table)
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False, default=str)
    (folder / METADATA).write_text(text + "\n", encoding="utf-8")


def _add_files(crate: Any, folder: Path, tools: Collection[str]) -> dict[str, Any]:
    """Every file of a folder as an entity, by its name; ``tools`` are programs that were run."""
    made = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        known = {"name": path.name, "sha256": sha256_file(path), "contentSize": str(path.stat().st_size)}
        if media := _MEDIA.get(path.suffix):
            known["encodingFormat"] = media
        if name == _WORKFLOW:
            known |= {"name": "descbench", "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]}
            made[name] = crate.add_workflow(path, name, main=True, lang="snakemake", properties=known)
        else:
            kind = {"@type": ["File", "SoftwareSourceCode"]} if name in tools else {}
            made[name] = crate.add_file(path, name, properties=known | kind)
    return made


def _add_sources(crate: Any, table: TableFiles) -> None:
    """What was downloaded, with its licence, as entities that the crate mentions."""
    from rocrate.model.contextentity import ContextEntity

    for name, source in sorted(table.sources.items()):
        known = {"@type": "CreativeWork", "name": name, "license": spdx_of(source["licence"])}
        if source["licence"]:
            known["conditionsOfAccess"] = source["licence"]
        for file in source["files"]:
            if file.get("sha256"):
                known |= {"sha256": file["sha256"], "url": file.get("final_url") or file.get("url") or ""}
        crate.root_dataset.append_to("mentions", crate.add(ContextEntity(crate, f"#source-{name}", known)))
