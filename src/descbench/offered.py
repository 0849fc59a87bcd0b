"""What a configuration offers, a row each: tables, datasets, methods and models, with what they need and under which
licence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from descbench.config.models import Config
from descbench.listing import listed
from descbench.plan import Plan

_UNSTATED = "not stated"


@dataclass(frozen=True)
class Offer:
    """A row of a list.

    Attributes:
        name: by which the configuration has it.
        what: it is.
        needs: what must be downloaded, asked for or made before.
        licence: of all that comes from elsewhere, as stated by the owners; empty where nothing does.
    """

    name: str
    what: str
    needs: str
    licence: str


def list_offers(kind: str, config: Config, word: str = "") -> list[Offer]:
    """Rows of a kind (``tables``, ``datasets``, ``methods`` or ``models``), in the order of the configuration.

    Args:
        kind: of what.
        config: whose.
        word: only those with it in their name or in what they are, whatever the case; empty: all.
    """
    plan = Plan(config)
    offers = _KINDS[kind](plan)
    return [offer for offer in offers if word.lower() in f"{offer.name} {offer.what}".lower()]


def _tables(plan: Plan) -> Iterable[Offer]:
    for name, table in plan.config.tables.items():
        cells = dict.fromkeys(plan.table_cells(name))
        sources = [source for cell in cells for source in plan.lineage.sources_behind(*cell)]
        size = f"{len(table.rows)} rows, {len(table.columns)} columns"
        yield Offer(name, f"{table.title} ({size})", _fetched(plan, sources), _licences(plan, sources))


def _datasets(plan: Plan) -> Iterable[Offer]:
    for name, block in (*plan.config.datasets.items(), *plan.config.patch_sets.items()):
        section = "datasets" if name in plan.config.datasets else "patch_sets"
        parts = [plan.config.block(section, part) for part in block.searched_as(name)]
        sources = [source for part in parts for source in (*part.sources, *part.image_sources)]
        counts = ", ".join(f"{count:,} {role}" for part in parts for role, count in part.counts.items())
        what = f"{block.format}{f': {counts}' if counts else ''}"
        yield Offer(name, what, _fetched(plan, sources) or _without_download(parts[0]), _licences(plan, sources))


def _methods(plan: Plan) -> Iterable[Offer]:
    for name, block in plan.config.methods.items():
        models = plan.lineage.models_behind(name)
        sources = [source for model in models for source in _weights(plan, model).named_sources]
        based = plan.lineage.methods_behind(name)[1:]
        for behind in (name, *based):
            sources += plan.config.methods[behind].released_for(plan.config.datasets)
        what = f"{block.family}: {block.summary}" + (f" after {based[0]}" if based else "")
        what += "".join(f", {features}" for features in block.all_features if features != name)
        words = [data for _, data in block.learned_from]
        needs = [_fetched(plan, sources), *_told("words of", words), *_told("learned from", _learned(plan, models))]
        yield Offer(name, what, "; ".join(filter(None, needs)) or "nothing", _licences(plan, sources))


def _models(plan: Plan) -> Iterable[Offer]:
    for name, block in plan.config.models.items():
        models = plan.lineage.ancestry(name)
        sources = [source for model in models for source in _weights(plan, model).named_sources]
        backbone = getattr(block, "backbone", None)
        what = f"{block.architecture}{f', {backbone}' if backbone else ''}: weights {block.weights.source}"
        needs = [_fetched(plan, sources), *_told("learned from", _learned(plan, models))]
        yield Offer(name, what, "; ".join(filter(None, needs)) or "nothing", _licences(plan, sources))


_KINDS: Mapping[str, Callable[[Plan], Iterable[Offer]]] = {
    "tables": _tables,
    "datasets": _datasets,
    "methods": _methods,
    "models": _models,
}


def _without_download(block: Any) -> str:
    """Where data come from that no source has."""
    if block.generator:
        return "drawn here"
    return "your own folder" if block.IS_LISTED else "files that you put in place, or descriptors that were released"


def _told(what: str, names: Iterable[str]) -> list[str]:
    shown = listed(dict.fromkeys(names))
    return [f"{what} {shown}"] if shown else []


def _weights(plan: Plan, model: str) -> Any:
    return plan.config.block("models", model).weights


def _learned(plan: Plan, models: Iterable[str]) -> list[str]:
    """Datasets and patch sets that the weights of models are learned from here."""
    return list(dict.fromkeys(name for model in models for _, name in plan.lineage.learned_from(model)))


def _fetched(plan: Plan, sources: Iterable[str]) -> str:
    """How many files are downloaded, and which must be asked for."""
    names = dict.fromkeys(sources)
    asked = [name for name in names if plan.config.sources[name].access == "request"]
    free = [file for name in names if name not in asked for file in plan.lineage.source_files(name)]
    told = [f"{len(free)} file{'s' * (len(free) > 1)} to download"] if len(free) > 1 else free
    told += [f"by hand or on request: {', '.join(asked)}"] if asked else []
    return "; ".join(told)


def _licences(plan: Plan, sources: Iterable[str]) -> str:
    return listed(dict.fromkeys(plan.config.sources[name].licence or _UNSTATED for name in sources), separator="; ")
