# Sources -> datasets in their official plan -> manifests and image pairs.
rule download_source:
    output:
        optionally_temporary(plan.paths.raw("{file}")),
    log:
        "logs/download_source/{file}.log",
    benchmark:
        "logs/benchmarks/download_source/{file}.tsv"
    wildcard_constraints:
        file=any_of(plan.lineage.downloaded_files()),
    # Compute nodes often have no way out, so downloads run where Snakemake runs.
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing_minutes(1440),
    params:
        code=DOWNLOAD_SOURCE_VERSION,
        name=source_param("name"),
        part=source_param("part"),
        own_copy=lambda wildcards: plan.on_disk.digest_copy(
            *plan.lineage.source_of_file(wildcards.file)[::2]
        ),
        unfit=lambda wildcards: plan.on_disk.find_unfit(wildcards.file),
        # Functions of an output are no reason to run again: where a file is fetched from does not decide what it is.
        source=lambda wildcards, output: source_param("source")(wildcards),
        mirrors=lambda wildcards, output: cfg.mirrors,
        offline=lambda wildcards, output: cfg.offline,
    message:
        "Fetch {wildcards.file}"
    script:
        "../scripts/download_source.py"


rule unpack_source:
    input:
        lambda wildcards: plan.archives(wildcards.source),
    output:
        plan.paths.unpacked("{source}"),
    log:
        "logs/unpack_source/{source}.log",
    benchmark:
        "logs/benchmarks/unpack_source/{source}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing_minutes(240),
    params:
        code=UNPACK_SOURCE_VERSION,
        place=get_place,
        own_copy=lambda wildcards: plan.on_disk.digest_copied_folder(wildcards.source),
        source=lambda wildcards, output: block("sources", wildcards.source),
    message:
        "Unpack {wildcards.source} into its official place"
    script:
        "../scripts/unpack_source.py"


rule draw_toytown:
    output:
        plan.paths.toytown(),
    log:
        "logs/draw_toytown.log",
    benchmark:
        "logs/benchmarks/draw_toytown.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(10),
    params:
        code=DRAW_TOYTOWN_VERSION,
        settings=cfg.toytown.model_dump(mode="json"),
    message:
        "Draw toytown"
    script:
        "../scripts/draw_toytown.py"


rule build_manifest:
    input:
        lambda wildcards: plan.manifest_inputs(wildcards.dataset),
    output:
        manifest=plan.paths.manifest("{dataset}"),
        checksum=checksum_path(plan.paths.manifest("{dataset}")),
        ground_truth=plan.paths.ground_truth("{dataset}"),
        left_out=plan.paths.left_out("{dataset}"),
    log:
        "logs/build_manifest/{dataset}.log",
    benchmark:
        "logs/benchmarks/build_manifest/{dataset}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=BUILD_MANIFEST_VERSION,
        dataset=lambda wildcards: block("datasets", wildcards.dataset),
        listing=lambda wildcards: plan.own_folders.digest_listing(wildcards.dataset),
        records=lambda wildcards: plan.paths.image_records(wildcards.dataset),
        datasets_dir=plan.paths.datasets(),
    message:
        "List the images and the ground truth of {wildcards.dataset}"
    script:
        "../scripts/build_manifest.py"


rule build_pairs:
    input:
        lists=lambda wildcards: plan.manifest_inputs(wildcards.dataset),
        manifest=plan.paths.manifest("{dataset}"),
    output:
        pairs=plan.paths.image_pairs("{dataset}"),
        checksum=checksum_path(plan.paths.image_pairs("{dataset}")),
    log:
        "logs/build_pairs/{dataset}.log",
    benchmark:
        "logs/benchmarks/build_pairs/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(plan.paired_datasets()),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing_minutes(20),
    params:
        code=BUILD_PAIRS_VERSION,
        dataset=lambda wildcards: block("datasets", wildcards.dataset),
        datasets_dir=plan.paths.datasets(),
    message:
        "List the image pairs of {wildcards.dataset} and their relations"
    script:
        "../scripts/build_pairs.py"
