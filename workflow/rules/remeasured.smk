# Published networks and images -> counts -> published counts beside ours.
rule count_matches:
    input:
        images=lambda wildcards: plan.image_inputs(
            cfg.remeasured[wildcards.remeasured].dataset
        ),
        checkpoints=lambda wildcards: [
            plan.paths.checkpoint(model)
            for model in cfg.remeasured[wildcards.remeasured].counts
        ],
    output:
        plan.paths.counts("{remeasured}"),
    log:
        "logs/count_matches/{remeasured}.log",
    benchmark:
        "logs/benchmarks/count_matches/{remeasured}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        device=cfg.device,
        gpu=lambda wildcards: gpus() if cfg.backend == "torch" else 0,
        mem_mb=growing(4000),
        runtime=growing_minutes(120),
    params:
        settings=lambda wildcards: plan.lineage.digest_counts(wildcards.remeasured),
        most=lambda wildcards: cfg.remeasured[wildcards.remeasured].max_features,
        models=lambda wildcards: {
            model: block("models", model)
            for model in cfg.remeasured[wildcards.remeasured].counts
        },
        photographs=lambda wildcards: plan.counted_images(wildcards.remeasured),
        backend=cfg.backend,
    message:
        "Count features and matches for {wildcards.remeasured}"
    script:
        "../scripts/count_matches.py"


rule build_remeasured:
    input:
        [plan.paths.counts(name) for name in cfg.remeasured],
    output:
        csv=plan.paths.remeasured(),
        checksum=checksum_path(plan.paths.remeasured()),
    log:
        "logs/build_remeasured.log",
    benchmark:
        "logs/benchmarks/build_remeasured.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing_minutes(5),
    params:
        code=BUILD_REMEASURED_VERSION,
        measured={name: plan.remeasured(name) for name in cfg.remeasured},
    message:
        "Write what was measured again beside what was published"
    script:
        "../scripts/build_remeasured.py"
