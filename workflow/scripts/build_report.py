"""Rule build_report: one page with all tables, what they rest on, and the learning curves behind them."""

from pathlib import Path

from descbench.config.tables import Table
from descbench.io.run_notes import read_stages, run_command, run_folder
from descbench.jobs import job
from descbench.report_plan import as_evidence
from descbench.tables.report import build_report
from descbench.tables.results import Evidence
from descbench.tables.stage_times import StageFiles

with job(snakemake):
    tables = {name: Table.model_validate(block) for name, block in snakemake.params.tables.items()}
    histories = {m: Path(h) for m, h in zip(snakemake.params.trained, snakemake.input.histories, strict=True)}
    cells = list(map(tuple, snakemake.params.cells))
    scores = dict(zip(cells, map(Path, snakemake.input.scores), strict=True))
    provenance = dict(zip(cells, map(Path, snakemake.input.provenance), strict=True))
    for extra in snakemake.params.extra:
        cell = extra["method"], extra["dataset"]
        scores[cell], provenance[cell] = Path(extra["scores"]), Path(extra["provenance"])
    evidence = Evidence(
        provenance=provenance,
        **as_evidence(snakemake.params.evidence),
        stages={rule: StageFiles(*files) for rule, files in snakemake.params.stages.items()},
        figures=snakemake.params.figures,
        command=run_command(),
        choice_targets=snakemake.params.choice_targets,
        graph=read_stages(run_folder()),
        restricted=snakemake.params.restricted,
    )
    build_report(tables, scores, histories, Path(snakemake.output[0]), evidence)
