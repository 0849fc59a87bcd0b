"""Stand-in weights and images: the same on every machine, from names, shapes and seeds alone.

A golden file records what the original implementation of a method gave for these
inputs.  Rebuilding them takes no download: `fill_(model.state_dict())` under the ORIGINAL
key names, then `image(seed, h, w)`.  numpy's RandomState is used because its stream is frozen.
"""

import math
import zlib

import numpy as np


def values(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of one state-dict entry, by its original key and shape (float32; counters int64)."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        out = np.exp(0.1 * noise)
    elif len(shape) >= 2:
        out = noise / math.sqrt(max(1, int(np.prod(shape[1:]))))
    elif key.endswith("weight"):
        out = 1.0 + 0.1 * noise
    else:
        out = 0.1 * noise
    return np.asarray(out, np.float32)


def fill_(state_dict):
    """Overwrite every tensor of a torch state dict in place with its stand-in values; returns it."""
    import torch

    for key, tensor in state_dict.items():
        tensor.copy_(torch.from_numpy(np.asarray(values(key, tuple(tensor.shape)))))
    return state_dict


def image(seed: int, height: int, width: int) -> np.ndarray:
    """A textured uint8 RGB image (height, width, 3): smooth blobs, edges and fine noise."""
    rng = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.zeros((height, width, 3))
    for _ in range(12):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        s = rng.uniform(0.03, 0.25) * max(height, width)
        out += np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * s * s))[..., None] * rng.uniform(-120, 120, 3)
    for _ in range(10):
        x0, y0 = rng.randint(0, width), rng.randint(0, height)
        w, h = rng.randint(4, max(5, width // 3)), rng.randint(4, max(5, height // 3))
        out[y0 : y0 + h, x0 : x0 + w] += rng.uniform(-90, 90, 3)
    out += 128 + rng.normal(0, 6, out.shape)
    return np.clip(np.round(out), 0, 255).astype(np.uint8)
