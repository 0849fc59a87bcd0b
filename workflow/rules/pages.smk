# Rankings -> pages with pictures, to look at; made when asked for by name.
rule show_places:
    input:
        unpack(lambda wildcards: plan.line_inputs(wildcards.method, wildcards.dataset)),
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        ranking=plan.paths.ranking("{method}", "{dataset}"),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
        ground_truth=lambda wildcards: plan.paths.ground_truth(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
    output:
        report(
            plan.paths.page("{method}", "{dataset}"),
            caption="../report/places.rst",
            category="Places",
            labels={"method": "{method}", "dataset": "{dataset}"},
        ),
    log:
        "logs/show_places/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/show_places/{method}/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(filter(has_places, cfg.names("datasets"))),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=SHOW_PLACES_VERSION,
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
        features=get_reading,
        lines=lambda wildcards: plan.line_settings(wildcards.method, wildcards.dataset),
        # Of an output, so that it is no reason to run again: it is only named.
        scores=lambda wildcards, output: plan.paths.scores(
            wildcards.method, wildcards.dataset
        ),
    message:
        "Show results of {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/show_places.py"


rule show_ranking:
    input:
        unpack(lambda wildcards: plan.line_inputs(wildcards.method, wildcards.dataset)),
        unpack(get_labels_and_scores),
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        ranking=plan.paths.ranking("{method}", "{dataset}"),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
    output:
        report(
            plan.paths.page("{method}", "{dataset}"),
            caption="../report/ranking.rst",
            category="Ranked images",
            labels={"method": "{method}", "dataset": "{dataset}"},
        ),
    log:
        "logs/show_ranking/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/show_ranking/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="retrieval")),
        dataset=any_of(filter(has_ranked_page, cfg.names("datasets"))),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=SHOW_RANKING_VERSION,
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
        features=get_reading,
        lines=lambda wildcards: plan.line_settings(wildcards.method, wildcards.dataset),
    message:
        "Show images that {wildcards.method} ranks on {wildcards.dataset}"
    script:
        "../scripts/show_ranking.py"


rule show_patches:
    input:
        patches=lambda wildcards: plan.patches(wildcards.patch_set),
        descriptors=lambda wildcards: plan.descriptors(
            wildcards.method, wildcards.patch_set
        ),
    output:
        report(
            plan.paths.page("{method}", "{patch_set}"),
            caption="../report/patches.rst",
            category="Patches",
            labels={"method": "{method}", "patch set": "{patch_set}"},
        ),
    log:
        "logs/show_patches/{method}/{patch_set}.log",
    benchmark:
        "logs/benchmarks/show_patches/{method}/{patch_set}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="patches")),
        patch_set=any_of(cfg.names("patch_sets", LISTS_PAIRS=True)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=SHOW_PATCHES_VERSION,
        distance=lambda wildcards: cfg.methods[wildcards.method].distance,
    message:
        "Show pairs that {wildcards.method} confuses on {wildcards.patch_set}"
    script:
        "../scripts/show_patches.py"


rule show_matches:
    input:
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        pairs=plan.paths.image_pairs("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
        matches=lambda wildcards: plan.matches(wildcards.method, wildcards.dataset),
        features=lambda wildcards: plan.matched_features(
            wildcards.method, wildcards.dataset
        ),
        scores=plan.paths.scores("{method}", "{dataset}"),
    output:
        report(
            plan.paths.page("{method}", "{dataset}"),
            caption="../report/matches.rst",
            category="Matches",
            labels={"method": "{method}", "dataset": "{dataset}"},
        ),
    log:
        "logs/show_matches/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/show_matches/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="matching")),
        dataset=any_of(cfg.names("datasets", FAMILY="matching")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=SHOW_MATCHES_VERSION,
        digest=lambda wildcards: plan.lineage.digest_matching(wildcards.method),
        made_by=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
        figures=lambda wildcards: figures_on(cfg, wildcards.dataset, home),
        features=lambda wildcards: block(
            "features", cfg.methods[wildcards.method].features
        ),
    message:
        "Show matches of {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/show_matches.py"


rule show_poses:
    input:
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        matches=plan.paths.image_matches("{method}", "{dataset}", "query"),
        poses=plan.paths.poses("{method}", "{dataset}"),
        record=record_path(plan.paths.poses("{method}", "{dataset}")),
        scores=plan.paths.scores("{method}", "{dataset}"),
        labels=plan.paths.ground_truth("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
    output:
        report(
            plan.paths.page("{method}", "{dataset}"),
            caption="../report/poses.rst",
            category="Poses",
            labels={"method": "{method}", "dataset": "{dataset}"},
        ),
    log:
        "logs/show_poses/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/show_poses/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(20),
    params:
        code=SHOW_POSES_VERSION,
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
        features=get_reading,
    message:
        "Show poses of {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/show_poses.py"
