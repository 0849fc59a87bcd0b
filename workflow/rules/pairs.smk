# Indexes of kapture folders -> pairs files.
rule compute_pairs:
    input:
        queries=lambda wildcards: plan.database_features(
            wildcards.method, wildcards.queries
        ),
        searched=get_searched,
        codebook=get_codebook,
        statistics=lambda wildcards: get_statistics(wildcards.method, wildcards.images),
        query_names=lambda wildcards: plan.paths.manifest(wildcards.queries),
        image_names=lambda wildcards: plan.paths.manifest(wildcards.images),
    output:
        plan.paths.pairs("{method}", "{images}", "{queries}"),
    log:
        "logs/compute_pairs/{method}/{images}__{queries}.log",
    benchmark:
        "logs/benchmarks/compute_pairs/{method}/{images}__{queries}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", ranks_shards=True)),
        images=any_of(cfg.names("datasets", format="kapture")),
        queries=any_of(cfg.names("datasets", format="kapture")),
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(120),
    params:
        code=COMPUTE_PAIRS_VERSION,
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        images=lambda wildcards: expected_images(wildcards.queries, "database"),
        searched=lambda wildcards: expected_images(wildcards.images, "database"),
        method=lambda wildcards: block("methods", wildcards.method),
        top_k=cfg.pairs_top_k,
    message:
        "Pair {wildcards.queries} with {wildcards.images} ({wildcards.method})"
    script:
        "../scripts/compute_pairs.py"
