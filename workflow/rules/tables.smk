# Scores -> tables -> one report page.
rule build_table:
    input:
        scores=lambda wildcards: [
            plan.paths.scores(*cell) for cell in plan.table_cells(wildcards.table)
        ],
        provenance=lambda wildcards: [
            plan.paths.provenance(*cell) for cell in plan.table_cells(wildcards.table)
        ],
    output:
        csv=report(
            plan.paths.table("{table}"),
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown=plan.paths.table_markdown("{table}"),
    log:
        "logs/build_table/{table}.log",
    benchmark:
        "logs/benchmarks/build_table/{table}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing_minutes(5),
    params:
        code=BUILD_TABLE_VERSION,
        table=lambda wildcards: block("tables", wildcards.table),
        cells=lambda wildcards: plan.table_cells(wildcards.table),
        extra=lambda wildcards: find_extra_cells(wildcards.table),
        restricted=lambda wildcards: plan.lineage.restricted_behind(
            plan.possible_cells(wildcards.table)
        ),
        # A page that is made later is a reason to write the table again: only then its Markdown leads to it.
        pages=lambda wildcards: pages_there(
            plan, plan.possible_cells(wildcards.table), asked_files()
        ),
    message:
        "Write {wildcards.table}"
    script:
        "../scripts/build_table.py"


rule build_report:
    input:
        scores=[plan.paths.scores(*cell) for cell in plan.report_cells()],
        provenance=[plan.paths.provenance(*cell) for cell in plan.report_cells()],
        histories=[
            plan.paths.training_history(model) for model in plan.trained_models()
        ],
    output:
        report(
            plan.paths.report(),
            caption="../report/report.rst",
            category="Report",
            labels={"page": "all tables"},
        ),
    log:
        "logs/build_report.log",
    benchmark:
        "logs/benchmarks/build_report.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing_minutes(5),
    params:
        code=BUILD_REPORT_VERSION,
        tables={name: block("tables", name) for name in plan.usual_tables()},
        cells=plan.report_cells(),
        extra=lambda wildcards: [
            cell for name in plan.usual_tables() for cell in find_extra_cells(name)
        ],
        trained=plan.trained_models(),
        restricted=lambda wildcards: plan.lineage.restricted_behind(all_report_cells()),
        evidence=lambda wildcards: report_cells(
            cfg,
            plan,
            all_report_cells(),
            asked_files(),
            makes_page(workflow.rules),
        ),
        choice_targets={
            name: plan.paths.protocol_table(name) for name in plan.usual_tables()
        },
        figures=lambda wildcards: published_curves(cfg, all_report_cells(), home),
        stages=lambda wildcards: timed_stages(workflow.rules),
    message:
        "Write the report page"
    script:
        "../scripts/build_report.py"
