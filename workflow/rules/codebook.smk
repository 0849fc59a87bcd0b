# Feature shards of training images -> codebook.
rule train_codebook:
    input:
        lambda wildcards: plan.codebook_features(wildcards.method),
    output:
        plan.paths.codebook("{method}"),
    log:
        "logs/train_codebook/{method}.log",
    benchmark:
        "logs/benchmarks/train_codebook/{method}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", needs_codebook=True)),
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        device=cfg.device,
        gpu=gpus,
        mem_mb=growing(24000),
        runtime=growing_minutes(720),
    params:
        code=TRAIN_CODEBOOK_VERSION,
        codebook=lambda wildcards: block("methods", wildcards.method)["codebook"],
        signatures=lambda wildcards: cfg.methods[wildcards.method].signatures,
        images=expected_learned,
        n=lambda wildcards: plan.codebook_n(wildcards.method),
        digest=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].codebook.features
        ),
    message:
        "Learn the codebook of {wildcards.method}"
    script:
        "../scripts/train_codebook.py"
