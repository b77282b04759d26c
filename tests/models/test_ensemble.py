import pytest
import torch

from distail.errors import DistailError
from distail.models import build_network
from distail.models.architecture import check_architecture
from distail.models.ensemble import Ensemble, mean_of

SHAPE = (3, 8, 8)
NAMES = ("convnet2-w8-batch", "convnet1-w4", "resnet18-batch")


def members():
    return [build_network(name, SHAPE, 5, seed=number).eval() for number, name in enumerate(NAMES)]


def test_logits_are_the_mean_of_the_members():
    networks, images = members(), torch.randn(4, *SHAPE)
    state = torch.random.get_rng_state()
    ensemble = mean_of(networks)
    assert torch.equal(state, torch.random.get_rng_state())
    with torch.no_grad():
        expected = torch.stack([network(images) for network in networks]).mean(0)
        torch.testing.assert_close(ensemble(images), expected)
    assert all(hasattr(network, "classifier") for network in networks)  # copies have lost theirs


def test_it_has_a_name_and_comes_back_by_it():
    ensemble, images = mean_of(members()), torch.randn(4, *SHAPE)
    again = build_network("+".join(NAMES), SHAPE, 5, seed=9)
    assert isinstance(again, Ensemble)
    assert again.feature_size == sum(network.feature_size for network in members())
    assert [name for name, _ in again.named_parameters()][-2:] == ["classifier.weight", "classifier.bias"]
    again.load_state_dict(ensemble.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(images), ensemble(images))


def test_bad_members_are_refused():
    with pytest.raises(DistailError, match="Unknown architecture 'convnt3'"):
        check_architecture("convnet3+convnt3")
    with pytest.raises(DistailError, match="members without '-cosine'"):
        check_architecture("convnet3-cosine+convnet3")
    with pytest.raises(DistailError, match=r"An ensemble needs .* linear classifier"):
        mean_of([build_network("convnet1-w4-cosine", SHAPE, 5, seed=0)])
