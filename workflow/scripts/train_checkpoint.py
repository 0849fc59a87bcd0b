"""Rule train_checkpoint: from a start checkpoint to that of the best epoch."""

from pathlib import Path

from pydantic import TypeAdapter

from descbench.config.networks import Model
from descbench.config.training import Training
from descbench.jobs import job
from descbench.training.launch import TrainingJob, train
from descbench.training.train import TrainingFiles
from descbench.training.validation import ImageList

params = snakemake.params
with job(snakemake, goes_on=Path(params.folder, "state.pt").is_file()):
    images = [ImageList(Path(m), Path(r)) for m, r in zip(snakemake.input.manifests, params.roots, strict=True)]
    labels = [Path(path) for path in snakemake.input.labels]
    training = TrainingJob(
        TrainingFiles(
            start=Path(snakemake.input.start),
            images=images[0],
            labels=labels[0],
            validation=images[1] if images[1:] else None,
            ground_truth=labels[1] if labels[1:] else None,
            checkpoint=Path(snakemake.output.checkpoint),
            history=Path(snakemake.output.history),
            folder=Path(params.folder),
        ),
        TypeAdapter(Model).validate_python(params.model),
        TypeAdapter(Training).validate_python({**params.training, "workers": snakemake.resources.workers}),
        device=snakemake.resources.device,
    )
    train(training, snakemake.resources.processes)
