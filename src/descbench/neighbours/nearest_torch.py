"""Nearest vectors by torch, on a GPU where there is one: the same answers as the kernels of ``nearest.py``.

Products in float32 come first. They are off by no more than a proven bound, whatever the order of the sum
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); what the bound cannot exclude is measured in
float64 in the order of the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_UNIT = 2.0**-24  # of rounding, float32
# What flushed denormals may cost each product of numbers below 1, and float64 each measure.
_UNDERFLOW = 2.0**-120
_UNIT64 = 2.0**-44
# Numbers of a block: of measures, and of coordinates that are compared exactly.
_BLOCK = 1 << 24


class TorchDatabase:
    """Vectors (K, D) float32 to be found, K and D at least 1, by distance or by inner product.

    Args:
        vectors: finite.
        by_distance: by squared distance; otherwise by inner product.
        device: None = a GPU if there is one.

    Raises:
        ValueError: NaN or infinity.
    """

    def __init__(self, vectors: np.ndarray, by_distance: bool, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._by_distance = by_distance
        self._vectors = self._on_device(vectors, "vectors")
        self._scaled, self._scales, self._norms = _scaled(self._vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N, k) int64 and measures (N, k) float64 of the k nearest of queries (N, D), 1 <= k <= K.

        Raises:
            ValueError: NaN or infinity.
        """
        everything = self._on_device(queries, "queries")
        ids = np.empty((len(queries), k), np.int64)
        measures = np.empty((len(queries), k), np.float64)
        rows = max(1, _BLOCK // len(self._vectors))
        with torch.inference_mode(), _full_float32():
            for start in range(0, len(queries), rows):
                block = everything[start : start + rows]
                found = self._search_block(block, k)
                ids[start : start + rows], measures[start : start + rows] = (part.cpu().numpy() for part in found)
        return ids, measures

    def _search_block(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        lower, upper = self._bounds(queries)
        limit = upper.topk(k, largest=False).values.amax(1, keepdim=True)
        most = int((lower <= limit).sum(1).amax())
        candidates = lower.topk(most, largest=False).indices.sort(1).values
        rows = max(1, _BLOCK // (most * queries.shape[1]))
        parts = zip(queries.split(rows), candidates.split(rows), strict=True)
        measures = torch.cat([self._measure(*part) for part in parts])
        # Candidates stand by id, so that a stable order puts equal ones by id.
        order = measures.argsort(dim=1, stable=True)[:, :k]
        return candidates.gather(1, order), measures.gather(1, order)

    def _bounds(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Below and above each measure, less the query's own square: (B, K) float64 both."""
        scaled, scales, norms = _scaled(queries)
        dim = queries.shape[1]
        relative = dim * _UNIT / (1 - dim * _UNIT)
        factors = scales[:, None] * self._scales * (2 if self._by_distance else 1)
        middle = -factors * (scaled @ self._scaled.T).double()
        error = factors * ((relative + _UNIT64) * norms[:, None] * self._norms + dim * _UNDERFLOW)
        if self._by_distance:
            squares = (self._scales * self._norms) ** 2
            middle += squares
            error += _UNIT64 * (squares + (scales * norms)[:, None] ** 2)
        return middle - error, middle + error

    def _measure(self, queries: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Measures (B, C) float64 of candidates (B, C): dimension d in lane d % 8, lanes added as in ``nearest.h``."""
        own, others = queries.double()[:, None], self._vectors[candidates].double()
        terms = (own - others) ** 2 if self._by_distance else own * others
        terms = torch.nn.functional.pad(terms, (0, -terms.shape[2] % 8))
        lanes = torch.zeros((*terms.shape[:2], 8), dtype=torch.float64, device=self._device)
        for part in terms.split(8, dim=2):
            lanes += part
        halves = lanes[..., :4] + lanes[..., 4:]
        total = (halves[..., 0] + halves[..., 2]) + (halves[..., 1] + halves[..., 3])
        return total if self._by_distance else -total

    def _on_device(self, array: np.ndarray, name: str) -> torch.Tensor:
        if not np.isfinite(array).all():
            raise ValueError(f"{name} hold NaN or infinity")
        return torch.from_numpy(array).to(self._device)


def _scaled(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows over powers of two, so that none is above 1 (N, D) float32; these powers and the norms, (N,) float64."""
    exponents = torch.frexp(rows.abs().amax(1).double()).exponent
    scales = torch.ldexp(torch.ones_like(exponents, dtype=torch.float64), exponents)
    scaled = rows.double() / scales[:, None]
    return scaled.float(), scales, scaled.norm(dim=1)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Products without TF32, whatever the calling program has chosen."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
