# Published lists -> rankings; rankings -> inliers of their first images, by shards of queries -> rankings.
rule import_ranking:
    input:
        listed=lambda wildcards: plan.published_list(
            wildcards.method, wildcards.dataset
        ),
        manifest=lambda wildcards: plan.paths.manifest(wildcards.dataset),
    output:
        plan.paths.ranking("{method}", "{dataset}"),
    log:
        "logs/import_ranking/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/import_ranking/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="import_ranking")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=IMPORT_RANKING_VERSION,
    message:
        "Read the published list of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/import_ranking.py"


rule match_shortlist:
    input:
        ranking=lambda wildcards: plan.paths.ranking(
            cfg.methods[wildcards.method].ranking, wildcards.dataset
        ),
        queries=lambda wildcards: plan.query_features(
            wildcards.method, wildcards.dataset
        ),
        database=lambda wildcards: plan.searched_features(
            wildcards.method, wildcards.dataset
        ),
    output:
        plan.paths.inlier_counts("{method}", "{dataset}", "{shard}"),
    log:
        "logs/match_shortlist/{method}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/match_shortlist/{method}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="rerank_shortlist")),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(240),
    params:
        code=MATCH_SHORTLIST_VERSION,
        images=expected_queries,
        searched=expected_searched,
        ranking=lambda wildcards: cfg.methods[wildcards.method].ranking,
        first=lambda wildcards: cfg.methods[wildcards.method].first,
        start=lambda wildcards: plan.shortlist_shard(
            wildcards.method, wildcards.dataset, wildcards.shard
        ).start,
        stop=lambda wildcards: plan.shortlist_shard(
            wildcards.method, wildcards.dataset, wildcards.shard
        ).stop,
        settings=lambda wildcards: cfg.methods[wildcards.method].match.matching(),
        threshold=lambda wildcards: cfg.methods[wildcards.method].threshold,
        digest=lambda wildcards: plan.lineage.digest_shortlist(wildcards.method),
        features=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
    message:
        "Match the first images of {wildcards.dataset} by {wildcards.method}, shard {wildcards.shard}"
    script:
        "../scripts/match_shortlist.py"


rule rerank_shortlist:
    input:
        ranking=lambda wildcards: plan.paths.ranking(
            cfg.methods[wildcards.method].ranking, wildcards.dataset
        ),
        counts=lambda wildcards: plan.inlier_counts(wildcards.method, wildcards.dataset),
    output:
        plan.paths.ranking("{method}", "{dataset}"),
    log:
        "logs/rerank_shortlist/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/rerank_shortlist/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="rerank_shortlist")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=RERANK_SHORTLIST_VERSION,
        ranking=lambda wildcards: cfg.methods[wildcards.method].ranking,
        first=lambda wildcards: cfg.methods[wildcards.method].first,
        digest=lambda wildcards: plan.lineage.digest_shortlist(wildcards.method),
    message:
        "Order the first images of {wildcards.dataset} by their inliers ({wildcards.method})"
    script:
        "../scripts/rerank_shortlist.py"
