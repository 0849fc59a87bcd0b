"""What follows from other blocks of the configuration, written out before it is validated.

Works on plain values. What has not the form that it should have is left as it is, for the validation to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from descbench.config.base import Problem, close_names
from descbench.config.networks import Model

# Name of the features of one scale that a codebook is learned from, behind that of the pyramid.
SINGLE = "_single"
_MODEL: TypeAdapter[Model] = TypeAdapter(Model)
Block = dict[str, Any]


def derive_features(content: Block) -> list[Problem]:
    """Complete the sections ``features`` and ``methods`` of a merged configuration, in place.

    * A features block that has a model's name, or names a model, has that model's kind and its defaults.
    * A method uses the features of its own name; where a model has the name and no features block, these are made.
    * A codebook is learned from the local features of its method at scale 1.
    * A method that starts from the ranking of another one has its features, unless it matches images.

    Returns:
        ``(path, message)`` for each features block without a kind that no model gives one, and for each method
        whose ranking leads nowhere.
    """
    features, methods = content.get("features", {}), content.get("methods", {})
    if not isinstance(features, Mapping) or not isinstance(methods, Mapping):
        return []
    derived = _Derived(_models(content.get("models")), features)
    content["methods"] = {name: derived.method(name, block, methods) for name, block in methods.items()}
    content["features"] = derived.features
    nowhere = _without_model(derived.features, content.get("models"))
    return [*nowhere, *_taken(content["methods"], derived), *_endless(methods)]


def _taken(methods: Block, derived: _Derived) -> Iterator[Problem]:
    """Codebooks whose features cannot be derived, because a model has their name."""
    for name, method in methods.items():
        codebook = method.get("codebook") if isinstance(method, Mapping) else None
        single = f"{method.get('features')}{SINGLE}" if codebook else ""
        if isinstance(codebook, Mapping) and "features" not in codebook and single in derived.models:
            path = ("methods", name, "codebook", "features")
            yield path, f"must be named: features at scale 1 would be called {single!r}, which is a model here"


def _without_model(features: Mapping[str, Any], models: Any) -> Iterator[Problem]:
    known = models if isinstance(models, Mapping) else {}
    for name, block in features.items():
        used = block.get("model", name) if isinstance(block, Mapping) and "kind" not in block else None
        if isinstance(used, str) and used not in known:
            path = ("features", name, *(["model"] if "model" in block else []))
            yield path, f"there is no {used!r} in section `models`; {close_names(used, known)}"


def _endless(methods: Mapping[str, Any]) -> Iterator[Problem]:
    """Methods that start from rankings of which none comes from a search."""
    for name, block in methods.items():
        seen: list[str] = []
        while isinstance(block, Mapping) and isinstance(block.get("ranking"), str):
            seen.append(block["ranking"])
            block = methods.get(seen[-1])
            if seen[-1] not in methods and len(seen) == 1:
                yield ("methods", name, "ranking"), _no_method(seen[-1], methods)
            if seen[-1] in seen[:-1]:
                yield ("methods", name, "ranking"), f"{seen[-1]!r} rests on itself: {', '.join(seen)}"
                break


def _no_method(name: str, methods: Mapping[str, Any]) -> str:
    return f"there is no {name!r} in section `methods`; {close_names(name, methods)}"


def _models(section: Any) -> dict[str, Model]:
    """The models that are valid."""
    models = {}
    for name, block in section.items() if isinstance(section, Mapping) else ():
        try:
            models[name] = _MODEL.validate_python(block)
        except ValidationError:  # named when the whole configuration is validated
            continue
    return models


def _matches(block: Mapping[str, Any]) -> bool:
    """Whether a method that starts from a ranking matches features of its own, and not those that were ranked by."""
    return "localise" in block or block.get("search") == "rerank"


class _Derived:
    """Features blocks, completed, to which those are added that methods use."""

    def __init__(self, models: Mapping[str, Model], features: Mapping[str, Any]) -> None:
        self.models = models
        self.given = features
        self.features = {name: self._completed(name, block) for name, block in features.items()}

    def method(self, name: str, block: Any, methods: Mapping[str, Any]) -> Any:
        """A method with the names of all features that it uses, or of the model that describes patches."""
        if not isinstance(block, Mapping):
            return block
        block = dict(block)
        if "describe" in block:
            return {"model": name, **block} if block["describe"] == "network" and name in self.models else block
        if "ranking" in block and not _matches(block):
            found = self._ranked_features(block["ranking"], methods)
            return block if found is None else {"features": found, **block}
        if name in self.features or name in self.models:
            block.setdefault("features", name)
        self._need(block.get("features"))
        codebook = block.get("codebook")
        if isinstance(codebook, Mapping):
            block["codebook"] = self._codebook(dict(codebook), block.get("features"))
        return block

    def _ranked_features(self, name: Any, methods: Mapping[str, Any]) -> Any:
        """Features of the method that a chain of rankings begins with; None where it leads nowhere."""
        seen: set[str] = set()
        while isinstance(name, str) and name not in seen and isinstance(methods.get(name), Mapping):
            seen.add(name)
            if "ranking" not in methods[name]:
                return methods[name].get("features", name)
            name = methods[name]["ranking"]
        return None

    def _codebook(self, codebook: Block, used: Any) -> Block:
        if "features" not in codebook and (found := self._behind_codebook(used)) is not None:
            codebook["features"] = found
        self._need(codebook.get("features"))
        return codebook

    def _need(self, name: Any) -> None:
        """Features of a model that no block describes."""
        if isinstance(name, str) and name not in self.features and name in self.models:
            block = self._completed(name, {})
            if "kind" in block:
                self.features[name] = block

    def _behind_codebook(self, name: Any) -> Any:
        """Name of the features at scale 1 of local ones; None where they have to be named."""
        block = self.features.get(name) if isinstance(name, str) else None
        if not isinstance(block, Mapping):
            return name  # leads nowhere
        single = f"{name}{SINGLE}"
        if block.get("kind") == "released" or single in self.models:
            return None
        if block.get("kind") != "local" or block.get("scales") in ([1.0], (1.0,)):
            return name
        given = self.given.get(single, {})
        if isinstance(given, Mapping) and given.get("kind", "local") == "local":
            self.features[single] = {**block, "scales": [1.0], **given}
        return single

    def _completed(self, name: str, given: Any) -> Any:
        """A block with what it leaves out: its model, and that model's kind and defaults."""
        used = given.get("model", name) if isinstance(given, Mapping) else None
        model = self.models.get(used) if isinstance(used, str) else None
        if model is None or given.get("kind") in ("released", "keypoints"):
            return given
        defaults = model.default_features()
        if given.get("resize") is not None:
            defaults.pop("image_size", None)  # it decides nothing then
        return {**defaults, "model": used, **given}
