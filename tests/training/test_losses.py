"""The losses against plain renderings, and what each of them refuses."""

import math

import pytest
import torch
from torch import Tensor

from distail.errors import DistailError
from distail.training.losses import batch_loss, recipe_loss
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.technique import PLAIN, Technique, cross_entropy
from tests.reference.training import cross_entropy as reference_cross_entropy


def drawn(seed: int) -> Tensor:
    return 2 * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 3, 1, 1, 2])
LOGITS, TEACHER = drawn(0), drawn(1)
SHARES = drawn(2).softmax(1)


def loss_of(targets: Targets, **values) -> float:
    return float(recipe_loss(TrainRecipe(**values))(LOGITS, targets, 0))


def one_hot() -> Tensor:
    return torch.nn.functional.one_hot(LABELS, 4).double()


def plain_divergence(teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for own, wanted in zip(LOGITS.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(value / temperature) for value in wanted]
        q = [math.exp(value / temperature) for value in own]
        p, q = [value / sum(p) for value in p], [value / sum(q) for value in q]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total


@pytest.mark.parametrize("targets", [Targets(LABELS), Targets(LABELS, TEACHER), Targets(labels=SHARES)])
def test_cross_entropy(targets):
    wanted = targets.for_cross_entropy
    expected = 5 * reference_cross_entropy(LOGITS, wanted if wanted.is_floating_point() else one_hot())
    assert loss_of(targets) == pytest.approx(float(expected), abs=1e-10)


def test_squared_error_is_a_mean_over_classes_and_a_sum_over_images():
    expected = sum((LOGITS[i, j] - TEACHER[i, j]) ** 2 / 4 for i in range(5) for j in range(4))
    assert loss_of(Targets(LABELS, TEACHER), loss="squared_error") == pytest.approx(float(expected), abs=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_divergence(temperature):
    values = {"loss": "divergence", "temperature": temperature}
    expected = plain_divergence(TEACHER, temperature)
    assert loss_of(Targets(LABELS, TEACHER), **values) == pytest.approx(expected, abs=1e-10)
    # Probabilities say the same as the logits that they come from.
    assert loss_of(Targets(probabilities=TEACHER.softmax(1)), **values) == pytest.approx(expected, abs=1e-10)
    assert loss_of(Targets(logits=LOGITS), **values) == pytest.approx(0, abs=1e-10)


def test_a_class_without_any_probability_has_a_finite_divergence():
    assert math.isfinite(loss_of(Targets(probabilities=one_hot()), loss="divergence"))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "divergence"])
def test_hard_labels_are_added_by_their_weight(loss):
    targets = Targets(LABELS, TEACHER)
    soft, hard = loss_of(targets, loss=loss), loss_of(Targets(LABELS))
    assert loss_of(targets, loss=loss, hard_weight=0.025) == pytest.approx(soft + 0.025 * hard, abs=1e-10)
    mixed = loss_of(Targets(SHARES, TEACHER), loss=loss, hard_weight=0.5)
    assert mixed == pytest.approx(soft + 0.5 * loss_of(Targets(SHARES)), abs=1e-10)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"loss": "squared_error"}, "loss=squared_error"),
        ({"loss": "divergence"}, "loss=divergence"),
        ({"hard_weight": 0.1}, "hard_weight=0.1"),
    ],
)
def test_hard_labels_alone_take_cross_entropy_alone(values, named):
    for targets in (Targets(LABELS), Targets(SHARES)):
        with pytest.raises(DistailError, match=f"{named} is for soft labels.*cross_entropy.*--labels teacher"):
            loss_of(targets, **values)
    assert loss_of(Targets(LABELS), **TrainRecipe(**values).on_hard_labels.model_dump()) == loss_of(Targets(LABELS))


def test_what_is_missing_is_named():
    with pytest.raises(DistailError, match="compares logits"):
        loss_of(Targets(probabilities=SHARES), loss="squared_error")
    with pytest.raises(DistailError, match="needs hard labels"):
        loss_of(Targets(logits=TEACHER), hard_weight=1.0)


def test_a_technique_has_the_last_word_on_the_loss():
    twice = Technique(loss=lambda *args: 2 * cross_entropy(*args))
    found = batch_loss(TrainRecipe(), twice)(LOGITS, Targets(LABELS), 0)
    assert float(found) == pytest.approx(2 * float(batch_loss(TrainRecipe(), PLAIN)(LOGITS, Targets(LABELS), 0)))
    for values in ({"loss": "divergence"}, {"hard_weight": 1.0}):
        with pytest.raises(DistailError, match="has a loss of its own"):
            batch_loss(TrainRecipe(**values), twice)


def test_shares_reach_only_losses_that_take_them():
    recipe = TrainRecipe(mixing="cutmix")
    picky, easy = (Technique(loss=cross_entropy, takes_shares=takes) for takes in (False, True))
    with pytest.raises(DistailError, match=r"mixing=none \(now cutmix\).*balanced_softmax"):
        batch_loss(recipe, picky)(LOGITS, Targets(SHARES), 0)
    assert float(batch_loss(recipe, easy)(LOGITS, Targets(SHARES), 0)) == loss_of(Targets(SHARES))
