import pytest
import torch
from torch import Tensor

from distail.models import Network, build_network
from distail.runtime import Runtime
from distail.training.gradients import batch_gradients
from distail.training.targets import Targets


def batch(size: int, soft: bool = False, shape: tuple[int, int, int] = (3, 8, 8)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    targets = torch.randint(4, (size,), generator=generator)
    if soft:
        targets = torch.rand(size, 4, generator=generator).softmax(1)
    return torch.randn(size, *shape, generator=generator), targets


def network_of(architecture: str) -> Network:
    return build_network(architecture, (3, 8, 8), 4, seed=0)


def backward(network: Network, images: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
    loss = torch.nn.functional.cross_entropy(network(images), targets)
    network.zero_grad()
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize("size", [1, 7, 32, 33, 100])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_is_backward_on_the_whole_batch(size, soft, fused):
    network, (images, targets) = network_of("convnet2-w8"), batch(size, soft)
    expected_loss, expected = backward(network, images, targets)
    network.fused = fused
    with torch.no_grad():  # the caller's grad mode does not matter
        loss, gradients = batch_gradients(network, images, Targets(targets), Runtime())
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert not loss.requires_grad


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_batch_normalisation_sees_the_whole_batch(soft):
    network, reference = network_of("convnet2-w8-batch"), network_of("convnet2-w8-batch")
    images, targets = batch(70, soft)
    expected_loss, expected = backward(reference, images, targets)
    loss, gradients = batch_gradients(network, images, Targets(targets), Runtime())
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
    statistics = dict(network.named_buffers())
    assert int(statistics["backbone.1.num_batches_tracked"]) == 1
    for name, wanted in reference.named_buffers():
        torch.testing.assert_close(statistics[name], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 20, 70])
def test_threads_do_not_change_the_bits(size):
    network = build_network("convnet2-w64", (3, 32, 32), 4, seed=0)
    network.fused = True
    images, targets = batch(size, shape=(3, 32, 32))
    alone_loss, alone = batch_gradients(network, images, Targets(targets), Runtime())
    try:
        for threads in (2, 3):
            torch.set_num_threads(threads)
            loss, gradients = batch_gradients(network, images, Targets(targets), Runtime())
            assert torch.equal(loss, alone_loss)
            assert all(map(torch.equal, gradients, alone))
    finally:
        torch.set_num_threads(1)


def test_precision_is_that_of_the_runtime():
    network, (images, targets) = network_of("convnet2-w8"), batch(40)
    _, exact = batch_gradients(network, images, Targets(targets), Runtime())
    _, rough = batch_gradients(network, images, Targets(targets), Runtime("cpu", "bf16"))
    assert {gradient.dtype for gradient in rough} == {torch.float32}
    difference = max(float((one - other).abs().max()) for one, other in zip(exact, rough, strict=True))
    assert 0 < difference < 0.1


def test_frozen_and_unused_parameters_have_no_part_in_it():
    network, (images, targets) = network_of("convnet2-w8"), batch(5)
    network.spare = torch.nn.Parameter(torch.ones(3))  # type: ignore[assignment]
    first = next(network.parameters())
    _, whole = batch_gradients(network, images, Targets(targets), Runtime())
    first.requires_grad_(False)
    _, gradients = batch_gradients(network, images, Targets(targets), Runtime())
    for parameter, gradient, before in zip(network.parameters(), gradients, whole, strict=True):
        idle = parameter is first or parameter is network.spare
        assert torch.equal(gradient, torch.zeros_like(parameter) if idle else before)
