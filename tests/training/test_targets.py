import pytest
import torch

from distail.data.mixing import Mixture
from distail.training.targets import Targets

LABELS = torch.tensor([0, 2, 1])
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0], [-1.0, 4.0, 0.0]])
MIXTURE = Mixture(torch.tensor([1, 2, 0]), 0.25)


def test_soft_labels_come_before_hard_ones():
    assert torch.equal(Targets(LABELS).for_cross_entropy, LABELS)
    assert torch.equal(Targets(LABELS, LOGITS).for_cross_entropy, LOGITS.softmax(1))
    assert torch.equal(Targets(LABELS, probabilities=LOGITS.softmax(1)).for_cross_entropy, LOGITS.softmax(1))
    assert [Targets(LABELS).are_soft, Targets(logits=LOGITS).are_soft] == [False, True]


@pytest.mark.parametrize("part", [slice(1, 3), torch.tensor([2, 0])])
def test_a_part_is_that_of_each_kind(part):
    whole = Targets(LABELS, LOGITS, LOGITS.softmax(1))
    for name, tensor in whole[part].tensors().items():
        assert torch.equal(tensor, whole.tensors()[name][part])
    assert Targets(LABELS)[part].tensors().keys() == {"labels"}


def test_hard_labels_mix_to_shares():
    mixed = Targets(LABELS).mixed(MIXTURE, 3)
    assert mixed.labels.tolist() == [[0.75, 0.0, 0.25], [0.0, 0.25, 0.75], [0.25, 0.75, 0.0]]
    assert not mixed.are_soft
    assert torch.equal(mixed.mixed(Mixture(torch.tensor([0, 1, 2]), 0.5), 3).labels, mixed.labels)  # shares mix again


def test_logits_mix_as_logits_and_their_probabilities_as_probabilities():
    mixed = Targets(LABELS, LOGITS).mixed(MIXTURE, 3)
    torch.testing.assert_close(mixed.logits, 0.75 * LOGITS + 0.25 * LOGITS[[1, 2, 0]])
    probabilities = 0.75 * LOGITS.softmax(1) + 0.25 * LOGITS.softmax(1)[[1, 2, 0]]
    torch.testing.assert_close(mixed.for_cross_entropy, probabilities)
    torch.testing.assert_close(mixed.for_cross_entropy.sum(1), torch.ones(3))
    assert not torch.allclose(mixed.for_cross_entropy, mixed.logits.softmax(1))


def test_nothing_is_written_into():
    labels, logits = LABELS.clone(), LOGITS.clone()
    Targets(labels, logits).mixed(MIXTURE, 3)
    assert torch.equal(labels, LABELS)
    assert torch.equal(logits, LOGITS)
