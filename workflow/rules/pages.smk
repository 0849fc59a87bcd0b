# Rankings -> pages with pictures, to look at; made when asked for by name.
rule show_places:
    input:
        images=lambda wildcards: layout.image_inputs(wildcards.dataset),
        ranking=layout.ranking("{method}", "{dataset}"),
        manifest=lambda wildcards: layout.manifest(
            layout.base_dataset(wildcards.dataset)
        ),
        ground_truth=lambda wildcards: layout.ground_truth(
            layout.base_dataset(wildcards.dataset)
        ),
    output:
        report(
            layout.page("{method}", "{dataset}"),
            caption="../report/places.rst",
            category="Places",
            labels={"method": "{method}", "dataset": "{dataset}"},
        ),
    log:
        "logs/show_places/{method}/{dataset}.log",
    benchmark:
        "logs/benchmarks/show_places/{method}/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(filter(has_places, layout.names("datasets"))),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing_minutes(20),
    params:
        code=SHOW_PLACES_VERSION,
        image_root=lambda wildcards: layout.image_root(wildcards.dataset),
        features=lambda wildcards: block(
            "features", cfg.methods[wildcards.method].features
        ),
    message:
        "Show results of {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/show_places.py"
