"""A keypoint detector and a descriptor of one's own: Harris corners, and the pixels around any point.

`corners` finds points, `pixels` describes points that anything found, and `corners_with_pixels` does both at once.
Points are x, y in pixels, of which the middle of the first one is 0, 0. Images come in 0..1, grey here.
"""

import torch
import torch.nn.functional as F
from torch import nn


def blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian of (1, 1, H, W)."""
    steps = torch.arange(-int(3 * sigma), int(3 * sigma) + 1, device=image.device)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum())[None, None]
    padded = F.pad(image, (len(steps) // 2,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[..., None]), kernel[:, :, None])


class Corners(nn.Module):
    """The corners of Harris and Stephens.

    Args:
        radius: pixels within which a corner is the strongest.
    """

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, 1, H, W) -> points (N, 2) and strengths (N,)."""
        dy, dx = torch.gradient(blur(image, 1.0), dim=(2, 3))
        xx, yy, xy = (blur(product, 2.0) for product in (dx * dx, dy * dy, dx * dy))
        strength = xx * yy - xy * xy - 0.05 * (xx + yy) ** 2
        highest = strength == F.max_pool2d(strength, 2 * self.radius + 1, 1, self.radius)
        rows, columns = torch.nonzero((highest & (strength > 1e-8))[0, 0], as_tuple=True)
        return torch.stack((columns, rows), 1).float(), strength[0, 0, rows, columns]


class Pixels(nn.Module):
    """Blurred pixels of a grid around a point, less their mean.

    Args:
        side: of the grid; a descriptor has as many numbers as it has places.
        step: pixels between its places.
    """

    def __init__(self, side: int, step: float) -> None:
        super().__init__()
        places = (torch.arange(side) - (side - 1) / 2) * step
        self.register_buffer("grid", torch.cartesian_prod(places, places))

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """(1, 1, H, W) and points (N, 2) -> (N, side^2)."""
        size = torch.tensor(image.shape[:1:-1], device=image.device)
        places = (points[:, None] + self.grid + 0.5) / size * 2 - 1
        found = F.grid_sample(blur(image, 1.0), places[None], padding_mode="border", align_corners=False)[0, 0]
        return found - found.mean(1, keepdim=True)


class CornersWithPixels(nn.Module):
    """Corners with their descriptors, as networks that do both give them."""

    def __init__(self, radius: int, side: int, step: float) -> None:
        super().__init__()
        self.finds, self.describes = Corners(radius), Pixels(side, step)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """(1, 1, H, W) -> points, strengths and descriptors by name."""
        points, strengths = self.finds(image)
        return {"keypoints": points, "scores": strengths, "descriptors": self.describes(image, points)}


def corners(radius: int = 3) -> nn.Module:
    """What the configuration names."""
    return Corners(radius)


def pixels(side: int = 8, step: float = 2.0) -> nn.Module:
    """What the configuration names."""
    return Pixels(side, step)


def corners_with_pixels(radius: int = 3, side: int = 8, step: float = 2.0) -> nn.Module:
    """What the configuration names."""
    return CornersWithPixels(radius, side, step)
