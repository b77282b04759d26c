import pytest
import torch

from distail.errors import DistailError
from distail.models import build_network
from distail.runtime import Runtime
from distail.training.learner import Learner
from distail.training.targets import Targets
from tests.reference.training import SGD


def learner(architecture: str = "convnet2-w8", seed: int = 0, learning_rate: float = 0.1) -> Learner:
    network = build_network(architecture, (3, 8, 8), 4, seed)
    return Learner(network, Runtime(), learning_rate=learning_rate, momentum=0.9, weight_decay=0.01)


def batch(number: int) -> tuple[torch.Tensor, Targets]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(9, 3, 8, 8, generator=generator), Targets(torch.randint(4, (9,), generator=generator))


def test_is_sgd_with_momentum_and_decay():
    ours = learner()
    plain = build_network("convnet2-w8", (3, 8, 8), 4, 0).train()
    optimizer = SGD(plain, momentum=0.9, weight_decay=0.01)
    for number in range(4):
        images, targets = batch(number)
        logits = plain(images)
        loss = torch.nn.functional.cross_entropy(logits, targets.labels)
        found = ours.step(images, targets)
        torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.logits, logits.detach(), rtol=1e-3, atol=1e-4)
        optimizer.step(loss, 0.1)
    for parameter, expected in zip(ours.network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_goes_on_from_its_tensors_with_the_same_bits(architecture):
    first, second = learner(architecture), learner(architecture, seed=5)
    first.step(*batch(0))
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    first.step(*batch(1))
    second.step(*batch(1))
    assert all(torch.equal(tensor, second.tensors()[name]) for name, tensor in first.tensors().items())


def test_a_loss_that_is_not_finite_names_the_step_size():
    diverging = learner("convnet2-w8-none", learning_rate=1e38)
    diverging.step(*batch(0))
    with pytest.raises(DistailError, match=r"Lower network_lr \(now 1e\+38\)"):
        diverging.step(*batch(1))
