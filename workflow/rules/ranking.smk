# Queries against every shard of the index or of global features, then one merged ranking.
rule search_index:
    input:
        queries=lambda wildcards: plan.query_features(
            wildcards.method, wildcards.dataset
        ),
        codebook=plan.paths.codebook("{method}"),
        index=plan.paths.index_shard("{method}", "{searched}", "{shard}"),
        statistics=lambda wildcards: get_statistics(wildcards.method, wildcards.dataset),
    output:
        plan.paths.ranking_part("{method}", "{dataset}", "{searched}", "{shard}"),
    log:
        "logs/search_index/{method}/{dataset}/{searched}/{shard}.log",
    benchmark:
        "logs/benchmarks/search_index/{method}/{dataset}/{searched}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="search_index")),
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=SEARCH_INDEX_VERSION,
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        images=expected_queries,
        searched=lambda wildcards: expected_shard(
            wildcards.searched,
            plan.searched_role(wildcards.searched),
            wildcards.shard,
        ),
        n=lambda wildcards: cfg.methods[wildcards.method].n,
        query=lambda wildcards: block("methods", wildcards.method)["query"]
        | {"top_k": get_top_k(wildcards)},
        num_distractors=get_num_distractors,
    message:
        "Search {wildcards.searched} shard {wildcards.shard} for the queries of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/search_index.py"


rule search_flat:
    input:
        queries=lambda wildcards: plan.query_features(
            wildcards.method, wildcards.dataset
        ),
        database=lambda wildcards: plan.paths.feature_shard(
            cfg.methods[wildcards.method].features,
            wildcards.searched,
            plan.searched_role(wildcards.searched),
            wildcards.shard,
        ),
    output:
        plan.paths.ranking_part("{method}", "{dataset}", "{searched}", "{shard}"),
    log:
        "logs/search_flat/{method}/{dataset}/{searched}/{shard}.log",
    benchmark:
        "logs/benchmarks/search_flat/{method}/{dataset}/{searched}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="search_flat")),
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(60),
    params:
        code=SEARCH_FLAT_VERSION,
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        images=expected_queries,
        searched=lambda wildcards: expected_shard(
            wildcards.searched,
            plan.searched_role(wildcards.searched),
            wildcards.shard,
        ),
        measure=lambda wildcards: cfg.methods[wildcards.method].search,
        top_k=get_top_k,
        dim=lambda wildcards: cfg.methods[wildcards.method].dim,
        num_distractors=get_num_distractors,
    message:
        "Search {wildcards.searched} shard {wildcards.shard} for the queries of {wildcards.dataset} by {params.measure} ({wildcards.method})"
    script:
        "../scripts/search_flat.py"


rule merge_rankings:
    input:
        parts=lambda wildcards: plan.ranking_parts(wildcards.method, wildcards.dataset),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
    output:
        plan.paths.ranking("{method}", "{dataset}"),
    log:
        "logs/merge_rankings/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/merge_rankings/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", ranks_shards=True)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(30),
    params:
        code=MERGE_RANKINGS_VERSION,
        top_k=lambda wildcards: plan.lineage.ranked(wildcards.method, wildcards.dataset),
        asks_itself=lambda wildcards: plan.asks_itself(wildcards.dataset),
    message:
        "Merge the ranking of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/merge_rankings.py"
