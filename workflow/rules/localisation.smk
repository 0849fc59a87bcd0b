# Features of a map and of queries -> pairs -> matches -> map of points -> poses of the queries.
rule select_pairs:
    input:
        labels=plan.paths.ground_truth("{dataset}"),
        ranking=lambda wildcards: plan.pairing_ranking(
            wildcards.method, wildcards.dataset
        ),
    output:
        pairs=plan.paths.map_pairs("{method}", "{dataset}"),
        checksum=checksum_path(plan.paths.map_pairs("{method}", "{dataset}")),
    log:
        "logs/select_pairs/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/select_pairs/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=SELECT_PAIRS_VERSION,
        settings=lambda wildcards: keys_of(
            wildcards.method, "pairs", "map_pairs", "top_k", "map_neighbours"
        ),
        ranking=lambda wildcards: cfg.methods[wildcards.method].ranking,
    message:
        "Pair the images of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/select_pairs.py"


rule match_images:
    input:
        pairs=plan.paths.map_pairs("{method}", "{dataset}"),
        features=lambda wildcards: plan.local_features(
            wildcards.method, wildcards.dataset, wildcards.role
        ),
        map_features=lambda wildcards: plan.local_features(
            wildcards.method, wildcards.dataset, "map"
        ),
    output:
        plan.paths.image_matches("{method}", "{dataset}", "{role}"),
    log:
        "logs/match_images/{method}/{dataset}/{role}.log",
    benchmark:
        "logs/benchmarks/match_images/{method}/{dataset}/{role}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
        role="map|query",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(480),
    params:
        code=MATCH_IMAGES_VERSION,
        images=lambda wildcards: expected_images(wildcards.dataset, wildcards.role),
        map_images=lambda wildcards: expected_images(wildcards.dataset, "map"),
        settings=lambda wildcards: cfg.methods[wildcards.method].match.matching(),
        digest=lambda wildcards: plan.lineage.digest_map_matching(wildcards.method),
        features=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
    message:
        "Match the {wildcards.role} images of {wildcards.dataset} with the map ({wildcards.method})"
    script:
        "../scripts/match_images.py"


rule reconstruct:
    input:
        manifest=plan.paths.manifest("{dataset}"),
        labels=plan.paths.ground_truth("{dataset}"),
        features=lambda wildcards: plan.local_features(
            wildcards.method, wildcards.dataset, "map"
        ),
        matches=plan.paths.image_matches("{method}", "{dataset}", "map"),
    output:
        model=directory(plan.paths.reconstruction("{method}", "{dataset}")),
        record=plan.paths.reconstruction_record("{method}", "{dataset}"),
    log:
        "logs/reconstruct/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/reconstruct/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing_minutes(480),
    params:
        code=RECONSTRUCT_VERSION,
        settings=lambda wildcards: keys_of(
            wildcards.method,
            "verification",
            "verify_error",
            "min_pair_inliers",
            "reprojection_error",
            "min_angle",
            "two_view_points",
        ),
        origin=lambda wildcards: cfg.methods[wildcards.method].keypoint_origin,
        seed=cfg.seed,
    message:
        "Triangulate the map of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/reconstruct.py"


rule localise_queries:
    input:
        manifest=plan.paths.manifest("{dataset}"),
        labels=plan.paths.ground_truth("{dataset}"),
        features=lambda wildcards: plan.local_features(
            wildcards.method, wildcards.dataset, "query"
        ),
        matches=plan.paths.image_matches("{method}", "{dataset}", "query"),
        model=plan.paths.reconstruction("{method}", "{dataset}"),
        record=plan.paths.reconstruction_record("{method}", "{dataset}"),
    output:
        poses=plan.paths.poses("{method}", "{dataset}"),
        record=record_path(plan.paths.poses("{method}", "{dataset}")),
    log:
        "logs/localise_queries/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/localise_queries/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing_minutes(240),
    params:
        code=LOCALISE_QUERIES_VERSION,
        settings=lambda wildcards: keys_of(
            wildcards.method, "max_error", "min_inliers", "min_inlier_ratio"
        ),
        origin=lambda wildcards: cfg.methods[wildcards.method].keypoint_origin,
        fallback=lambda wildcards: cfg.methods[wildcards.method].fallback,
        seed=cfg.seed,
    message:
        "Localise the queries of {wildcards.dataset} ({wildcards.method})"
    script:
        "../scripts/localise_queries.py"


rule score_poses:
    input:
        poses=plan.paths.poses("{method}", "{dataset}"),
        record=record_path(plan.paths.poses("{method}", "{dataset}")),
        labels=plan.paths.ground_truth("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
        features=lambda wildcards: plan.local_features(
            wildcards.method, wildcards.dataset, "query"
        ),
    output:
        scores=plan.paths.scores("{method}", "{dataset}"),
        provenance=plan.paths.provenance("{method}", "{dataset}"),
    log:
        "logs/score_poses/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/score_poses/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=SCORE_POSES_VERSION,
        server=get_server,
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
        "Score the poses of {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/score_poses.py"
