# Feature shards of the database -> inverted file, shard by shard.
rule build_index:
    input:
        features=lambda wildcards: plan.paths.feature_shard(
            cfg.methods[wildcards.method].features,
            wildcards.dataset,
            "database",
            wildcards.shard,
        ),
        codebook=plan.paths.codebook("{method}"),
    output:
        plan.paths.index_shard("{method}", "{dataset}", "{shard}"),
    log:
        "logs/build_index/{method}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/build_index/{method}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="search_index")),
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(240),
    params:
        code=BUILD_INDEX_VERSION,
        images=lambda wildcards: expected_shard(
            wildcards.dataset, "database", wildcards.shard
        ),
        n=lambda wildcards: cfg.methods[wildcards.method].n,
        index=lambda wildcards: block("methods", wildcards.method)["index"],
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
    message:
        "Index shard {wildcards.shard} of {wildcards.dataset} for {wildcards.method}"
    script:
        "../scripts/build_index.py"


rule collect_statistics:
    input:
        lambda wildcards: plan.index(wildcards.method, wildcards.dataset),
    output:
        plan.paths.statistics("{method}", "{dataset}"),
    log:
        "logs/collect_statistics/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/collect_statistics/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", needs_codebook=True)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(30),
    params:
        code=COLLECT_STATISTICS_VERSION,
        images=expected_searched,
        stale=lambda wildcards: cfg.methods[wildcards.method].stale_statistics,
    message:
        "Count documents a word over all shards of {wildcards.dataset} for {wildcards.method}"
    script:
        "../scripts/collect_statistics.py"
