"""Which file lies where, and which shards there are: the plan of the DAG, from the configuration alone.

Every path of the workflow is spelled here and nowhere else. Light on purpose: the Snakefile
imports it, and every job of a cluster parses the Snakefile again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descbench.config.datasets import DatasetBase
from descbench.config.models import Config
from descbench.config.patch_sets import PatchSetBase
from descbench.datasets.manifest import Manifest
from descbench.datasets.own import OwnImages, is_own, list_own, listing_digest, own_root, with_contents
from descbench.errors import ConfigError, DataError
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import read_json
from descbench.raw_files import RawFiles


@dataclass(frozen=True)
class Shard:
    """Images ``start:stop`` of one role of a dataset; ``stop`` is None where their number is not known in advance."""

    name: str
    start: int
    stop: int | None


@dataclass(frozen=True)
class ExtraCell:
    """Scores that a table shows because they are there: what they are of, their files, and their SHA-256."""

    method: str
    dataset: str
    scores: str
    provenance: str
    digest: str


class Layout(RawFiles):
    """Paths and shards of one configuration. Paths are strings, as Snakemake wants them."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.results = config.results_dir.as_posix()
        self._listings: dict[str, OwnImages] = {}
        self._contents: dict[str, Manifest] = {}

    # --- datasets ---

    def manifest_inputs(self, name: str) -> list[str]:
        """What must be in place before the manifest of a dataset can be built: lists and ground truth."""
        dataset = self._get("datasets", self.base_dataset(name))
        return [*map(self.unpacked, dataset.sources), *self._drawn(dataset)]

    def image_inputs(self, name: str) -> list[str]:
        """What must be in place before the images of a dataset can be read."""
        dataset = self._get("datasets", self.base_dataset(name))
        return [*map(self.unpacked, dataset.image_sources), *self._drawn(dataset)]

    def _drawn(self, block: DatasetBase | PatchSetBase) -> list[str]:
        return [self.toytown()] if block.generator else []

    def manifest(self, dataset: str) -> str:
        """Manifest CSV of a dataset."""
        return f"{self.results}/manifests/{dataset}.csv"

    def ground_truth(self, dataset: str) -> str:
        """Ground-truth JSON of a dataset."""
        return f"{self.results}/manifests/{dataset}.gt.json"

    def image_pairs(self, dataset: str) -> str:
        """Image pairs of a dataset, CSV."""
        return f"{self.results}/manifests/{dataset}.pairs.csv"

    def paired_datasets(self) -> list[str]:
        """Names of the datasets that have image pairs."""
        return [name for name, block in self.config.datasets.items() if block.HAS_IMAGE_PAIRS]

    def labels(self, name: str) -> str:
        """Ground-truth JSON that rankings of a dataset are scored with.

        Raises:
            ConfigError: the dataset has no labels.
        """
        base = self.base_dataset(name)
        metrics = self._get("datasets", base).metrics()
        if not metrics.names:
            raise ConfigError(
                f"dataset {name!r}: rankings of it cannot be scored, {metrics.why}. Ask for "
                f"{self.results}/rankings/<method>/{name}.h5 instead of its scores."
            )
        return self.ground_truth(base)

    def image_root(self, name: str) -> str:
        """Folder that the paths of a manifest are relative to."""
        dataset = self._get("datasets", self.base_dataset(name))
        return own_root(dataset).as_posix() if is_own(dataset) else self.datasets_dir

    def left_out(self, dataset: str) -> str:
        """JSON list of the files in the user's folders that are no part of a dataset."""
        return f"{self.results}/manifests/{dataset}.left_out.json"

    def own_folders(self, name: str) -> dict[str, Any] | None:
        """What of the block of a dataset decides which images the user's folders hold; None of official datasets."""
        block = self._get("datasets", self.base_dataset(name))
        keys = {"format", "database", "queries", "ground_truth", "folder", "on_bad_file"}
        return block.model_dump(mode="json", include=keys) if is_own(block) else None

    def image_records(self, dataset: str) -> str:
        """What is known of the content of the user's own images, so that they are not read at every start."""
        return f"{self.results}/manifests/{dataset}.images.txt"

    def listing_digest(self, name: str) -> str:
        """Digest of the user's own folders, so that added, removed and replaced photographs are noticed."""
        return listing_digest(self._own_manifest(name), self._listing(name)) if self._is_own(name) else ""

    def images_digest(self, name: str, role: str, shard: str) -> str | None:
        """Digest that a feature shard has of its images; None where only the official list can tell."""
        if not self._is_own(name):
            return None
        found = self.shard(name, role, shard)
        return self._own_manifest(name).of_role(role).slice(found.start, found.stop).digest()

    def images_digests(self, name: str, role: str, images: int | None = None) -> list[str] | None:
        """Those of all shards of a role, or of the first so many images, in order."""
        if not self._is_own(name):
            return None
        return [self.images_digest(name, role, shard.name) for shard in self.shards(name, role, images)]

    def query_role(self, name: str) -> str:
        """Role whose features the queries have: where all database images query, these are described once."""
        return "database" if self.asks_itself(name) else "query"

    def asks_itself(self, name: str) -> bool:
        """Whether every database image is a query too, to be left out of its own ranking."""
        return self._is_own(name) and self._listing(name).asks_itself

    def _is_own(self, name: str) -> bool:
        """Whether a dataset is a folder of the user's, which can be listed before anything has run."""
        return is_own(self._get("datasets", self.base_dataset(name)))

    def _listing(self, name: str) -> OwnImages:
        """What a user's folders hold, listed once while the workflow is planned."""
        base = self.base_dataset(name)
        if base not in self._listings:
            self._listings[base] = list_own(self._get("datasets", base))
        return self._listings[base]

    def _own_manifest(self, name: str) -> Manifest:
        """Images of a user's folders with their content, which is read where it is new or changed."""
        base = self.base_dataset(name)
        if base not in self._contents:
            root = own_root(self._get("datasets", base))
            self._contents[base] = with_contents(self._listing(base).manifest, root, Path(self.image_records(base)))
        return self._contents[base]

    def count(self, name: str, role: str) -> int | None:
        """Number of images of a role, or None where only the official list can tell."""
        if self._is_own(name):
            return len(self._listing(name).manifest.of_role(role))
        return self._get("datasets", self.base_dataset(name)).counts.get(role)

    def shards(self, dataset: str, role: str, images: int | None = None) -> list[Shard]:
        """Shards of a role, in order; with ``images``, those that hold the first so many images."""
        count = self.count(dataset, role)
        if count is None:
            return [Shard("00000", 0, None)]
        block = self._get("datasets", self.base_dataset(dataset))
        size = count if block.IS_BAG else block.shard_size or self.config.shard_size
        starts = range(0, min(count, images or count), max(size, 1))
        return [Shard(f"{i:05d}", start, min(start + size, count)) for i, start in enumerate(starts)]

    def shard(self, dataset: str, role: str, name: str) -> Shard:
        """The shard of that name."""
        shards = self.shards(dataset, role)
        if not name.isdigit() or int(name) >= len(shards):
            raise ConfigError(f"{dataset} {role} has shards 00000 to {len(shards) - 1:05d}, not {name}.")
        return shards[int(name)]

    # --- patch sets ---

    def patch_inputs(self, name: str, part: str) -> list[str]:
        """What must be in place before the patches of a part can be read.

        Raises:
            ConfigError: the patch set has no such part.
        """
        block = self._get("patch_sets", name)
        if part not in block.parts:
            raise ConfigError(f"patch set {name!r} has no part {part!r}, only {', '.join(block.parts)}.")
        return [*map(self.unpacked, block.sources), *self._drawn(block)]

    def patches(self, name: str, part: str) -> str:
        """Patches of one part of a patch set, and their labels."""
        return f"{self.results}/patches/{name}/{part}.h5"

    # --- checkpoints and features ---

    def checkpoint(self, model: str) -> str:
        """Checkpoint of a model."""
        return f"{self.results}/checkpoints/{model}.pt"

    def weights_file(self, model: str) -> list[str]:
        """Raw weights a checkpoint is converted from; none for weights that are drawn."""
        weights = self._get("models", model).weights
        files = [path.as_posix() for path in weights.own_files]
        for source in weights.named_sources:
            copy = self._get("sources", source).local_copy
            # The user's own folder of a run (pytorch-NetVlad) is read where it is.
            files.append(copy.as_posix() if copy is not None and copy.is_dir() else self.raw(source))
        return files

    def start_checkpoint(self, model: str) -> str:
        """Checkpoint that a whitened, clustered or trained model starts from."""
        return self.checkpoint(self._get("models", model).weights.starts_from)

    def clusters(self, model: str) -> str:
        """Drawn local descriptors and their clusters, from which the layer of a model is set."""
        return f"{self.results}/clusters/{model}.h5"

    def training_folder(self, model: str) -> str:
        """State, TensorBoard events and intermediate files of a training."""
        return f"{self.results}/training/{model}"

    def training_history(self, model: str) -> str:
        """Learning curve of a training: one row an epoch."""
        return f"{self.training_folder(model)}/history.csv"

    def features(self, features: str, dataset: str, role: str, images: int | None = None) -> list[str]:
        """Feature shards of a role, in order."""
        return [self.feature_shard(features, dataset, role, s.name) for s in self.shards(dataset, role, images)]

    def feature_shard(self, features: str, dataset: str, role: str, shard: str) -> str:
        """One feature shard."""
        return f"{self.results}/features/{features}/{dataset}/{role}/{shard}.h5"

    def kept_features(self, features: str, dataset: str) -> str:
        """Folder of features of the user's own images that outlive their shards."""
        return f"{self.results}/features/{features}/{dataset}/.kept"

    def released_file(self, features: str, dataset: str) -> str:
        """Raw pickle that holds the released features of a dataset."""
        block = self._get("features", features)
        if dataset not in block.files:
            raise ConfigError(f"features.{features}.files names no released features for dataset {dataset!r}.")
        return self.raw(block.files[dataset])

    # --- methods ---

    def codebook(self, method: str) -> str:
        """Codebook of a method."""
        return f"{self.results}/codebooks/{method}.h5"

    def codebook_features(self, method: str) -> list[str]:
        """Feature shards a codebook is learned from."""
        codebook = self._get("methods", method).codebook
        return self.features(codebook.features, codebook.dataset, codebook.role, codebook.images)

    def codebook_images(self, method: str) -> list[str] | None:
        """Digests of the images behind those shards, where the user's own folders hold them."""
        codebook = self._get("methods", method).codebook
        return self.images_digests(codebook.dataset, codebook.role, codebook.images)

    def codebook_n(self, method: str) -> int | None:
        """Strongest descriptors an image that a codebook is learned from; None (all) for a bag of descriptors."""
        block = self._get("methods", method)
        is_bag = self._get("datasets", block.codebook.dataset).IS_BAG
        return block.codebook.n if is_bag else block.codebook.n or block.n

    def index_shard(self, method: str, dataset: str, shard: str) -> str:
        """One shard of an inverted file."""
        return f"{self.results}/indexes/{method}/{dataset}/{shard}.h5"

    def index(self, method: str, dataset: str) -> list[str]:
        """All shards that a search of ``dataset`` visits, distractors first."""
        return [
            self.index_shard(method, searched, shard.name)
            for searched in self.searched_datasets(dataset)
            for shard in self.shards(searched, "database")
        ]

    def statistics(self, method: str, dataset: str) -> str:
        """Document frequencies over all shards of a search; only made where idf is used."""
        return f"{self.results}/indexes/{method}/{dataset}.statistics.h5"

    def query_features(self, method: str, dataset: str) -> list[str]:
        """Feature shards of the queries."""
        return self.features(
            self._get("methods", method).features, self.base_dataset(dataset), self.query_role(dataset)
        )

    def database_features(self, method: str, dataset: str) -> list[str]:
        """Feature shards of the database."""
        return self.features(self._get("methods", method).features, self.base_dataset(dataset), "database")

    def ranking_parts(self, method: str, dataset: str) -> list[str]:
        """Partial rankings, one for each shard that is searched."""
        return [
            self.ranking_part(method, dataset, searched, shard.name)
            for searched in self.searched_datasets(dataset)
            for shard in self.shards(searched, "database")
        ]

    def ranking_part(self, method: str, dataset: str, searched: str, shard: str) -> str:
        """Ranking of a dataset's queries over one shard of an index or of global features."""
        return f"{self.results}/rankings/{method}/{dataset}/{searched}/{shard}.h5"

    def ranking(self, method: str, dataset: str) -> str:
        """Ranking of a dataset's queries."""
        return f"{self.results}/rankings/{method}/{dataset}.h5"

    def scores(self, method: str, dataset: str) -> str:
        """Metrics of one method on one dataset: one or several cells of a table."""
        return f"{self.results}/scores/{method}/{dataset}.json"

    def provenance(self, method: str, dataset: str) -> str:
        """What a scores file was made from."""
        return f"{self.results}/provenance/{method}/{dataset}.json"

    def pairs(self, method: str, images: str, queries: str) -> str:
        """Pairs file of two kapture datasets: the most similar images of the first for each of the second."""
        return f"{self.results}/pairs/{method}/{images}__{queries}.txt"

    def table(self, table: str) -> str:
        """Table as tidy CSV."""
        return f"{self.results}/{table}.csv"

    def table_markdown(self, table: str) -> str:
        """Table in the paper's own shape."""
        return f"{self.results}/{table}.md"

    def page(self, method: str, dataset: str) -> str:
        """Page of pictures: results of one method on one dataset to look at."""
        return f"{self.results}/pages/{method}/{dataset}.html"

    @property
    def report(self) -> str:
        """Page that gathers all tables."""
        return f"{self.results}/report.html"

    def usual_tables(self) -> list[str]:
        """Tables that belong to `all` and to the report."""
        return [name for name, table in self.config.tables.items() if not table.on_demand]

    def report_cells(self) -> list[tuple[str, str]]:
        """``(method, dataset)`` of all scores behind the report's tables, each once."""
        return list(dict.fromkeys(cell for table in self.usual_tables() for cell in self.table_cells(table)))

    def table_cells(self, table: str) -> list[tuple[str, str]]:
        """``(method, dataset)`` of all scores that a table needs, each once, in order."""
        return self._cells(table, on_demand=False)

    def extra_cells(self, table: str) -> list[ExtraCell]:
        """Scores of a table's `on_demand` columns that are there, and that today's configuration would give again.

        The table does not depend on them, so nothing is computed for their sake; their digests make it be
        written again when they change.
        """
        needed = self.table_cells(table)
        wanted = [cell for cell in self._cells(table, on_demand=True) if cell not in needed]
        return [
            ExtraCell(*cell, self.scores(*cell), self.provenance(*cell), sha256_file(self.scores(*cell)))
            for cell in wanted
            if self._is_current(*cell)
        ]

    def _cells(self, table: str, *, on_demand: bool) -> list[tuple[str, str]]:
        block = self._get("tables", table)
        columns = [column for column in block.columns if column.on_demand == on_demand]
        return list(dict.fromkeys((row.method, column.dataset) for row in block.rows for column in columns))

    def _is_current(self, method: str, dataset: str) -> bool:
        """Whether scores are there whose provenance names the present blocks of configuration and features."""
        try:
            record = read_json(self.provenance(method, dataset))
        except DataError:  # absent or damaged
            return False
        features = self.features_digest(self._get("methods", method).features)
        return (
            Path(self.scores(method, dataset)).is_file()
            and record["configuration"] == self.blocks_behind(method, dataset)
            and record["features"]["features"] == features
        )

    def trained_models(self) -> list[str]:
        """Models trained here that any table shows."""
        methods = {method for table in self.config.tables for method, _ in self.table_cells(table)}
        features = [self._get("methods", method).features for method in sorted(methods)]
        models = {model for name in features for model in self._models_behind(name)}
        return sorted(models & set(self.models_from("train")))

    def source_records(self, method: str, dataset: str) -> dict[str, dict[str, Any]]:
        """For every source behind a score: its note, and the records its downloads left behind."""
        return {
            name: {
                "note": self._get("sources", name).note,
                "records": [f"{self.raw(file)}.provenance.json" for file in self.source_files(name)],
            }
            for name in self.sources_behind(method, dataset)
        }
