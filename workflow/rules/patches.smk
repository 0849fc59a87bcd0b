# Patch sets in their official plan -> patches with labels, one file for each part.
rule build_patches:
    input:
        lambda wildcards: plan.patch_inputs(wildcards.patch_set, wildcards.part),
    output:
        plan.paths.patches("{patch_set}", "{part}"),
    log:
        "logs/build_patches/{patch_set}/{part}.log",
    benchmark:
        "logs/benchmarks/build_patches/{patch_set}/{part}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(60),
    params:
        code=BUILD_PATCHES_VERSION,
        patch_set=lambda wildcards: get_part(wildcards.patch_set, wildcards.part),
        # Of an output, so that it is no reason to run again: it only says what is refused.
        expected=lambda wildcards, output: cfg.patch_sets[
            wildcards.patch_set
        ].counts.get(wildcards.part),
        datasets_dir=plan.paths.datasets(),
    message:
        "Gather the patches of {wildcards.part} ({wildcards.patch_set})"
    script:
        "../scripts/build_patches.py"


rule describe_patches:
    input:
        patches=plan.paths.patches("{patch_set}", "{part}"),
        checkpoint=lambda wildcards: plan.describing_checkpoint(wildcards.method),
    output:
        plan.paths.descriptors("{method}", "{patch_set}", "{part}"),
    log:
        "logs/describe_patches/{method}/{patch_set}/{part}.log",
    benchmark:
        "logs/benchmarks/describe_patches/{method}/{patch_set}/{part}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="describe_patches")),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        device=cfg.device,
        gpu=lambda wildcards: (
            gpus() if plan.describing_checkpoint(wildcards.method) else 0
        ),
        mem_mb=growing(4000),
        runtime=growing_minutes(120),
    params:
        code=DESCRIBE_PATCHES_VERSION,
        method=lambda wildcards: describing(wildcards.method),
        model=lambda wildcards: get_describing_model(wildcards.method),
        digest=lambda wildcards: plan.lineage.digest_descriptors(wildcards.method),
        own_files=lambda wildcards: plan.lineage.digest_own_files_behind(
            wildcards.method
        ),
    message:
        "Describe {wildcards.part} of {wildcards.patch_set} by {wildcards.method}"
    script:
        "../scripts/describe_patches.py"


rule import_descriptors:
    input:
        patches=plan.paths.patches("{patch_set}", "{part}"),
    output:
        plan.paths.descriptors("{method}", "{patch_set}", "{part}"),
    log:
        "logs/import_descriptors/{method}/{patch_set}/{part}.log",
    benchmark:
        "logs/benchmarks/import_descriptors/{method}/{patch_set}/{part}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", stage="import_descriptors")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=IMPORT_DESCRIPTORS_VERSION,
        method=lambda wildcards: describing(wildcards.method),
        digest=lambda wildcards: plan.lineage.digest_descriptors(wildcards.method),
    message:
        "Import descriptors of {wildcards.part} of {wildcards.patch_set} by {wildcards.method}"
    script:
        "../scripts/import_descriptors.py"
