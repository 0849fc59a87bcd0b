# Images and checkpoints -> feature shards; or descriptors released by the authors -> feature shards.
rule extract_features:
    input:
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        manifest=get_images_manifest,
        checkpoints=get_extracting_checkpoints,
    output:
        plan.paths.feature_shard("{features}", "{dataset}", "{role}", "{shard}"),
    log:
        "logs/extract_features/{features}/{dataset}/{role}/{shard}.log",
    benchmark:
        "logs/benchmarks/extract_features/{features}/{dataset}/{role}/{shard}.tsv"
    wildcard_constraints:
        features=any_of(cfg.names("features", stage="extract_features")),
    conda:
        ENVIRONMENT
    threads: network_threads(2, extracted_image_size)
    resources:
        device=cfg.device,
        gpu=lambda wildcards: gpus() if cfg.backend == "torch" else 0,
        mem_mb=growing(6000),
        runtime=growing_minutes(480),
    params:
        start=lambda wildcards: get_shard(wildcards).start,
        stop=lambda wildcards: get_shard(wildcards).stop,
        images=lambda wildcards: plan.own_folders.digest_images(
            wildcards.dataset, wildcards.role, get_shard(wildcards)
        ),
        # Of an output, so that it is no reason to run again: the digest of the images is.
        folders=lambda wildcards, output: plan.own_folders.settings(wildcards.dataset),
        records=plan.paths.image_records("{dataset}"),
        kept=plan.paths.kept_features("{features}", "{dataset}"),
        settings=lambda wildcards: block("features", wildcards.features),
        pixel_labels=lambda wildcards: cfg.datasets[wildcards.dataset].HAS_PIXEL_LABELS,
        models=get_extracting_models,
        digest=lambda wildcards: plan.lineage.digest_features(wildcards.features),
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
        backend=cfg.backend,
    message:
        "Extract {wildcards.features} from {wildcards.dataset} {wildcards.role}, shard {wildcards.shard}"
    script:
        "../scripts/extract_features.py"


rule import_features:
    input:
        manifest=plan.paths.manifest("{dataset}"),
        released=lambda wildcards: plan.released_file(
            wildcards.features, wildcards.dataset
        ),
    output:
        plan.paths.feature_shard("{features}", "{dataset}", "{role}", "{shard}"),
    log:
        "logs/import_features/{features}/{dataset}/{role}/{shard}.log",
    benchmark:
        "logs/benchmarks/import_features/{features}/{dataset}/{role}/{shard}.tsv"
    wildcard_constraints:
        features=any_of(cfg.names("features", stage="import_features")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing_minutes(60),
    params:
        start=lambda wildcards: get_shard(wildcards).start,
        stop=lambda wildcards: get_shard(wildcards).stop,
        digest=lambda wildcards: plan.lineage.digest_features(wildcards.features),
    message:
        "Import released {wildcards.features} of {wildcards.dataset} {wildcards.role}, shard {wildcards.shard}"
    script:
        "../scripts/import_features.py"
