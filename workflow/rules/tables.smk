# Scores -> tables -> one report page.
rule build_table:
    input:
        scores=lambda wildcards: [
            layout.scores(*cell) for cell in layout.table_cells(wildcards.table)
        ],
        provenance=lambda wildcards: [
            layout.provenance(*cell) for cell in layout.table_cells(wildcards.table)
        ],
    output:
        csv=report(
            layout.table("{table}"),
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown=layout.table_markdown("{table}"),
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
        cells=lambda wildcards: layout.table_cells(wildcards.table),
        extra=lambda wildcards: [
            asdict(cell) for cell in layout.extra_cells(wildcards.table)
        ],
    message:
        "Write {wildcards.table}"
    script:
        "../scripts/build_table.py"


rule build_report:
    input:
        scores=[layout.scores(*cell) for cell in layout.report_cells()],
        histories=[layout.training_history(model) for model in layout.trained_models()],
    output:
        layout.report,
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
        tables={name: block("tables", name) for name in layout.usual_tables()},
        cells=layout.report_cells(),
        extra=lambda wildcards: [
            asdict(cell)
            for name in layout.usual_tables()
            for cell in layout.extra_cells(name)
        ],
        trained=layout.trained_models(),
    message:
        "Write the report page"
    script:
        "../scripts/build_report.py"
