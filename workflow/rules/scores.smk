# Artefacts of methods and labels -> metrics, with a record of what they were made from; one rule a family.
rule score_ranking:
    input:
        ranking=layout.ranking("{method}", "{dataset}"),
        ground_truth=get_labels,
        left_out=lambda wildcards: layout.left_out(
            layout.base_dataset(wildcards.dataset)
        ),
        manifest=lambda wildcards: layout.manifest(
            layout.base_dataset(wildcards.dataset)
        ),
        features=lambda wildcards: layout.query_features(
            wildcards.method, wildcards.dataset
        ),
    output:
        scores=layout.scores("{method}", "{dataset}"),
        provenance=layout.provenance("{method}", "{dataset}"),
    log:
        "logs/score_ranking/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/score_ranking/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(layout.methods_of("retrieval")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=SCORE_RANKING_VERSION,
        blocks=lambda wildcards: layout.blocks_behind(
            wildcards.method, wildcards.dataset
        ),
        sources=lambda wildcards: layout.source_records(
            wildcards.method, wildcards.dataset
        ),
        own_files=lambda wildcards: layout.own_files_behind(wildcards.method),
    message:
        "Score {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/score_ranking.py"
