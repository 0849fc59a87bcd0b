"""Winograd's convolution: what the direct one gives, on maps of any size, and only where it is meant for."""

import pytest
import torch
from torch import nn

from descbench.models.torchvision_cpu import models
from descbench.models.winograd import WinogradConv2d, suits, use_winograd


def drawn(channels, outputs, bias=True):
    torch.manual_seed(channels + outputs)
    return nn.Conv2d(channels, outputs, 3, padding=1, bias=bias).requires_grad_(False)


def error(convolution, maps):
    """Relative to the direct convolution in float64."""
    found = WinogradConv2d(convolution)(maps)
    expected = convolution.double()(maps.double())
    convolution.float()
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("size", [(16, 16), (17, 18), (19, 15), (1, 64), (64, 3), (4, 97), (50, 41)])
@pytest.mark.parametrize("count", [1, 3])
def test_maps_of_any_size(size, count):
    """Tiles that stick out, one row or column alone, blocks of tiles that do not come out even."""
    maps = torch.randn(count, 20, *size)
    assert error(drawn(20, 7), maps) < 2e-6


@pytest.mark.parametrize("size", [(1, 1), (12, 15), (16, 15)])
def test_few_tiles(size):
    """Below 16 tiles the direct convolution runs, from 16 on ours: both are right."""
    assert error(drawn(20, 7), torch.randn(1, 20, *size)) < 2e-6


def test_few_tiles_are_left_to_the_direct_convolution():
    layer = WinogradConv2d(drawn(20, 7))
    maps = torch.randn(1, 20, 12, 15)
    assert torch.equal(layer(maps), layer.direct(maps))


def test_without_bias_and_with_other_layouts():
    maps = torch.randn(1, 20, 24, 25)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert error(drawn(20, 7, bias=False), maps.contiguous(memory_format=layout)) < 2e-6
    assert error(drawn(20, 7), torch.randn(1, 20, 30, 24).transpose(2, 3)) < 2e-6


def test_as_exact_as_its_points_allow():
    """Many channels behind a ReLU, as in VGG16: the usual points have an error of 2.6e-6 here."""
    torch.manual_seed(0)
    assert error(drawn(256, 256), torch.randn(1, 256, 24, 24).relu()) < 1.6e-6


def test_input_is_left_alone():
    maps = torch.randn(1, 20, 24, 25)
    before = maps.clone()
    WinogradConv2d(drawn(20, 7))(maps)
    assert torch.equal(maps, before)


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"padding": 0},
        {"padding": "same"},
        {"dilation": 2},
        {"kernel_size": 5},
        {"groups": 2},
        {"padding_mode": "reflect"},
        {"in_channels": 64},
    ],
)
def test_other_convolutions_stay(changes):
    settings = {"in_channels": 256, "out_channels": 256, "kernel_size": 3, "padding": 1}
    assert suits(nn.Conv2d(**settings))
    assert not suits(nn.Conv2d(**{**settings, **changes}))


def test_layers_of_vgg16():
    """From conv3_1 on, wherever they are held; once more changes nothing."""
    network = nn.ModuleDict({"encoder": models.vgg16().features})
    use_winograd(network)
    use_winograd(network)
    replaced = [name for name, module in network.named_modules() if isinstance(module, WinogradConv2d)]
    assert replaced == [f"encoder.{number}" for number in (10, 12, 14, 17, 19, 21, 24, 26, 28)]
