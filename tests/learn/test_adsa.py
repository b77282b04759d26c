"""ADSA: the number that makes classes equally certain, and what it does to labels and teachers."""

import math

import pytest
import torch
from torch import Tensor

from distail.data.long_tail import long_tail_counts
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.learn.adsa import TAUS, confidence, fair_logits, fair_tau, fair_teacher
from distail.models import build_network
from distail.models.saved import SavedNetwork
from tests.methods.tiny import tiny_images

COUNTS = (100, 30, 5, 1)
LABELS = torch.arange(4).repeat_interleave(3)


def biased(counts: tuple[int, ...], bias: float, labels: Tensor = LABELS, strength: float = 4.0) -> Tensor:
    """Labels that are equally certain of every class but for the class shares to the power of `bias`."""
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    return strength * torch.nn.functional.one_hot(labels, len(counts)) + bias * shares.log()


def noisy(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return biased(COUNTS, 0.8, strength=2.0) + torch.randn(len(LABELS), 4, generator=generator, dtype=torch.float64)


def brute_force(logits: Tensor, labels: Tensor, counts: tuple[int, ...]) -> float:
    """The same written out, for labels that do not collapse."""
    best, found = math.inf, math.nan
    for tau in TAUS:
        means = []
        for label in sorted(set(labels.tolist())):
            own = []
            for row in logits[labels == label].tolist():
                powers = [math.exp(z - tau * math.log(n / sum(counts))) for z, n in zip(row, counts, strict=True)]
                own.append(powers[label] / sum(powers))
            means.append(sum(own) / len(own))
        middle = sum(means) / len(means)
        deviation = math.sqrt(sum((mean - middle) ** 2 for mean in means) / len(means))
        if deviation < best - 1e-12:
            best, found = deviation, tau
    return found


def test_nothing_is_done_where_classes_are_equally_certain():
    assert fair_tau(biased(COUNTS, 0.0), LABELS, COUNTS) == 0


def test_nothing_is_done_without_a_long_tail():
    assert fair_tau(noisy(), LABELS, (7, 7, 7, 7)) == 0


@pytest.mark.parametrize("bias", [0.3, 1.0, 2.0])
def test_a_bias_is_found_exactly(bias):
    logits = biased(COUNTS, bias)
    assert fair_tau(logits, LABELS, COUNTS) == bias
    assert (
        confidence(fair_logits(logits, COUNTS, bias), LABELS).deviation < 1e-12 < confidence(logits, LABELS).deviation
    )


def test_it_grows_with_the_imbalance():
    """Labels biased by a given tail, seen from data in which that tail is flatter, want more of the flatter one."""
    logits = biased(long_tail_counts(500, 4, 10), 1.0)
    wanted = [fair_tau(logits, LABELS, long_tail_counts(500, 4, imbalance)) for imbalance in (100, 10, 5)]
    assert wanted[1] == 1.0
    assert wanted == sorted(wanted)
    stronger = [fair_tau(biased(COUNTS, 0.5 * step), LABELS, COUNTS) for step in range(5)]
    assert stronger == [0.5 * step for step in range(5)]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_best_of_the_grid(seed):
    logits = noisy(seed)
    assert fair_tau(logits, LABELS, COUNTS) == brute_force(logits, LABELS, COUNTS)


def test_what_does_not_matter_changes_nothing():
    logits = noisy()
    expected = fair_tau(logits, LABELS, COUNTS)
    generator = torch.Generator().manual_seed(1)
    order, classes = torch.randperm(len(LABELS), generator=generator), torch.tensor([2, 0, 3, 1])
    renamed = classes.argsort()[LABELS]
    assert fair_tau(logits[order], LABELS[order], COUNTS) == expected
    assert fair_tau(logits + torch.randn(len(LABELS), 1, generator=generator), LABELS, COUNTS) == expected
    assert fair_tau(logits, LABELS, tuple(10 * count for count in COUNTS)) == expected
    assert fair_tau(logits[:, classes], renamed, tuple(COUNTS[old] for old in classes)) == expected
    assert fair_tau(logits.repeat(2, 1), LABELS.repeat(2), COUNTS) == expected
    assert fair_tau(logits.float(), LABELS, COUNTS) == expected


def test_fair_labels_are_fair_already():
    fair = fair_logits(noisy(), COUNTS, fair_tau(noisy(), LABELS, COUNTS))
    assert fair_tau(fair, LABELS, COUNTS) == 0


def test_classes_without_images_are_left_out():
    present = LABELS != 3
    logits = biased(COUNTS, 0.7)[present]
    assert fair_tau(logits, LABELS[present], COUNTS) == 0.7
    assert confidence(logits, LABELS[present]).by_class[3] is None


def test_confidences_that_collapse_together_are_not_fair():
    """No image is of the smallest class, to which a large τ gives everything: all confidences become 0."""
    labels = torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[3.0, 0, 0], [3.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]], dtype=torch.float64)
    counts = (1000, 990, 1)
    last = confidence(fair_logits(logits, counts, 3.0), labels)
    tau = fair_tau(logits, labels, counts)
    assert last.deviation < confidence(logits, labels).deviation
    assert last.mean < 0.01
    assert confidence(fair_logits(logits, counts, tau), labels).mean > 0.4


def test_confidence_and_agreement_by_hand():
    logits = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]).log()
    found = confidence(logits, torch.tensor([1, 1, 1]))
    assert found.by_class[0] is None
    assert found.by_class[1] == pytest.approx((0.75 + 0.5 + 0.1) / 3)
    assert (found.agreement, found.deviation) == (pytest.approx(1 / 3), 0.0)


def teacher(architecture: str = "convnet2-w8") -> SavedNetwork:
    images = tiny_images((6, 3, 1))
    network = build_network(architecture, images.image_shape, 3, seed=0).eval()
    preprocessing = fit_preprocessing(images, "normalize")
    return SavedNetwork(network, architecture, images.image_shape, images.class_names, preprocessing, {})


def test_a_teacher_in_the_loop_says_the_same():
    plain, images = teacher(), tiny_images((2, 2, 2), seed=4).images
    before = plain.predict_logits(images)
    fair = fair_teacher(plain, (6, 3, 1), 1.5)
    torch.testing.assert_close(fair.predict_logits(images), fair_logits(before, (6, 3, 1), 1.5))
    assert torch.equal(plain.predict_logits(images), before)
    assert fair.provenance == {"adsa": {"tau": 1.5}}


def test_bad_input_is_refused():
    logits = noisy()
    with pytest.raises(DistailError, match="counts of 3 classes, but labels of 4"):
        fair_tau(logits, LABELS, (3, 2, 1))
    with pytest.raises(DistailError, match="Class 2 has no training image"):
        fair_logits(logits, (3, 2, 0, 1), 1.0)
    with pytest.raises(DistailError, match="fewer than two"):
        fair_tau(logits[:3], LABELS[:3], COUNTS)
    with pytest.raises(DistailError, match="NaN or infinite"):
        fair_tau(logits * math.nan, LABELS, COUNTS)
    with pytest.raises(DistailError, match="ADSA needs a network with a linear classifier"):
        fair_teacher(teacher("convnet2-w8-cosine"), (6, 3, 1), 1.0)
