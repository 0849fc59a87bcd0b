# Features -> COLMAP's visual words -> ranking: a second engine beside our own.
rule build_vocabulary:
    input:
        lambda wildcards: plan.vocabulary_features(wildcards.method),
    output:
        plan.paths.codebook("{method}"),
    log:
        "logs/build_vocabulary/{method}.log",
    benchmark:
        "logs/benchmarks/build_vocabulary/{method}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="search_visual_index")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(24000),
        runtime=growing_minutes(720),
    params:
        code=BUILD_VOCABULARY_VERSION,
        n=lambda wildcards: cfg.methods[wildcards.method].n,
        images=expected_learned,
        vocabulary=lambda wildcards: block("methods", wildcards.method)["vocabulary"],
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
    message:
        "Learn COLMAP's visual words for {wildcards.method}"
    script:
        "../scripts/build_vocabulary.py"


rule search_visual_index:
    input:
        vocabulary=plan.paths.codebook("{method}"),
        queries=lambda wildcards: plan.query_features(
            wildcards.method, wildcards.dataset
        ),
        database=lambda wildcards: plan.searched_features(
            wildcards.method, wildcards.dataset
        ),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
    output:
        plan.paths.ranking("{method}", "{dataset}"),
    log:
        "logs/search_visual_index/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/search_visual_index/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="search_visual_index")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing_minutes(240),
    params:
        code=SEARCH_VISUAL_INDEX_VERSION,
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        images=expected_queries,
        searched=expected_searched,
        settings=lambda wildcards: block("methods", wildcards.method),
        top_k=lambda wildcards: plan.lineage.ranked(wildcards.method, wildcards.dataset),
        num_distractors=lambda wildcards: sum(
            plan.count(name, "database")
            for name in plan.lineage.searched_datasets(wildcards.dataset)[:-1]
        ),
        asks_itself=lambda wildcards: plan.asks_itself(wildcards.dataset),
    message:
        "COLMAP searches {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/search_visual_index.py"
