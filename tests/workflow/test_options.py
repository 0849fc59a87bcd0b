"""Every key of the configuration that changes a result, executed: what it changes is looked at in the results.

A dry run proves nothing. The jobs are the workflow's own, planned by Snakemake and run in this process, over a tiny
town whose features are made once. A new key without a case fails :func:`test_every_key_has_a_case`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import option_lists as lists
import option_looks as look
import pytest
from in_process import Bench, merged
from pydantic import BaseModel

from descbench.config.models import Config

WHOLE, ASMK = (
    "results/features/own/alderford/database/00000.h5",
    "results/features/own_local/alderford/database/00000.h5",
)
RANKING, FLAT = "results/rankings/own_asmk/alderford.h5", "results/rankings/own/alderford.h5"
CODEBOOK, INDEX = "results/codebooks/own_asmk.h5", "results/indexes/own_asmk/alderford/00000.h5"
PAIRS = "results/manifests/facades.pairs.csv"


@dataclass(frozen=True)
class Changed:
    """The value that was seen is another one than without the option."""

    seen: Callable[[Path], Any]


@dataclass(frozen=True)
class Becomes:
    """The value that is seen with the option; without it, it is another one."""

    seen: Callable[[Path], Any]
    value: Any


@dataclass(frozen=True)
class Case:
    """A target that is made without an option and with it.

    Attributes:
        key: ``Model.key`` of the configuration.
        overlay: the option.
        target: what is made.
        anew: rules that run again for it (in the workflow Snakemake knows by their parameters).
        result: what the option does to the target.
        under: configuration of both.
    """

    key: str
    overlay: dict[str, Any]
    target: str
    anew: str
    result: Changed | Becomes
    under: dict[str, Any] = field(default_factory=dict)


def nested(path: str, value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` of ``a.b``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def option(key: str, path: str, value: Any, target: str, anew: str, result: Changed | Becomes, **under: Any) -> Case:
    return Case(key, nested(path, value), target, anew, result, under)


M, F, C, V = "methods.own_asmk", "features.own_local", "methods.own_asmk.codebook", "methods.own"
CASES = [
    # --- methods ---
    option("AsmkMethod.n", f"{M}.n", 10, RANKING, "build_index", Changed(look.ranks)),
    option(
        "AsmkMethod.features",
        f"{M}.features",
        "own_small",
        RANKING,
        "build_index",
        Changed(look.ranks),
        features={"own_small": {"kind": "local", "model": "own_local", "image_size": 48, "max_features": 40}},
    ),
    option("AsmkMethod.codebook", f"{C}.size", 8, RANKING, "train_codebook", Changed(look.ranks)),
    option("AsmkMethod.index", f"{M}.index.binary", False, RANKING, "build_index", Changed(look.ranks)),
    option("AsmkMethod.idf", f"{M}.idf.use_idf", True, RANKING, "search_index", Changed(look.ranks)),
    option("AsmkMethod.query", f"{M}.query.alpha", 1.0, RANKING, "search_index", Changed(look.ranks)),
    option("Codebook.size", f"{C}.size", 8, CODEBOOK, "train_codebook", Becomes(look.words, 8)),
    option("Codebook.iterations", f"{C}.iterations", 1, CODEBOOK, "train_codebook", Changed(look.centroids)),
    option("Codebook.seed", f"{C}.seed", 5, CODEBOOK, "train_codebook", Changed(look.centroids)),
    option("Codebook.images", f"{C}.images", 10, CODEBOOK, "train_codebook", Becomes(look.points, 10 * 20)),
    option("Codebook.n", f"{C}.n", 7, CODEBOOK, "train_codebook", Becomes(look.points, 20 * 7)),
    option(
        "Codebook.dataset",
        f"{M}.codebook",
        {"dataset": "alderford", "role": "database"},
        CODEBOOK,
        "train_codebook",
        Becomes(look.points, 14 * 20),
    ),
    option(
        "Codebook.role",
        f"{M}.codebook",
        {"dataset": "alderford", "role": "query"},
        CODEBOOK,
        "train_codebook",
        Becomes(look.points, 3 * 20),
    ),
    option(
        "Codebook.features",
        f"{C}.features",
        "own_small",
        CODEBOOK,
        "train_codebook",
        Changed(look.centroids),
        features={"own_small": {"kind": "local", "model": "own_local", "image_size": 48, "max_features": 40}},
    ),
    option(
        "Codebook.assignment",
        f"{C}.assignment",
        "two_level",
        CODEBOOK,
        "train_codebook",
        Changed(look.centroids),
        methods={"own_asmk": {"codebook": {"size": 128}}},
    ),
    option("IndexSettings.binary", f"{M}.index.binary", False, INDEX, "build_index", Becomes(look.is_binary, False)),
    option(
        "IndexSettings.multiple_assignment",
        f"{M}.index.multiple_assignment",
        3,
        INDEX,
        "build_index",
        Changed(look.entries),
    ),
    option("IdfSettings.use_idf", f"{M}.idf.use_idf", True, RANKING, "search_index", Changed(look.ranks)),
    option(
        "IdfSettings.stale",
        f"{M}.idf.stale",
        True,
        "results/indexes/own_asmk/alderford.statistics.h5",
        "collect_statistics",
        Changed(look.idf),
        methods={"own_asmk": {"codebook": {"size": 128}}},
    ),
    option(
        "QuerySettings.multiple_assignment",
        f"{M}.query.multiple_assignment",
        1,
        RANKING,
        "search_index",
        Changed(look.ranks),
    ),
    option(
        "QuerySettings.similarity_threshold",
        f"{M}.query.similarity_threshold",
        0.99,
        RANKING,
        "search_index",
        Changed(look.ranks),
    ),
    option("QuerySettings.alpha", f"{M}.query.alpha", 1.0, RANKING, "search_index", Changed(look.ranks)),
    option("QuerySettings.top_k", f"{M}.query.top_k", 4, RANKING, "search_index", Becomes(look.rank_length, 4)),
    option("FlatMethod.search", f"{V}.search", "euclidean", FLAT, "search_flat", Changed(look.ranks)),
    option("FlatMethod.top_k", f"{V}.top_k", 4, FLAT, "search_flat", Becomes(look.rank_length, 4)),
    option("FlatMethod.dim", f"{V}.dim", 3, FLAT, "search_flat", Changed(look.ranks)),
    option(
        "FlatMethod.features",
        f"{V}.features",
        "own_small",
        FLAT,
        "search_flat",
        Changed(look.ranks),
        features={"own_small": {"kind": "global", "model": "own", "image_size": 32}},
    ),
    option(
        "WithDistractorsDataset.base",
        "datasets.photos_noise.base",
        "alderford",
        "results/rankings/own/photos_noise.h5",
        "search_flat",
        Changed(look.ranks),
    ),
    option(
        "WithDistractorsDataset.distractors",
        "datasets.photos_noise.distractors",
        "alderford",
        "results/rankings/own/photos_noise.h5",
        "search_flat",
        Becomes(look.least_id, -14),
    ),
    # --- features ---
    option("LocalFeatures.image_size", f"{F}.image_size", 48, ASMK, "extract_features", Changed(look.descriptors)),
    option(
        "LocalFeatures.scales", f"{F}.scales", [1.0, 0.5], ASMK, "extract_features", Becomes(look.scales, {1.0, 0.5})
    ),
    option(
        "LocalFeatures.max_features", f"{F}.max_features", 25, ASMK, "extract_features", Becomes(look.most_features, 25)
    ),
    option("LocalFeatures.dtype", f"{F}.dtype", "float16", ASMK, "extract_features", Changed(look.descriptors)),
    option(
        "GlobalFeatures.image_size", "features.own.image_size", 48, WHOLE, "extract_features", Changed(look.descriptors)
    ),
    option(
        "GlobalFeatures.resize", "features.own.resize", [40, 40], WHOLE, "extract_features", Changed(look.descriptors)
    ),
    option(
        "GlobalFeatures.scales", "features.own.scales", [1.0, 0.5], WHOLE, "extract_features", Changed(look.descriptors)
    ),
    option(
        "GlobalFeatures.dtype",
        "features.own.dtype",
        "float16",
        WHOLE,
        "extract_features",
        Changed(look.descriptors),
    ),
    option(
        "GlobalFeatures.model",
        "features.own.model",
        "own_more",
        WHOLE,
        "extract_features",
        Changed(look.weights_behind),
        models={"own_more": {"architecture": "custom", "arguments": {"dim": 6}, "factory": "tiny_networks:whole"}},
    ),
    # --- networks ---
    option(
        "CustomModel.factory",
        "models.own.factory",
        "tiny_networks:parts",
        "results/checkpoints/own.pt",
        "convert_checkpoint",
        Changed(look.weights),
    ),
    option(
        "CustomModel.arguments",
        "models.own.arguments",
        {"dim": 6},
        "results/checkpoints/own.pt",
        "convert_checkpoint",
        Changed(look.shapes),
    ),
    option(
        "CustomModel.mean", "models.own.mean", [0.1, 0.2, 0.3], WHOLE, "convert_checkpoint", Changed(look.descriptors)
    ),
    option(
        "CustomModel.std", "models.own.std", [0.1, 0.2, 0.3], WHOLE, "convert_checkpoint", Changed(look.descriptors)
    ),
    option(
        "CustomModel.weights",
        "models.own.weights",
        {"source": "custom", "file": "w.pth"},
        WHOLE,
        "convert_checkpoint",
        Changed(look.descriptors),
    ),
    option(
        "CustomWeights.file",
        "models.own.weights",
        {"source": "custom", "file": "w.pth"},
        "results/checkpoints/own.pt",
        "convert_checkpoint",
        Changed(look.weights),
    ),
    option(
        "RandomWeights.seed",
        "models.random.weights.seed",
        7,
        "results/checkpoints/random.pt",
        "convert_checkpoint",
        Becomes(lambda path: look.record(path)["seed"], 7),
    ),
    option(
        "NetVladModel.clusters",
        "models.alone.clusters",
        3,
        "results/checkpoints/alone.pt",
        "convert_checkpoint",
        Changed(look.shapes),
    ),
    option(
        "NetVladModel.bias",
        "models.alone.bias",
        True,
        "results/checkpoints/alone.pt",
        "convert_checkpoint",
        Changed(look.shapes),
    ),
    option(
        "NetVladModel.pooling",
        "models.alone.pooling",
        "max",
        "results/checkpoints/alone.pt",
        "convert_checkpoint",
        Changed(look.shapes),
    ),
    *(
        option(
            f"{owner}.{key}",
            f"models.{model}.weights.{key}",
            value,
            f"results/checkpoints/{model}.pt",
            rule,
            Changed(look.weights),
        )
        for owner, model, rule, changes in lists.LEARNED
        for key, value in changes.items()
    ),
    *(
        option(
            f"FireModel.{key}",
            f"models.fire_random.{key}",
            value,
            "results/checkpoints/fire_random.pt",
            "convert_checkpoint",
            Changed(look.shapes),
        )
        for key, value in {"backbone": "resnet50", "skip_layer": 0, "templates": 7, "dim_lit": 8, "dim": 4}.items()
    ),
    option(
        "FireModel.iterations",
        "models.fire_random.iterations",
        1,
        "results/features/fire_random/alderford/query/00000.h5",
        "convert_checkpoint",
        Changed(look.descriptors),
    ),
    *(
        option(
            f"HowModel.{key}",
            f"models.how_r18.{key}",
            value,
            "results/checkpoints/how_r18.pt",
            "convert_checkpoint",
            Changed(look.shapes),
        )
        for key, value in {"backbone": "resnet50", "skip_layer": 1, "dim": 4}.items()
    ),
    option(
        "HowModel.smoothing",
        "models.how_r18.smoothing",
        0,
        "results/features/how/alderford/query/00000.h5",
        "convert_checkpoint",
        Changed(look.descriptors),
    ),
    # --- datasets ---
    option(
        "DatasetBase.shard_size",
        "datasets.alderford.shard_size",
        7,
        "results/features/own/alderford/database/00001.h5",
        "extract_features",
        Becomes(lambda path: len(look.descriptors(path)) // 16, 7),
    ),
    option(
        "PlaceDataset.radius",
        "datasets.streets_test.radius",
        1.0,
        "results/manifests/streets_test.gt.json",
        "build_manifest",
        Changed(lambda path: look.content(path)["positives"]),
    ),
    option(
        "PlaceDataset.training_radius",
        "datasets.streets_test.training_radius",
        1.0,
        "results/manifests/streets_test.gt.json",
        "build_manifest",
        Changed(lambda path: look.content(path)["training_positives"]),
    ),
    option(
        "PlaceDataset.views_per_panorama",
        "datasets.streets_test.views_per_panorama",
        2,
        "results/manifests/streets_test.gt.json",
        "build_manifest",
        Becomes(lambda path: look.content(path)["views_per_panorama"], 2),
    ),
    option(
        "PlaceDataset.conditions",
        "datasets.streets_test.conditions",
        ["day", "dusk", "night", "rain", "snow"],
        "results/scores/own/streets_test.json",
        "build_manifest",
        Changed(lambda path: sorted(look.content(path)["metrics"])),
    ),
    option(
        "DbStructDataset.struct",
        "datasets.streets_test.struct",
        "toytown/streets/datasets/toytown_train.mat",
        "results/manifests/streets_test.csv",
        "build_manifest",
        Changed(look.number_of_images),
    ),
    option(
        "DbStructDataset.images",
        "datasets.streets_test.images",
        "elsewhere",
        "results/manifests/streets_test.csv",
        "build_manifest",
        Changed(look.text),
    ),
    option(
        "DbStructDataset.queries",
        "datasets.streets_test.queries",
        "elsewhere",
        "results/manifests/streets_test.csv",
        "build_manifest",
        Changed(look.text),
    ),
    option(
        "DbStructDataset.suffix",
        "datasets.streets_test.suffix",
        ".png",
        "results/manifests/streets_test.csv",
        "build_manifest",
        Changed(look.text),
    ),
    option(
        "RevisitopDataset.images",
        "datasets.alderford.images",
        "elsewhere",
        "results/manifests/alderford.csv",
        "build_manifest",
        Changed(look.first_path),
    ),
    option(
        "Sfm120kDataset.images",
        "datasets.toytown_sfm.images",
        "elsewhere",
        "results/manifests/toytown_sfm.csv",
        "build_manifest",
        Changed(look.first_path),
    ),
    option(
        "SfmValDataset.images",
        "datasets.val_eccv20.images",
        "elsewhere",
        "results/manifests/val_eccv20.csv",
        "build_manifest",
        Changed(look.first_path),
    ),
    option(
        "ImageListDataset.list",
        "datasets.noise",
        {"list": "less.txt", "counts": {"database": 2}},
        "results/manifests/noise.csv",
        "build_manifest",
        Becomes(look.number_of_images, 2),
    ),
    option(
        "ImageListDataset.images",
        "datasets.noise.images",
        "elsewhere",
        "results/manifests/noise.csv",
        "build_manifest",
        Changed(look.first_path),
    ),
    option(
        "FolderDataset.database",
        "datasets.photos.database",
        "photos/queries",
        "results/manifests/photos.csv",
        "build_manifest",
        Changed(look.number_of_images),
    ),
    option(
        "FolderDataset.queries",
        "datasets.photos.queries",
        None,
        "results/manifests/photos.csv",
        "build_manifest",
        Changed(look.number_of_images),
    ),
    option(
        "HPatchesSequencesDataset.images",
        "datasets.facades.images",
        "other_sequences",
        PAIRS,
        "build_manifest",
        Becomes(look.column("image_b"), ["1", "2", "3", "4", "5"]),
    ),
    option(
        "HPatchesSequencesDataset.exclude",
        "datasets.facades.exclude",
        ["v_facades00"],
        PAIRS,
        "build_manifest",
        Becomes(look.column("relation"), ["homography:1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0"] * 5),
    ),
    # --- patch sets ---
    option(
        "PatchSetBase.folder",
        "patch_sets.drawn.folder",
        "other_patches",
        "results/patches/drawn/quay.h5",
        "build_patches",
        Changed(look.patches),
    ),
    # --- trainings ---
    *(
        option(
            f"{owner}.{key}",
            f"training.{name}.{key}",
            value,
            f"results/checkpoints/{name}.pt",
            "train_checkpoint",
            Changed(look.weights),
            **lists.TRAININGS,
        )
        for owner, name, changes in lists.WEIGHTS_CHANGE
        for key, value in changes.items()
    ),
    *(
        option(
            f"{owner}.epochs",
            f"training.{name}.epochs",
            2,
            f"results/training/{name}/history.csv",
            "train_checkpoint",
            Becomes(lambda path: len(look.text(path).splitlines()), 1 + 2),
            **lists.TRAININGS,
        )
        for owner, name in (("TupleTraining", "how"), ("FireTraining", "fire"), ("NetVladTraining", "netvlad"))
    ),
    # --- the site ---
    option("Config.seed", "seed", 3, "results/checkpoints/own.pt", "convert_checkpoint", Changed(look.weights)),
    option(
        "Config.shard_size",
        "shard_size",
        5,
        "results/features/own/alderford/database/00001.h5",
        "extract_features",
        Becomes(lambda path: len(look.descriptors(path)) // 16, 5),
    ),
    *(
        option(key, path, value, target, rule, Changed(seen), **under)
        for key, path, value, target, rule, seen, under in lists.MORE
    ),
    option("Config.backend", "backend", "winograd", WHOLE, "extract_features", Becomes(look.backend, "winograd")),
]


@pytest.fixture(scope="module")
def plain(base) -> Callable[[dict[str, Any], str], Bench]:
    """Benches without an option, one for each configuration under options."""
    made: list[tuple[dict[str, Any], Bench]] = []

    def make(under: dict[str, Any], target: str) -> Bench:
        bench = next((bench for known, bench in made if known == under), None)
        if bench is None:
            bench = base.copy(f"under-{len(made)}")
            made.append((under, bench))
        if not (bench.folder / target).exists():
            bench.make(target, overlay=under, anew=["train_codebook"] if "codebook" in str(under) else [])
        return bench

    return make


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_option(case, plain, tmp_path_factory):
    without = plain(case.under, case.target)
    changed = without.copy(tmp_path_factory.mktemp("option").name)
    ran = changed.make(case.target, overlay=merged(case.under, case.overlay), anew=[case.anew])
    assert case.anew in ran
    before, after = (case.result.seen(bench.folder / case.target) for bench in (without, changed))
    assert before != after
    if isinstance(case.result, Becomes):
        assert after == case.result.value


def models_of(annotation: Any, found: list[type[BaseModel]]) -> list[type[BaseModel]]:
    """All models that an annotation is made of."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel) and annotation not in found:
        found.append(annotation)
        for value in annotation.model_fields.values():
            models_of(value.annotation, found)
    for argument in get_args(annotation):
        models_of(argument, found)
    return found


def decides_alone(annotation: Any) -> bool:
    """Whether a key has a choice of its own: not a tag of one value, and no block, whose keys have cases."""
    if get_origin(annotation) is Literal:
        return len(get_args(annotation)) > 1
    return not models_of(annotation, [])


def keys() -> set[str]:
    """``Model.key`` of all keys with a choice of their own, each by the model that first declares it."""
    found = set()
    for model in models_of(Config, []):
        for key, value in model.model_fields.items():
            owner = next(c for c in model.__mro__ if key in inspect.get_annotations(c))
            if decides_alone(value.annotation):
                found.add(f"{owner.__name__}.{key}")
    return found


def test_every_key_has_a_case(project):
    executed = {case.key for case in CASES if case.key not in lists.BLOCKS}
    known = executed | lists.ELSEWHERE.keys() | lists.TOLD.keys()
    assert sorted(keys() - known) == []
    assert sorted(known - keys()) == []
    assert not executed & lists.TOLD.keys()
    for place in set(lists.ELSEWHERE.values()):
        path, _, name = place.partition("::")
        tree = ast.parse((project / "tests" / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, place
