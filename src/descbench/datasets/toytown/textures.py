"""Procedural surfaces: facades with windows and doors, roofs, paving, foliage.

A texture is (h, w, 5) float32: RGB in 0..1, light that it gives off by itself at dusk, and coverage
(1 = solid). ``TEXELS`` texels make a metre.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TEXELS = 20
_MATERIALS = ("brick", "plaster", "stone", "clapboard")


@dataclass(frozen=True)
class Style:
    """Look of one building, shared by its sides."""

    material: str
    wall: tuple[float, float, float]
    trim: tuple[float, float, float]
    glass: tuple[float, float, float]
    door: tuple[float, float, float]
    bay: float
    storey: float
    window: tuple[float, float]
    arched: bool
    shutters: bool
    balconies: bool
    courses: bool
    shop: bool


def draw_style(rng: np.random.Generator) -> Style:
    """A style from a family of town houses."""
    material = str(rng.choice(_MATERIALS))
    hue = {"brick": rng.uniform(0.0, 0.07), "stone": rng.uniform(0.07, 0.14)}.get(material, rng.uniform(0, 1))
    saturation = {"brick": rng.uniform(0.35, 0.6), "stone": rng.uniform(0.05, 0.25)}.get(
        material, rng.uniform(0.1, 0.45)
    )
    wall = colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.5, 0.88))
    pale = rng.random() < 0.7
    trim = colorsys.hsv_to_rgb(
        rng.uniform(0.05, 0.15), 0.12, rng.uniform(0.8, 0.95) if pale else rng.uniform(0.15, 0.3)
    )
    return Style(
        material,
        wall,
        trim,
        glass=tuple(rng.uniform(0.12, 0.3) * np.array([0.8, 0.95, 1.1])),
        door=colorsys.hsv_to_rgb(rng.uniform(0, 1), rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.5)),
        bay=rng.uniform(1.7, 3.4),
        storey=rng.uniform(2.8, 3.8),
        window=(rng.uniform(0.35, 0.62), rng.uniform(0.45, 0.68)),
        arched=bool(rng.random() < 0.35),
        shutters=bool(rng.random() < 0.3),
        balconies=bool(rng.random() < 0.3),
        courses=bool(rng.random() < 0.6),
        shop=bool(rng.random() < 0.4),
    )


def facade(style: Style, width: float, height: float, front: bool, rng: np.random.Generator) -> np.ndarray:
    """A wall of ``width`` x ``height`` metres; a front has a door or a shop on the ground floor."""
    w, h = max(8, round(width * TEXELS)), max(8, round(height * TEXELS))
    wall = _material(style, w, h, rng)
    image = Image.fromarray((wall * 255).astype(np.uint8))
    light = Image.new("L", (w, h), 0)
    draw, glow = ImageDraw.Draw(image), ImageDraw.Draw(light)
    storeys = max(1, int(height / style.storey))
    bays = max(1, int(width / style.bay))
    for storey in range(storeys):
        bottom = h - storey * h / storeys
        if storey == 0 and front and style.shop:
            _shop(draw, glow, style, w, bottom, h / storeys, rng)
            continue
        for bay in range(bays):
            centre = (bay + 0.5) * w / bays
            if storey == 0 and front and bay == bays // 2:
                _door(draw, style, centre, bottom, w / bays, h / storeys)
            else:
                _window(draw, glow, style, centre, bottom, w / bays, h / storeys, storey, rng)
    if style.courses:
        for storey in range(1, storeys):
            y = h - storey * h / storeys
            draw.rectangle([0, y - 3, w, y + 2], fill=_rgb(style.trim, 0.92))
    draw.rectangle([0, 0, w, 0.45 * TEXELS], fill=_rgb(style.trim))
    draw.rectangle([0, 0.45 * TEXELS, w, 0.6 * TEXELS], fill=_rgb(style.wall, 0.45))
    draw.rectangle([0, h - 0.5 * TEXELS, w, h], fill=_rgb(style.wall, 0.6))
    rgb = np.asarray(image, np.float32) / 255
    rgb = np.clip(rgb * _stains(w, h, rng)[..., None], 0, 1)
    return _stack(rgb, np.asarray(light, np.float32) / 255)


def roof(rng: np.random.Generator) -> np.ndarray:
    """Rows of tiles or slates, 6 m square."""
    size = 6 * TEXELS
    base = colorsys.hsv_to_rgb(*((rng.uniform(0.0, 0.06), 0.5, 0.5) if rng.random() < 0.6 else (0.6, 0.12, 0.38)))
    y, x = np.mgrid[0:size, 0:size]
    row = y // 7
    shade = 0.75 + 0.25 * ((y % 7) / 7) + 0.06 * ((x + 5 * (row % 2)) % 10 < 1) * -4
    tiles = rng.uniform(0.85, 1.1, (size // 7 + 1, size // 10 + 2))[row, (x + 5 * (row % 2)) // 10]
    rgb = np.array(base, np.float32) * (shade * tiles * _stains(size, size, rng))[..., None]
    return _stack(np.clip(rgb, 0, 1))


def paving(rng: np.random.Generator) -> np.ndarray:
    """Street surface, 12 m square: setts with joints, patches and kerb lines."""
    size = 12 * TEXELS
    y, x = np.mgrid[0:size, 0:size]
    joint = ((y % 12) < 1) | (((x + 9 * ((y // 12) % 2)) % 18) < 1)
    stones = rng.uniform(0.8, 1.1, (size // 12 + 1, size // 18 + 2))[y // 12, (x + 9 * ((y // 12) % 2)) // 18]
    value = 0.46 * stones * np.where(joint, 0.72, 1.0) * _stains(size, size, rng)
    return _stack(np.clip(value[..., None] * np.array([1.0, 0.97, 0.93]), 0, 1).astype(np.float32))


def foliage(rng: np.random.Generator) -> np.ndarray:
    """A tree: trunk and a crown of many blobs, 6 m wide and 8 m high, clear around."""
    w, h = 6 * TEXELS, 8 * TEXELS
    green = np.array(colorsys.hsv_to_rgb(rng.uniform(0.18, 0.36), rng.uniform(0.35, 0.6), 0.42)) * 255
    image = Image.new("RGBA", (w, h), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle([w * 0.47, h * 0.5, w * 0.53, h], fill=(74, 58, 44, 255))
    for _ in range(260):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        x, y = w / 2 + 0.4 * w * radius * np.cos(angle), 0.36 * h + 0.31 * h * radius * np.sin(angle)
        size = rng.uniform(3, 10)
        lit = rng.uniform(0.6, 1.1) * (1.15 - 0.5 * y / h)
        draw.ellipse([x - size, y - size, x + size, y + size], fill=(*(green * lit).astype(int), 255))
    return _from_rgba(image)


def person(rng: np.random.Generator) -> np.ndarray:
    """A passer-by, 1 m wide and 2 m high, clear around."""
    w, h = 2 * TEXELS, 4 * TEXELS
    coat = tuple(int(v) for v in rng.uniform(30, 190, 3))
    image = Image.new("RGBA", (w, h), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle([w * 0.36, h * 0.55, w * 0.48, h], fill=(40, 42, 52, 255))
    draw.rectangle([w * 0.52, h * 0.55, w * 0.64, h], fill=(34, 36, 46, 255))
    draw.rounded_rectangle([w * 0.28, h * 0.2, w * 0.72, h * 0.62], 6, fill=(*coat, 255))
    draw.ellipse([w * 0.38, h * 0.05, w * 0.62, h * 0.21], fill=(205, 165, 140, 255))
    return _from_rgba(image)


def plain(colour: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """A painted or cast surface, 2 m square, with faint wear."""
    size = 2 * TEXELS
    return _stack(np.clip(np.array(colour, np.float32) * _stains(size, size, rng)[..., None], 0, 1))


def smooth_noise(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> np.ndarray:
    """(h, w) noise in 0..1 with blobs of about ``cell`` pixels."""
    h, w = shape
    coarse = rng.random((int(h / cell) + 3, int(w / cell) + 3)).astype(np.float32)
    image = Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(image), 0, 1)


def _material(style: Style, w: int, h: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w]
    value = np.ones((h, w), np.float32)
    if style.material in ("brick", "stone"):
        height, width = (5, 13) if style.material == "brick" else (11, 24)
        row = y // height
        offset = (width // 2) * (row % 2)
        joint = (y % height < 1) | ((x + offset) % width < 1)
        blocks = rng.uniform(0.82, 1.14, (h // height + 1, w // width + 2))[row, (x + offset) // width]
        value = blocks * np.where(joint, 1.22 if style.material == "brick" else 0.75, 1.0)
    elif style.material == "clapboard":
        value = 0.8 + 0.25 * ((y % 6) / 6)
    grain = 1 + 0.05 * rng.standard_normal((h, w))
    return np.clip(np.array(style.wall, np.float32) * (value * grain)[..., None], 0, 1)


def _window(draw, glow, style, centre, bottom, bay, storey, level, rng) -> None:
    width, height = style.window[0] * bay, style.window[1] * storey
    left, right = centre - width / 2, centre + width / 2
    low = bottom - 0.22 * storey
    high = low - height
    frame = 3
    box = [left - frame, high - frame, right + frame, low + frame]
    lit = int(rng.integers(90, 255)) if rng.random() < 0.4 else 0
    shade = _rgb(style.glass, rng.uniform(0.7, 1.6))
    if style.arched:
        draw.pieslice(
            [left - frame, high - width / 2, right + frame, high + width / 2 + frame], 180, 360, fill=_rgb(style.trim)
        )
        draw.pieslice([left, high - width / 2 + frame, right, high + width / 2], 180, 360, fill=shade)
    draw.rectangle(box, fill=_rgb(style.trim))
    draw.rectangle([left, high, right, low], fill=shade)
    glow.rectangle([left, high, right, low], fill=lit)
    draw.line([(centre, high), (centre, low)], fill=_rgb(style.trim, 0.9), width=2)
    draw.line([(left, (high + low) / 2), (right, (high + low) / 2)], fill=_rgb(style.trim, 0.9), width=2)
    draw.rectangle([left - frame - 2, low + frame, right + frame + 2, low + frame + 3], fill=_rgb(style.trim, 0.8))
    if style.shutters:
        for edge in (left - frame - width * 0.4, right + frame):
            draw.rectangle([edge, high, edge + width * 0.4, low], fill=_rgb(style.door))
    if style.balconies and level > 0:
        draw.rectangle([left - 6, low - 0.2 * height, right + 6, low + 5], outline=(40, 40, 42), width=2)
        for x in np.arange(left - 6, right + 6, 4):
            draw.line([(x, low - 0.2 * height), (x, low + 5)], fill=(45, 45, 48), width=1)


def _door(draw, style, centre, bottom, bay, storey) -> None:
    width, height = min(0.6 * bay, 1.4 * TEXELS), 0.72 * storey
    draw.rectangle([centre - width / 2 - 4, bottom - height - 4, centre + width / 2 + 4, bottom], fill=_rgb(style.trim))
    draw.rectangle([centre - width / 2, bottom - height, centre + width / 2, bottom], fill=_rgb(style.door))
    draw.rectangle(
        [centre - width / 3, bottom - 0.9 * height, centre + width / 3, bottom - 0.6 * height], fill=_rgb(style.glass)
    )


def _shop(draw, glow, style, w, bottom, storey, rng) -> None:
    top = bottom - 0.82 * storey
    draw.rectangle([0, top - 0.16 * storey, w, top], fill=_rgb(style.door))
    for start in np.arange(0.04, 0.9, 0.24):
        box = [start * w, top + 4, (start + 0.2) * w, bottom - 0.12 * storey]
        draw.rectangle(box, fill=_rgb(style.glass, 1.5), outline=_rgb(style.trim), width=3)
        glow.rectangle(box, fill=int(rng.integers(120, 255)))
    x = 0.1 * w
    while x < 0.9 * w:
        step = rng.uniform(5, 12)
        draw.rectangle([x, top - 0.12 * storey, x + step * 0.6, top - 0.04 * storey], fill=_rgb(style.trim))
        x += step


def _stains(w: int, h: int, rng: np.random.Generator) -> np.ndarray:
    return (0.82 + 0.22 * smooth_noise((h, w), 60, rng) + 0.12 * smooth_noise((h, w), 14, rng)).astype(np.float32)


def _rgb(colour: tuple[float, float, float], factor: float = 1.0) -> tuple[int, int, int]:
    return tuple(int(np.clip(c * factor, 0, 1) * 255) for c in colour)


def _stack(rgb: np.ndarray, light: np.ndarray | None = None) -> np.ndarray:
    h, w = rgb.shape[:2]
    light = np.zeros((h, w), np.float32) if light is None else light
    return np.dstack([rgb, light, np.ones((h, w), np.float32)]).astype(np.float32)


def _from_rgba(image: Image.Image) -> np.ndarray:
    values = np.asarray(image.filter(ImageFilter.SMOOTH), np.float32) / 255
    solid = (values[..., 3] > 0.5).astype(np.float32)
    return np.dstack([values[..., :3], np.zeros_like(solid), solid])
