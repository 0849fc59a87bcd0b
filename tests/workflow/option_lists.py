"""Keys of the configuration that tests of options name, and what lies in their folder."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import option_looks as look
import torch
from PIL import ExifTags, Image
from tiny_networks import whole

from descbench.config.networks import HowModel, NetVladModel
from descbench.models.checkpoints import build_network

HOW = {"architecture": "how", "backbone": "resnet18", "dim": 8, "weights": {"source": "random"}}
ALEXNET = {"architecture": "netvlad", "backbone": "alexnet", "clusters": 2, "weights": {"source": "random"}}
STREETS = {
    "format": "dbstruct",
    "generator": "toytown",
    "struct": "toytown/streets/datasets/toytown_train.mat",
    "images": "toytown/streets",
    "queries": "toytown/streets/queries_real",
}
BRIEF = {"image_size": 48, "epochs": 1, "negatives": 1, "batch": 2, "learning_rate": 1e-2, "workers": 0}
TUPLES = {**BRIEF, "dataset": "toytown_sfm", "queries": 4, "pool": 20}


def _model(kind: dict[str, Any], start: str, training: str) -> dict[str, dict[str, Any]]:
    """A random network and the same trained."""
    return {
        start: {**kind, "weights": {"source": "random"}},
        training: {**kind, "weights": {"source": "train", "start": start, "training": training}},
    }


TRAININGS = {
    "models": {
        **_model({"architecture": "how", "backbone": "resnet18", "skip_layer": 1, "dim": 8}, "how_start", "how"),
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
    (folder / "deep").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(random.integers(0, 4000, (48, 64), np.uint16)).save(folder / "deep/a.png", exif=exif)
    lines = ("result,dataset,metric,kind,value,tolerance,source", "theirs,alderford,map_hard,paper,12.5,,test")
    (folder / "figures.csv").write_text("\n".join(lines) + "\n")
    (folder / "more.yaml").write_text("models: {own: {mean: [0.1, 0.2, 0.3]}}\n")
    for seed, name in enumerate(("one.pth", "two.pth")):
        torch.manual_seed(seed)
        torch.save(_as_published(HowModel.model_validate(HOW)), folder / name)
        alexnet = build_network(NetVladModel.model_validate(ALEXNET)).state_dict()
        state = {k.replace("encoder.", "features."): v for k, v in alexnet.items() if k.startswith("encoder.")}
        torch.save(state, folder / f"alex_{name}")


def _as_published(model: HowModel) -> dict[str, Any]:
    """A checkpoint in the authors' form."""
    net = {
        "architecture": model.backbone,
        "skip_layer": model.skip_layer,
        "dim_reduction": {"dim": model.dim},
        "smoothing": {"kernel_size": model.smoothing},
        "runtime": {"mean_std": [[0.4, 0.5, 0.6], [0.1, 0.2, 0.3]]},
    }
    return {
        "epoch": 5,
        "meta": {},
        "state_dict": build_network(model).state_dict(),
        "net_params": net,
        "_version": "how/2020",
    }


def write_lists(datasets: Path) -> None:
    """Other lists and labels of what is drawn: easy and hard change places, half of the pairs, parts renamed."""
    with open(datasets / "toytown/test/alderford/gnd_alderford.pkl", "rb") as stream:
        truth = pickle.load(stream)
    for labels in truth["gnd"]:
        labels["easy"], labels["hard"] = labels["hard"], labels["easy"]
    (datasets / "swapped.pkl").write_bytes(pickle.dumps(truth))
    folder = datasets / "toytown/train/retrieval-SfM-120k"
    with open(folder / "retrieval-SfM-120k.pkl", "rb") as stream:
        splits = pickle.load(stream)
    for key in ("qidxs", "pidxs"):
        splits["train"][key] = splits["train"][key][::2]
    (datasets / "less_sfm.pkl").write_bytes(pickle.dumps(splits))
    with open(folder / "retrieval-SfM-120k-val-eccv2020.pkl", "rb") as stream:
        val = pickle.load(stream)
    val["gnd"] = [{**labels, "ok": labels["ok"][:1]} for labels in val["gnd"]]
    (datasets / "less_val.pkl").write_bytes(pickle.dumps(val))
    sequences = datasets / "toytown/sequences"
    shutil.copytree(sequences / "v_facades00", datasets / "other_sequences/v_other")
    for part, other in (("quay", "mill"), ("mill", "quay")):
        shutil.copytree(datasets / "toytown/phototour" / part, datasets / "other_patches" / other)


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
BLOCKS = {"AsmkMethod.codebook", "AsmkMethod.index", "AsmkMethod.idf", "AsmkMethod.query", "CustomModel.weights"}
# Keys that another test executes.
ELSEWHERE = {
    **{
        f"HardNetTraining.{key}": "unit/test_hardnet_training.py::test_an_option_changes_the_weights"
        for key in (
            *("loss", "margin", "anchor_swap", "spread_out", "decorrelation", "triplets", "redraw", "bounds"),
            *("epochs", "batch", "optimiser", "learning_rate", "momentum", "dampening", "weight_decay", "fliprot"),
            *("augmentation", "seed"),
        )
    },
    **{
        f"{model}.{key}": "unit/test_point_networks.py::test_an_option_changes_what_is_found"
        for model, named in (
            ("SuperPointModel", ("nms_radius", "keypoint_threshold", "remove_borders", "sampling")),
            ("R2D2Model", ("mchan", "min_size", "max_size", "min_scale", "max_scale", "scale_factor")),
            ("R2D2Model", ("reliability", "repeatability")),
        )
        for key in named
    },
    **{
        f"{owner}.{key}": "workflow/test_remeasured.py::test_keys_change_the_table"
        for owner, keys in (
            ("MatchCounts", ("dataset", "sequence", "max_features", "reference")),
            ("PublishedCounts", ("features", "matches")),
        )
        for key in keys
    },
    **{
        f"CrossTable.{key}": "workflow/test_cross_table_runs.py::test_keys_change_the_table"
        for key in ("title", "rows", "datasets", "note")
    },
    "KeypointFeatures.reading": "workflow/test_any_detector.py::test_images_are_read_as_asked",
    **{
        f"{owner}.{key}": "unit/test_other_points.py::test_an_option_changes_what_is_found"
        for owner, keys in (
            ("DiskModel", ("window", "keypoint_threshold")),
            ("AlikedModel", ("variant", "nms_radius", "keypoint_threshold")),
        )
        for key in keys
    },
    "CapsModel.statistics": "unit/test_other_points.py::test_caps_has_statistics_of_the_very_image",
    "HNDescModel.backbone": "unit/test_point_networks.py::test_the_backbone",
    "HNDescModel.mchan": "unit/test_point_networks.py::test_the_channels_of_a_backbone",
    **{
        f"HNDescTraining.{key}": "unit/test_crop_training.py::test_an_option_changes_the_weights"
        for key in (
            *("crop", "points", "stylised", "colours", "fallback", "loss", "negatives", "hardest", "bins", "euclidean"),
            *("epochs", "steps", "batch", "learning_rate", "decay_every", "decay", "seed"),
        )
    },
    "HNDescTraining.dataset": "unit/test_crop_training.py::test_other_images_are_other_weights",
    "HNDescTraining.keypoints": "workflow/test_crops.py::test_keypoints_that_the_workflow_finds",
    "HNDescTraining.margin": "unit/test_crop_training.py::test_the_margin_is_of_the_triplets",
    "HNDescTraining.patience": "unit/test_crop_training.py::test_patience_ends_a_training",
    "HNDescTraining.workers": "unit/test_crop_training.py::test_processes_that_load_change_nothing",
    "CropValidation.every": "unit/test_crop_training.py::test_epochs_that_are_validated",
    "CropValidation.images": "unit/test_crop_training.py::test_epochs_that_are_validated",
    **{
        f"MegaDepthDataset.{key}": "workflow/test_crops.py::test_folders_of_a_dataset"
        for key in ("images", "stylised", "keypoints")
    },
    **{
        f"Singles.{key}": "workflow/test_crops.py::test_a_town_with_other_single_images"
        for key in ("width", "height", "train", "val", "keypoints")
    },
    **{f"PatchContract.{key}": "unit/test_custom.py::test_a_network_of_patches" for key in ("side", "channels", "dim")},
    **{
        f"PointContract.{key}": f"workflow/test_own_points.py::{test}"
        for test, keys in {
            "test_keys_change_features": ("channels", "size", "dim"),
            "test_whether_it_detects_and_what_it_describes": ("detects", "describes"),
        }.items()
        for key in keys
    },
    "HardNetModel.dropout": "unit/test_hardnet_training.py::test_the_setting_of_the_paper",
    "HardNetTraining.sampling": "unit/test_hardnet_training.py::test_samplings_and_losses",
    "HardNetTraining.keep": "unit/test_hardnet_training.py::test_history_and_the_last_epoch",
    "HardNetTraining.patches": "unit/test_hardnet_training.py::test_other_parts_are_other_patches",
    "PatchValidation.every": "unit/test_hardnet_training.py::test_the_best_epoch_by_validation",
    "PatchValidation.patches": "unit/test_hardnet_training.py::test_other_parts_are_scored_otherwise",
    "Config.training_gpus": "unit/test_several_gpus.py::test_two_processes_go_on_as_one_does",
    "CustomWeights.licence": "workflow/test_cross_table_runs.py::test_weights_that_allow_no_commercial_use_are_noted",
    "Config.keep_raw": "workflow/test_downloads.py::test_files_of_which_none_are_kept_go_away",
    "Unpack.to": "workflow/test_downloads.py::test_files_of_which_none_are_kept_go_away",
    "Unpack.archive": "unit/test_evil_archives.py::test_a_kind_that_no_name_says",
    "Unpack.members": "unit/test_evil_archives.py::test_bounds_are_of_the_source",
    "Unpack.size": "unit/test_evil_archives.py::test_bounds_are_of_the_source",
    "Unpack.ratio": "unit/test_evil_archives.py::test_bombs_below_the_free_space",
    "Source.size": "unit/test_download.py::test_the_wrong_file_is_thrown_away",
    "Source.git_blob_sha1": "unit/test_download.py::test_the_wrong_file_is_thrown_away",
    "Source.md5": "unit/test_download.py::test_the_wrong_file_is_thrown_away",
    "Source.layout": "unit/test_download.py::test_sources_on_request_are_never_fetched",
    "GemModel.whitening_set": "golden/test_gem.py::test_the_training_set_of_the_whitening_is_named",
    "FolderDataset.on_bad_file": "unit/test_own_folders.py::test_what_cannot_be_an_image_is_refused_or_left_out",
    "UtmNamesDataset.on_bad_file": "workflow/test_own_photographs.py::test_files_that_are_left_out_are_said",
    "GlobalFeatures.truncated_images": "workflow/test_option_runs.py::test_truncated_images",
    "LocalFeatures.truncated_images": "workflow/test_option_runs.py::test_truncated_images",
    "Config.data_dir": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "StreetSplit.panoramas": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "StreetSplit.queries": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Streets.height": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Streets.width": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Streets.yaws": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    **{
        f"{owner}.{key}": "workflow/test_formats.py::test_a_town_with_other_sequences_and_patches"
        for owner, keys in (
            ("Sequences", ("width", "height", "illumination", "viewpoint")),
            ("PhotoTour", ("parts", "width", "height", "buildings", "photographs", "points", "pairs")),
            ("Strips", ("width", "height", "illumination", "viewpoint", "train", "patches")),
        )
        for key in keys
    },
    **{
        f"PatchSetBase.{key}": "workflow/test_formats.py::test_patch_sets_need_what_their_blocks_name"
        for key in ("generator", "sources", "parts")
    },
    "HPatchesPatchSet.tasks": "workflow/test_patches.py::test_published_lists_are_read_where_they_are",
    "HPatchesPatchSet.splits": "workflow/test_patches.py::test_published_lists_are_read_where_they_are",
    **{
        f"HPatchesPatchSet.{key}": "workflow/test_patches.py::test_keys_of_patch_sets_change_scores"
        for key in ("split", "pairs", "queries", "distractors")
    },
    **{
        f"{owner}.{key}": "workflow/test_patches.py::test_keys_of_methods_change_scores"
        for owner, keys in (
            ("PatchMethod", ("describe", "model")),
            ("PatchMethodBase", ("distance", "normalisation", "clipped_energy")),
        )
        for key in keys
    },
    **{
        f"KeypointFeatures.{key}": "workflow/test_bags.py::test_keys_of_features_change_descriptors"
        for key in ("detector", "describe", "model", "region", "image_size", "max_features", "dtype")
    },
    **{
        f"KeypointFeatures.{key}": "workflow/test_bags.py::test_keys_of_features_change_descriptors"
        for key in ("detector_model", "shape_model", "orientation_model")
    },
    "KeypointFeatures.threshold": "workflow/test_bags.py::test_a_threshold_leaves_out_weak_keypoints",
    **{
        f"KeypointFeatures.{key}": "workflow/test_bags.py::test_images_that_need_a_decision"
        for key in ("on_bad_image", "truncated_images", "deep_images", "exif_orientation")
    },
    **{
        f"{owner}.{key}": "workflow/test_bags.py::test_keys_of_methods_change_rankings"
        for owner, keys in (
            ("BowMethod", ("features", "n", "multiple_assignment", "top_k")),
            ("VerifyMethod", ("ranking", "first", "error", "min_inliers")),
            ("ExpandMethod", ("ranking", "images", "min_inliers")),
            ("HammingMethod", ("features", "n", "bits", "seed", "threshold", "weighting", "burstiness")),
            ("HammingMethod", ("multiple_assignment", "top_k")),
            ("VisualIndexMethod", ("features", "n", "neighbours", "checks", "verified", "top_k")),
            ("Vocabulary", ("dataset", "role", "images", "size", "iterations", "rounds", "seed")),
            ("HammingExpandMethod", ("ranking", "images", "strong", "matches", "growth", "seed")),
        )
        for key in keys
    },
    **{
        f"{owner}.{key}": "workflow/test_matching.py::test_keys_of_methods_change_matches"
        for owner, keys in (("Matching", ("n", "mutual", "ratio", "max_distance")), ("MatchMethod", ("features",)))
        for key in keys
    },
    **{
        f"MatchMethod.{key}": "workflow/test_matching.py::test_keys_of_scoring_change_scores_and_nothing_else"
        for key in ("pixels", "estimator", "threshold", "corners")
    },
    **{
        f"HPatchesSequencesDataset.{key}": "workflow/test_matching.py::test_sequences_of_vgg_and_those_that_lack_files"
        for key in ("layout", "incomplete")
    },
    "MatchMethod.fixed_features": "workflow/test_matching.py::test_scores_at_640x480",
    "KeypointFeatures.resize": "workflow/test_matching.py::test_images_of_another_shape",
    "ListedMethod.files": "workflow/test_reranking.py::test_keys_change_rankings",
    **{
        f"ShortlistMethod.{key}": "workflow/test_reranking.py::test_keys_change_rankings"
        for key in ("ranking", "features", "first", "threshold")
    },
    "Matching.distance": "workflow/test_matching.py::test_what_distances_are_measured_in",
    **{
        f"LocaliseMethod.{key}": f"workflow/test_localisation.py::{test}"
        for test, keys in {
            "test_keys_of_methods_change_results": (
                *("features", "keypoint_origin", "verify_error", "min_pair_inliers", "reprojection_error"),
                *("verification", "min_angle", "two_view_points", "max_error"),
            ),
            "test_queries_of_few_inliers_are_not_localised": ("min_inliers",),
            "test_ransac_expects_a_share_of_inliers": ("min_inlier_ratio",),
            "test_queries_that_are_not_localised_have_the_pose_of_their_first_image": ("fallback",),
            "test_pairs_are_listed_near_or_ranked": ("pairs", "map_pairs", "map_neighbours"),
            "test_ranking_pairs_queries_with_the_map": ("ranking", "top_k"),
        }.items()
        for key in keys
    },
    **{f"ServerFigures.{key}": "workflow/test_localisation.py::test_poses_of_a_server" for key in ("poses", "shares")},
    **{
        f"{owner}.{key}": f"workflow/test_localisation.py::{test}"
        for test, owner, keys in (
            ("test_queries_are_localised", "AachenDataset", ("images", "queries")),
            ("test_both_layouts_of_the_map_are_the_same", "AachenDataset", ("model", "nvm", "intrinsics")),
            ("test_conditions_and_pairs_may_be_absent", "AachenDataset", ("conditions", "pairs")),
            ("test_poses_of_a_server", "AachenDataset", ("poses",)),
            ("test_a_model_of_the_users_own", "ColmapDataset", ("model", "images", "query_list")),
            ("test_kapture_folders_of_the_users_own", "KaptureMapDataset", ("map", "queries", "query_list")),
        )
        for key in keys
    },
    **{
        f"Relocalisation.{key}": "unit/test_toytown_relocalisation.py::test_sizes_are_those_of_the_settings"
        for key in ("width", "height", "map", "day", "dusk")
    },
    "RerankMethod.features": "workflow/test_bags.py::test_features_are_those_of_the_ranking",
    "PatchSetBase.counts": "unit/test_patch_sets.py::test_patches_are_counted",
    "FilesMethod.folder": "workflow/test_patches.py::test_files_of_descriptors_are_scored",
    "FilesMethod.delimiter": "workflow/test_patches.py::test_files_of_descriptors_are_scored",
    "PatchMethod.decimals": "workflow/test_patches.py::test_decimals_round_descriptors",
    **{
        f"Variant.{key}": "workflow/test_protocol_tables.py::test_results_that_were_made_otherwise"
        for key in ("datasets", "methods", "on_demand")
    },
    "TableRow.elsewhere": "unit/test_tables.py::test_other_methods_fill_other_columns",
    "TableRow.repeats": "workflow/test_patches.py::test_a_row_of_several_seeds",
    "TableRow.leave_empty": "workflow/test_patches.py::test_tables_are_whole",
    "Toytown.cities": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.clusters": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.database_per_city": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.height": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.images_per_cluster": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.landmarks_per_city": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.queries_per_city": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "Toytown.width": "workflow/test_option_runs.py::test_another_folder_and_a_town_of_other_sizes",
    "DatasetBase.generator": "workflow/test_option_runs.py::test_datasets_need_what_their_blocks_name",
    "DatasetBase.sources": "workflow/test_option_runs.py::test_datasets_need_what_their_blocks_name",
    "DatasetBase.image_sources": "workflow/test_option_runs.py::test_datasets_need_what_their_blocks_name",
    "NetVladTraining.amp": "workflow/test_option_runs.py::test_mixed_precision_changes_nothing_on_the_cpu",
    "TupleTraining.amp": "workflow/test_option_runs.py::test_mixed_precision_changes_nothing_on_the_cpu",
    "ClusteredWeights.alpha": "unit/test_netvlad_weights.py::test_the_slips_of_pytorch_netvlad",
    "Config.backend": "unit/test_backends.py::test_extraction",
    "Config.device": "unit/test_extract.py::test_device",
    "Config.mirrors": "unit/test_download.py::test_own_mirrors_come_first",
    "Config.offline": "unit/test_download.py::test_offline_asks_nobody",
    "Config.pairs_top_k": "workflow/test_runs.py::test_pairs_of_kapture_folders",
    "Config.results_dir": "workflow/test_runs.py::test_no_network_names_every_missing_file",
    "Column.on_demand": "workflow/test_dag.py::test_scores_shown_when_asked_are_read_but_never_computed",
    "DatasetBase.counts": "unit/test_datasets.py::test_counts_are_checked",
    "DatasetBase.counts_verified": "unit/test_places.py::test_more_images_than_unverified_counts_are_refused",
    "ReferenceResult.paper": "unit/test_tables.py::test_verdicts",
    "ReferenceResult.released": "unit/test_tables.py::test_verdicts",
    "FolderDataset.ground_truth": "unit/test_datasets.py::test_folder_with_ground_truth",
    "GlobalFeatures.on_bad_image": "unit/test_extract.py::test_broken_image_of_global_features",
    "KaptureDataset.folder": "workflow/test_runs.py::test_pairs_of_kapture_folders",
    "LocalFeatures.on_bad_image": "unit/test_extract.py::test_broken_image_is_skipped",
    "NetVladModel.whitening": "workflow/test_runs.py::test_netvlad_from_random_weights_to_scores",
    "NetVladTraining.gamma": "golden/test_netvlad_training.py::test_learning_rates",
    "NetVladTraining.cache_negatives": "unit/test_netvlad_recipe.py::test_forgetful_training_keeps_no_negatives",
    "NetVladTraining.step": "golden/test_netvlad_training.py::test_learning_rates",
    "NetVladTraining.workers": "unit/test_netvlad_recipe.py::test_loader_processes_lose_no_negatives",
    "PcaWeights.start": "workflow/test_runs.py::test_netvlad_from_random_weights_to_scores",
    "PlaceDataset.exclude_same_time": "unit/test_places.py::test_images_of_the_same_time",
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
    "Table.other_engine": "unit/test_tables.py::test_figures_of_another_engine_are_never_a_match",
    "Cause.text": "unit/test_report.py::test_causes_stand_with_the_cells_that_they_concern",
    "Cause.datasets": "unit/test_report.py::test_causes_stand_with_the_cells_that_they_concern",
    "Table.synthetic": "unit/test_tables.py::test_synthetic_tables_carry_nothing_published",
    "Toytown.seed": "unit/test_toytown.py::test_another_seed_draws_another_town",
    "TrainedWeights.start": "workflow/test_runs.py::test_whitened_and_trained_checkpoints",
    "TrainedWeights.training": "workflow/test_runs.py::test_whitened_and_trained_checkpoints",
    "TupleTraining.patience": "unit/test_training.py::test_patience_ends_a_training",
    "TupleTraining.workers": "unit/test_training.py::test_what_a_state_is_resumed_for",
    "Unpack.files": "unit/test_archives.py::test_the_number_of_files",
    "Unpack.flatten": "unit/test_archives.py::test_flat",
    **{
        f"{owner}.{key}": f"unit/test_frames.py::{case}"
        for owner, keys, case in (
            ("LabelledFolders", ("database", "queries"), "test_frames_within_a_tolerance"),
            ("LabelledFolders", ("on_bad_file",), "test_frames_that_are_refused"),
            ("FramesDataset", ("tolerance",), "test_frames_within_a_tolerance"),
            ("FramesDataset", ("numbers",), "test_places_in_the_order_of_names"),
            ("FramesDataset", ("pairs",), "test_listed_pairs_of_frames"),
            ("PositivesDataset", ("positives",), "test_a_list_of_positives"),
        )
        for key in keys
    },
    "UtmNamesDataset.database": "unit/test_places.py::test_positions_in_names",
    "UtmNamesDataset.queries": "unit/test_places.py::test_positions_in_names",
    "Validation.every": "unit/test_training.py::test_validation_decides_the_best_epoch",
    "Validation.image_size": "unit/test_training.py::test_what_a_state_is_resumed_for",
}
# Keys that only tell a reader something.
TOLD = {
    "Column.label": "a heading",
    "DatasetBase.note": "shown beside results",
    "Config.references": "where figures were read",
    "PatchSetBase.note": "shown beside results",
    "ReferenceResult.source": "where a figure was read",
    "Source.licence": "kept in the record of a download",
    "Source.note": "kept in the provenance",
    "Table.note": "printed under a table",
    "Variant.choice": "a name",
    "Variant.text": "shown beside results",
    "Variant.used_by": "shown beside results",
    "Table.title": "a heading",
    "TableRow.label": "a heading",
}


def _training(name: str, **block: Any) -> dict[str, Any]:
    """Configuration under options of one training."""
    return {**TRAININGS, "training": {**TRAININGS["training"], name: {**TRAININGS["training"][name], **block}}}


VALIDATION = {
    "dataset": "alderford",
    "metric": "map_hard",
    "every": 1,
    "image_size": 64,
    "scales": [1.0],
    "n": 20,
    "codebook_size": 8,
    "codebook_images": 10,
}
VALIDATED = _training("how", validation=VALIDATION)
PLACES = _training("netvlad", epochs=2, validation={"dataset": "streets_val", "image_size": 64, "metric": "recall@1"})
TABLE, HISTORY = "results/beside.csv", "results/training/{}/history.csv"
_SCORES, _OURS = look.column("score"), look.column("ours")
_FIGURE = {"dataset": "alderford", "metric": "map_medium", "paper": 0, "source": "a test"}
_TWO = [{"dataset": name, "metric": "map_medium", "label": name} for name in ("alderford", "swapped")]


def _rows(**changes: Any) -> list[dict[str, Any]]:
    return [{"label": "ours", "method": "own_asmk", "reference_results": [{**_FIGURE, **changes}]}]


def _referring(**changes: Any) -> list[dict[str, Any]]:
    return [{"label": "ours", "method": "own_asmk", **changes}]


# Key, where it stands, its value, what is made, the rule that runs again, what is another, and what lies under it.
MORE: list[tuple[str, str, Any, str, str, Any, dict[str, Any]]] = [
    ("Column.metric", "tables.beside.columns", _TWO[:1], TABLE, "build_table", look.column("metric"), {}),
    (
        "Column.dataset",
        "tables.beside.columns",
        [{"dataset": "swapped", "metric": "map_hard", "label": "H"}],
        TABLE,
        "build_table",
        _OURS,
        {
            "tables": {
                "beside": {
                    "columns": [{"dataset": "alderford", "metric": "map_hard", "label": "H"}],
                    "rows": [{"label": "ours", "method": "own_asmk"}],
                }
            }
        },
    ),
    ("TableRow.method", "tables.beside.rows", [{"label": "ours", "method": "own"}], TABLE, "build_table", _OURS, {}),
    (
        "ReferenceResult.metric",
        "tables.beside.rows",
        _rows(metric="map_hard"),
        TABLE,
        "build_table",
        look.column("paper"),
        {},
    ),
    (
        "ReferenceResult.dataset",
        "tables.beside.rows",
        _rows(dataset="swapped"),
        TABLE,
        "build_table",
        look.column("paper"),
        {"tables": {"beside": {"columns": _TWO}}},
    ),
    (
        "ReferenceResult.tolerance",
        "tables.beside.rows",
        _rows(tolerance=101),
        TABLE,
        "build_table",
        look.column("verdict"),
        {},
    ),
    (
        "TableRow.reference",
        "tables.beside.rows",
        _referring(reference="theirs"),
        TABLE,
        "build_table",
        look.column("paper"),
        {"catalog": ["figures.csv"], "references": {"test": "a test"}},
    ),
    (
        "TableRow.tolerance",
        "tables.beside.rows",
        _referring(reference_results=[_FIGURE], tolerance=101),
        TABLE,
        "build_table",
        look.column("verdict"),
        {},
    ),
    ("Table.tolerance", "tables.beside.tolerance", 101, TABLE, "build_table", look.column("verdict"), {}),
    (
        "Table.on_demand",
        "tables.beside.on_demand",
        True,
        "results/report.html",
        "build_report",
        lambda path: 'id="beside"' in look.text(path),
        {"tables": {"table2": {"rows": [{"label": "x", "method": "own_asmk"}]}}},
    ),
    (
        "Config.report_tables",
        "report_tables",
        ["beside"],
        "results/report.html",
        "build_report",
        lambda path: ('id="beside"' in look.text(path), 'id="table2"' in look.text(path)),
        {"tables": {"table2": {"rows": [{"label": "x", "method": "own_asmk"}]}}},
    ),
    (
        "Config.catalog",
        "catalog",
        ["more.yaml"],
        "results/features/own/alderford/database/00000.h5",
        "convert_checkpoint",
        look.descriptors,
        {},
    ),
    (
        "LocalFeatures.model",
        "features.own_local.model",
        "other",
        "results/features/own_local/alderford/database/00000.h5",
        "extract_features",
        look.descriptors,
        {"models": {"other": {"architecture": "custom", "factory": "tiny_networks:parts", "mean": [0.1, 0.2, 0.3]}}},
    ),
    *(
        (
            f"{'Local' if name == 'own_local' else 'Global'}Features.{key}",
            f"features.{name}.{key}",
            value,
            f"results/features/{name}/deep/database/00000.h5",
            "extract_features",
            look.descriptors,
            {},
        )
        for name in ("own", "own_local")
        for key, value in (("deep_images", "clip"), ("exif_orientation", "apply"))
    ),
    *(
        (key, f"models.{model}.{name}", value, f"results/checkpoints/{model}.pt", "convert_checkpoint", seen, {})
        for key, model, name, value, seen in (
            ("NetVladModel.backbone", "alone", "backbone", "vgg16", look.shapes),
            ("HardNetModel.variant", "patches", "variant", "ps", look.shapes),
            ("HardNetModel.variant", "patches", "variant", "classical", look.shapes),
            ("TFeatModel.variant", "few_patches", "variant", "hardtfeat", look.shapes),
            ("GemModel.backbone", "gem", "backbone", "resnet50", look.shapes),
            ("GemModel.whitening", "gem", "whitening", "network", look.shapes),
            ("OfficialWeights.file", "published", "weights.file", "two.pth", look.weights),
            ("ImagenetWeights.file", "backbone", "weights.file", "alex_two.pth", look.weights),
        )
    ),
    *(
        (key, f"models.{model}.weights.{name}", value, f"results/checkpoints/{model}.pt", rule, look.weights, under)
        for key, model, name, value, rule, under in (
            ("ClusteredWeights.iterations", "clustered", "iterations", 1, "cluster_descriptors", {}),
            (
                "StartedWeights.start",
                "clustered",
                "start",
                "seventh",
                "cluster_descriptors",
                {"models": {"seventh": {**ALEXNET, "weights": {"source": "random", "seed": 7}}}},
            ),
            (
                "WeightsFromImages.role",
                "clustered",
                "role",
                "query",
                "cluster_descriptors",
                {"models": {"clustered": {"weights": {"images": 3}}}},
            ),
            (
                "WhitenedWeights.role",
                "small_white",
                "role",
                "query",
                "whiten_checkpoint",
                {"models": {"small_white": {"weights": {"dataset": "alderford", "role": "database", "images": 3}}}},
            ),
        )
    ),
    *(
        (
            key,
            f"datasets.{dataset}.ground_truth",
            file,
            f"results/manifests/{dataset}.gt.json",
            "build_manifest",
            look.content,
            {},
        )
        for key, dataset, file in (
            ("RevisitopDataset.ground_truth", "alderford", "swapped.pkl"),
            ("SfmValDataset.ground_truth", "val_eccv20", "less_val.pkl"),
        )
    ),
    *(
        (
            key,
            f"training.{name}.{path}",
            value,
            f"results/checkpoints/{name}.pt",
            "train_checkpoint",
            look.weights,
            under,
        )
        for key, name, path, value, under in (
            ("TupleTraining.dataset", "how", "dataset", "less_sfm", TRAININGS),
            (
                "NetVladTraining.dataset",
                "netvlad",
                "dataset",
                "nearer",
                {**TRAININGS, "datasets": {"nearer": {**STREETS, "training_radius": 3.0}}},
            ),
        )
    ),
    *(
        (
            f"{owner}.{key}",
            f"training.{name}.validation.{key}",
            value,
            HISTORY.format(name),
            "train_checkpoint",
            _SCORES,
            under,
        )
        for owner, name, under, changes in (
            (
                "Validation",
                "how",
                VALIDATED,
                {
                    "dataset": "swapped",
                    "metric": "map_medium",
                    "image_size": 96,
                    "scales": [1.0, 0.5],
                    "codebook_size": 20,
                    "codebook_images": 3,
                },
            ),
            ("Validation", "how", _training("how", validation={**VALIDATION, "image_size": 96}), {"n": 1}),
            (
                "PlaceValidation",
                "netvlad",
                PLACES,
                {"dataset": "streets_test", "metric": "recall@5", "image_size": 48, "every": 2},
            ),
        )
        for key, value in changes.items()
    ),
    (
        "TupleTraining.gamma",
        "training.how.gamma",
        0.01,
        HISTORY.format("how"),
        "train_checkpoint",
        look.column("train_loss"),
        _training("how", epochs=2),
    ),
    (
        "NetVladTraining.patience",
        "training.netvlad.patience",
        1,
        HISTORY.format("netvlad"),
        "train_checkpoint",
        lambda path: len(_SCORES(path)),
        _training(
            "netvlad",
            epochs=3,
            learning_rate=1e-12,
            validation={"dataset": "streets_val", "image_size": 64, "metric": "recall@1"},
        ),
    ),
]
