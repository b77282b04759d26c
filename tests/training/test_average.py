import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.training.average import MovingAverage
from distail.training.loop import Selection
from tests.training.test_loop import Scripted, assert_same_weights, new_network, recipe, train


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 0.999), st.lists(st.floats(-2, 2), min_size=1, max_size=5))
def test_is_the_recursion(decay, values):
    network = new_network()
    weight = network.classifier.weight
    expected = weight.detach().double().clone()
    average = MovingAverage(network, decay)
    for value in values:
        with torch.no_grad():
            weight.fill_(value)
        average.update()
        expected = decay * expected + (1 - decay) * value
    with average.shown():
        torch.testing.assert_close(weight.detach().double(), expected, atol=1e-5, rtol=1e-4)
    assert float(weight.detach()[0, 0]) == pytest.approx(values[-1])


def weights_after_steps(**values) -> list[dict[str, torch.Tensor]]:
    """Copies of a network's weights after each step of one training."""
    from distail.training.technique import Technique

    seen = []
    network = new_network("convnet2-w8-batch")
    seen.append({name: value.clone() for name, value in network.state_dict().items()})
    technique = Technique(
        after_step=lambda one: seen.append({name: value.clone() for name, value in one.state_dict().items()})
    )
    train(network, recipe=recipe(**values), technique=technique)
    return seen


def test_the_averaged_weights_are_kept_with_the_live_statistics():
    network = new_network("convnet2-w8-batch")
    train(network, recipe=recipe(average=0.9, epochs=3))
    steps = weights_after_steps(epochs=3)
    parameters = dict(network.named_parameters())
    for name, value in network.state_dict().items():
        if name not in parameters:
            assert torch.equal(value, steps[-1][name]), name  # buffers
            continue
        expected = steps[0][name]
        for step in steps[1:]:
            expected = 0.9 * expected + 0.1 * step[name]
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)


def test_averaging_does_not_change_how_the_network_learns():
    plain, averaged = new_network(), new_network()
    assert train(plain).losses == train(averaged, recipe=recipe(average=0.9)).losses
    assert not torch.equal(plain.classifier.weight, averaged.classifier.weight)


def test_selection_judges_and_keeps_the_average():
    judge = Scripted(0.1, 0.9, 0.3, 0.2, 0.1)
    network = new_network("convnet2-w8-batch")
    history = train(network, recipe=recipe(average=0.9), selection=Selection(judge, every=1))
    assert history.kept_epoch == 1
    for name, value in network.state_dict().items():
        assert torch.equal(value, judge.seen[1][name]), name
    last = new_network("convnet2-w8-batch")
    train(last, recipe=recipe(average=0.9))
    for name, value in last.state_dict().items():
        assert torch.equal(value, judge.seen[4][name]), name  # what is looked at last is what is kept without selection


def test_no_decay_is_no_average():
    averaged, plain = new_network(), new_network()
    train(averaged, recipe=recipe(average=0.0))
    train(plain)
    assert_same_weights(averaged, plain)
