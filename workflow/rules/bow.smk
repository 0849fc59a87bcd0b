# Bags of visual words: words of features -> inverted file -> ranking, its spatial verification and expansion.
BAGS = cfg.names("methods", stage="search_bow")
SIGNED = cfg.names("methods", stage="search_hamming")


rule assign_words:
    input:
        features=lambda wildcards: plan.paths.feature_shard(
            cfg.methods[wildcards.method].features,
            wildcards.dataset,
            wildcards.role,
            wildcards.shard,
        ),
        codebook=plan.paths.codebook("{method}"),
    output:
        plan.paths.words_shard("{method}", "{dataset}", "{role}", "{shard}"),
    log:
        "logs/assign_words/{method}/{dataset}/{role}/{shard}.log",
    benchmark:
        "logs/benchmarks/assign_words/{method}/{dataset}/{role}/{shard}.tsv"
    wildcard_constraints:
        method=any_of([*BAGS, *SIGNED]),
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(240),
    params:
        code=ASSIGN_WORDS_VERSION,
        images=lambda wildcards: expected_shard(
            wildcards.dataset, wildcards.role, wildcards.shard
        ),
        n=lambda wildcards: cfg.methods[wildcards.method].n,
        bits=lambda wildcards: getattr(cfg.methods[wildcards.method], "bits", 0),
        multiple_assignment=lambda wildcards: cfg.methods[
            wildcards.method
        ].multiple_assignment,
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
    message:
        "Visual words of {wildcards.dataset} {wildcards.role}, shard {wildcards.shard} ({wildcards.method})"
    script:
        "../scripts/assign_words.py"


rule build_bow:
    input:
        plan.paths.words_shard("{method}", "{dataset}", "database", "{shard}"),
    output:
        plan.paths.index_shard("{method}", "{dataset}", "{shard}"),
    log:
        "logs/build_bow/{method}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/build_bow/{method}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(BAGS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(60),
    params:
        code=BUILD_BOW_VERSION,
        images=lambda wildcards: expected_shard(
            wildcards.dataset, "database", wildcards.shard
        ),
    message:
        "Index shard {wildcards.shard} of {wildcards.dataset} for {wildcards.method}"
    script:
        "../scripts/build_bow.py"


rule search_bow:
    input:
        queries=lambda wildcards: plan.query_words(wildcards.method, wildcards.dataset),
        index=plan.paths.index_shard("{method}", "{searched}", "{shard}"),
        statistics=plan.paths.statistics("{method}", "{dataset}"),
    output:
        plan.paths.ranking_part("{method}", "{dataset}", "{searched}", "{shard}"),
    log:
        "logs/search_bow/{method}/{dataset}/{searched}/{shard}.log",
    benchmark:
        "logs/benchmarks/search_bow/{method}/{dataset}/{searched}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(BAGS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=SEARCH_BOW_VERSION,
        images=expected_queries,
        searched=lambda wildcards: expected_shard(
            wildcards.searched,
            plan.searched_role(wildcards.searched),
            wildcards.shard,
        ),
        top_k=get_top_k,
        num_distractors=get_num_distractors,
    message:
        "Search {wildcards.searched} shard {wildcards.shard} for the queries of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/search_bow.py"


rule build_hamming:
    input:
        plan.paths.words_shard("{method}", "{dataset}", "database", "{shard}"),
    output:
        plan.paths.index_shard("{method}", "{dataset}", "{shard}"),
    log:
        "logs/build_hamming/{method}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/build_hamming/{method}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(SIGNED),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(60),
    params:
        code=BUILD_HAMMING_VERSION,
        images=lambda wildcards: expected_shard(
            wildcards.dataset, "database", wildcards.shard
        ),
    message:
        "Index shard {wildcards.shard} of {wildcards.dataset} for {wildcards.method}"
    script:
        "../scripts/build_hamming.py"


rule search_hamming:
    input:
        queries=lambda wildcards: plan.query_words(wildcards.method, wildcards.dataset),
        index=plan.paths.index_shard("{method}", "{searched}", "{shard}"),
        statistics=plan.paths.statistics("{method}", "{dataset}"),
    output:
        plan.paths.ranking_part("{method}", "{dataset}", "{searched}", "{shard}"),
    log:
        "logs/search_hamming/{method}/{dataset}/{searched}/{shard}.log",
    benchmark:
        "logs/benchmarks/search_hamming/{method}/{dataset}/{searched}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(SIGNED),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=SEARCH_HAMMING_VERSION,
        images=expected_queries,
        searched=lambda wildcards: expected_shard(
            wildcards.searched,
            plan.searched_role(wildcards.searched),
            wildcards.shard,
        ),
        matching=lambda wildcards: cfg.methods[wildcards.method].matching,
        top_k=get_top_k,
        num_distractors=get_num_distractors,
    message:
        "Search {wildcards.searched} shard {wildcards.shard} for the queries of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/search_hamming.py"


rule verify_geometry:
    input:
        ranking=lambda wildcards: plan.paths.ranking(
            cfg.methods[wildcards.method].ranking, wildcards.dataset
        ),
        queries=lambda wildcards: plan.query_features(
            wildcards.method, wildcards.dataset
        ),
        query_words=lambda wildcards: plan.query_words(
            wildcards.method, wildcards.dataset
        ),
        database=lambda wildcards: plan.searched_features(
            wildcards.method, wildcards.dataset
        ),
        database_words=lambda wildcards: plan.searched_words(
            wildcards.method, wildcards.dataset
        ),
    output:
        ranking=plan.paths.ranking("{method}", "{dataset}"),
        inliers=plan.paths.inliers("{method}", "{dataset}"),
    log:
        "logs/verify_geometry/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/verify_geometry/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="verify_geometry")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=VERIFY_GEOMETRY_VERSION,
        images=expected_queries,
        searched=expected_searched,
        settings=lambda wildcards: block("methods", wildcards.method),
    message:
        "Verify the ranking of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/verify_geometry.py"


rule expand_query:
    input:
        ranking=lambda wildcards: plan.paths.ranking(
            cfg.methods[wildcards.method].ranking, wildcards.dataset
        ),
        inliers=lambda wildcards: plan.paths.inliers(
            cfg.methods[wildcards.method].ranking, wildcards.dataset
        ),
        queries=lambda wildcards: plan.query_words(wildcards.method, wildcards.dataset),
        database=lambda wildcards: plan.searched_words(
            wildcards.method, wildcards.dataset
        ),
        indexes=lambda wildcards: plan.index(
            plan.searching_method(wildcards.method), wildcards.dataset
        ),
        statistics=lambda wildcards: plan.paths.statistics(
            plan.searching_method(wildcards.method), wildcards.dataset
        ),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
    output:
        plan.paths.ranking("{method}", "{dataset}"),
    log:
        "logs/expand_query/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/expand_query/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="expand_query")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=EXPAND_QUERY_VERSION,
        images=expected_queries,
        searched=expected_searched,
        settings=lambda wildcards: block("methods", wildcards.method),
        top_k=lambda wildcards: plan.lineage.ranked(wildcards.method, wildcards.dataset),
    message:
        "Search {wildcards.dataset} again with what was verified ({wildcards.method})"
    script:
        "../scripts/expand_query.py"


rule expand_hamming:
    input:
        ranking=lambda wildcards: plan.paths.ranking(
            cfg.methods[wildcards.method].ranking, wildcards.dataset
        ),
        queries=lambda wildcards: plan.query_words(wildcards.method, wildcards.dataset),
        database=lambda wildcards: plan.searched_words(
            wildcards.method, wildcards.dataset
        ),
        indexes=lambda wildcards: plan.index(
            plan.searching_method(wildcards.method), wildcards.dataset
        ),
        statistics=lambda wildcards: plan.paths.statistics(
            plan.searching_method(wildcards.method), wildcards.dataset
        ),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
    output:
        plan.paths.ranking("{method}", "{dataset}"),
    log:
        "logs/expand_hamming/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/expand_hamming/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="expand_hamming")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=EXPAND_HAMMING_VERSION,
        images=expected_queries,
        searched=expected_searched,
        ranking=lambda wildcards: cfg.methods[wildcards.method].ranking,
        matching=lambda wildcards: get_searching(wildcards).matching,
        expansion=lambda wildcards: cfg.methods[wildcards.method].expansion(
            get_searching(wildcards).bits
        ),
        top_k=lambda wildcards: plan.lineage.ranked(wildcards.method, wildcards.dataset),
    message:
        "Search {wildcards.dataset} again with what matched reliably ({wildcards.method})"
    script:
        "../scripts/expand_hamming.py"
