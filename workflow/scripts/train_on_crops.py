"""Rule train_on_crops: from a start checkpoint to a network that describes points."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.crop_training import HNDescTraining
from descbench.config.networks import Model
from descbench.jobs import job
from descbench.training.train_crops import CropTrainingFiles, train_on_crops

params = snakemake.params
with job(snakemake, goes_on=Path(params.folder, "state.pt").is_file()):
    train_on_crops(
        CropTrainingFiles(
            start=Path(snakemake.input.start),
            manifest=Path(snakemake.input.manifest),
            labels=Path(snakemake.input.labels),
            root=Path(params.root),
            keypoints=tuple(map(Path, snakemake.input.keypoints)),
            validation_keypoints=tuple(map(Path, snakemake.input.validation_keypoints)),
            checkpoint=Path(snakemake.output.checkpoint),
            history=Path(snakemake.output.history),
            folder=Path(params.folder),
        ),
        TypeAdapter(Model).validate_python(params.model),
        HNDescTraining.model_validate({**params.training, "workers": snakemake.resources.workers}),
        device=snakemake.resources.device,
    )
