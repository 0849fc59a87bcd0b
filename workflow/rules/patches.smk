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
        # A part is its own: naming others makes it not anew.
        patch_set=lambda wildcards: block("patch_sets", wildcards.patch_set)
        | {"parts": [wildcards.part]},
        datasets_dir=plan.paths.datasets(),
    message:
        "Gather the patches of {wildcards.part} ({wildcards.patch_set})"
    script:
        "../scripts/build_patches.py"
