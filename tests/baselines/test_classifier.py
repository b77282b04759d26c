"""Changes of a trained classifier are exact: the network that is kept answers as the formula does."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from distail.baselines import _classifier
from distail.baselines._classifier import ScaledClassifier, best_tau
from distail.baselines._task import Fitted, train_whole, with_validation
from distail.baselines.tau_norm import normalise
from distail.errors import DistailError
from distail.models.logit_changes import scale_logits, shift_logits
from distail.training.class_balance import log_prior
from distail.training.validation import balanced_accuracy
from tests.baselines.tiny import COUNTS, assert_same_bits, fit, plain_network, tiny_task, weights
from tests.cli.calling import pets
from tests.methods.tiny import tiny_images

IMAGES = tiny_images((4, 4, 4), seed=9).images
FEATURES = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def layer() -> nn.Linear:
    made = nn.Linear(5, 3, device="meta").to_empty(device="cpu").double()
    with torch.no_grad():
        made.weight.copy_(torch.arange(15).view(3, 5).sin() * torch.tensor([3.0, 1.0, 0.5])[:, None])
        made.bias.copy_(torch.tensor([0.4, -0.1, 0.7]))
    return made


def logits(fitted: Fitted) -> Tensor:
    return fitted.saved.predict_logits(IMAGES)


def close(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-10 if first.dtype == torch.float64 else 1e-5, atol=1e-6)


def test_scaling_and_shifting_are_those_of_the_logits():
    before, changed, factors = layer()(FEATURES), layer(), torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64)
    scale_logits(changed, factors)
    close(changed(FEATURES), before * factors)
    shift_logits(changed, factors)
    close(changed(FEATURES), before * factors + factors)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_normalising_divides_logits_by_a_power_of_the_row(tau):
    changed, own = layer(), layer()
    normalise(changed, tau)
    close(changed(FEATURES), own(FEATURES) / own.weight.norm(dim=1) ** tau)


def test_full_normalisation_makes_rows_of_length_one():
    changed = layer()
    normalise(changed, 1.0)
    close(changed.weight.norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_tau_zero_is_the_plain_network():
    assert_same_bits(fit("tau_norm", tau=0.0), plain_network())
    assert_same_bits(fit("logit_adjustment_post_hoc", tau=0.0), plain_network())


def test_tau_norm_is_the_formula_on_the_plain_network():
    plain = plain_network()
    lengths = weights(plain)["classifier.weight"].norm(dim=1)
    close(logits(fit("tau_norm", tau=0.7)), logits(plain) / lengths**0.7)


def test_the_post_hoc_adjustment_is_the_formula_on_the_plain_network():
    expected = logits(plain_network()) - 1.5 * log_prior(COUNTS).float()
    close(logits(fit("logit_adjustment_post_hoc", tau=1.5)), expected)


def test_learned_scales_leave_directions_alone():
    plain, scaled = weights(plain_network()), weights(fit("lws"))
    factors = scaled["classifier.bias"] / plain["classifier.bias"]
    assert not torch.allclose(factors, torch.ones(3), atol=1e-4)
    close(scaled["classifier.weight"], plain["classifier.weight"] * factors[:, None])
    for name, value in plain.items():
        assert name.startswith("classifier") or torch.equal(value, scaled[name])


def test_a_scaled_classifier_starts_as_it_was():
    close(ScaledClassifier(layer()).double()(FEATURES), layer()(FEATURES))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_nearest_class_mean_is_the_nearest(distance):
    task = tiny_task()
    fitted = fit("nearest_class_mean", task, distance=distance)
    network, preprocessing = fitted.saved.network, fitted.saved.preprocessing
    with torch.no_grad():
        own = network.features(preprocessing.apply(task.train.images))
        features = network.features(preprocessing.apply(IMAGES))
    means = torch.stack([own[task.train.labels == label].mean(0) for label in range(3)])
    if distance == "cosine":
        near = torch.nn.functional.cosine_similarity(features[:, None], means[None], dim=2)
    else:
        near = -torch.cdist(features, means)
    assert torch.equal(logits(fitted).argmax(1), near.argmax(1))


# Choosing tau


def test_tau_is_the_first_of_the_best_on_validation_images():
    task = with_validation(tiny_task(pets((60, 30, 20), 1), epochs=4))
    fitted = train_whole(task)
    scale_logits(fitted.saved.network.classifier, torch.tensor([20.0, 3.0, 0.2]))  # as a long tail might leave it
    before = deepcopy(weights(fitted))

    def score(tau: float) -> float:
        network = deepcopy(fitted.saved)
        normalise(network.network.classifier, tau)
        return balanced_accuracy(network.predict_logits(task.held_out.images).argmax(1), task.held_out.labels)

    scores = [score(step / 10) for step in range(21)]
    assert len(set(scores)) > 1
    assert best_tau(task, fitted.saved, normalise) == scores.index(max(scores)) / 10
    assert all(torch.equal(value, before[name]) for name, value in weights(fitted).items())


def test_the_smallest_of_equally_good_taus(monkeypatch):
    monkeypatch.setattr(_classifier, "balanced_accuracy", lambda *_: 0.5)
    task = with_validation(tiny_task())
    assert best_tau(task, train_whole(task).saved, normalise) == 0.0


def test_the_scan_sees_validation_images_alone(monkeypatch):
    asked = []
    original = _classifier.embedded_by

    def watch(saved, images, runtime):
        asked.append(images)
        return original(saved, images, runtime)

    monkeypatch.setattr(_classifier, "embedded_by", watch)
    task = with_validation(tiny_task())
    fitted = fit("tau_norm")
    assert len(asked) == 1
    assert torch.equal(asked[0], task.held_out.images)
    assert task.held_out.class_counts == (1, 1, 1)
    assert fitted.num_images == sum(COUNTS) - 3
    assert not bool(torch.isin(task.held_out.fingerprints, task.train.fingerprints).any())
    assert set(fitted.chosen) == {"tau"}


def test_a_refit_learns_from_all_images():
    fitted = fit("tau_norm", refit=True)
    assert fitted.num_images == sum(COUNTS)
    assert_same_bits(fitted, fit("tau_norm", tau=fitted.chosen["tau"]))


def test_a_cosine_classifier_is_refused():
    for name in ("tau_norm", "logit_adjustment_post_hoc", "lws", "nearest_class_mean", "weight_balancing"):
        with pytest.raises(DistailError, match="needs a network with a linear classifier"):
            fit(name, tiny_task(architecture="convnet2-w8-cosine"))
