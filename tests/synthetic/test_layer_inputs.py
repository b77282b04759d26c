import pytest
import torch

from distail.models import build_network
from distail.synthetic.layer_inputs import at_rest, layers_of_kind, watched

SHAPE = (3, 8, 8)


def test_layers_are_those_of_the_kinds_in_their_order():
    network = build_network("convnet2-w8-batch", SHAPE, 3, seed=0)
    assert layers_of_kind(network, ("convolution", "batch_norm")) == {
        "backbone.0": "convolution",
        "backbone.1": "batch_norm",
        "backbone.4": "convolution",
        "backbone.5": "batch_norm",
    }
    assert list(layers_of_kind(network, ("batch_norm",))) == ["backbone.1", "backbone.5"]
    assert layers_of_kind(build_network("convnet1-w8", SHAPE, 3, seed=0), ("batch_norm",)) == {}


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_sees_what_enters_layers_and_leaves_no_hook(architecture):
    network = build_network(architecture, SHAPE, 3, seed=0).eval()
    network.fused = True  # kernels that take several layers at once would show nothing
    images, seen = torch.rand(4, *SHAPE), {}
    with watched(network, layers_of_kind(network, ("convolution",)), lambda name, inputs: seen.update({name: inputs})):
        network(images)
    assert torch.equal(seen["backbone.0"], images)
    torch.testing.assert_close(seen["backbone.4"], network.backbone[:4](images))
    assert network.fused
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_hooks_go_also_after_an_error():
    network = build_network("convnet2-w8", SHAPE, 3, seed=0)

    def fail(name, inputs):
        raise KeyError(name)

    with pytest.raises(KeyError), watched(network, layers_of_kind(network, ("convolution",)), fail):
        network(torch.rand(2, *SHAPE))
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_network_at_rest_comes_back_as_it_was():
    network = build_network("convnet2-w8-batch", SHAPE, 3, seed=0).train()
    network.classifier.bias.requires_grad_(False)
    with at_rest(network):
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())
    fixed = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert fixed == ["classifier.bias"]
