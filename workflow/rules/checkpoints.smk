# Weights -> checkpoints of one format.
rule convert_checkpoint:
    input:
        weights=lambda wildcards: layout.weights_file(wildcards.model),
    output:
        layout.checkpoint("{model}"),
    log:
        "logs/convert_checkpoint/{model}.log",
    benchmark:
        "logs/benchmarks/convert_checkpoint/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(10),
    params:
        code=CONVERT_CHECKPOINT_VERSION,
        seed=cfg.seed,
        model=lambda wildcards: block("models", wildcards.model),
    message:
        "Make the checkpoint of {wildcards.model}"
    script:
        "../scripts/convert_checkpoint.py"
