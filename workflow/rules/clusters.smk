# NetVLAD's checkpoints: clusters of local descriptors, the layer set from them, a PCA-whitening behind it.
rule cluster_descriptors:
    input:
        start=lambda wildcards: plan.start_checkpoint(wildcards.model),
        manifest=lambda wildcards: plan.paths.manifest(
            cfg.models[wildcards.model].weights.dataset
        ),
        images=lambda wildcards: plan.image_inputs(
            cfg.models[wildcards.model].weights.dataset
        ),
    output:
        plan.paths.clusters("{model}"),
    log:
        "logs/cluster_descriptors/{model}.log",
    benchmark:
        "logs/benchmarks/cluster_descriptors/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_from("clustered")),
    priority: 1
    conda:
        ENVIRONMENT
    threads: network_threads(4, learned_image_size)
    resources:
        device=cfg.device,
        gpu=gpus,
        mem_mb=growing(6000),
        runtime=growing_minutes(120),
    params:
        code=CLUSTER_DESCRIPTORS_VERSION,
        model=lambda wildcards: block("models", wildcards.model),
        image_root=lambda wildcards: plan.image_root(
            cfg.models[wildcards.model].weights.dataset
        ),
    message:
        "Cluster the local descriptors of {wildcards.model}"
    script:
        "../scripts/cluster_descriptors.py"


rule initialise_checkpoint:
    input:
        start=lambda wildcards: plan.start_checkpoint(wildcards.model),
        clusters=plan.paths.clusters("{model}"),
    output:
        plan.paths.checkpoint("{model}"),
    log:
        "logs/initialise_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/initialise_checkpoint/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_from("clustered")),
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(10),
    params:
        code=INITIALISE_CHECKPOINT_VERSION,
        model=lambda wildcards: block("models", wildcards.model),
    message:
        "Set the layer of {wildcards.model} from clusters"
    script:
        "../scripts/initialise_checkpoint.py"


rule pca_checkpoint:
    input:
        start=lambda wildcards: plan.start_checkpoint(wildcards.model),
        manifest=lambda wildcards: plan.paths.manifest(
            cfg.models[wildcards.model].weights.dataset
        ),
        images=lambda wildcards: plan.image_inputs(
            cfg.models[wildcards.model].weights.dataset
        ),
    output:
        plan.paths.checkpoint("{model}"),
    log:
        "logs/pca_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/pca_checkpoint/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_from("pca")),
    conda:
        ENVIRONMENT
    threads: network_threads(4, learned_image_size)
    resources:
        device=cfg.device,
        gpu=gpus,
        mem_mb=growing(12000),
        runtime=growing_minutes(360),
    params:
        code=PCA_CHECKPOINT_VERSION,
        model=lambda wildcards: block("models", wildcards.model),
        image_root=lambda wildcards: plan.image_root(
            cfg.models[wildcards.model].weights.dataset
        ),
    message:
        "Whiten the descriptors of {wildcards.model}"
    script:
        "../scripts/pca_checkpoint.py"
