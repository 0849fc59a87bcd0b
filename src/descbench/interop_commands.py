"""Commands for other pipelines: features, matches and pairs files of hloc and kapture, written and read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from descbench.command_files import made, read_configuration
from descbench.config.base import close_names
from descbench.config.models import Config
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.errors import ConfigError
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.interop.exchange import (
    RoleImages,
    below,
    import_exchanged,
    import_matches,
    stored_features,
    stored_matches,
    was_imported,
)
from descbench.interop.exchanged import ExchangedFeatures, ExchangedMatches
from descbench.interop.hloc_features import each_hloc_image, read_hloc_features, write_hloc_features
from descbench.interop.hloc_matches import read_hloc_matches, write_hloc_matches
from descbench.interop.kapture_features import (
    read_kapture_features,
    read_kapture_matches,
    write_kapture_features,
    write_kapture_matches,
)
from descbench.interop.pairs_files import read_pairs_file, write_pairs_file
from descbench.io.digests import sha256_file
from descbench.localization.select_pairs import read_pairs
from descbench.matching.match_features import PairShard
from descbench.matching.matches import read_matches
from descbench.plan import Plan

FORMATS = ("hloc", "kapture")
_STAGES = ("match_features", "localise_queries")


def add_interop_commands(commands: Any) -> None:
    """Add the commands to those of :mod:`descbench.cli`."""
    out = commands.add_parser(
        "export-features",
        help="write features that Snakemake made as hloc's feature file or into a kapture folder",
        description="Images have the names of the manifest. docs/interop.md says what is written.",
    )
    into = commands.add_parser(
        "import-features",
        help="read features of hloc or kapture as feature shards of a dataset",
        description="The shards lie where the workflow has those of the features block. Those that are there are kept, "
        "unless --replace is given.",
    )
    for command, what in ((out, "to write to"), (into, "to read")):
        _common(command, "features", "features block of the configuration", what)
        command.add_argument("--role", action="append", help="only images of this role (may be repeated); default: all")
    into.add_argument("--replace", action="store_true", help="write over shards that are there")
    out.set_defaults(run=_export_features)
    into.set_defaults(run=_import_features)
    matches_out = commands.add_parser(
        "export-matches",
        help="write matches that Snakemake made as hloc's matches file or into a kapture folder",
        description="Of a method that matches features, all pairs of the dataset.",
    )
    matches_in = commands.add_parser(
        "import-matches",
        help="read matches of hloc or kapture as those of a method",
        description="Matches of exactly the pairs that the workflow lists, of features that are there.",
    )
    for command, what in ((matches_out, "to write to"), (matches_in, "to read")):
        _common(command, "method", "method of the configuration that matches features", what)
    matches_in.add_argument(
        "--features-file", type=Path, help="hloc's feature file, where features were imported from it"
    )
    matches_in.add_argument("--replace", action="store_true", help="write over matches that are there")
    matches_out.set_defaults(run=_export_matches)
    matches_in.set_defaults(run=_import_matches)
    for command in (out, into, matches_out, matches_in):
        command.add_argument(
            "--kind", help="name of the features in a kapture folder; default: that of the features block"
        )
        command.add_argument(
            "--below",
            default="",
            metavar="FOLDER",
            help="folder that names of images are relative to, itself below the folder of datasets, such as "
            "aachen/images_upright; default: the folder of datasets, or the user's own of images",
        )
        command.add_argument("--configfile", type=Path, nargs="+", default=[], help="overlays of config/config.yaml")
    convert = commands.add_parser(
        "convert-pairs",
        help="write a pairs file of hloc as one of kapture, or the other way round",
        description="hloc: lines `query map`; kapture: lines `query, map, score`.",
    )
    convert.add_argument("input", type=Path, help="pairs file to read")
    convert.add_argument("output", type=Path, help="pairs file to write")
    convert.add_argument("--to", choices=FORMATS, required=True, help="format that is written; the other one is read")
    convert.set_defaults(run=_convert_pairs)


def _common(command: Any, name: str, what: str, doing: str) -> None:
    command.add_argument("format", choices=FORMATS, help="whose files")
    command.add_argument(name, help=what)
    command.add_argument("dataset", help="dataset of the configuration")
    command.add_argument("place", type=Path, help=f"file of hloc, or kapture folder, {doing}")


def _check_place(options: argparse.Namespace) -> None:
    """Refuse a folder where hloc has a file, and a file where kapture has a folder.

    Raises:
        ConfigError: so it is, or what should be read is absent.
    """
    wanted = {"hloc": "a file", "kapture": "a folder"}[options.format]
    there = {"hloc": options.place.is_file, "kapture": options.place.is_dir}[options.format]()
    if (options.place.exists() or options.run in (_import_features, _import_matches)) and not there:
        raise ConfigError(f"{options.place}: {options.format} has {wanted} for this, and that is none.")


class _Dataset:
    """A dataset of the configuration whose manifest is there."""

    def __init__(self, options: argparse.Namespace) -> None:
        _check_place(options)
        self.options = options
        self.config: Config = read_configuration(options.configfile)
        _known(self.config.datasets, "dataset", options.dataset)
        self.name: str = options.dataset
        self.plan = Plan(self.config)
        self.manifest_path = Path(self.plan.paths.manifest(self.name))
        self.manifest: Manifest = read_manifest(self.made(self.manifest_path))

    def made(self, path: Path) -> Path:
        return made(path, self.options.configfile)

    def roles(self) -> list[str]:
        there = list(dict.fromkeys(row.role for row in self.manifest.rows))
        for role in getattr(self.options, "role", None) or ():
            if role not in there:
                raise ConfigError(f"dataset {self.name!r} has no images of role {role!r}; it has {', '.join(there)}.")
        return getattr(self.options, "role", None) or there

    def paths(self, role: str) -> list[str]:
        """Paths of the images of a role in the manifest, by id."""
        return [row.path for row in self.manifest.of_role(role).rows]

    def names(self, role: str) -> list[str]:
        """Their names in the other pipeline, by id."""
        return [below(self.options.below, path) for path in self.paths(role)]

    def images(self, features: str, role: str) -> RoleImages:
        """Images of a role with their feature shards, which must be there."""
        shards = [self.made(Path(path)) for path in self.plan.features(features, self.name, role)]
        return RoleImages(self.names(role), self.paths(role), shards, self.plan.lineage.digest_features(features))


def _known(known: Any, what: str, name: str) -> None:
    if name not in known:
        raise ConfigError(f"there is no {what} {name!r}; {close_names(name, known)}.")


def _export_features(options: argparse.Namespace) -> None:
    data = _Dataset(options)
    _known(data.config.features, "features block", options.features)
    roles = [data.images(options.features, role) for role in data.roles()]
    root = Path(data.plan.image_root(data.name)) if options.format == "hloc" else None
    features = chain.from_iterable(stored_features(images, root) for images in roles)
    count = {
        "hloc": lambda: write_hloc_features(features, options.place),
        "kapture": lambda: write_kapture_features(features, options.place, options.kind or options.features),
    }[options.format]()
    print(f"{options.place}: features of {count} images.")


def _import_features(options: argparse.Namespace) -> None:
    data = _Dataset(options)
    _known(data.config.features, "features block", options.features)
    names = {role: data.names(role) for role in data.roles()}
    targets = {role: list(map(Path, data.plan.features(options.features, data.name, role))) for role in names}
    _refuse_existing([path for paths in targets.values() for path in paths], options.replace)
    read: Callable[[list[str]], dict[str, ExchangedFeatures]] = {
        "hloc": lambda wanted: read_hloc_features(options.place, wanted),
        "kapture": lambda wanted: read_kapture_features(options.place, options.kind or options.features, wanted),
    }[options.format]
    digest = data.plan.lineage.digest_features(options.features)
    source = f"hloc, sha256 {sha256_file(options.place)}" if options.format == "hloc" else "kapture"
    for role, paths in targets.items():
        for shard, path in zip(data.plan.shards(data.name, role), paths, strict=True):
            spec = ShardSpec(data.manifest, str(data.manifest_path), role, shard.start, shard.stop, digest)
            here = slice(shard.start, shard.stop)
            found = read(names[role][here])
            by_path = {
                image: found[name] for image, name in zip(data.paths(role)[here], names[role][here], strict=True)
            }
            import_exchanged(by_path, spec, path, source)
    count = sum(map(len, names.values()))
    print(f"{options.features} of {options.dataset}: features of {count} images from {options.place}.")


def _refuse_existing(paths: list[Path], replace: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not replace:
        raise ConfigError(
            f"{there[0]}: is there already; delete it, or say --replace to write over {len(there)} file(s)."
        )


def _parts(data: _Dataset, method: str) -> Iterator[tuple[Path, list[tuple[int, int]], str, str]]:
    """Each file of matches of a method: its path, the pairs that it has, and the roles of the two images."""
    paths = data.plan.paths
    if data.config.methods[method].stage == "match_features":
        role = data.config.block("datasets", data.name).ROLES[0]
        listed = data.made(Path(paths.image_pairs(data.name)))
        for shard in data.plan.match_shards(data.name):
            pairs = PairShard(listed, data.manifest_path, shard.start, shard.stop).find_pairs()
            yield Path(paths.matches(method, data.name, shard.name)), pairs, role, role
        return
    listed = data.made(Path(paths.map_pairs(method, data.name)))
    for role in ("map", "query"):
        yield Path(paths.image_matches(method, data.name, role)), read_pairs(listed, role), role, "map"


def _matching(options: argparse.Namespace) -> tuple[_Dataset, str, str]:
    """Dataset, digest of the method's matching, and name of the cell."""
    data = _Dataset(options)
    _known(data.config.methods, "method", options.method)
    block = data.config.methods[options.method]
    if block.stage not in _STAGES or block.family != data.config.block("datasets", data.name).FAMILY:
        raise ConfigError(f"method {options.method!r} does not match features of images of {data.name!r}.")
    lineage = data.plan.lineage
    digest_of_stage = {"match_features": lineage.digest_matching, "localise_queries": lineage.digest_map_matching}
    return data, digest_of_stage[block.stage](options.method), f"{options.method} on {data.name}"


def _export_matches(options: argparse.Namespace) -> None:
    data, digest, cell = _matching(options)
    found = []
    for path, _, first, second in _parts(data, options.method):
        matches = read_matches(data.made(path), cell=cell, configuration=digest)
        found.append(stored_matches(matches, data.names(first), data.names(second)))
    pairs = chain.from_iterable(found)
    if options.format == "hloc":
        count = write_hloc_matches(pairs, options.place)
    else:
        kind, count = options.kind or data.config.methods[options.method].features, 0
        for first, second, _, matched in pairs:
            write_kapture_matches(options.place, kind, first, second, matched)
            count += 1
    print(f"{options.place}: matches of {count} pairs.")


def _import_matches(options: argparse.Namespace) -> None:
    data, digest, cell = _matching(options)
    features = data.config.methods[options.method].features
    parts = list(_parts(data, options.method))
    _refuse_existing([path for path, *_ in parts], options.replace)
    kind, count = options.kind or features, 0
    for path, pairs, *roles in parts:
        images = data.images(features, roles[0]), data.images(features, roles[1])
        names = [(images[0].names[a], images[1].names[b]) for a, b in pairs]
        read = _reader(options.format, options.place, kind, names)
        orders = _orders(options, images)
        import_matches(pairs, images, read, path, orders=orders, configuration=digest, cell=cell)
        count += len(pairs)
    print(f"{options.method} on {options.dataset}: matches of {count} pairs from {options.place}.")


def _reader(form: str, place: Path, kind: str, names: list[tuple[str, str]]) -> Callable[[str, str], ExchangedMatches]:
    """What gives the matches of two images by name."""
    if form == "hloc":
        known = dict(zip(names, read_hloc_matches(place, names), strict=True))
        return lambda first, second: known[first, second]
    return lambda first, second: read_kapture_matches(place, kind, first, second)


def _orders(options: argparse.Namespace, images: tuple[RoleImages, RoleImages]) -> Callable[[str], np.ndarray | None]:
    """Where features of the store stand in hloc's feature file.

    Raises:
        ConfigError: features were imported from a file of hloc, and it is not given, or another one.
    """
    made_from = set()
    for path in dict.fromkeys([*images[0].shards, *images[1].shards]):
        with ShardReader(path) as reader:
            made_from.add(reader.info.backend)
    digests = {text.rpartition("sha256 ")[2] for text in made_from if was_imported(text) and "sha256 " in text}
    if not digests:
        return lambda name: None
    given = options.features_file
    if given is None or not given.is_file() or digests != {sha256_file(given)}:
        raise ConfigError(
            "the features were imported from a feature file of hloc, where they stand in another order: give that file "
            "as --features-file."
        )
    wanted = dict.fromkeys([*images[0].names, *images[1].names])
    orders = {name: found.order() for name, found in each_hloc_image(given, wanted)}
    return lambda name: orders[name]


def _convert_pairs(options: argparse.Namespace) -> None:
    read = "kapture" if options.to == "hloc" else "hloc"
    pairs = read_pairs_file(options.input, read)
    write_pairs_file(pairs, options.output, options.to)
    print(f"{options.output}: {len(pairs)} pairs.")
