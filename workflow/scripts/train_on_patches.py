"""Rule train_on_patches: from a start checkpoint to a network of patches."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.config.training import HardNetTraining
from descbench.jobs import job
from descbench.training.train_patches import PatchTrainingFiles, train_on_patches

params = snakemake.params
with job(snakemake, goes_on=Path(params.folder, "state.pt").is_file()):
    train_on_patches(
        PatchTrainingFiles(
            start=Path(snakemake.input.start),
            patches=tuple(Path(path) for path in snakemake.input.patches),
            validation=tuple(Path(path) for path in snakemake.input.validation),
            checkpoint=Path(snakemake.output.checkpoint),
            history=Path(snakemake.output.history),
            folder=Path(params.folder),
            parts=tuple(
                (Path(path).parent.name, Path(path).stem)
                for path in (*snakemake.input.patches, *snakemake.input.validation)
            ),
        ),
        TypeAdapter(Model).validate_python(params.model),
        HardNetTraining.model_validate(params.training),
        device=snakemake.resources.device,
    )
