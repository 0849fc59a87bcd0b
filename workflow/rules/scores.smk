# Artefacts of methods and labels -> metrics, with a record of what they were made from; one rule a family.
rule score_ranking:
    input:
        ranking=plan.paths.ranking("{method}", "{dataset}"),
        ground_truth=get_labels,
        left_out=lambda wildcards: plan.paths.left_out(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
        features=lambda wildcards: plan.query_features(
            wildcards.method, wildcards.dataset
        ),
    output:
        scores=plan.paths.scores("{method}", "{dataset}"),
        provenance=plan.paths.provenance("{method}", "{dataset}"),
    log:
        "logs/score_ranking/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/score_ranking/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="retrieval")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=SCORE_RANKING_VERSION,
        digest=lambda wildcards: plan.lineage.digest_descriptors(wildcards.method),
        blocks=lambda wildcards: plan.lineage.blocks_behind(
            wildcards.method, wildcards.dataset
        ),
        # Of an output, so that it is no reason to run again: it only tells the record of where files came from.
        sources=lambda wildcards, output: plan.source_records(
            wildcards.method, wildcards.dataset
        ),
        own_files=lambda wildcards: plan.lineage.digest_own_files_behind(
            wildcards.method
        ),
    message:
        "Score {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/score_ranking.py"


rule score_patches:
    input:
        descriptors=lambda wildcards: plan.descriptors(
            wildcards.method, wildcards.patch_set
        ),
        patches=lambda wildcards: plan.patches(wildcards.patch_set),
        lists=lambda wildcards: plan.score_inputs(wildcards.patch_set),
    output:
        scores=plan.paths.scores("{method}", "{patch_set}"),
        provenance=plan.paths.provenance("{method}", "{patch_set}"),
    log:
        "logs/score_patches/{method}/{patch_set}.log",
    benchmark:
        "logs/benchmarks/score_patches/{method}/{patch_set}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="patches")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(60),
    params:
        code=SCORE_PATCHES_VERSION,
        method=lambda wildcards: block("methods", wildcards.method),
        patch_set=lambda wildcards: block("patch_sets", wildcards.patch_set),
        datasets=plan.paths.datasets(),
        digest=lambda wildcards: plan.lineage.digest_descriptors(wildcards.method),
        blocks=lambda wildcards: plan.lineage.blocks_behind(
            wildcards.method, wildcards.patch_set
        ),
        # Of an output, so that it is no reason to run again: it only tells the record of where files came from.
        sources=lambda wildcards, output: plan.source_records(
            wildcards.method, wildcards.patch_set
        ),
        own_files=lambda wildcards: plan.lineage.digest_own_files_behind(
            wildcards.method
        ),
    message:
        "Score {wildcards.method} on {wildcards.patch_set}"
    script:
        "../scripts/score_patches.py"


rule score_matches:
    input:
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        pairs=plan.paths.image_pairs("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
        matches=lambda wildcards: plan.matches(wildcards.method, wildcards.dataset),
        features=lambda wildcards: plan.matched_features(
            wildcards.method, wildcards.dataset
        ),
        fixed=lambda wildcards: plan.matched_features(
            wildcards.method, wildcards.dataset, "fixed_features"
        ),
    output:
        scores=plan.paths.scores("{method}", "{dataset}"),
        provenance=plan.paths.provenance("{method}", "{dataset}"),
    log:
        "logs/score_matches/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/score_matches/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="matching")),
        dataset=any_of(cfg.names("datasets", FAMILY="matching")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(60),
    params:
        code=SCORE_MATCHES_VERSION,
        method=lambda wildcards: block("methods", wildcards.method),
        settings=lambda wildcards: get_matching(wildcards.method),
        digest=lambda wildcards: plan.lineage.digest_matching(wildcards.method),
        features=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        fixed=lambda wildcards: digest_fixed_features(wildcards.method),
        image_size=lambda wildcards: get_matched_size(wildcards.method),
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
        blocks=lambda wildcards: plan.lineage.blocks_behind(
            wildcards.method, wildcards.dataset
        ),
        # Of an output, so that it is no reason to run again: it only tells the record of where files came from.
        sources=lambda wildcards, output: plan.source_records(
            wildcards.method, wildcards.dataset
        ),
        own_files=lambda wildcards: plan.lineage.digest_own_files_behind(
            wildcards.method
        ),
    message:
        "Score {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/score_matches.py"
