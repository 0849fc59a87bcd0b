"""The stages behind the report as boxes and lines, laid out in layers from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_WIDTH, _HEIGHT, _GAP, _LAYER = 168, 40, 16, 78
_MARGIN = 8
_SWEEPS = 8


@dataclass(frozen=True)
class Box:
    """A stage: its name, the number of its jobs, the stages that it reads, and where its upper left corner is."""

    name: str
    jobs: int
    after: tuple[str, ...]
    x: float
    y: float
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class StageGraph:
    """A drawing of ``width`` by ``height`` units: boxes, and lines between them as paths of SVG."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]


def draw_stages(graph: Mapping[str, tuple[int, Sequence[str]]]) -> StageGraph:
    """Lay out stages so that each lies below all that it reads.

    Lines that others imply are left out: features come after the manifest, and so what is made of features does too.

    Args:
        graph: number of jobs, and names of the stages that it comes after, by stage; without cycles.
    """
    after = {name: tuple(dict.fromkeys(names)) for name, (_, names) in graph.items()}
    depths: dict[str, int] = {}
    for name in after:
        _depth(name, after, depths)
    chains = [_chain(before, name, depths) for name in after for before in _direct(name, after)]
    layers = _ordered(list(depths), chains, depths)
    widths = [sum(_width(name) + _GAP for name in layer) - _GAP for layer in layers]
    places: dict[str, tuple[float, float]] = {}
    for depth, (layer, width) in enumerate(zip(layers, widths, strict=True)):
        x = _MARGIN + (max(widths) - width) / 2
        for name in layer:
            places[name] = x, _MARGIN + depth * _LAYER
            x += _width(name) + _GAP
    boxes = [Box(name, graph[name][0], after[name], *places[name]) for name in graph]
    height = 2 * _MARGIN + (len(layers) - 1) * _LAYER + _HEIGHT
    return StageGraph(2 * _MARGIN + max(widths), height, tuple(boxes), tuple(_line(chain, places) for chain in chains))


def _chain(before: str, name: str, depths: dict[str, int]) -> list[str]:
    """A line's way through the layers: between its ends a place of its own in each, which ``depths`` is told."""
    between = {f"{before}>{name}>{depth}": depth for depth in range(depths[before] + 1, depths[name])}
    depths.update(between)
    return [before, *between, name]


def _width(name: str) -> int:
    """Of a stage; the place of a line is narrow. Names of rules have no ``>``."""
    return _GAP if ">" in name else _WIDTH


def _depth(name: str, after: Mapping[str, Sequence[str]], depths: dict[str, int]) -> int:
    """Length of the longest way to a stage."""
    if name not in depths:
        depths[name] = 1 + max((_depth(before, after, depths) for before in after[name]), default=-1)
    return depths[name]


def _behind(name: str, after: Mapping[str, Sequence[str]]) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        for before in after[waiting.pop()]:
            if before not in found:
                found.add(before)
                waiting.append(before)
    return found


def _direct(name: str, after: Mapping[str, Sequence[str]]) -> list[str]:
    """The stages before one that lie behind no other of them."""
    return [b for b in after[name] if not any(b in _behind(other, after) for other in after[name] if other != b)]


def _ordered(names: Sequence[str], chains: Sequence[Sequence[str]], depths: Mapping[str, int]) -> list[list[str]]:
    """Names in each layer, each near the middle of those that it is joined with."""
    layers: list[list[str]] = [[] for _ in range(1 + max(depths.values()))]
    for name, depth in depths.items():
        layers[depth].append(name)
    joined: dict[str, list[str]] = {name: [] for name in names}
    for chain in chains:
        for one, other in pairwise(chain):
            joined[one].append(other)
            joined[other].append(one)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            places = {name: at - (len(row) - 1) / 2 for row in layers for at, name in enumerate(row)}
            means = {name: sum(places[other] for other in joined[name]) for name in layer}
            layer.sort(key=lambda name, m=means, p=places: m[name] / len(joined[name]) if joined[name] else p[name])
    return layers


def _line(chain: Sequence[str], places: Mapping[str, tuple[float, float]]) -> str:
    """A path of SVG from the lower edge of the first box to the upper edge of the last, upright through each layer."""
    x, y = places[chain[0]]
    path = [f"M{x + _WIDTH / 2:g},{y + _HEIGHT:g}"]
    at = x + _WIDTH / 2
    for name in chain[1:]:
        x, y = places[name]
        to, half = x + _width(name) / 2, y - (_LAYER - _HEIGHT) / 2
        path.append(f"C{at:g},{half:g} {to:g},{half:g} {to:g},{y:g}")
        if name != chain[-1]:
            path.append(f"V{y + _HEIGHT:g}")
        at = to
    return " ".join(path)
