# Results that are scored -> what they score under other choices -> the cells of a table under each; only when asked for.
rule rescore_ranking:
    input:
        ranking=plan.paths.ranking("{method}", "{dataset}"),
        ground_truth=get_labels,
        manifest=lambda wildcards: plan.paths.manifest(
            plan.lineage.base_dataset(wildcards.dataset)
        ),
        scores=plan.paths.scores("{method}", "{dataset}"),
    output:
        plan.paths.rescored("{method}", "{dataset}"),
    log:
        "logs/rescore_ranking/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/rescore_ranking/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="retrieval")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=RESCORE_RANKING_VERSION,
    message:
        "Score {wildcards.method} on {wildcards.dataset} under other choices"
    script:
        "../scripts/rescore_ranking.py"


rule rescore_patches:
    input:
        descriptors=lambda wildcards: plan.descriptors(
            wildcards.method, wildcards.patch_set
        ),
        patches=lambda wildcards: plan.patches(wildcards.patch_set),
        lists=lambda wildcards: plan.score_inputs(wildcards.patch_set),
        scores=plan.paths.scores("{method}", "{patch_set}"),
    output:
        plan.paths.rescored("{method}", "{patch_set}"),
    log:
        "logs/rescore_patches/{method}/{patch_set}.log",
    benchmark:
        "logs/benchmarks/rescore_patches/{method}/{patch_set}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="patches")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing_minutes(240),
    params:
        code=RESCORE_PATCHES_VERSION,
        method=lambda wildcards: block("methods", wildcards.method),
        patch_set=lambda wildcards: block("patch_sets", wildcards.patch_set),
        datasets=plan.paths.datasets(),
        digest=lambda wildcards: plan.lineage.digest_descriptors(wildcards.method),
    message:
        "Score {wildcards.method} on {wildcards.patch_set} under other choices"
    script:
        "../scripts/rescore_patches.py"


rule rescore_matches:
    input:
        images=lambda wildcards: plan.image_inputs(wildcards.dataset),
        pairs=plan.paths.image_pairs("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
        matches=lambda wildcards: plan.matches(wildcards.method, wildcards.dataset),
        features=lambda wildcards: plan.matched_features(
            wildcards.method, wildcards.dataset
        ),
        scores=plan.paths.scores("{method}", "{dataset}"),
    output:
        plan.paths.rescored("{method}", "{dataset}"),
    log:
        "logs/rescore_matches/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/rescore_matches/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="matching")),
        dataset=any_of(cfg.names("datasets", FAMILY="matching")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing_minutes(240),
    params:
        code=RESCORE_MATCHES_VERSION,
        method=lambda wildcards: block("methods", wildcards.method),
        settings=lambda wildcards: get_matching(wildcards.method),
        digest=lambda wildcards: plan.lineage.digest_matching(wildcards.method),
        features=lambda wildcards: plan.lineage.digest_features(
            cfg.methods[wildcards.method].features
        ),
        image_size=lambda wildcards: get_matched_size(wildcards.method),
        image_root=lambda wildcards: plan.image_root(wildcards.dataset),
    message:
        "Score {wildcards.method} on {wildcards.dataset} under other choices"
    script:
        "../scripts/rescore_matches.py"


rule rescore_poses:
    input:
        poses=plan.paths.poses("{method}", "{dataset}"),
        record=record_path(plan.paths.poses("{method}", "{dataset}")),
        labels=plan.paths.ground_truth("{dataset}"),
        manifest=plan.paths.manifest("{dataset}"),
        scores=plan.paths.scores("{method}", "{dataset}"),
    output:
        plan.paths.rescored("{method}", "{dataset}"),
    log:
        "logs/rescore_poses/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/rescore_poses/{method}/{dataset}.tsv"
    wildcard_constraints:
        method=any_of(cfg.names("methods", family="localisation")),
        dataset=any_of(cfg.names("datasets", FAMILY="localisation")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=RESCORE_POSES_VERSION,
    message:
        "Score {wildcards.method} on {wildcards.dataset} under other choices"
    script:
        "../scripts/rescore_poses.py"


rule build_protocol_table:
    input:
        scores=lambda wildcards: [
            plan.paths.scores(*cell) for cell in plan.table_cells(wildcards.table)
        ],
        rescored=lambda wildcards: [
            plan.paths.rescored(*cell) for cell in plan.table_cells(wildcards.table)
        ],
        variants=lambda wildcards: [
            plan.paths.scores(*cell)
            for cell in plan.variant_cells(wildcards.table, on_demand=False)
        ],
    output:
        csv=report(
            plan.paths.protocol_table("{table}"),
            caption="../report/protocol_table.rst",
            category="Choices of scoring",
            labels={"table": "{table}"},
        ),
        markdown=plan.paths.protocol_table_markdown("{table}"),
    log:
        "logs/build_protocol_table/{table}.log",
    benchmark:
        "logs/benchmarks/build_protocol_table/{table}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing_minutes(5),
    params:
        code=BUILD_PROTOCOL_TABLE_VERSION,
        table=lambda wildcards: cfg.tables[wildcards.table].model_dump(mode="json"),
        cells=lambda wildcards: plan.table_cells(wildcards.table),
        variants=lambda wildcards: plan.variant_cells(wildcards.table, on_demand=False),
        extra=lambda wildcards: [
            asdict(cell)
            for cell in plan.on_disk.find_scores(
                plan.variant_cells(wildcards.table, on_demand=True)
            )
        ],
        restricted=lambda wildcards: plan.lineage.restricted_behind(
            [
                *plan.table_cells(wildcards.table),
                *plan.variant_cells(wildcards.table),
            ]
        ),
        # A page that is made later is a reason to write the table again: only then its Markdown leads to it.
        pages=lambda wildcards: pages_there(
            plan, plan.table_cells(wildcards.table), asked_files()
        ),
    message:
        "Write {wildcards.table} under other choices of scoring"
    script:
        "../scripts/build_protocol_table.py"
