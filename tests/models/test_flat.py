"""`FlatLayout`: parameters to one vector and back."""

import pytest
import torch

from distail.errors import DistailError
from distail.models import build_network
from distail.models.flat import FlatLayout


@pytest.mark.parametrize("architecture", ["convnet3-w8", "convnet3-w8-batch", "resnet18", "vgg11-none"])
def test_parameters_come_back_as_they_were(architecture: str) -> None:
    network, other = (build_network(architecture, (3, 16, 16), num_classes=3, seed=seed) for seed in (0, 1))
    layout = FlatLayout.of(network)
    flat = layout.flatten(network)
    assert flat.shape == (layout.size,)
    assert layout.names == tuple(name for name, _ in network.named_parameters())
    for piece, parameter in zip(layout.split(flat), network.parameters(), strict=True):
        assert torch.equal(piece, parameter)
    assert not torch.equal(layout.flatten(other), flat)
    layout.load(other, flat)
    assert torch.equal(layout.flatten(other), flat)
    for mine, right in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(mine, right)


def test_the_vector_is_a_copy_and_its_pieces_are_views() -> None:
    network = build_network("convnet3-w8", (1, 8, 8), num_classes=2, seed=0)
    layout = FlatLayout.of(network)
    flat = layout.flatten(network)
    assert not flat.requires_grad
    before = flat.clone()
    with torch.no_grad():
        network.classifier.bias.fill_(7)
    assert torch.equal(flat, before)
    layout.split(flat)[-1].fill_(5)
    assert flat[-2:].tolist() == [5, 5]
    layout.load(network, flat)
    flat.zero_()
    assert network.classifier.bias.tolist() == [5, 5]


def test_the_classifier_lies_at_the_end() -> None:
    network = build_network("convnet3-w8", (3, 16, 16), num_classes=5, seed=0)
    layout = FlatLayout.of(network)
    assert layout.size - layout.classifier_start == 5 * network.feature_size + 5
    tail = layout.flatten(network)[layout.classifier_start :]
    assert torch.equal(tail[:-5].view(5, -1), network.classifier.weight)
    assert torch.equal(tail[-5:], network.classifier.bias)


def test_gradients_pass_through_the_pieces() -> None:
    layout = FlatLayout.of(build_network("convnet3-w8", (1, 8, 8), num_classes=2, seed=0))
    flat = torch.zeros(layout.size, requires_grad=True)
    layout.split(flat)[0].sum().backward()
    assert flat.grad is not None
    assert int(flat.grad.sum()) == 8 * 9


def test_layouts_of_one_architecture_are_equal() -> None:
    first, second, wider = (
        FlatLayout.of(build_network(name, (3, 8, 8), num_classes=2, seed=seed))
        for name, seed in (("convnet3-w8", 0), ("convnet3-w8", 1), ("convnet3-w12", 0))
    )
    assert first == second
    assert first != wider


def test_what_does_not_fit_is_refused() -> None:
    network, wider = (build_network(name, (3, 8, 8), num_classes=2, seed=0) for name in ("convnet3-w8", "convnet3-w12"))
    layout = FlatLayout.of(network)
    flat = layout.flatten(network)
    with pytest.raises(DistailError, match="cannot hold"):
        layout.split(flat[:-1])
    with pytest.raises(DistailError, match="cannot hold"):
        layout.load(network, flat[:-1])
    with pytest.raises(DistailError, match="were expected"):
        layout.flatten(wider)
    with pytest.raises(DistailError, match="were expected"):
        layout.load(wider, flat)
