"""Networks made ready for inference: the same descriptors, from fewer layers."""

import pytest
import torch
from torch import nn

from descbench.models.folding import fold_batch_norm, prepare_for_inference
from descbench.models.gem import GemNet
from descbench.models.how import HowNet


def image(height=97, width=130, seed=0):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics, weights and biases of every BatchNorm far from the ones and zeros they start with."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2),
                (module.weight.data, -1, 1),
                (module.bias.data, -0.5, 0.5),
            ):
                values.uniform_(low, high, generator=generator)
    return network.eval()


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest distance of two descriptors, axis 1, over the norm of the expected one."""
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


@pytest.mark.parametrize(("backbone", "skip_layer"), [("resnet18", 0), ("resnet50", 1)])
def test_local_descriptors_stay(backbone, skip_layer):
    torch.manual_seed(0)
    network = shaken(HowNet(backbone, skip_layer, dim=32))
    with torch.inference_mode():
        plain = network.maps(image(), [1.0, 0.5])
        folded = prepare_for_inference(network).maps(image(), [1.0, 0.5])
    for (descriptors, attention), (expected, expected_attention) in zip(folded, plain, strict=True):
        assert relative(descriptors, expected) < 1e-5
        torch.testing.assert_close(attention, expected_attention, rtol=1e-5, atol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_global_descriptors_stay(backbone):
    torch.manual_seed(0)
    network = shaken(GemNet(backbone))
    with torch.inference_mode():
        plain = network.describe(image(), [1.0, 0.7])
        assert relative(prepare_for_inference(network).describe(image(), [1.0, 0.7]), plain) < 1e-5


def test_inference_only():
    """Training notices at once: no parameter has a gradient left."""
    network = prepare_for_inference(HowNet("resnet18", dim=4))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(RuntimeError, match="does not require grad"):
        network(image(64, 64)).sum().backward()


class Backwards(nn.Module):
    """Holds a convolution before a BatchNorm, and runs them the other way round."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.convolution(self.norm(x))


def test_unknown_modules_are_left_alone():
    network = shaken(nn.Sequential(Backwards(), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 5, 3, bias=False)))
    with torch.no_grad():
        plain = network(image())
        fold_batch_norm(network)
        assert torch.equal(network(image()), plain)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 2


def test_training_mode_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    with pytest.raises(AssertionError, match="eval"):
        fold_batch_norm(network)
