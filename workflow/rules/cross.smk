# Scores -> all rows on all datasets that fit them, and paired tests between the rows; only when asked for.
rule build_cross_table:
    input:
        scores=lambda wildcards: [
            plan.paths.scores(*cell)
            for cell in plan.cross_table_cells(wildcards.cross_table)
        ],
        provenance=lambda wildcards: [
            plan.paths.provenance(*cell)
            for cell in plan.cross_table_cells(wildcards.cross_table)
        ],
    output:
        csv=report(
            plan.paths.cross_table("{cross_table}"),
            caption="../report/cross_table.rst",
            category="Cross tables",
            labels={"table": "{cross_table}", "content": "values"},
        ),
        tests=report(
            plan.paths.cross_tests("{cross_table}"),
            caption="../report/cross_table.rst",
            category="Cross tables",
            labels={"table": "{cross_table}", "content": "tests"},
        ),
        markdown=plan.paths.cross_table_markdown("{cross_table}"),
    log:
        "logs/build_cross_table/{cross_table}.log",
    benchmark:
        "logs/benchmarks/build_cross_table/{cross_table}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing_minutes(30),
    params:
        code=BUILD_CROSS_TABLE_VERSION,
        table=lambda wildcards: cfg.cross_tables[wildcards.cross_table].model_dump(
            mode="json"
        ),
        needed=lambda wildcards: plan.cross_table_cells(wildcards.cross_table),
        cells=lambda wildcards: plan.cross_table_rows(wildcards.cross_table),
        restricted=lambda wildcards: plan.lineage.restricted_behind(
            plan.cross_table_cells(wildcards.cross_table)
        ),
        # A page that is made later is a reason to write the table again: only then its Markdown leads to it.
        pages=lambda wildcards: pages_there(
            plan, plan.cross_table_cells(wildcards.cross_table), asked_files()
        ),
    message:
        "Write cross table {wildcards.cross_table}"
    script:
        "../scripts/build_cross_table.py"
