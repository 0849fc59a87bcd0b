"""Command line: what is wanted of a workflow without the workflow. ``descbench --help``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from descbench.command_files import made, read_configuration
from descbench.config.base import close_names
from descbench.config.datasets import KaptureDataset
from descbench.config.models import Config
from descbench.datasets.kapture import kapture_root, read_kapture
from descbench.datasets.manifest import Manifest, write_manifest
from descbench.datasets.own import with_contents
from descbench.errors import ConfigError, DescbenchError
from descbench.features.extract import extract_features
from descbench.features.extractor import Network, digest_networks
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.interop_commands import add_interop_commands
from descbench.metrics.compare import compare_scores
from descbench.metrics.scores import read_scores
from descbench.patch_commands import add_patch_commands
from descbench.plan import Plan
from descbench.retrieval.pairs import compute_pairs
from descbench.retrieval.run_search import prepare_database
from descbench.signals import leave, on_stop


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 1, after one line on stderr, where it is refused."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        with on_stop(leave):
            options.run(options)
    except DescbenchError as error:
        print(f"descbench: {error}", file=sys.stderr)
        return 1
    return 0


_HELP = """\
Helpers beside the workflow. Tables, scores and trainings are made by Snakemake, in the folder that holds config/:

  snakemake -n results/table2.csv           what would be done
  snakemake --cores 8 results/table2.csv    do it; results lie in results/ (`results_dir`), downloads in data/
"""
_EXAMPLES = """\
examples:
  descbench check mine.yaml
      is the configuration, with mine.yaml over it, right? Writes nothing.
  descbench compare how_r18_n1000 fire_n1000 roxford5k
      are two methods different on a dataset, or is it noise? Reads the scores that Snakemake made.
  descbench pairs --map room/mapping --query room/query --method fire_n1000 -o pairs.txt
      writes pairs.txt: one line a pair, image of the query, image of the map, score
  descbench descriptors hpatches_sift hpatches my_folder
      writes the descriptors that Snakemake made as text files of the HPatches benchmark
  descbench describe ref.png ref.txt --model hardnet_liberty
      writes the descriptors of a strip of patches as text
  descbench export hardnet_liberty hardnet.onnx
      writes a network of patches for use elsewhere
  descbench export-features hloc sift mine features.h5
      writes features that Snakemake made for hloc; import-features, export-matches, import-matches and
      convert-pairs are alike, for kapture too (docs/interop.md)

`descbench COMMAND --help` explains each option.
"""


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="descbench", description=_HELP, epilog=_EXAMPLES, formatter_class=plain)
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="read the configuration, and name file, line and key of what is wrong with it",
        description="Read config/config.yaml, its catalogue and the files over it, as the workflow does; nothing runs.",
    )
    check.add_argument("files", type=Path, nargs="*", metavar="FILE", help="what you give to snakemake's --configfile")
    check.set_defaults(run=_check)
    compare = commands.add_parser(
        "compare",
        help="compare two methods on the same queries: difference, interval, p-value",
        description="For every metric of two scores files: the difference (second minus first), its 95 % bootstrap "
        "interval over queries, and the p-value of a paired permutation test.",
    )
    compare.add_argument("first", help="method of the configuration")
    compare.add_argument("second", help="method that is compared with it")
    compare.add_argument("dataset", help="dataset or patch set that both have scores of")
    compare.add_argument("--metric", action="append", help="only this metric (may be repeated)")
    compare.add_argument("--configfile", type=Path, nargs="+", default=[], help="overlays of config/config.yaml")
    compare.set_defaults(run=_compare)
    pairs = commands.add_parser(
        "pairs",
        help="write a pairs file: for each image of a kapture folder, the most similar ones of another",
        description="Write the pairs file of a kapture map and its queries. The codebook and the checkpoint of the "
        "method are the workflow's own files; where they are missing, the command that makes them is named.",
    )
    pairs.add_argument("--map", type=Path, required=True, help="kapture folder that is searched")
    pairs.add_argument("--query", type=Path, help="kapture folder of the queries; default: the map against itself")
    pairs.add_argument("--method", required=True, help="method of the configuration, such as fire_n1000")
    pairs.add_argument("--output", "-o", type=Path, required=True, help="pairs file to write")
    pairs.add_argument("--top-k", type=int, help="pairs of each query; default: `pairs_top_k` of the configuration")
    pairs.add_argument("--configfile", type=Path, nargs="+", default=[], help="overlays of config/config.yaml")
    pairs.add_argument("--work", type=Path, help="folder to keep features in, for the next call; default: none is kept")
    pairs.set_defaults(run=_pairs)
    add_patch_commands(commands)
    add_interop_commands(commands)
    return parser


def _check(options: argparse.Namespace) -> None:
    config = read_configuration(options.files)
    print(f"The configuration is right. Tables: {', '.join(config.tables) or 'none'}.")


def _compare(options: argparse.Namespace) -> None:
    config = read_configuration(options.configfile)
    paths = Plan(config).paths
    for what, name, known in (
        ("method", options.first, config.methods),
        ("method", options.second, config.methods),
        ("dataset or patch set", options.dataset, {**config.datasets, **config.patch_sets}),
    ):
        if name not in known:
            raise ConfigError(f"there is no {what} {name!r}; {close_names(name, known)}.")
    files = [Path(paths.scores(method, options.dataset)) for method in (options.first, options.second)]
    first, second = (
        read_scores(made(path, options.configfile), f"{method} on {options.dataset}")
        for path, method in zip(files, (options.first, options.second), strict=True)
    )
    lines = compare_scores(first, second, options.metric)
    of = f"{first.num_queries} {first.facts.get('queries', 'queries')}"
    head = f"{options.second} minus {options.first} on {options.dataset}, {of}"
    print("\n".join([head, *lines]))


def _pairs(options: argparse.Namespace) -> None:
    config = read_configuration(options.configfile)
    if options.method not in config.methods:
        raise ConfigError(f"there is no method {options.method!r}; there are {', '.join(sorted(config.methods))}.")
    if not config.methods[options.method].ranks_shards:
        raise ConfigError(f"{options.method!r} searches no images by itself, as pairs need it; name another method.")
    if options.top_k is not None and options.top_k < 1:
        raise ConfigError(f"--top-k {options.top_k}: at least 1.")
    if options.output.is_dir():
        raise ConfigError(f"--output {options.output}: is a folder; name the file to write.")
    _make_folder("--output", options.output.parent)
    if options.work is not None:
        _make_folder("--work", options.work)
        _write_pairs(config, options, options.work)
        return
    with tempfile.TemporaryDirectory(prefix="descbench-pairs-") as folder:
        _write_pairs(config, options, Path(folder))


def _make_folder(option: str, folder: Path) -> None:
    """Make a folder, before anything is computed for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{option}: the folder {folder} cannot be made ({error.strerror}).") from error


def _kapture(folder: Path) -> KaptureDataset:
    try:
        return KaptureDataset(format="kapture", folder=folder)
    except ValidationError as error:
        raise ConfigError(f"{str(folder)!r} is no folder: {error.errors()[0]['msg']}.") from error


def _write_pairs(config: Config, options: argparse.Namespace, work: Path) -> None:
    method, plan = config.methods[options.method], Plan(config)
    extraction = _Extraction(config, plan, method.features, work)
    codebook = made(Path(plan.paths.codebook(options.method)), options.configfile) if method.needs_codebook else None
    images, described = extraction.run("map", options.map)
    queries, asked = (images, described) if options.query is None else extraction.run("query", options.query)
    database = prepare_database(method, described, work, codebook)
    top_k = options.top_k or config.pairs_top_k
    compute_pairs(method, asked, database, (queries, images), options.output, top_k=top_k)


@dataclass(frozen=True)
class _Extraction:
    """Features of kapture folders as a features block says, kept in a folder."""

    config: Config
    plan: Plan
    features: str
    work: Path

    def run(self, name: str, folder: Path) -> tuple[Path, list[Path]]:
        """Manifest and feature shards of a folder; shards that are there and fit are not made again."""
        block = self.config.features[self.features]
        if not block.READS_IMAGES:
            raise ConfigError(f"features {self.features!r} are released ones: no network to describe {folder} with.")
        networks = {
            model: Network(made(Path(self.plan.paths.checkpoint(model))), self.config.models[model])
            for model in block.networks
        }
        dataset = _kapture(folder)
        root, path = kapture_root(dataset), self.work / f"{name}.csv"
        manifest = with_contents(read_kapture(dataset), root, self.work / f"{name}.images.txt")
        write_manifest(manifest, path)
        weights, digest = digest_networks(networks), self.plan.lineage.digest_features(self.features)
        shards = []
        for start in range(0, len(manifest), self.config.shard_size):
            stop = min(start + self.config.shard_size, len(manifest))
            shards.append(self.work / f"{name}-{start:08d}.h5")
            if _fits(shards[-1], manifest.slice(start, stop), digest, weights):
                continue
            shard = ShardSpec(manifest, str(path), "database", start, stop, digest)
            running = {"device": self.config.device, "backend": self.config.backend, "kept": self.work / "kept"}
            extract_features(shard, root, networks, block, shards[-1], **running)
        return path, shards


def _fits(shard: Path, images: Manifest, features: str, checkpoint: str) -> bool:
    """Whether a shard is there and holds these images by these settings and weights."""
    if not shard.is_file():
        return False
    with ShardReader(shard) as reader:
        found = reader.info
    return (found.images, found.features, found.checkpoint) == (images.digest(), features, checkpoint)


if __name__ == "__main__":
    sys.exit(main())
