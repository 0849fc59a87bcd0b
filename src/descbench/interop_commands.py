"""What the commands for other pipelines do: files of hloc and kapture, written and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from descbench.command_files import made, named, read_configuration
from descbench.config.models import Config
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.errors import ConfigError, DataError
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardReader
from descbench.interop.exchange import (
    RoleImages,
    below,
    import_exchanged,
    stored_features,
    stored_matches,
    was_imported,
)
from descbench.interop.exchange import import_matches as write_imported_matches
from descbench.interop.formats import FORMATS, ExchangeFormat
from descbench.interop.hloc_features import each_hloc_image
from descbench.interop.pairs_files import PairsFormat, check_replaced, read_pairs_file, write_pairs_file
from descbench.io.atomic import atomic_path
from descbench.io.digests import sha256_file
from descbench.io.outputs import check_output
from descbench.localization.select_pairs import read_pairs
from descbench.matching.match_features import PairShard
from descbench.matching.matches import read_matches
from descbench.plan import Plan


@dataclass(frozen=True)
class Exchange:
    """What is exchanged with another pipeline.

    Attributes:
        format: whose files: ``hloc`` or ``kapture``.
        dataset: of the configuration.
        place: file of hloc, or kapture folder.
        kind: name of the features in a kapture folder; None: that of the features block.
        below: folder that names of images are relative to.
        configfiles: overlays of the configuration.
        roles: only images of these; none: all.
    """

    format: str
    dataset: str
    place: Path
    kind: str | None = None
    below: str = ""
    configfiles: tuple[Path, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def files(self) -> ExchangeFormat:
        """How its files are written and read."""
        return FORMATS[self.format]


class _Dataset:
    """A dataset of the configuration whose manifest is there."""

    def __init__(self, exchange: Exchange, *, reads: bool) -> None:
        exchange.files.check_place(exchange.place, exchange.kind, there=reads)
        if not reads:
            exchange.files.check_target(exchange.place, exchange.configfiles)
        self.exchange = exchange
        self.config: Config = read_configuration(exchange.configfiles)
        named(self.config.datasets, "dataset", exchange.dataset)
        self.name = exchange.dataset
        self.plan = Plan(self.config)
        self.manifest_path = Path(self.plan.paths.manifest(self.name))
        self.manifest: Manifest = read_manifest(self.made(self.manifest_path))

    def made(self, path: Path) -> Path:
        return made(path, self.exchange.configfiles)

    def roles(self) -> list[str]:
        there = list(dict.fromkeys(row.role for row in self.manifest.rows))
        for role in self.exchange.roles:
            if role not in there:
                raise ConfigError(f"dataset {self.name!r} has no images of role {role!r}; it has {', '.join(there)}.")
        return list(self.exchange.roles) or there

    def paths(self, role: str) -> list[str]:
        """Paths of the images of a role in the manifest, by id."""
        return [row.path for row in self.manifest.of_role(role).rows]

    def names(self, role: str) -> list[str]:
        """Their names in the other pipeline, by id."""
        return [below(self.exchange.below, path) for path in self.paths(role)]

    def images(self, features: str, role: str) -> RoleImages:
        """Images of a role with their feature shards, which must be there."""
        shards = [self.made(Path(path)) for path in self.plan.features(features, self.name, role)]
        return RoleImages(self.names(role), self.paths(role), shards, self.plan.lineage.digest_features(features))


def export_features(exchange: Exchange, features: str) -> None:
    """Write features that Snakemake made for another pipeline.

    Args:
        exchange: where to, and of what.
        features: features block of the configuration.

    Raises:
        ConfigError: names that are not in the configuration, or a place that does not fit.
        DataError: features that are not there yet.
    """
    data = _Dataset(exchange, reads=False)
    reading = named(data.config.features, "features block", features).reading_options
    roles = [data.images(features, role) for role in data.roles()]
    root = Path(data.plan.image_root(data.name)) if exchange.files.has_sizes else None
    stored = chain.from_iterable(
        stored_features(images, root, reading.get("exif_orientation", "ignore")) for images in roles
    )
    count = exchange.files.write_features(stored, exchange.place, exchange.kind or features)
    print(f"{exchange.place}: features of {count} images.")


def import_features(exchange: Exchange, features: str, *, replace: bool) -> None:
    """Read features of another pipeline as feature shards of a dataset.

    Args:
        exchange: where from, and of what.
        features: features block of the configuration that they are to be of.
        replace: write over shards that are there.

    Raises:
        ConfigError: names that are not in the configuration, a place that does not fit, or shards that are there.
        DataError: damaged files, or images without features.
    """
    data = _Dataset(exchange, reads=True)
    named(data.config.features, "features block", features)
    names = {role: data.names(role) for role in data.roles()}
    targets = {role: list(map(Path, data.plan.features(features, data.name, role))) for role in names}
    _refuse_existing([path for paths in targets.values() for path in paths], replace)
    digest = data.plan.lineage.digest_features(features)
    source = exchange.files.origin(exchange.place)
    with _all_in_place(exchange.place) as put:
        for role, paths in targets.items():
            for shard, path in zip(data.plan.shards(data.name, role), paths, strict=True):
                spec = ShardSpec(data.manifest, str(data.manifest_path), role, shard.start, shard.stop, digest)
                here = slice(shard.start, shard.stop)
                found = exchange.files.read_features(exchange.place, exchange.kind or features, names[role][here])
                by_path = {
                    image: found[name] for image, name in zip(data.paths(role)[here], names[role][here], strict=True)
                }
                import_exchanged(by_path, spec, put(path), source)
    count = sum(map(len, names.values()))
    print(f"{features} of {exchange.dataset}: features of {count} images from {exchange.place}.")


@contextmanager
def _all_in_place(source: Path) -> Iterator[Callable[[Path], Path]]:
    """Files of which all get their names in the end, or none: half of another import would give wrong numbers.

    Yields a function that says where a file is written before. Errors name the source.
    """
    with ExitStack() as stack:
        try:
            yield lambda path: stack.enter_context(atomic_path(path))
        except DataError as error:
            if str(source) in str(error):
                raise
            raise type(error)(f"{source}: {error}") from error


def _refuse_existing(paths: list[Path], replace: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not replace:
        raise ConfigError(
            f"{there[0]}: is there already; delete it, or say --replace to write over {len(there)} file(s)."
        )


def _parts(data: _Dataset, method: str) -> Iterator[tuple[Path, list[tuple[int, int]], str, str]]:
    """Each file of matches of a method: its path, the pairs that it has, and the roles of the two images."""
    return _STAGES[data.config.methods[method].stage](data, method)


def _parts_of_pairs(data: _Dataset, method: str) -> Iterator[tuple[Path, list[tuple[int, int]], str, str]]:
    """Shards of the listed pairs."""
    role = data.config.block("datasets", data.name).ROLES[0]
    listed = data.made(Path(data.plan.paths.image_pairs(data.name)))
    for shard in data.plan.match_shards(data.name):
        pairs = PairShard(listed, data.manifest_path, shard.start, shard.stop).find_pairs()
        yield Path(data.plan.paths.matches(method, data.name, shard.name)), pairs, role, role


def _parts_of_map(data: _Dataset, method: str) -> Iterator[tuple[Path, list[tuple[int, int]], str, str]]:
    """Of map images with each other, and of queries with them."""
    listed = data.made(Path(data.plan.paths.map_pairs(method, data.name)))
    for role in ("map", "query"):
        yield Path(data.plan.paths.image_matches(method, data.name, role)), read_pairs(listed, role), role, "map"


# Files of matches by the stage that reads them.
_STAGES = {"match_features": _parts_of_pairs, "localise_queries": _parts_of_map}


def _matching(exchange: Exchange, method: str, *, reads: bool) -> tuple[_Dataset, str, str]:
    """Dataset, digest of the method's matching, and name of the cell."""
    data = _Dataset(exchange, reads=reads)
    block = named(data.config.methods, "method", method)
    if block.stage not in _STAGES or block.family != data.config.block("datasets", data.name).FAMILY:
        raise ConfigError(f"method {method!r} does not match features of images of {data.name!r}.")
    lineage = data.plan.lineage
    digest_of_stage = {"match_features": lineage.digest_matching, "localise_queries": lineage.digest_map_matching}
    return data, digest_of_stage[block.stage](method), f"{method} on {data.name}"


def export_matches(exchange: Exchange, method: str) -> None:
    """Write matches that Snakemake made for another pipeline.

    Args:
        exchange: where to, and of what.
        method: of the configuration, which matches features.

    Raises:
        ConfigError: names that are not in the configuration, or a place or method that does not fit.
        DataError: matches that are not there yet.
    """
    data, digest, cell = _matching(exchange, method, reads=False)
    found = []
    for path, _, first, second in _parts(data, method):
        matches = read_matches(data.made(path), cell=cell, configuration=digest)
        found.append(stored_matches(matches, data.names(first), data.names(second)))
    kind = exchange.kind or data.config.methods[method].features
    count = exchange.files.write_matches(chain.from_iterable(found), exchange.place, kind)
    print(f"{exchange.place}: matches of {count} pairs.")


def import_matches(exchange: Exchange, method: str, *, replace: bool, features_file: Path | None) -> None:
    """Read matches of another pipeline as those of a method.

    Args:
        exchange: where from, and of what.
        method: of the configuration, which matches features.
        replace: write over matches that are there.
        features_file: hloc's feature file, where features were imported from it.

    Raises:
        ConfigError: names that are not in the configuration, a place, method or feature file that does not fit, or
            matches that are there.
        DataError: damaged files, or pairs without matches.
    """
    data, digest, cell = _matching(exchange, method, reads=True)
    features = data.config.methods[method].features
    parts = list(_parts(data, method))
    _refuse_existing([path for path, *_ in parts], replace)
    kind, count = exchange.kind or features, 0
    with _all_in_place(exchange.place) as put:
        for path, pairs, *roles in parts:
            images = data.images(features, roles[0]), data.images(features, roles[1])
            names = [(images[0].names[a], images[1].names[b]) for a, b in pairs]
            read = exchange.files.match_reader(exchange.place, kind, names)
            orders = _orders(features_file, images)
            write_imported_matches(pairs, images, read, put(path), orders=orders, configuration=digest, cell=cell)
            count += len(pairs)
    print(f"{method} on {exchange.dataset}: matches of {count} pairs from {exchange.place}.")


def _orders(given: Path | None, images: tuple[RoleImages, RoleImages]) -> Callable[[str], np.ndarray | None]:
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
    if given is None or not given.is_file() or digests != {sha256_file(given)}:
        raise ConfigError(
            "the features were imported from a feature file of hloc, where they stand in another order: give that file "
            "as --features-file."
        )
    wanted = dict.fromkeys([*images[0].names, *images[1].names])
    orders = {name: found.order() for name, found in each_hloc_image(given, wanted)}
    return lambda name: orders[name]


def convert_pairs(source: Path, output: Path, to: PairsFormat) -> None:
    """Write a pairs file of hloc as one of kapture (``to`` is ``kapture``), or the other way round.

    Raises:
        ConfigError: the output is the source, or a file of something else.
        DataError: the file is damaged.
    """
    check_output(output, [source], read=partial(check_replaced, form=to))
    pairs = read_pairs_file(source, "kapture" if to == "hloc" else "hloc")
    write_pairs_file(pairs, output, to)
    print(f"{output}: {len(pairs)} pairs.")
