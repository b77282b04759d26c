"""Initial images and labels, chosen by networks whose answers can be read from the pixels."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.models import Network
from distail.models.flat import FlatLayout
from distail.models.saved import batch_logits
from distail.problem import Problem
from distail.synthetic import initial
from distail.synthetic.initial import correct_images, initial_set, mean_logits, network_with
from distail.synthetic.selection import random_choice, select_real_images
from tests.methods.tiny import tiny_problem


class Reader(Network):
    """Answers the class whose pixel in the first row is the brightest; `shift` makes it answer another one."""

    def __init__(self, num_classes: int = 3, gain: float = 1.0, shift: int = 0) -> None:
        super().__init__()
        self.feature_size = num_classes
        self.classifier = nn.Linear(num_classes, num_classes)
        with torch.no_grad():
            self.classifier.weight.copy_(gain * torch.eye(num_classes).roll(shift, 0))
            self.classifier.bias.zero_()

    def features(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, : self.feature_size]


def written(answers: Sequence[Sequence[int]], images_per_class: int = 3) -> Problem:
    """A problem whose images of class i are answered as `answers[i]`; their second row is their position."""
    told = [answer for of_class in answers for answer in of_class]
    images = torch.zeros(len(told), 3, 8, 8, dtype=torch.uint8)
    images[torch.arange(len(told)), 0, 0, torch.tensor(told)] = 255
    images[:, 0, 1, 0] = torch.arange(len(told)).to(torch.uint8)
    images[:, 0, 1, 1] = (torch.arange(len(told)) // 256).to(torch.uint8)
    labels = torch.arange(len(answers)).repeat_interleave(torch.tensor([len(of_class) for of_class in answers]))
    train = ImageSet(images, labels, tuple(f"class {label}" for label in range(len(answers))))
    return Problem(train, fit_preprocessing(train, "none"), images_per_class, "convnet2-w8")


def positions(images: Tensor) -> list[int]:
    read = (255 * images[:, 0, 1, :2]).round().int()
    return (read[:, 0] + 256 * read[:, 1]).tolist()


def test_only_images_that_the_expert_gets_right_are_taken():
    problem = written([[0, 1, 0, 2, 0, 0], [1, 1, 0, 1, 1], [2, 2, 2, 0]])
    found = positions(correct_images(problem, Reader()))
    assert set(found[:3]) <= {0, 2, 4, 5}
    assert set(found[3:6]) <= {6, 7, 9, 10}
    assert set(found[6:]) == {11, 12, 13}
    assert len(set(found)) == 9  # no repeats where there are enough


def test_another_expert_gets_others_right():
    problem = written([[0, 1, 2], [1, 2, 0], [2, 0, 1]], images_per_class=1)
    assert positions(correct_images(problem, Reader(shift=1))) == [2, 5, 8]


def test_fewer_right_ones_than_wanted_are_repeated_in_turn():
    problem = written([[0, 1, 0, 0], [1], [2, 2]], images_per_class=7)
    found = positions(correct_images(problem, Reader()))
    assert sorted(found[:3]) == [0, 2, 3]
    assert found[3:7] == [*found[:3], found[0]]
    assert found[7:14] == [4] * 7
    assert sorted(found[14:16]) == [5, 6]
    assert found[16:] == [found[14], found[15]] * 2 + [found[14]]


def test_a_class_without_right_ones_starts_from_noise():
    problem = written([[0, 0], [2, 0, 2], [1]], images_per_class=20)
    images = correct_images(problem, Reader())
    assert set(positions(images[:20])) == {0, 1}
    for noise in (images[20:40], images[40:]):
        assert abs(float(noise.mean())) < 0.1
        assert float(noise.std()) == pytest.approx(1, abs=0.1)
        assert len(noise.unique(dim=0)) == 20
    assert not torch.equal(images[20:40], images[40:])
    assert torch.equal(images, correct_images(problem, Reader()))


def test_the_choice_is_random_and_the_seed_decides_it():
    problem = written([[0] * 40, [1] * 40, [2] * 40])
    found = positions(correct_images(problem, Reader()))
    assert found == positions(correct_images(problem, Reader()))
    other = Problem(problem.train, problem.preprocessing, 3, "convnet2-w8", seed=1)
    assert found != positions(correct_images(other, Reader()))
    assert found[:3] != [0, 1, 2]
    assert [place - 40 for place in found[3:6]] != found[:3]  # every class is drawn for itself


@pytest.mark.parametrize("chunk", [1, 7])
def test_looking_stops_early_without_changing_the_choice(monkeypatch, chunk):
    problem = written([[0, 1] * 20, [1, 1, 2] * 8, [2]])
    expected = positions(correct_images(problem, Reader()))
    looked: list[int] = []

    def counted(network: Network, images: Tensor) -> Tensor:
        looked.append(len(images))
        return batch_logits(network, images)

    monkeypatch.setattr(initial, "_CHUNK", chunk)
    monkeypatch.setattr(initial, "batch_logits", counted)
    assert positions(correct_images(problem, Reader())) == expected
    assert sum(looked) < len(problem.train)


def test_labels_are_the_mean_of_the_experts_that_are_right():
    problem = written([[0], [1], [2]], images_per_class=1)
    images = problem.real(torch.arange(3))
    experts = [Reader(gain=1.0), Reader(gain=4.0), Reader(gain=100.0, shift=1)]
    found = mean_logits(problem, images, experts, only_correct=True)
    torch.testing.assert_close(found, 2.5 * torch.eye(3))
    everyone = mean_logits(problem, images, experts, only_correct=False)
    torch.testing.assert_close(everyone, (5 * torch.eye(3) + 100 * torch.eye(3).roll(1, 0).T) / 3)


def test_every_image_has_its_own_experts():
    """The first image is wrong for one expert, the second for both."""
    problem = written([[0], [2], [2]], images_per_class=1)
    images = problem.real(torch.arange(3))
    found = mean_logits(problem, images, iter([Reader(gain=2.0), Reader(shift=1)]), only_correct=True)
    assert found.tolist() == [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]


def flats(problem: Problem, count: int) -> list[Tensor]:
    networks = [problem.network("expert", number) for number in range(count)]
    return [FlatLayout.of(network).flatten(network) for network in networks]


def logits_of(problem: Problem, flat: Tensor, images: Tensor) -> Tensor:
    network = problem.network("any")
    FlatLayout.of(network).load(network, flat)
    with torch.no_grad():
        return network.eval()(images)


def test_any_images_are_labelled_by_all():
    problem = tiny_problem(images_per_class=3)
    finished = flats(problem, 4)
    images, labels = initial_set(problem, finished, "random")
    assert torch.equal(images, select_real_images(problem, random_choice(problem)).images)
    expected = torch.stack([logits_of(problem, flat, images) for flat in finished]).mean(0)
    torch.testing.assert_close(labels, expected, rtol=1e-4, atol=1e-5)


def test_the_first_expert_chooses_and_those_that_are_right_label():
    problem = tiny_problem(counts=(30, 20, 10), images_per_class=3)
    finished = flats(problem, 5)
    images, labels = initial_set(problem, finished, "correct")
    torch.testing.assert_close(images, correct_images(problem, network_with(problem, finished[0])))
    wanted = torch.arange(3).repeat_interleave(3)
    answers = torch.stack([logits_of(problem, flat, images) for flat in finished])  # e n k
    right = answers.argmax(2) == wanted
    assert 0 < int(right[1:].sum()) < right[1:].numel()
    for number in range(9):
        of_right = answers[right[:, number], number]
        expected = of_right.mean(0) if len(of_right) else torch.zeros(3)
        torch.testing.assert_close(labels[number], expected, rtol=1e-4, atol=1e-5)


def test_a_network_with_batch_normalisation_predicts_with_statistics_of_real_images():
    problem = tiny_problem(counts=(40, 20), architecture="convnet2-w8-batch")
    (flat,) = flats(problem, 1)
    images = problem.real(torch.arange(60))
    network = problem.network("any")
    FlatLayout.of(network).load(network, flat)
    with torch.no_grad():
        wanted = network.train()(images)
    found = batch_logits(network_with(problem, flat), images)
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)
