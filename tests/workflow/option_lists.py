"""Keys of the configuration that tests of options name, and what lies in their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_networks import whole

BRIEF = {"image_size": 48, "epochs": 1, "negatives": 1, "batch": 2, "learning_rate": 1e-2, "workers": 0}
TUPLES = {**BRIEF, "dataset": "toytown_sfm", "queries": 4, "pool": 20}


def _model(kind: dict[str, Any], start: str, training: str) -> dict[str, dict[str, Any]]:
    """A drawn network and the same trained."""
    return {
        start: {**kind, "weights": {"source": "random"}},
        training: {**kind, "weights": {"source": "train", "start": start, "training": training}},
    }


TRAININGS = {
    "models": {
        **_model({"architecture": "how", "backbone": "resnet18", "dim": 8}, "how_start", "how"),
        **_model(
            {"architecture": "fire", "backbone": "resnet18", "templates": 5, "iterations": 1, "dim_lit": 16, "dim": 8},
            "fire_start",
            "fire",
        ),
        **_model({"architecture": "netvlad", "backbone": "alexnet", "clusters": 2}, "netvlad_start", "netvlad"),
    },
    "training": {
        "how": {"recipe": "how", **TUPLES},
        "fire": {"recipe": "fire", **TUPLES, "ratio_threshold": 100.0},
        "netvlad": {
            "recipe": "netvlad",
            **BRIEF,
            "image_size": 64,
            "dataset": "streets_train",
            "pool": 80,
            "margin": 10.0,
        },
    },
}
# Options of trainings after which the weights are others.
WEIGHTS_CHANGE: list[tuple[str, str, dict[str, Any]]] = [
    (
        "TupleTraining",
        "how",
        {
            "image_size": 64,
            "learning_rate": 1e-3,
            "weight_decay": 0.5,
            "margin": 5.0,
            "negatives": 2,
            "queries": 6,
            "pool": 10,
            "batch": 4,
        },
    ),
    (
        "FireTraining",
        "fire",
        {
            "learning_rate": 1e-3,
            "margin": 5.0,
            "superfeature_weight": 2.0,
            "attention_weight": 3.0,
            "ratio": "genuine",
            "ratio_threshold": 1e-3,
            "flip": 0.0,
        },
    ),
    (
        "NetVladTraining",
        "netvlad",
        {
            "image_size": 48,
            "first_layer": "pool",
            "optimiser": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 0.5,
            "momentum": 0.1,
            "margin": 0.01,
            "negatives": 2,
            "pool": 30,
            "batch": 4,
            "seed": 5,
            "refresh": 3,
        },
    ),
]


def write_inputs(folder: Path) -> None:
    """Photographs, distractors and weights of the user's own."""
    random = np.random.default_rng(0)
    for name in (
        "photos/database/a",
        "photos/database/b",
        "photos/database/c",
        "photos/queries/q",
        *(f"data/datasets/noise/{number}" for number in range(4)),
    ):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (48, 64, 3), np.uint8)).save(path)
    for name, count in (("noise", 4), ("less", 2)):
        lines = [f"{number}.png\n" for number in range(count)]
        (folder / f"data/datasets/{name}.txt").write_text("".join(lines))
    torch.manual_seed(9)
    torch.save(whole().state_dict(), folder / "w.pth")


# Options of weights that are learned from images, after which they are others.
LEARNED: list[tuple[str, str, str, dict[str, Any]]] = [
    (
        "WhitenedWeights",
        "small_white",
        "whiten_checkpoint",
        {
            "images": 12,
            "n": 4,
            "image_size": 64,
            "flip": 1.0,
        },
    ),
    (
        "ClusteredWeights",
        "clustered",
        "cluster_descriptors",
        {
            "images": 4,
            "descriptors": 7,
            "image_size": 80,
            "seed": 5,
        },
    ),
    ("WeightsFromImages", "clustered", "cluster_descriptors", {"dataset": "streets_train"}),
    ("PcaWeights", "white", "pca_checkpoint", {"images": 9, "image_size": 64}),
]
BLOCKS = {"AsmkMethod.codebook", "AsmkMethod.index", "AsmkMethod.idf", "AsmkMethod.query", "OwnModel.weights"}
# Keys that another test executes.
ELSEWHERE = {
    "ClusteredWeights.alpha": "unit/test_netvlad_weights.py::test_the_slips_of_pytorch_netvlad",
    "Config.backend": "unit/test_backends.py::test_extraction",
    "Config.device": "unit/test_extract.py::test_device",
    "Config.mirrors": "unit/test_download.py::test_own_mirrors_come_first",
    "Config.offline": "unit/test_download.py::test_offline_asks_nobody",
    "Config.pairs_top_k": "workflow/test_runs.py::test_pairs_of_kapture_folders",
    "Config.results_dir": "workflow/test_runs.py::test_no_network_names_every_missing_file",
    "Column.when_asked": "workflow/test_dag.py::test_scores_shown_when_asked_are_read_but_never_computed",
    "DatasetBase.counts": "unit/test_datasets.py::test_counts_are_checked",
    "DatasetBase.counts_verified": "unit/test_places.py::test_more_images_than_unverified_counts_are_refused",
    "Figure.paper": "unit/test_tables.py::test_verdicts",
    "Figure.released": "unit/test_tables.py::test_verdicts",
    "FolderDataset.ground_truth": "unit/test_datasets.py::test_folder_with_ground_truth",
    "GlobalFeatures.on_bad_image": "unit/test_extract.py::test_broken_image_of_global_features",
    "KaptureDataset.folder": "workflow/test_runs.py::test_pairs_of_kapture_folders",
    "LocalFeatures.on_bad_image": "unit/test_extract.py::test_broken_image_is_skipped",
    "NetVladModel.whitening": "workflow/test_runs.py::test_netvlad_from_drawn_weights_to_scores",
    "NetVladTraining.gamma": "golden/test_netvlad_training.py::test_learning_rates",
    "NetVladTraining.remember_negatives": "unit/test_netvlad_recipe.py::test_forgetful_training_keeps_no_negatives",
    "NetVladTraining.step": "golden/test_netvlad_training.py::test_learning_rates",
    "NetVladTraining.workers": "unit/test_netvlad_recipe.py::test_loader_processes_lose_no_negatives",
    "PcaWeights.start": "workflow/test_runs.py::test_netvlad_from_drawn_weights_to_scores",
    "PlaceDataset.other_time": "unit/test_places.py::test_images_of_the_same_time",
    "PlaceDataset.positives": "unit/test_places.py::test_positives_of_the_matlab_code",
    "ReleasedFeatures.files": "workflow/test_runs.py::test_released_descriptors_give_the_same_scores",
    "RevisitopDataset.protocol": "unit/test_datasets.py::test_classic",
    "Sfm120kDataset.database": "unit/test_datasets.py::test_sfm120k",
    "Sfm120kDataset.split": "unit/test_datasets.py::test_sfm120k",
    "Source.access": "unit/test_download.py::test_sources_on_request_are_never_fetched",
    "Source.ask": "unit/test_download.py::test_sources_on_request_are_never_fetched",
    "Source.local_copy": "unit/test_download.py::test_a_local_copy_is_linked",
    "Source.mirrors": "unit/test_download.py::test_a_404_goes_to_the_next_mirror_at_once",
    "Source.parts": "unit/test_download.py::test_parts",
    "Source.sha256": "unit/test_download.py::test_the_wrong_file_is_thrown_away",
    "Table.synthetic": "unit/test_tables.py::test_synthetic_tables_carry_nothing_published",
    "Toytown.seed": "unit/test_toytown.py::test_another_seed_draws_another_town",
    "TrainedWeights.start": "workflow/test_runs.py::test_whitened_and_trained_checkpoints",
    "TrainedWeights.training": "workflow/test_runs.py::test_whitened_and_trained_checkpoints",
    "TupleTraining.patience": "unit/test_training.py::test_patience_ends_a_training",
    "TupleTraining.workers": "unit/test_training.py::test_what_a_state_is_resumed_for",
    "Unpack.files": "unit/test_archives.py::test_the_number_of_files",
    "Unpack.flatten": "unit/test_archives.py::test_flat",
    "UtmNamesDataset.database": "unit/test_places.py::test_positions_in_names",
    "UtmNamesDataset.queries": "unit/test_places.py::test_positions_in_names",
    "Validation.every": "unit/test_training.py::test_validation_decides_the_best_epoch",
    "Validation.image_size": "unit/test_training.py::test_what_a_state_is_resumed_for",
}
# Keys that only tell a reader something.
TOLD = {
    "Column.label": "a heading",
    "DatasetBase.note": "shown beside results",
    "Figure.source": "where a figure was read",
    "Source.licence": "kept in the record of a download",
    "Source.note": "kept in the provenance",
    "Table.note": "printed under a table",
    "Table.title": "a heading",
    "TableRow.label": "a heading",
}
# Keys that no test executes through the workflow's scripts so far; new keys do not belong here.
NOT_EXECUTED = {
    "ClusteredWeights.iterations",
    "Column.dataset",
    "Column.metric",
    "Config.catalog",
    "Config.data_dir",
    "Config.keep_raw",
    "Config.training_gpus",
    "DatasetBase.generator",
    "DatasetBase.image_sources",
    "DatasetBase.sources",
    "Figure.dataset",
    "Figure.metric",
    "Figure.tolerance",
    "GemModel.backbone",
    "GemModel.whitening",
    "ImagenetWeights.file",
    "LocalFeatures.model",
    "NetVladModel.backbone",
    "NetVladTraining.amp",
    "NetVladTraining.dataset",
    "NetVladTraining.patience",
    "OfficialWeights.file",
    "PlaceValidation.dataset",
    "PlaceValidation.every",
    "PlaceValidation.image_size",
    "PlaceValidation.metric",
    "RevisitopDataset.ground_truth",
    "SfmValDataset.ground_truth",
    "Source.git_blob_sha1",
    "Source.layout",
    "Source.size",
    "StreetSplit.panoramas",
    "StreetSplit.queries",
    "Streets.height",
    "Streets.width",
    "Streets.yaws",
    "Table.tolerance",
    "Table.when_asked",
    "TableRow.method",
    "Toytown.cities",
    "Toytown.clusters",
    "Toytown.database_per_city",
    "Toytown.height",
    "Toytown.images_per_cluster",
    "Toytown.landmarks_per_city",
    "Toytown.queries_per_city",
    "Toytown.width",
    "TupleTraining.amp",
    "TupleTraining.dataset",
    "TupleTraining.gamma",
    "Unpack.to",
    "Validation.codebook_images",
    "Validation.codebook_size",
    "Validation.dataset",
    "Validation.metric",
    "Validation.n",
    "Validation.scales",
    "WeightsFromImages.role",
    "WeightsFromImages.start",
    "WhitenedWeights.role",
    "FolderDataset.on_bad_file",
    "GemModel.whitening_set",
    "GlobalFeatures.deep_images",
    "GlobalFeatures.truncated_images",
    "LocalFeatures.deep_images",
    "LocalFeatures.truncated_images",
    "Unpack.archive",
    "Unpack.members",
    "Unpack.ratio",
    "Unpack.size",
    "UtmNamesDataset.on_bad_file",
}
