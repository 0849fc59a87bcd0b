# What the rules share: the validated configuration, the plan of files, and names for wildcards.
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from descbench.choices import (
    BUILD_PROTOCOL_TABLE_VERSION,
    RESCORE_MATCHES_VERSION,
    RESCORE_PATCHES_VERSION,
    RESCORE_POSES_VERSION,
    RESCORE_RANKING_VERSION,
)
from descbench.config.base import CHECK, NOTE, ROLES, SCORING, SPEED, decisive
from descbench.config.load import load_config, overlay
from descbench.config.published import figures_on
from descbench.config.yaml_files import read_yaml
from descbench.datasets import (
    BUILD_MANIFEST_VERSION,
    BUILD_PAIRS_VERSION,
    BUILD_PATCHES_VERSION,
)
from descbench.datasets.toytown import DRAW_TOYTOWN_VERSION
from descbench.features import DESCRIBE_PATCHES_VERSION, IMPORT_DESCRIPTORS_VERSION
from descbench.io import DOWNLOAD_SOURCE_VERSION, UNPACK_SOURCE_VERSION
from descbench.io.aside import forget_aside, keep_aside, put_back
from descbench.io.csvfiles import checksum_path
from descbench.io.run_notes import (
    RUN_COMMAND,
    RUN_FOLDER,
    forget,
    missing_table,
    note_stages,
    run_folder,
)
from descbench.io.records import record_path
from descbench.localization import (
    LOCALISE_QUERIES_VERSION,
    MATCH_IMAGES_VERSION,
    RECONSTRUCT_VERSION,
    SELECT_PAIRS_VERSION,
)
from descbench.matching import (
    MATCH_FEATURES_VERSION,
    MATCH_SHORTLIST_VERSION,
    RERANK_SHORTLIST_VERSION,
)
from descbench.metrics import (
    SCORE_MATCHES_VERSION,
    SCORE_PATCHES_VERSION,
    SCORE_POSES_VERSION,
    SCORE_RANKING_VERSION,
)
from descbench.models import CONVERT_CHECKPOINT_VERSION
from descbench.plan import Plan
from descbench.planning import Planner, asked_files, refusing
from descbench.project import snakemake_command
from descbench.report_plan import (
    makes_page,
    pages_there,
    published_curves,
    report_cells,
    stages_behind,
    timed_stages,
)
from descbench.retrieval import (
    ASSIGN_WORDS_VERSION,
    BUILD_BOW_VERSION,
    BUILD_HAMMING_VERSION,
    BUILD_INDEX_VERSION,
    BUILD_VOCABULARY_VERSION,
    COLLECT_STATISTICS_VERSION,
    COMPUTE_PAIRS_VERSION,
    EXPAND_HAMMING_VERSION,
    EXPAND_QUERY_VERSION,
    IMPORT_RANKING_VERSION,
    MERGE_RANKINGS_VERSION,
    SEARCH_BOW_VERSION,
    SEARCH_FLAT_VERSION,
    SEARCH_HAMMING_VERSION,
    SEARCH_INDEX_VERSION,
    SEARCH_VISUAL_INDEX_VERSION,
    TRAIN_CODEBOOK_VERSION,
    VERIFY_GEOMETRY_VERSION,
)
from descbench.rule_values import (
    any_of,
    growing,
    growing_minutes,
    network_threads,
)
from descbench.tables import (
    BUILD_CROSS_TABLE_VERSION,
    BUILD_REMEASURED_VERSION,
    BUILD_REPORT_VERSION,
    BUILD_TABLE_VERSION,
    SHOW_MATCHES_VERSION,
    SHOW_PATCHES_VERSION,
    SHOW_PLACES_VERSION,
    SHOW_POSES_VERSION,
    SHOW_RANKING_VERSION,
)
from descbench.training import (
    CLUSTER_DESCRIPTORS_VERSION,
    INITIALISE_CHECKPOINT_VERSION,
    PCA_CHECKPOINT_VERSION,
    TRAIN_CHECKPOINT_VERSION,
    TRAIN_ON_CROPS_VERSION,
    WHITEN_CHECKPOINT_VERSION,
)

# Files of the command line overlay the one that the workflow names itself.
overlays = list(workflow.overwrite_configfiles)
if as_module:
    config = refusing(overlay)(read_yaml(default_config), config)
    config_files = [default_config]
else:
    config_files = [f for f in workflow.configfiles if f not in overlays] + overlays
cfg = refusing(load_config)(config, config_files, home=home)
plan = Planner(Plan(cfg))
# Jobs read the workflow again; the run that started them has named the folder of its notes by then.
os.environ.setdefault(
    RUN_FOLDER,
    str(Path(".snakemake", f"downloads-{os.getpid()}-{time.time_ns()}").absolute()),
)
os.environ[RUN_COMMAND] = snakemake_command(overlays)
ENVIRONMENT = "../../envs/gpu.yaml" if cfg.device == "cuda" else "../../envs/cpu.yaml"


def has_places(dataset):
    """Whether positions in metres decide what is right in a dataset."""
    return cfg.datasets[plan.lineage.base_dataset(dataset)].HAS_PLACES


def has_labels(dataset):
    """Whether lists of database images say what is right in a dataset."""
    block = plan.lineage.base_block(dataset)
    return bool(block.metrics().names) and not block.HAS_PLACES


def has_ranked_page(dataset):
    """Whether images of a dataset are ranked for queries, and no page with a map shows them."""
    base = plan.lineage.base_block(dataset)
    return base.FAMILY == "retrieval" and not base.HAS_PLACES


def block(section, name):
    """What decides in a block of the configuration, as plain values, to be passed as a parameter."""
    return decisive(getattr(cfg, section)[name], SPEED, NOTE)


def get_place(wildcards):
    """What of a source decides where its content lies."""
    unpack = cfg.sources[wildcards.source].unpack
    return None if unpack is None else decisive(unpack, CHECK)


def gpus(wildcards=None):
    """One GPU, unless the configuration says that networks run on the CPU."""
    return 0 if cfg.device == "cpu" else 1


def learned_image_size(wildcards):
    """Longer side in pixels of the images that the weights of a model are learned from."""
    weights = cfg.models[wildcards.model].weights
    learned = (
        plan.lineage.training_block(wildcards.model) if weights.trained_by else weights
    )
    return learned.image_size


def extracted_image_size(wildcards):
    """Longer side in pixels of the images that features are extracted from; None where they keep their size."""
    return cfg.features[wildcards.features].longer_side


def optionally_temporary(path):
    """Archives are kept unless the site says otherwise."""
    return path if cfg.keep_raw else temp(path)


def source_param(key):
    """Parameter of `download_source` taken from the source that a raw file belongs to."""
    position = {"name": 0, "source": 1, "part": 2}[key]

    def get(wildcards):
        value = plan.lineage.source_of_file(wildcards.file)[position]
        return value.model_dump(mode="json") if key == "source" else value

    return get


def describing(method):
    """What of a method decides its descriptors."""
    return decisive(cfg.methods[method], SPEED, NOTE, SCORING)


def get_matching(method):
    """How a method matches features, by the keys of the library's settings."""
    return cfg.methods[method].matching()


def get_reading(wildcards):
    """Block of the features of a method, which says how images are read; nothing of a method without features."""
    used = cfg.methods[wildcards.method].all_features[:1]
    return next((block("features", name) for name in used), {})


def get_matched_size(method):
    """Longer side in pixels of the images that matched features are of, or height and width; None for full size."""
    features = cfg.features[cfg.methods[method].features]
    return getattr(features, "resize", None) or getattr(features, "image_size", None)


def digest_fixed_features(method):
    """Digest of the features at 640 x 480 that matches are scored with too; None without."""
    name = cfg.methods[method].fixed_features
    return None if name is None else plan.lineage.digest_features(name)


def get_part(patch_set, part):
    """What of a patch set decides one of its parts: naming others makes none anew, nor does how it is scored."""
    values = decisive(cfg.patch_sets[patch_set], SPEED, NOTE, SCORING, CHECK)
    return values | {"parts": [part]}


def get_describing_model(method):
    """Block of the network that describes patches; None where there is none."""
    models = cfg.methods[method].described_by(cfg)
    return block("models", models[0]) if models else None


def get_extracting_checkpoints(wildcards):
    """Checkpoints of the networks behind features, in the order of their models."""
    return [
        plan.paths.checkpoint(model)
        for model in cfg.features[wildcards.features].networks
    ]


def get_extracting_models(wildcards):
    """Blocks of the networks behind features, by name."""
    models = cfg.features[wildcards.features].networks
    return {model: block("models", model) for model in models}


def get_shard(wildcards):
    """The images that a feature shard covers."""
    return plan.shard(wildcards.dataset, wildcards.role, wildcards.shard)


def get_searching(wildcards):
    """Block of the method whose search a ranking rests on."""
    return cfg.methods[plan.searching_method(wildcards.method)]


def keys_of(method, *names):
    """Some keys of a method's block, by name."""
    return {name: getattr(cfg.methods[method], name) for name in names}


def get_server(wildcards):
    """Figures of the benchmark's server for a file of poses; None: there are none."""
    found = cfg.methods[wildcards.method].server.get(wildcards.dataset)
    return None if found is None else found.model_dump(mode="json")


def expected_images(dataset, role, images=None):
    """What the images of shards are compared with: of all of a role, or of the first so many images, in order."""
    shards = plan.shards(dataset, role, images)
    return plan.own_folders.expected_images(dataset, role, shards)


def expected_shard(dataset, role, shard):
    """That of one shard."""
    shards = [plan.shard(dataset, role, shard)]
    return plan.own_folders.expected_images(dataset, role, shards)[0]


def expected_queries(wildcards):
    """Those of the shards that hold the queries of a dataset."""
    return expected_images(wildcards.dataset, plan.query_role(wildcards.dataset))


def expected_searched(wildcards):
    """Those of all shards that a search visits, distractors first."""
    return [
        expected_shard(name, plan.searched_role(name), shard)
        for name, shard in plan.searched_shards(wildcards.dataset)
    ]


def expected_learned(wildcards):
    """Those of the shards that visual words are learned from."""
    method = cfg.methods[wildcards.method]
    learned = method.codebook if method.needs_codebook else method.vocabulary
    return expected_images(learned.dataset, learned.role, learned.images)


def get_images_manifest(wildcards):
    """Manifest behind a feature shard.

    None of the user's own folders: it changes with every photograph, and would make all shards anew. They are listed
    by the job itself, and the digest of its images says whether it has anything to do.
    """
    if not plan.own_folders.holds(wildcards.dataset):
        return plan.paths.manifest(wildcards.dataset)
    return []


def get_top_k(wildcards):
    """Length of a partial ranking: one more than wanted where images are left out of their own rankings."""
    top_k = plan.lineage.ranked(wildcards.method, wildcards.dataset)
    return None if top_k is None else top_k + plan.asks_itself(wildcards.dataset)


def get_statistics(method, dataset):
    """Document frequencies, where the method weights words by idf."""
    used = cfg.methods[method].uses_statistics
    return [plan.paths.statistics(method, dataset)] if used else []


def get_searched(wildcards):
    """What pairs are searched in: an inverted file, or the features themselves."""
    indexed = cfg.methods[wildcards.method].needs_codebook
    made = plan.index if indexed else plan.database_features
    return made(wildcards.method, wildcards.images)


def get_codebook(wildcards):
    """The codebook of a method that has one."""
    method = wildcards.method
    return [plan.paths.codebook(method)] if cfg.methods[method].needs_codebook else []


def get_labels(wildcards):
    """Ground truth that a ranking is scored with; a dataset without it is refused while planning."""
    return plan.labels(wildcards.dataset)


def get_labels_and_scores(wildcards):
    """Ground truth and scores of a ranking; neither where the dataset has no labels."""
    if not has_labels(wildcards.dataset):
        return {}
    return {
        "ground_truth": plan.labels(wildcards.dataset),
        "scores": plan.paths.scores(wildcards.method, wildcards.dataset),
    }


def find_extra_cells(table):
    """Scores of a table's on-demand columns that are there already, as plain values."""
    return [
        asdict(cell) for cell in plan.on_disk.find_scores(plan.on_demand_cells(table))
    ]


def all_report_cells():
    """Method and dataset of all scores that the report shows."""
    extra = [cell for table in plan.usual_tables() for cell in find_extra_cells(table)]
    return [
        *plan.report_cells(),
        *((cell["method"], cell["dataset"]) for cell in extra),
    ]


def get_num_distractors(wildcards):
    """Images of the distractor set that is searched, whose ids come out negative; 0 of a database."""
    if wildcards.searched == plan.lineage.base_dataset(wildcards.dataset):
        return 0
    return plan.count(wildcards.searched, "database")


wildcard_constraints:
    file=r"[^/]+",
    source=any_of(cfg.names("sources")),
    dataset=any_of(cfg.names("datasets")),
    searched=any_of(cfg.names("datasets")),
    patch_set=any_of(cfg.names("patch_sets")),
    part=any_of(plan.patch_parts()),
    model=any_of(cfg.names("models")),
    features=any_of(cfg.names("features")),
    method=any_of(cfg.names("methods")),
    table=any_of(cfg.names("tables")),
    cross_table=any_of(cfg.names("cross_tables")),
    remeasured=any_of(cfg.names("remeasured")),
    role=any_of(ROLES),
    shard=r"\d{5}",


onsuccess:
    forget_aside(Path(plan.paths.raw("")), run_folder())
    forget(run_folder())


onerror:
    put_back(Path(plan.paths.raw("")), run_folder())
    print(missing_table(run_folder()), file=sys.stderr)
    forget(run_folder())
