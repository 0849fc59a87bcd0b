# Weights -> checkpoints of one format: converted or drawn, whitened, trained.
rule convert_checkpoint:
    input:
        weights=lambda wildcards: plan.weights_files(wildcards.model),
    output:
        plan.paths.checkpoint("{model}"),
    log:
        "logs/convert_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/convert_checkpoint/{model}.tsv"
    wildcard_constraints:
        model=any_of(
            plan.lineage.models_from("official", "imagenet", "custom", "random")
        ),
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(10),
    params:
        code=CONVERT_CHECKPOINT_VERSION,
        seed=lambda wildcards: plan.lineage.seed_of(wildcards.model),
        own=lambda wildcards: [
            *plan.lineage.digest_own_files(wildcards.model).values(),
            *filter(None, [plan.on_disk.digest_run_folder(wildcards.model)]),
        ],
        model=lambda wildcards: block("models", wildcards.model),
    message:
        "Make the checkpoint of {wildcards.model}"
    script:
        "../scripts/convert_checkpoint.py"


rule whiten_checkpoint:
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
        "logs/whiten_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/whiten_checkpoint/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_from("whitened")),
    priority: 1
    conda:
        ENVIRONMENT
    threads: network_threads(2, learned_image_size)
    resources:
        device=cfg.device,
        gpu=gpus,
        mem_mb=growing(6000),
        runtime=growing_minutes(240),
    params:
        code=WHITEN_CHECKPOINT_VERSION,
        seed=lambda wildcards: plan.lineage.seed_of(wildcards.model),
        model=lambda wildcards: block("models", wildcards.model),
        image_root=lambda wildcards: plan.image_root(
            cfg.models[wildcards.model].weights.dataset
        ),
    message:
        "Whiten the reduction of {wildcards.model}"
    script:
        "../scripts/whiten_checkpoint.py"


rule train_checkpoint:
    input:
        start=lambda wildcards: plan.start_checkpoint(wildcards.model),
        manifests=lambda wildcards: [
            plan.paths.manifest(name)
            for name in plan.training_datasets(wildcards.model)
        ],
        labels=lambda wildcards: [
            plan.paths.ground_truth(name)
            for name in plan.training_datasets(wildcards.model)
        ],
        images=lambda wildcards: [
            file
            for name in plan.training_datasets(wildcards.model)
            for file in plan.image_inputs(name)
        ],
    output:
        checkpoint=plan.paths.checkpoint("{model}"),
        history=plan.paths.training_history("{model}"),
        checksum=checksum_path(plan.paths.training_history("{model}")),
    log:
        "logs/train_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/train_checkpoint/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_trained_by("train_checkpoint")),
    # The longest chains begin first, and what they wait for.
    priority: 2
    conda:
        ENVIRONMENT
    threads: network_threads(8, learned_image_size, cfg.training_gpus)
    resources:
        device=cfg.device,
        gpu=cfg.training_gpus * gpus(),
        # Resources and no parameters: the number of processes is no reason to train again.
        processes=cfg.training_gpus,
        workers=lambda wildcards: plan.lineage.training_block(wildcards.model).workers,
        nodes=1,
        mem_mb=growing(24000 * cfg.training_gpus),
        runtime=growing_minutes(2880),
    params:
        code=TRAIN_CHECKPOINT_VERSION,
        model=lambda wildcards: block("models", wildcards.model),
        training=lambda wildcards: block(
            "training", cfg.models[wildcards.model].weights.training
        ),
        roots=lambda wildcards: [
            plan.image_root(name) for name in plan.training_datasets(wildcards.model)
        ],
        folder=lambda wildcards: plan.paths.training_folder(wildcards.model),
    message:
        "Train {wildcards.model}"
    script:
        "../scripts/train_checkpoint.py"


rule train_on_patches:
    input:
        start=lambda wildcards: plan.start_checkpoint(wildcards.model),
        patches=lambda wildcards: plan.training_patches(wildcards.model),
        validation=lambda wildcards: plan.validation_patches(wildcards.model),
    output:
        checkpoint=plan.paths.checkpoint("{model}"),
        history=plan.paths.training_history("{model}"),
        checksum=checksum_path(plan.paths.training_history("{model}")),
    log:
        "logs/train_on_patches/{model}.log",
    benchmark:
        "logs/benchmarks/train_on_patches/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_trained_by("train_on_patches")),
    priority: 2
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        device=cfg.device,
        gpu=gpus(),
        mem_mb=growing(16000),
        runtime=growing_minutes(2880),
    params:
        code=TRAIN_CHECKPOINT_VERSION,
        model=lambda wildcards: block("models", wildcards.model),
        training=lambda wildcards: block(
            "training", cfg.models[wildcards.model].weights.training
        ),
        folder=lambda wildcards: plan.paths.training_folder(wildcards.model),
    message:
        "Train {wildcards.model}"
    script:
        "../scripts/train_on_patches.py"


rule train_on_crops:
    input:
        start=lambda wildcards: plan.start_checkpoint(wildcards.model),
        manifest=lambda wildcards: plan.paths.manifest(
            plan.training_datasets(wildcards.model)[0]
        ),
        labels=lambda wildcards: plan.paths.ground_truth(
            plan.training_datasets(wildcards.model)[0]
        ),
        images=lambda wildcards: plan.image_inputs(
            plan.training_datasets(wildcards.model)[0]
        ),
        keypoints=lambda wildcards: plan.training_keypoints(wildcards.model, "train"),
        validation_keypoints=lambda wildcards: plan.training_keypoints(
            wildcards.model, "val"
        ),
    output:
        checkpoint=plan.paths.checkpoint("{model}"),
        history=plan.paths.training_history("{model}"),
        checksum=checksum_path(plan.paths.training_history("{model}")),
    log:
        "logs/train_on_crops/{model}.log",
    benchmark:
        "logs/benchmarks/train_on_crops/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.lineage.models_trained_by("train_on_crops")),
    priority: 2
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        device=cfg.device,
        gpu=gpus(),
        # A resource and no parameter: the number of processes that load images is no reason to train again.
        workers=lambda wildcards: plan.lineage.training_block(wildcards.model).workers,
        mem_mb=growing(16000),
        runtime=growing_minutes(2880),
    params:
        code=TRAIN_ON_CROPS_VERSION,
        model=lambda wildcards: block("models", wildcards.model),
        training=lambda wildcards: block(
            "training", cfg.models[wildcards.model].weights.training
        ),
        root=lambda wildcards: plan.image_root(
            plan.training_datasets(wildcards.model)[0]
        ),
        folder=lambda wildcards: plan.paths.training_folder(wildcards.model),
    message:
        "Train {wildcards.model}"
    script:
        "../scripts/train_on_crops.py"
