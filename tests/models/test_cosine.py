"""The classifier that compares directions alone, and networks that end in it."""

import pytest
import torch
import torch.nn.functional as F

from distail.errors import DistailError
from distail.models import build_network
from distail.models.convnet import ConvNet
from distail.models.cosine import CosineClassifier

SHAPE = (3, 16, 16)
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_logits_are_thirty_cosines():
    network = build_network("convnet2-w8-cosine", SHAPE, 3, seed=0).double().eval()
    assert type(network) is ConvNet
    features = network.features(IMAGES.double())
    cosines = F.cosine_similarity(features[:, None], network.classifier.weight[None], dim=2)
    torch.testing.assert_close(network(IMAGES.double()), 30 * cosines, rtol=1e-10, atol=1e-10)


def test_lengths_do_not_matter():
    classifier = build_network("convnet2-w8-cosine", SHAPE, 3, seed=0).classifier
    features = torch.randn(5, classifier.in_features, generator=torch.Generator().manual_seed(1))
    before = classifier(features)
    with torch.no_grad():
        classifier.weight.mul_(torch.tensor([[2.0], [5.0], [0.1]]))
    torch.testing.assert_close(classifier(7 * features), before)


def test_weight_and_bias_stay_the_last_parameters():
    network = build_network("resnet18-batch-cosine", SHAPE, 3, seed=0)
    assert isinstance(network.classifier, CosineClassifier)
    names = [name for name, _ in network.named_parameters()]
    assert names[-2:] == ["classifier.weight", "classifier.bias"]
    assert not network.classifier.bias.requires_grad
    assert network.classifier.bias.tolist() == [0.0] * 3


def test_the_seed_decides():
    first, second, other = (build_network("convnet2-w8-cosine", SHAPE, 3, seed=seed).classifier for seed in (0, 0, 1))
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)


def test_bfloat16_does_not_round_the_logits():
    network = build_network("convnet2-w8-cosine", SHAPE, 3, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(IMAGES).dtype == torch.float32


def test_images_may_still_be_shared_among_threads():
    assert not build_network("convnet2-w8-cosine", SHAPE, 3, seed=0).mixes_images


def test_who_needs_a_linear_classifier_says_so():
    build_network("convnet2-w8", SHAPE, 3, seed=0).require_linear_classifier("This")
    with pytest.raises(
        DistailError, match=r"This needs a network with a linear classifier\. Use one without '-cosine'"
    ):
        build_network("convnet2-w8-cosine", SHAPE, 3, seed=0).require_linear_classifier("This")


def test_a_wrong_name_is_still_refused():
    with pytest.raises(DistailError, match=r"Unknown architecture 'convnot3'.*-cosine"):
        build_network("convnot3-cosine", SHAPE, 3, seed=0)
