# The workflow lives in workflow/; this file lets `snakemake` find it from the repository root.
include: "workflow/Snakefile"


# An include does not hand its default target on.
if workflow.modifier.is_main_snakefile():
    workflow.default_target = "all"
