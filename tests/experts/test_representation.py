import pytest
import torch
from torch import Tensor

from distail.data.augment import DSA
from distail.experts.ground import ExpertGround
from distail.experts.representation import train_representation_epoch
from distail.experts.spec import RepresentationSpec
from distail.models.flat import FlatLayout
from distail.seeding import torch_generator
from distail.training.training_set import shuffled_batches
from tests.experts.lessons import FLAT, PLAIN, ground
from tests.reference import gsam as reference
from tests.reference.training import SGD, cross_entropy


def epoch_of(school: ExpertGround, spec: RepresentationSpec, expert: int = 0, epoch: int = 0) -> tuple[Tensor, float]:
    network = school.network(spec.seed, expert)
    start = FlatLayout.of(network).flatten(network)
    before = start.clone()
    found = train_representation_epoch(network, start, school.training_set(), spec, expert, epoch, school.runtime)
    assert torch.equal(start, before)
    return found


def batches_of(school: ExpertGround, spec: RepresentationSpec, expert: int, epoch: int) -> list[tuple[Tensor, Tensor]]:
    """(images, one-hot labels) of one epoch, in float64."""
    generator = torch_generator(spec.seed, "expert epoch", expert, epoch)
    everything = school.preprocessing.apply(school.train.images)
    found = []
    for indices in shuffled_batches(len(everything), spec.batch_size, generator):
        images = DSA(spec.augmentation)(everything[indices], generator).double()
        hot = torch.nn.functional.one_hot(school.train.labels[indices], school.train.num_classes)
        found.append((images, hot.double()))
    return found


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_without_gsam_an_epoch_is_sgd_with_weight_decay(architecture):
    school = ground(architecture=architecture)
    spec = PLAIN.model_copy(update={"weight_decay": 0.1})
    found, loss = epoch_of(school, spec, expert=1, epoch=2)
    network = school.network(spec.seed, 1).double().train()
    network.fused = False
    optimizer, losses = SGD(network, momentum=0.0, weight_decay=0.1), []
    for images, targets in batches_of(school, spec, 1, 2):
        value = cross_entropy(network(images), targets)
        losses += [float(value.detach())] * len(images)
        optimizer.step(value, spec.learning_rate)
    expected = FlatLayout.of(network).flatten(network)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_with_gsam_every_step_follows_the_equation():
    school = ground(counts=(5, 3))
    found, _ = epoch_of(school, FLAT)
    network = school.network(FLAT.seed, 0).double().train()
    network.fused = False
    layout = FlatLayout.of(network)
    place = layout.flatten(network)
    for images, targets in batches_of(school, FLAT, 0, 0):

        def gradient(parameters: list[float], images: Tensor = images, targets: Tensor = targets) -> list[float]:
            layout.load(network, torch.tensor(parameters, dtype=torch.float64))
            gradients = torch.autograd.grad(cross_entropy(network(images), targets), list(network.parameters()))
            return torch.cat([part.flatten() for part in gradients]).tolist()

        step = torch.tensor(reference.direction(gradient, place.tolist(), 0.05, 0.3), dtype=torch.float64)
        place = place - 0.05 * (step + 5e-3 * place)
    torch.testing.assert_close(found.double(), place, rtol=1e-3, atol=1e-5)
    plain, _ = epoch_of(school, FLAT.model_copy(update={"gsam_rho": 0.0}))
    assert float((found - plain).abs().max()) > 1e-4  # the step is not the plain one


def test_an_epoch_is_a_function_of_seed_expert_and_epoch():
    school = ground()
    start = FlatLayout.of(school.network(0, 0)).flatten(school.network(0, 0))

    def after(seed: int = 0, expert: int = 0, epoch: int = 0) -> Tensor:
        spec = FLAT.model_copy(update={"seed": seed})
        network = school.network(7, 7)  # what the network held before must not matter
        return train_representation_epoch(network, start, school.training_set(), spec, expert, epoch, school.runtime)[0]

    same = after()
    torch.manual_seed(5)
    assert torch.equal(same, after())
    for other in ({"seed": 1}, {"expert": 1}, {"epoch": 1}):
        assert not torch.equal(same, after(**other)), other


def test_every_expert_and_seed_has_a_network_of_its_own():
    school = ground()
    weights = [
        FlatLayout.of(school.network(seed, expert)).flatten(school.network(seed, expert))
        for seed, expert in ((0, 0), (0, 1), (1, 0))
    ]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[1], weights[2])


def test_training_images_do_not_depend_on_free_memory(monkeypatch):
    school = ground()
    plenty = school.training_set()
    monkeypatch.setattr("distail.experts.ground.available_memory_bytes", lambda device: 100)
    scarce = school.training_set()
    assert type(plenty) is not type(scarce)
    picked = torch.tensor([3, 0, 7])
    assert torch.equal(plenty.images(picked), scarce.images(picked))
    first, second = (data.targets(picked, data.images(picked)).labels for data in (plenty, scarce))
    assert torch.equal(first, second)
