"""What each baseline trains on and by, seen from outside."""

from collections import Counter

import pytest
import torch

from distail.baselines import _task
from distail.baselines._baseline import Baseline
from distail.errors import DistailError
from distail.models.cosine import CosineClassifier
from distail.training.max_norm import longest_row
from distail.training.technique import cross_entropy
from tests.baselines.tiny import COUNTS, assert_same_bits, fit, plain_network, tiny_task, weights
from tests.methods.tiny import tiny_images

FAMILIES = ("crt", "lws", "weight_balancing")


def loss_of(name: str, monkeypatch: pytest.MonkeyPatch, **settings: object):
    """The loss that a baseline trains by."""
    seen = []
    original = _task.train_student

    def watch(*arguments, technique, **keywords):
        seen.append(technique.loss)
        return original(*arguments, technique=technique, **keywords)

    monkeypatch.setattr(_task, "train_student", watch)
    fit(name, **settings)
    return seen[0]


def backbone(fitted) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(fitted).items() if not name.startswith("classifier")}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_the_second_stage_holds_the_backbone_still(name, architecture):
    task = tiny_task(architecture=architecture)
    plain, fitted = plain_network(task), fit(name, task)
    for key, value in backbone(plain).items():
        assert torch.equal(value, backbone(fitted)[key]), key
    assert not torch.equal(weights(plain)["classifier.weight"], weights(fitted)["classifier.weight"])
    assert fitted.history.losses[:2] == plain.history.losses
    assert len(fitted.history.losses) == 4  # two epochs a stage


def test_a_new_classifier_forgets_the_old_one(monkeypatch):
    monkeypatch.setattr(_task, "train_network", lambda *_, **__: plain_network().history)
    new = weights(fit("crt"))["classifier.weight"]
    assert not torch.equal(new, weights(plain_network())["classifier.weight"])
    assert torch.equal(new, weights(fit("crt"))["classifier.weight"])


def test_weight_balancing_bounds_the_rows():
    longest = longest_row(weights(plain_network())["classifier.weight"], 0.1)
    rows = weights(fit("weight_balancing"))["classifier.weight"].norm(dim=1)
    assert float(rows.max()) <= longest * (1 + 1e-5)


def test_weight_balancing_decays_more_than_others():
    from distail.baselines.weight_balancing import WeightBalancing

    assert (WeightBalancing.recipe.weight_decay, WeightBalancing.recipe.learning_rate) == (5e-3, 0.01)
    assert (Baseline.recipe.weight_decay, Baseline.recipe.learning_rate) == (5e-4, 0.01)


def test_ldam_trains_a_cosine_network_whatever_it_is_called():
    fitted = fit("ldam_drw")
    assert fitted.saved.architecture == "convnet2-w8-cosine"
    assert isinstance(fitted.saved.network.classifier, CosineClassifier)
    assert_same_bits(fitted, fit("ldam_drw", tiny_task(architecture="convnet2-w8-cosine")))
    logits = fitted.saved.predict_logits(tiny_images((3, 3, 3), seed=2).images)
    assert float(logits.abs().max()) <= 30.001


def test_ldam_defers_its_weights(monkeypatch):
    """Two epochs: with `deferred` one half, the second is weighted; by hand, the tail class counts most."""
    loss = loss_of("ldam_drw", monkeypatch, deferred=0.5, max_margin=0.0)
    logits, labels = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([2])
    plain = float(cross_entropy(logits, labels, 0))
    assert float(loss(logits, labels, 0)) == pytest.approx(plain)
    assert float(loss(logits, labels, 1)) > 1.5 * plain


def test_ldam_gives_the_smallest_class_the_largest_margin(monkeypatch):
    loss = loss_of("ldam_drw", monkeypatch, deferred=1.0)
    logits = torch.zeros(1, 3, dtype=torch.float64)
    expected = [15 * (2 / count) ** 0.25 for count in COUNTS]
    for label, margin in enumerate(expected):
        moved = logits.clone()
        moved[0, label] -= margin
        target = torch.tensor([label])
        assert float(loss(logits, target, 0)) == pytest.approx(float(cross_entropy(moved, target, 0)), rel=1e-10)


def test_balanced_softmax_is_logit_adjustment_with_tau_one():
    assert_same_bits(fit("balanced_softmax"), fit("logit_adjustment"))
    assert not torch.equal(
        weights(fit("balanced_softmax"))["classifier.weight"], weights(plain_network())["classifier.weight"]
    )


@pytest.mark.parametrize("name", ["balanced_softmax", "logit_adjustment", "class_balanced_loss", "inverse_frequency"])
def test_without_a_tail_it_is_plain_training(name):
    task = tiny_task(counts=(5, 5, 5))
    for key, value in weights(plain_network(task)).items():
        torch.testing.assert_close(weights(fit(name, task))[key], value, rtol=1e-4, atol=1e-6)


def test_cross_entropy_is_plain_training():
    assert_same_bits(fit("cross_entropy"), plain_network())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("square_root_sampling", (0.48, 0.32, 0.2)), ("class_balanced_sampling", (1 / 3, 1 / 3, 1 / 3))],
)
def test_samplers_draw_what_they_promise(monkeypatch, name, expected):
    drawn: list[torch.Tensor] = []
    original = _task.train_student

    def watch(classroom, *arguments, technique, **keywords):
        for seed in range(300):
            drawn.extend(technique.batches(0, torch.Generator().manual_seed(seed)))
        return original(classroom, *arguments, technique=technique, **keywords)

    monkeypatch.setattr(_task, "train_student", watch)
    task = tiny_task()
    fit(name, task)
    counts = Counter(task.train.labels[torch.cat(drawn)].tolist())
    assert [counts[label] / sum(counts.values()) for label in range(3)] == pytest.approx(expected, abs=0.03)


def second_stage_of(name: str, monkeypatch: pytest.MonkeyPatch, task=None):
    """The recipe and the technique by which a baseline trains the classifier."""
    seen = []
    original = _task.train_network

    def watch(network, data, recipe, *, technique, **keywords):
        seen.append((recipe, technique))
        return original(network, data, recipe, technique=technique, **keywords)

    monkeypatch.setattr(_task, "train_network", watch)
    fit(name, task)
    (found,) = seen
    return found


@pytest.mark.parametrize("name", ["crt", "lws"])
def test_the_classifier_learns_from_balanced_draws(name, monkeypatch):
    task = tiny_task(schedule="constant", warmup=0.1)
    recipe, technique = second_stage_of(name, monkeypatch, task)
    assert (recipe.schedule, recipe.warmup) == ("cosine", 0.0)
    assert recipe.weight_decay == (0.0 if name == "lws" else task.recipe.weight_decay)
    drawn = torch.cat(technique.batches(0, torch.Generator().manual_seed(0)))
    counts = Counter(task.train.labels[drawn].tolist())
    assert counts == {0: 12, 1: 12, 2: 12}
    assert technique.classifier_only


def test_weight_balancing_weighs_and_decays_in_its_second_stage(monkeypatch):
    recipe, technique = second_stage_of("weight_balancing", monkeypatch)
    assert (recipe.weight_decay, recipe.schedule) == (0.1, "cosine")
    assert technique.batches is None
    logits = torch.zeros(1, 3, dtype=torch.float64)
    losses = [float(technique.loss(logits, torch.tensor([label]), 0)) for label in range(3)]
    weights = [(1 - 0.9999) / (1 - 0.9999**count) for count in COUNTS]
    scale = sum(COUNTS) / sum(count * weight for count, weight in zip(COUNTS, weights, strict=True))
    plain = float(cross_entropy(logits, torch.tensor([0]), 0))
    assert losses == pytest.approx([scale * weight * plain for weight in weights], rel=1e-6)


def test_the_second_stage_is_reported():
    facts = fit("crt").second_stage
    assert facts is not None
    assert (facts["draws"], facts["schedule"]) == ("each class equally often", "cosine")
    assert fit("cross_entropy").second_stage is None


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_focuses_by_its_gamma(gamma, monkeypatch):
    loss = loss_of("focal", monkeypatch, gamma=gamma)
    logits = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    chance = float(logits.softmax(1)[0, 0])
    plain = float(cross_entropy(logits, torch.tensor([0]), 0))
    assert float(loss(logits, torch.tensor([0]), 0)) == pytest.approx((1 - chance) ** gamma * plain, rel=1e-6)


@pytest.mark.parametrize("name", ["inverse_frequency", "class_balanced_loss"])
def test_weights_leave_the_mean_loss_as_large_as_it_was(name, monkeypatch):
    """At the start, where the network knows nothing: all images together weigh as much as without weights."""
    loss = loss_of(name, monkeypatch)
    labels = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
    logits = torch.zeros(len(labels), 3, dtype=torch.float64)
    assert float(loss(logits, labels, 0)) == pytest.approx(float(cross_entropy(logits, labels, 0)), rel=1e-6)


@pytest.mark.parametrize("name", ["tau_norm", "logit_adjustment_post_hoc", "lws", "weight_balancing"])
def test_other_classifiers_are_refused_before_training(name, monkeypatch):
    monkeypatch.setattr(_task, "train_student", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DistailError, match="linear classifier"):
        fit(name, tiny_task(architecture="convnet2-w8-cosine"))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_the_nearest_mean_is_the_same_in_low_precision(distance):
    """What all logits have in common would drown their differences in eight bits."""
    fitted = fit("nearest_class_mean", tiny_task(counts=(60, 30, 10)), distance=distance)
    weight, bias = weights(fitted)["classifier.weight"], weights(fitted)["classifier.bias"]
    assert float(weight.mean(dim=0).abs().max()) < 1e-6 * float(weight.abs().max()) + 1e-7
    assert float(bias.mean().abs()) < 1e-5 * float(bias.abs().max()) + 1e-7
    images = tiny_images((40, 40, 40), seed=9).images
    exact = fitted.saved.predict_logits(images).argmax(1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = fitted.saved.predict_logits(images).argmax(1)
    assert float((exact == rough).float().mean()) > 0.95
