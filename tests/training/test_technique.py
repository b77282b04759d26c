"""Training that departs from shuffled batches and cross-entropy, and training that does not."""

import pytest
import torch
from torch import Tensor

from distail.training.loop import Selection
from distail.training.recipe import TrainRecipe
from distail.training.schedule import learning_rate
from distail.training.technique import Technique, cross_entropy
from distail.training.training_set import shuffled_batches
from tests.training.test_loop import LABELS, NUM_IMAGES, assert_same_weights, new_network, recipe, train


@pytest.mark.parametrize("schedule", ["step", "cosine", "constant"])
def test_written_out_the_default_gives_the_same_bits(schedule):
    plain, spelled = new_network(), new_network()
    how = recipe(schedule=schedule)
    technique = Technique(
        batches=lambda epoch, generator: shuffled_batches(NUM_IMAGES, 4, generator),
        loss=cross_entropy,
        after_step=lambda network: None,
    )
    assert train(plain, recipe=how).losses == train(spelled, recipe=how, technique=technique).losses
    assert_same_weights(plain, spelled)


def test_batches_may_repeat_images_and_differ_by_epoch():
    seen: list[int] = []

    def batches(epoch: int, generator: torch.Generator) -> list[Tensor]:
        seen.append(epoch)
        return [torch.full((3,), epoch), torch.tensor([0])]

    history = train(new_network(), technique=Technique(batches=batches))
    assert seen == [0, 1, 2, 3, 4]
    assert len(history.losses) == 5


def test_the_loss_is_averaged_over_the_images_that_were_looked_at():
    technique = Technique(
        batches=lambda epoch, generator: [torch.arange(4), torch.arange(2)],
        loss=lambda logits, targets, epoch: (logits * 0).sum() + float(epoch) * len(targets),
    )
    assert train(new_network(), technique=technique).losses == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0])


def test_the_loss_sees_logits_targets_and_the_epoch():
    seen: list[tuple[int, tuple[int, ...], int]] = []

    def loss(logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
        assert logits.dtype == torch.float32
        seen.append((epoch, tuple(logits.shape), len(targets)))
        return cross_entropy(logits, targets, epoch)

    watched, plain = new_network(), new_network()
    train(watched, technique=Technique(loss=loss))
    train(plain)
    assert_same_weights(watched, plain)
    assert sum(count for epoch, _, count in seen if epoch == 2) == NUM_IMAGES


def test_after_each_step():
    norms = []

    def halve(network: torch.nn.Module) -> None:
        with torch.no_grad():
            norms.append(float(network.classifier.weight.mul_(0.5).norm()))  # type: ignore[union-attr,operator]

    train(new_network(), technique=Technique(after_step=halve))
    assert len(norms) == 5 * 3
    assert norms[-1] < 0.1


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_the_classifier_alone(architecture):
    network = new_network(architecture)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes: list[bool] = []

    def look(trained: torch.nn.Module) -> float:
        modes.append(trained.training)
        return 0.0

    train(network, technique=Technique(classifier_only=True), selection=Selection(look, every=2))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) is not name.startswith("classifier"), name
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert modes == [False] * 3


def test_what_was_frozen_before_stays_frozen():
    network = new_network()
    first = next(network.parameters())
    first.requires_grad_(False)
    train(network, technique=Technique(classifier_only=True))
    assert not first.requires_grad


def test_the_step_size_warms_up_and_then_follows_its_schedule():
    warm = TrainRecipe(epochs=10, learning_rate=1.0, schedule="constant", warmup=0.2)
    rates = [learning_rate(warm, epoch, step, 2) for epoch in range(10) for step in range(2)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0] + [1.0] * 16)
    cosine = warm.model_copy(update={"schedule": "cosine"})
    plain = cosine.model_copy(update={"warmup": 0.0})
    assert learning_rate(cosine, 0, 1, 2) == pytest.approx(0.5 * learning_rate(plain, 0, 1, 2))
    assert learning_rate(cosine, 5, 1, 2) == learning_rate(plain, 5, 1, 2)


def test_warming_up_changes_training():
    warm, plain = new_network(), new_network()
    train(warm, recipe=recipe(warmup=0.5))
    train(plain)
    assert not torch.equal(warm.classifier.weight, plain.classifier.weight)


def test_labels_reach_the_loss_in_order():
    """With batches that name images, targets are those images' labels."""
    wanted = torch.tensor([5, 1, 9])
    seen: list[list[int]] = []

    def loss(logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
        seen.append(targets.tolist())
        return cross_entropy(logits, targets, epoch)

    technique = Technique(batches=lambda epoch, generator: [wanted], loss=loss)
    train(new_network(), recipe=recipe(epochs=1, schedule="constant"), technique=technique)
    assert [label for part in seen for label in part] == LABELS[wanted].tolist()
