# Features of image pairs -> matches, shard by shard of the list of pairs.
rule match_features:
    input:
        pairs=plan.paths.image_pairs("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
        features=lambda wildcards: plan.matched_features(
            wildcards.method, wildcards.dataset
        ),
    output:
        plan.paths.matches("{method}", "{dataset}", "{shard}"),
    log:
        "logs/match_features/{method}/{dataset}/{shard}.log",
    benchmark:
        "logs/benchmarks/match_features/{method}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="match_features")),
        dataset=any_of(plan.paired_datasets()),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(120),
    params:
        code=MATCH_FEATURES_VERSION,
        start=lambda wildcards: plan.match_shard(
            wildcards.dataset, wildcards.shard
        ).start,
        stop=lambda wildcards: plan.match_shard(wildcards.dataset, wildcards.shard).stop,
        images=lambda wildcards: expected_images(
            wildcards.dataset, cfg.datasets[wildcards.dataset].ROLES[0]
        ),
        settings=lambda wildcards: get_matching(wildcards.method),
        digest=lambda wildcards: plan.lineage.digest_matching(wildcards.method),
        features=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
    message:
        "Match image pairs of {wildcards.dataset} by {wildcards.method}, shard {wildcards.shard}"
    script:
        "../scripts/match_features.py"
