"""Shards and inputs: what must be there before what, from the configuration and the listings of the user's folders.

The one object that the rules ask. Light on purpose: the Snakefile imports it, and every job of a cluster parses the
Snakefile again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from descbench.config.base import Role
from descbench.config.dataset_base import DatasetBase
from descbench.config.models import Config
from descbench.config.patch_sets import PatchSetBase
from descbench.config.tables import variant_cells
from descbench.errors import ConfigError
from descbench.io.origin import origin_name
from descbench.lineage import Lineage
from descbench.listing import listed
from descbench.on_disk import OnDisk
from descbench.own_folders import OwnFolders, Shard
from descbench.pair_plan import PairPlan
from descbench.paths import Paths


class Plan(PairPlan):
    """Inputs and shards of one configuration. Files are strings, as Snakemake wants them.

    Attributes:
        paths: where every file lies.
        lineage: what a result rests on.
        own_folders: the user's own folders of images, which it reads.
        on_disk: what earlier runs and the user left on disk, which it reads.
    """

    PARTS: ClassVar[tuple[str, ...]] = ("paths", "lineage", "own_folders", "on_disk")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.paths = Paths(config.results_dir.as_posix(), config.data_dir.as_posix())
        self.lineage = Lineage(config)
        self.own_folders = OwnFolders(self.lineage, self.paths)
        self.on_disk = OnDisk(self.lineage, self.paths)
        self._shards: dict[tuple[str, str, int | None], Sequence[Shard]] = {}

    # --- sources ---

    def archives(self, source: str) -> list[str]:
        """Downloads to unpack; none where the user's own unpacked folder stands in for them."""
        if self.on_disk.find_copied_folder(source) is not None:
            return []
        return [self.paths.raw(file) for file in self.lineage.source_files(source)]

    def source_records(self, method: str, dataset: str) -> dict[str, dict[str, Any]]:
        """For every source behind a score: its note, and the records its downloads left behind."""
        return {
            name: {
                "note": self.config.block("sources", name).note,
                "licence": self.config.block("sources", name).licence,
                "records": [self.paths.raw(origin_name(file)) for file in self.lineage.source_files(name)],
            }
            for name in self.lineage.sources_behind(method, dataset)
        }

    # --- datasets ---

    def manifest_inputs(self, dataset: str) -> list[str]:
        """What must be in place before the manifest of a dataset can be built: lists and ground truth."""
        block = self.lineage.base_block(dataset)
        return [*map(self.paths.unpacked, block.sources), *self._generated(block)]

    def image_inputs(self, dataset: str) -> list[str]:
        """What must be in place before the images of a dataset can be read."""
        block = self.lineage.base_block(dataset)
        return [*map(self.paths.unpacked, block.image_sources), *self._generated(block)]

    def image_root(self, dataset: str) -> str:
        """Folder that the paths of a manifest are relative to."""
        return self.own_folders.root(dataset) if self.own_folders.holds(dataset) else self.paths.datasets()

    def paired_datasets(self) -> list[str]:
        """Names of the datasets that have image pairs."""
        return [name for name, block in self.config.datasets.items() if block.HAS_IMAGE_PAIRS]

    def labels(self, dataset: str) -> str:
        """Ground truth that rankings of a dataset are scored with.

        Raises:
            ConfigError: the dataset has no labels.
        """
        block = self.lineage.base_block(dataset)
        metrics = block.metrics()
        if not metrics.names or block.FAMILY != "retrieval":
            why = metrics.why if not metrics.names else f"it scores methods of family {block.FAMILY}"
            raise ConfigError(
                f"dataset {dataset!r}: rankings of it cannot be scored, {why}. Ask for "
                f"{self.paths.ranking('<method>', dataset)} instead of its scores."
            )
        return self.paths.ground_truth(self.lineage.base_dataset(dataset))

    def asks_itself(self, dataset: str) -> bool:
        """Whether every database image is a query too, to be left out of its own ranking."""
        return self.own_folders.holds(dataset) and self.own_folders.list_images(dataset).asks_itself

    def query_role(self, dataset: str) -> str:
        """Role whose features the queries have: where all database images query, these are described once."""
        return "database" if self.asks_itself(dataset) else "query"

    def searched_role(self, dataset: str) -> Role:
        """Role of the images that a ranking is of: the database, or the map of a dataset to localise in."""
        return self.config.block("datasets", dataset).searched_role()

    def count(self, dataset: str, role: str) -> int | None:
        """Number of images of a role, or None where only the official list can tell."""
        if self.own_folders.holds(dataset):
            return len(self.own_folders.list_images(dataset).manifest.of_role(role))
        return self.lineage.base_block(dataset).counts.get(role)

    def shards(self, dataset: str, role: str, images: int | None = None) -> Sequence[Shard]:
        """Shards of a role, in order; with ``images``, those that hold the first so many images."""
        asked = (dataset, role, images)
        if asked not in self._shards:  # every job of a shard asks, and there may be hundreds
            self._shards[asked] = tuple(self._cut(dataset, role, images))
        return self._shards[asked]

    def _cut(self, dataset: str, role: str, images: int | None) -> Iterator[Shard]:
        count, block = self.count(dataset, role), self.lineage.base_block(dataset)
        if count is None:
            yield Shard("00000", 0, None)
            return
        size = max(count if block.IS_BAG else block.shard_size or self.config.shard_size, 1)
        for number, start in enumerate(range(0, min(count, images or count), size)):
            yield Shard(f"{number:05d}", start, min(start + size, count))

    def shard(self, dataset: str, role: str, name: str) -> Shard:
        """The shard of that name.

        Raises:
            ConfigError: there is none.
        """
        shards = self.shards(dataset, role)
        if not name.isdigit() or int(name) >= len(shards):
            raise ConfigError(f"{dataset} {role} has shards 00000 to {len(shards) - 1:05d}, not {name}.")
        return shards[int(name)]

    # --- patch sets ---

    def patch_parts(self) -> list[str]:
        """Names of the parts of all patch sets, each once."""
        return list(dict.fromkeys(part for block in self.config.patch_sets.values() for part in block.parts))

    def patch_inputs(self, patch_set: str, part: str) -> list[str]:
        """What must be in place before the patches of a part can be read.

        Raises:
            ConfigError: the patch set has no such part.
        """
        block = self.config.block("patch_sets", patch_set)
        if part not in block.parts:
            raise ConfigError(f"patch set {patch_set!r} has no part {part!r}, only {', '.join(block.parts)}.")
        own = self.on_disk.list_own_files(patch_set, part)
        return [*map(self.paths.unpacked, block.sources), *self._generated(block), *own]

    def patches(self, patch_set: str) -> list[str]:
        """Files of patches of all parts of a patch set."""
        return [self.paths.patches(patch_set, part) for part in self.config.block("patch_sets", patch_set).parts]

    def descriptors(self, method: str, patch_set: str) -> list[str]:
        """Files of descriptors of all parts of a patch set."""
        parts = self.config.block("patch_sets", patch_set).parts
        return [self.paths.descriptors(method, patch_set, part) for part in parts]

    def score_inputs(self, patch_set: str) -> list[str]:
        """What must be in place before a patch set can be scored: the lists of its tasks."""
        block = self.config.block("patch_sets", patch_set)
        own = self.on_disk.list_own_files(patch_set)
        return [*map(self.paths.unpacked, block.sources), *self._generated(block), *own]

    def describing_checkpoint(self, method: str) -> list[str]:
        """Checkpoint that patches are described with; none for descriptors without a network."""
        models = self.config.block("methods", method).described_by(self.config)
        return [self.paths.checkpoint(model) for model in models]

    def training_patches(self, model: str) -> list[str]:
        """Parts of patch sets that a model is trained on."""
        training = self.lineage.training_block(model)
        return [self.paths.patches(name, part) for name, parts in training.patches.items() for part in parts]

    def validation_patches(self, model: str) -> list[str]:
        """Parts of patch sets that a training is validated on."""
        validation = self.lineage.training_block(model).validation
        sets = {} if validation is None else validation.patches
        return [self.paths.patches(name, part) for name, parts in sets.items() for part in parts]

    def _generated(self, block: DatasetBase | PatchSetBase) -> list[str]:
        return [self.paths.toytown()] if block.generator else []

    # --- checkpoints and features ---

    def weights_files(self, model: str) -> list[str]:
        """Weights that a checkpoint is converted from; none for random ones."""
        weights = self.config.block("models", model).weights
        files = [path.as_posix() for path in weights.own_files]
        for source in weights.named_sources:
            # The user's own folder of a run (pytorch-NetVlad) is read where it is.
            folder = self.on_disk.find_copied_folder(source)
            files.append(self.paths.raw(source) if folder is None else folder.as_posix())
        return files

    def training_datasets(self, model: str) -> list[str]:
        """Datasets that a model is trained on, and then validated."""
        return [name for section, name in self.lineage.learned_from(model) if section == "datasets"]

    def training_keypoints(self, model: str, role: str) -> list[str]:
        """Shards of the features of a role whose keypoints a model is trained with; none for the dataset's own."""
        training = self.lineage.training_block(model)
        named = training.learned_features if role in training.roles else ()
        return [shard for name in named for shard in self.features(name, training.dataset, role)]

    def start_checkpoint(self, model: str) -> str:
        """Checkpoint that a whitened, clustered or trained model starts from."""
        return self.paths.checkpoint(self.config.block("models", model).weights.starts_from)

    def features(self, features: str, dataset: str, role: str, images: int | None = None) -> list[str]:
        """Feature shards of a role, in order."""
        names = [shard.name for shard in self.shards(dataset, role, images)]
        return [self.paths.feature_shard(features, dataset, role, name) for name in names]

    def released_file(self, features: str, dataset: str) -> str:
        """Downloaded pickle that holds the released features of a dataset.

        Raises:
            ConfigError: none is known.
        """
        block = self.config.block("features", features)
        if dataset not in block.files:
            raise ConfigError(f"features.{features}.files names no released features for dataset {dataset!r}.")
        return self.paths.raw(block.files[dataset])

    # --- methods ---

    def codebook_features(self, method: str) -> list[str]:
        """Feature shards a codebook is learned from."""
        codebook = self.config.block("methods", method).codebook
        return self.features(codebook.features, codebook.dataset, codebook.role, codebook.images)

    def vocabulary_features(self, method: str) -> list[str]:
        """Feature shards that COLMAP's visual words are learned from."""
        block = self.config.block("methods", method)
        learned = block.vocabulary
        return self.features(block.features, learned.dataset, learned.role, learned.images)

    def codebook_n(self, method: str) -> int | None:
        """Strongest descriptors an image that a codebook is learned from; None (all) for a bag of descriptors."""
        block = self.config.block("methods", method)
        is_bag = self.config.block("datasets", block.codebook.dataset).IS_BAG
        return block.codebook.n if is_bag else block.codebook.n or block.n

    def index(self, method: str, dataset: str) -> list[str]:
        """All shards that a search of ``dataset`` visits, distractors first."""
        return [self.paths.index_shard(method, *place) for place in self.searched_shards(dataset)]

    def query_features(self, method: str, dataset: str) -> list[str]:
        """Feature shards of the queries; none of a method without features."""
        base, role = self.lineage.base_dataset(dataset), self.query_role(dataset)
        used = self.config.block("methods", method).all_features[:1]
        return [shard for features in used for shard in self.features(features, base, role)]

    def database_features(self, method: str, dataset: str) -> list[str]:
        """Feature shards of the database."""
        features, base = self.config.block("methods", method).features, self.lineage.base_dataset(dataset)
        return self.features(features, base, self.searched_role(base))

    def searching_method(self, method: str) -> str:
        """The method whose search the ranking of a method rests on: itself, or the last that it starts from."""
        return self.lineage.methods_behind(method)[-1]

    def query_words(self, method: str, dataset: str) -> list[str]:
        """Words shards of the queries, of the method whose search counts."""
        base, role = self.lineage.base_dataset(dataset), self.query_role(dataset)
        return [self._words(method, base, role, shard.name) for shard in self.shards(base, role)]

    def searched_words(self, method: str, dataset: str) -> list[str]:
        """Words of all shards that a search visits, distractors first."""
        places = self.searched_shards(dataset)
        return [self._words(method, name, "database", shard) for name, shard in places]

    def searched_features(self, method: str, dataset: str) -> list[str]:
        """Feature shards of all that a search visits, distractors first."""
        features = self.config.block("methods", method).features
        places = self.searched_shards(dataset)
        return [self.paths.feature_shard(features, name, self.searched_role(name), shard) for name, shard in places]

    def _words(self, method: str, dataset: str, role: str, shard: str) -> str:
        return self.paths.words_shard(self.searching_method(method), dataset, role, shard)

    def ranking_parts(self, method: str, dataset: str) -> list[str]:
        """Partial rankings, one for each shard that is searched."""
        return [self.paths.ranking_part(method, dataset, *place) for place in self.searched_shards(dataset)]

    def searched_shards(self, dataset: str) -> list[tuple[str, str]]:
        """Dataset and name of each shard that a search visits, distractors first."""
        searched = self.lineage.searched_datasets(dataset)
        return [(name, shard.name) for name in searched for shard in self.shards(name, self.searched_role(name))]

    # --- localisation ---

    def local_features(self, method: str, dataset: str, role: str) -> list[str]:
        """Feature shards of a role of a dataset, of the features that a method matches.

        Raises:
            ConfigError: the method cannot be scored on the dataset.
        """
        self.check_fit(method, dataset)
        return self.features(self.config.block("methods", method).features, dataset, role)

    def pairing_ranking(self, method: str, dataset: str) -> list[str]:
        """Ranking that pairs queries with the map, where a method has one."""
        ranking = self.config.block("methods", method).ranking
        return [] if ranking is None else [self.paths.ranking(ranking, dataset)]

    # --- tables ---

    def counted_images(self, name: str) -> list[str]:
        """Images of the sequence whose features are counted again, the first one first."""
        block = self.config.block("remeasured", name)
        folder = f"{self.paths.datasets()}/{self.config.block('datasets', block.dataset).images}/{block.sequence}"
        return [f"{folder}/{number}.ppm" for number in range(1, block.images + 1)]

    def remeasured(self, name: str) -> dict[str, Any]:
        """What the table of counts needs to know of a block: itself, where it was read, and licences of weights."""
        block = self.config.block("remeasured", name)
        return {
            "block": block.model_dump(mode="json"),
            "settings": self.lineage.digest_counts(name),
            "source": self.config.references[block.reference],
            "licences": {model: self._licences(model) for model in block.counts},
        }

    def _licences(self, model: str) -> str:
        """Licences of the published files that a model's weights rest on."""
        blocks = [self.config.block("models", name).weights for name in self.lineage.ancestry(model)]
        sources = [self.config.block("sources", name) for weights in blocks for name in weights.named_sources]
        return listed(dict.fromkeys(source.licence for source in sources if source.licence), separator="; ")

    def usual_tables(self) -> list[str]:
        """Tables that belong to `all` and to the report."""
        if self.config.report_tables is not None:
            return list(dict.fromkeys(self.config.report_tables))
        return [name for name, table in self.config.tables.items() if not table.on_demand]

    def table_cells(self, table: str) -> list[tuple[str, str]]:
        """``(method, dataset)`` of all scores that a table needs, each once, in order."""
        return self._cells(table, on_demand=False)

    def on_demand_cells(self, table: str) -> list[tuple[str, str]]:
        """Those that a table shows where they are there, and never has computed."""
        needed = self.table_cells(table)
        return [cell for cell in self._cells(table, on_demand=True) if cell not in needed]

    def possible_cells(self, table: str) -> list[tuple[str, str]]:
        """All that a table may show."""
        return [*self.table_cells(table), *self.on_demand_cells(table)]

    def variant_cells(self, table: str, *, on_demand: bool | None = None) -> list[tuple[str, str]]:
        """Those of results that were made otherwise: computed for the table of choices or, on demand, only read."""
        block = self.config.block("tables", table)
        return variant_cells(block, [one for one in block.variants if on_demand in (None, one.on_demand)])

    def cross_table_cells(self, name: str) -> list[tuple[str, str]]:
        """``(method, dataset)`` of all scores that a cross table needs, each once, in order."""
        cells = self.config.block("cross_tables", name).cells(self.config)
        return list(dict.fromkeys((cell.method, cell.dataset) for cell in cells if cell.method is not None))

    def cross_table_rows(self, name: str) -> list[dict[str, Any]]:
        """What each row of a cross table has on each dataset, and whether its method learned from that dataset."""
        cells = self.config.block("cross_tables", name).cells(self.config)
        return [
            {**asdict(cell), "learned": cell.method is not None and self.lineage.learns_from(cell.method, cell.dataset)}
            for cell in cells
        ]

    def report_cells(self) -> list[tuple[str, str]]:
        """``(method, dataset)`` of all scores behind the report's tables, each once."""
        return list(dict.fromkeys(cell for table in self.usual_tables() for cell in self.table_cells(table)))

    def trained_models(self) -> list[str]:
        """Models trained here that a table of the report shows."""
        models = {model for method, _ in self.report_cells() for model in self.lineage.models_behind(method)}
        return sorted(models & set(self.lineage.models_from("train")))

    def _cells(self, table: str, *, on_demand: bool) -> list[tuple[str, str]]:
        block = self.config.block("tables", table)
        columns = [column for column in block.columns if column.on_demand == on_demand]
        cells = ((row, column.dataset) for row in block.rows for column in columns)
        shown = ((row, name) for row, name in cells if name not in row.leave_empty)
        return list(dict.fromkeys((method, name) for row, name in shown for method in row.methods_on(name)))
