import pytest
import torch

from distail.errors import DistailError
from distail.learn.balance import balancing_shift

LABELS = torch.tensor([0] * 50 + [1] * 9 + [2] * 3)


def answers(seed: int = 0) -> torch.Tensor:
    """Logits that are mostly right, of a network that favours the last class."""
    noise = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(seed))
    return 2 * torch.nn.functional.one_hot(LABELS, 3) + noise + torch.tensor([0.0, -1.0, 2.0])


def shares(logits: torch.Tensor, labels: torch.Tensor = LABELS) -> torch.Tensor:
    """Mean probability of each class, over images of which classes count alike."""
    of_classes = [logits[labels == label].double().softmax(1).mean(0) for label in range(3)]
    return torch.stack(of_classes).mean(0)


def test_every_class_comes_out_equally_often():
    logits = answers()
    assert (shares(logits) - 1 / 3).abs().max() > 0.1
    shift = balancing_shift(logits, LABELS)
    torch.testing.assert_close(shares(logits + shift), torch.full((3,), 1 / 3).double(), atol=1e-3, rtol=0)
    assert shift.sum().abs() < 1e-5
    assert shift.argmin() == 2


def test_numbers_of_images_do_not_matter():
    shift = balancing_shift(answers(), LABELS)
    twice = torch.cat([torch.arange(len(LABELS)), torch.arange(50)])  # the first class's images again
    torch.testing.assert_close(balancing_shift(answers()[twice], LABELS[twice]), shift, atol=1e-4, rtol=0)
    order = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(balancing_shift(answers()[order], LABELS[order]), shift, atol=1e-4, rtol=0)


def test_a_constant_favour_is_taken_back():
    favour = torch.tensor([0.5, -1.5, 1.0])
    found = balancing_shift(answers() + favour, LABELS) - balancing_shift(answers(), LABELS)
    torch.testing.assert_close(found, -favour, atol=0.02, rtol=0)


def test_what_is_balanced_stays():
    assert balancing_shift(torch.zeros(len(LABELS), 3), LABELS).abs().max() < 1e-6


def test_sharp_logits_and_classes_that_never_come_out_are_balanced_too():
    logits = 40 * torch.nn.functional.one_hot(LABELS, 3).float()
    logits[:, 1] -= 60
    assert (shares(logits + balancing_shift(logits, LABELS)) - 1 / 3).abs().max() < 0.01
    far = torch.tensor([900.0, 0.0, 0.0]).repeat(len(LABELS), 1)
    assert (shares(far + balancing_shift(far, LABELS)) - 1 / 3).abs().max() < 0.01


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(broken):
    logits = answers()
    logits[3, 1] = broken
    with pytest.raises(DistailError, match=r"not finite.*--set pilot_steps=0"):
        balancing_shift(logits, LABELS)
