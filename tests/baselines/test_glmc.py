"""GLMC seen from outside: what it learns from, by which loss, and what it is good for."""

from dataclasses import replace

import pytest
import torch

from distail.baselines import glmc as module
from distail.baselines._registry import build_baseline
from distail.data.image_set import ImageSet
from distail.errors import DistailError
from distail.runtime import Runtime
from distail.training.mixture import MixtureLoss
from distail.training.validation import validation_score
from tests.baselines.tiny import COUNTS, assert_same_bits, fit, tiny_task, weights
from tests.evaluation.separable import images_of
from tests.reference.glmc import label_weights

RLDD = {"label_exponent": 0.8, "weights_sum_to": "one", "stop_gradient": "prediction", "debias": 0.5}


def taught(monkeypatch: pytest.MonkeyPatch, **settings: object) -> tuple:
    """The lessons and the loss that it trains by."""
    seen = []
    original = module.train_by_mixture

    def watch(model, lessons, loss, recipe, **keywords):
        seen.append((lessons, loss))
        return original(model, lessons, loss, recipe, **keywords)

    monkeypatch.setattr(module, "train_by_mixture", watch)
    fit("glmc", **settings)
    return seen[0]


def test_label_weights_and_settings_reach_the_loss(monkeypatch):
    loss: MixtureLoss = taught(monkeypatch)[1]
    assert loss.class_weights.tolist() == pytest.approx(label_weights(COUNTS, 1.2, total=3), rel=1e-10)
    assert (loss.consistency, loss.debias, loss.still) == (1.0, 1.0, "projection")


def test_the_settings_of_rldd(monkeypatch):
    loss: MixtureLoss = taught(monkeypatch, **RLDD)[1]
    assert loss.class_weights.tolist() == pytest.approx(label_weights(COUNTS, 0.8, total=1), rel=1e-10)
    assert (loss.consistency, loss.debias, loss.still) == (1.0, 0.5, "prediction")


@pytest.mark.parametrize(("exponent", "shares"), [(0.0, (12 / 19, 5 / 19, 2 / 19)), (1.0, (1 / 3, 1 / 3, 1 / 3))])
def test_partners_are_drawn_by_class(monkeypatch, exponent, shares):
    lessons = taught(monkeypatch, resample_exponent=exponent)[0]
    drawn = torch.cat([torch.cat(lessons.partners(0, torch.Generator().manual_seed(seed))) for seed in range(300)])
    found = torch.bincount(tiny_task().train.labels[drawn]) / len(drawn)
    assert found.tolist() == pytest.approx(shares, abs=0.03)
    assert [len(batch) for batch in lessons.partners(0, torch.Generator())] == [8, 8, 3]


@pytest.mark.parametrize("settings", [RLDD, {"resample_exponent": 0.5}, {"consistency": 4.0}, {"projection_size": 7}])
def test_every_setting_changes_what_is_learned(settings):
    plain, other = fit("glmc"), fit("glmc", **settings)
    assert not torch.equal(weights(plain)["classifier.weight"], weights(other)["classifier.weight"])


def test_it_begins_as_every_other_baseline():
    """The backbone's initial weights are those of plain training, so that rows differ by what is learned alone."""
    task = tiny_task(learning_rate=1e-30, weight_decay=0.0)
    for name, value in weights(fit("cross_entropy", task)).items():
        torch.testing.assert_close(weights(fit("glmc", task))[name], value, rtol=0, atol=1e-20)


def test_the_same_bits_whatever_the_number_of_threads():
    task = tiny_task(counts=(60, 20, 9), batch_size=64)
    first = fit("glmc", task)
    torch.set_num_threads(2)
    try:
        assert_same_bits(first, fit("glmc", task))
    finally:
        torch.set_num_threads(1)


def test_bf16():
    fitted = fit("glmc", tiny_task(runtime=Runtime("cpu", "bf16")))
    assert all(value.dtype == torch.float32 for value in weights(fitted).values() if value.is_floating_point())


def test_a_cosine_classifier_is_refused():
    with pytest.raises(DistailError, match="GLMC needs a network with a linear classifier"):
        fit("glmc", tiny_task(architecture="convnet2-w8-cosine"))


def noisy(counts: tuple[int, ...], seed: int) -> ImageSet:
    easy = images_of(counts, seed)
    noise = 80 * torch.randn(easy.images.shape, generator=torch.Generator().manual_seed(1000 + seed))
    return replace(easy, images=(easy.images + noise).round().clamp(0, 255).to(torch.uint8))


def test_it_beats_plain_training_on_a_long_tail():
    """0.95 to 0.83 with these seeds, and 0.94 to 0.97 against 0.84 to 0.88 with others."""
    train, test = noisy((40, 10, 3), 1), noisy((60, 60, 60), 2)
    task = tiny_task(train, epochs=40, batch_size=16, augmentation="none", seed=0)
    scores = {
        name: validation_score(build_baseline(name, {}).fit(task).saved, test, Runtime())
        for name in ("cross_entropy", "glmc")
    }
    assert scores["glmc"] > scores["cross_entropy"] + 0.03
