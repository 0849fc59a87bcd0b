# Images and checkpoints -> feature shards; or descriptors released by the authors -> feature shards.
rule extract_features:
    input:
        images=lambda wildcards: layout.image_inputs(wildcards.dataset),
        manifest=get_images_manifest,
        checkpoint=lambda wildcards: layout.checkpoint(
            cfg.features[wildcards.features].model
        ),
    output:
        layout.feature_shard("{features}", "{dataset}", "{role}", "{shard}"),
    log:
        "logs/extract_features/{features}/{dataset}/{role}/{shard}.log",
    benchmark:
        "logs/benchmarks/extract_features/{features}/{dataset}/{role}/{shard}.tsv"
    wildcard_constraints:
        features=any_of(layout.names("features", stage="extract_features")),
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
        images=lambda wildcards: layout.images_digest(
            wildcards.dataset, wildcards.role, wildcards.shard
        ),
        # Of an output, so that it is no reason to run again: the digest of the images is.
        folders=lambda wildcards, output: layout.own_folders(wildcards.dataset),
        records=layout.image_records("{dataset}"),
        kept=layout.kept_features("{features}", "{dataset}"),
        settings=lambda wildcards: block("features", wildcards.features),
        model=lambda wildcards: block("models", cfg.features[wildcards.features].model),
        digest=lambda wildcards: layout.features_digest(wildcards.features),
        image_root=lambda wildcards: layout.image_root(wildcards.dataset),
        backend=cfg.backend,
    message:
        "Extract {wildcards.features} from {wildcards.dataset} {wildcards.role}, shard {wildcards.shard}"
    script:
        "../scripts/extract_features.py"


rule import_features:
    input:
        manifest=layout.manifest("{dataset}"),
        released=lambda wildcards: layout.released_file(
            wildcards.features, wildcards.dataset
        ),
    output:
        layout.feature_shard("{features}", "{dataset}", "{role}", "{shard}"),
    log:
        "logs/import_features/{features}/{dataset}/{role}/{shard}.log",
    benchmark:
        "logs/benchmarks/import_features/{features}/{dataset}/{role}/{shard}.tsv"
    wildcard_constraints:
        features=any_of(layout.names("features", stage="import_features")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing_minutes(60),
    params:
        start=lambda wildcards: get_shard(wildcards).start,
        stop=lambda wildcards: get_shard(wildcards).stop,
        digest=lambda wildcards: layout.features_digest(wildcards.features),
    message:
        "Import released {wildcards.features} of {wildcards.dataset} {wildcards.role}, shard {wildcards.shard}"
    script:
        "../scripts/import_features.py"
