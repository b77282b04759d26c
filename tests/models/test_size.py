"""What an image takes in a network, against a count by hand."""

import pytest
import torch
from torch import nn

from distail.models.architecture import architecture_names
from distail.models.network import Network
from distail.models.size import network_size
from distail.runtime import Runtime

SHAPE = (3, 8, 8)
FIRST, SECOND, CLASSES = 8 * 3 * 9 * 64, 8 * 8 * 9 * 16, 8 * 4 * 5
"""Multiplications of the layers of a convnet2-w8 with five classes."""


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch", "convnet2-w8-cosine"])
def test_multiplications_of_a_convnet(architecture):
    assert network_size(architecture, SHAPE, 5, Runtime("cpu")).multiplications == FIRST + SECOND + CLASSES


def test_bytes_of_a_convnet():
    size = network_size("convnet2-w8", SHAPE, 5, Runtime("cpu"))
    # Convolution, norm and ReLU of 8 maps at full size, pooled; the same at half; five logits.
    floats = 3 * 8 * 64 + 8 * 16 + 3 * 8 * 16 + 8 * 4 + 5
    assert size.output_bytes == 4 * floats
    assert size.widest_bytes == 4 * 2 * 8 * 64
    assert size.feature_bytes == 4 * 8 * 4
    # Weights of the convolutions with their biases, two norms, the classifier.
    assert size.vector_bytes == 4 * (8 * 3 * 9 + 8 + 16 + 8 * 8 * 9 + 8 + 16 + 5 * 32 + 5)
    assert not size.mixes_images
    assert network_size("convnet2-w8", SHAPE, 5, Runtime("cpu", "bf16")).output_bytes == 2 * floats


def test_members_of_an_ensemble_add_up():
    one, two = (network_size(name, SHAPE, 5, Runtime("cpu")) for name in ("convnet1-w4", "convnet2-w8-batch"))
    both = network_size("convnet1-w4+convnet2-w8-batch", SHAPE, 5, Runtime("cpu"))
    assert both.feature_bytes == one.feature_bytes + two.feature_bytes
    assert both.mixes_images
    assert not one.mixes_images


class Own(Network):
    """A network of one's own: a layer that draws, one whose output is no tensor, one whose weights are made anew."""

    def __init__(self):
        super().__init__()
        self.feature_size = 3 * 64
        self.drawing, self.halves = nn.Dropout(), Halves()
        self.classifier = nn.utils.parametrizations.weight_norm(nn.Linear(3 * 64, 5))

    def features(self, images):
        return torch.cat(self.halves(self.drawing(images)), 1).flatten(1)


class Halves(nn.Module):
    """Takes images apart by their channels."""

    def forward(self, images):
        return images[:, :1], images[:, 1:]


def test_layers_of_ones_own_are_counted_and_draw_nothing(monkeypatch):
    own = Own()
    monkeypatch.setattr("distail.models.size.build_network", lambda *_, seed: own)
    before = torch.get_rng_state()
    size = network_size.__wrapped__("own", SHAPE, 5, Runtime("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert size.multiplications == 5 * 3 * 64


@pytest.mark.parametrize("architecture", [*architecture_names(), "convnet3-cosine", "resnet18-batch"])
def test_every_family_is_counted(architecture):
    size = network_size(architecture, (3, 32, 32), 5, Runtime("cpu"))
    assert size.multiplications > network_size("convnet1-w8", (3, 32, 32), 5, Runtime("cpu")).multiplications
    assert size.widest_bytes < size.output_bytes
