"""The whole configuration as data: every key of config.yaml and of the catalogue, typed and described.

Unknown keys are refused everywhere. The JSON schemas in ``config/schemas/`` are generated from
these classes (``python -m descbench.config.schemas``) and a test fails when they drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from descbench.config.base import Label, Name, Seed, Several, Strict, UserPath, WorkflowPath
from descbench.config.cross_tables import CrossTable
from descbench.config.datasets import Dataset
from descbench.config.examples import EXAMPLES
from descbench.config.features import Features
from descbench.config.methods import Method
from descbench.config.networks import Model
from descbench.config.patch_sets import PatchSet
from descbench.config.remeasured import MatchCounts
from descbench.config.sources import Source
from descbench.config.tables import Table
from descbench.config.toytown import Toytown
from descbench.config.training import Training
from descbench.errors import ConfigError

Backend = Literal["torch", "winograd", "onnxruntime", "openvino"]


class Config(Strict):
    """Everything: the site's own settings and the catalogue."""

    data_dir: WorkflowPath = Field(Path("data"), description="Downloads and datasets.")
    results_dir: WorkflowPath = Field(Path("results"), description="All that is computed.")
    catalog: tuple[UserPath, ...] = Field(
        (),
        description="Catalogue files, later ones overlay earlier ones; published figures are files with suffix .csv.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run; auto = CUDA when present.")
    backend: Backend = Field(
        "torch",
        description="What runs networks of images and of points on the CPU (those of patches: torch); winograd: torch "
        "with another convolution, faster for VGG16; the last two are in requirements/backends.txt.",
    )
    training_gpus: int = Field(
        1,
        gt=0,
        le=1024,
        description="GPUs that share each training, by torchrun on one node (with `device: cpu`: processes).",
    )
    seed: Seed = Field(0, description="Seed of everything random that has no seed of its own.")
    shard_size: Several = Field(5000, description="Images, or image pairs, in a shard: the unit of parallel work.")
    offline: bool = Field(False, description="Never touch the network: a missing file is an error at once.")
    mirrors: dict[Label, Label] = Field({}, description="Address prefix -> prefix of your own mirror, tried first.")
    keep_raw: bool = Field(True, description="Keep archives after unpacking.")
    report_tables: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="Tables that are in the report and that a plain `snakemake` makes; null = all that are not "
        "`on_demand`.",
    )
    pairs_top_k: Several = Field(50, description="Pairs of each query in a pairs file.")
    toytown: Toytown = Field(
        Toytown(), description="The town that `generator: toytown` draws.", examples=[EXAMPLES["toytown"]]
    )
    sources: dict[Name, Source] = Field(
        {}, description="Files on the internet, by file name.", examples=[EXAMPLES["sources"]]
    )
    datasets: dict[Name, Dataset] = Field({}, description="Datasets by name.", examples=[EXAMPLES["datasets"]])
    patch_sets: dict[Name, PatchSet] = Field({}, description="Patch sets by name.", examples=[EXAMPLES["patch_sets"]])
    models: dict[Name, Model] = Field({}, description="Networks by name.", examples=[EXAMPLES["models"]])
    training: dict[Name, Training] = Field(
        {}, description="How networks are trained, by name.", examples=[EXAMPLES["training"]]
    )
    features: dict[Name, Features] = Field(
        {},
        description="What is extracted once, by name; a model's features need no block where its defaults do.",
        examples=[EXAMPLES["features"]],
    )
    methods: dict[Name, Method] = Field(
        {}, description="What is searched how, by name: a row of a table.", examples=[EXAMPLES["methods"]]
    )
    tables: dict[Name, Table] = Field({}, description="Tables by name.", examples=[EXAMPLES["tables"]])
    cross_tables: dict[Name, CrossTable] = Field(
        {},
        description="Tables of all rows on all datasets that fit them, results/cross/<name>.csv, by name.",
        examples=[EXAMPLES["cross_tables"]],
    )
    remeasured: dict[Name, MatchCounts] = Field(
        {},
        description="Published counts that results/remeasured.csv compares with ours, by name.",
        examples=[EXAMPLES["remeasured"]],
    )
    references: dict[Name, Label] = Field(
        {},
        description="Where published figures were read, by the key that column `source` of references.csv names.",
        examples=[EXAMPLES["references"]],
    )

    def block(self, section: str, name: str) -> Any:
        """The block of that name.

        Raises:
            ConfigError: there is none.
        """
        found = getattr(self, section).get(name)
        if found is None:
            raise ConfigError(f"there is no {name!r} in section `{section}` of the configuration.")
        return found

    def names(self, section: str, **answers: Any) -> list[str]:
        """Names in a section whose blocks have these values, such as ``names("features", kind="local")``."""
        blocks = getattr(self, section).items()
        return [name for name, block in blocks if all(getattr(block, key) == value for key, value in answers.items())]
