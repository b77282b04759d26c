"""Several networks side by side, whose logits are the mean of theirs, as one plain network."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distail.models.network import Network
from distail.seeding import isolated_seed

SEPARATOR = "+"
"""Stands between the names of the members: 'convnet3-batch+resnet18-batch'."""


@final
class Ensemble(Network):
    """Members side by side: their features one after the other, and one linear classifier on all of them.

    A mean of linear classifiers is such a classifier, so an ensemble is saved and used like any network.

    Args:
        members: networks for the same images and classes, with linear classifiers, which are dropped.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        num_classes = members[0].classifier.out_features
        self.feature_size = sum(member.feature_size for member in members)
        for member in members:
            del member.classifier
        self.members = nn.ModuleList(members)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Those of all members, in their order."""
        return torch.cat([member.features(images) for member in self._networks], dim=1)

    @property
    def _networks(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]


def mean_of(members: Sequence[Network]) -> Ensemble:
    """An ensemble of copies of trained networks, in evaluation mode, on their device.

    Raises:
        DistailError: a member's classifier is not linear.
    """
    for member in members:
        member.require_linear_classifier("An ensemble")
    weight = torch.cat([member.classifier.weight for member in members], dim=1).detach() / len(members)  # k f
    bias = torch.stack([member.classifier.bias for member in members]).detach().mean(0)
    with isolated_seed(0, "ensemble"):  # the new classifier draws weights, which are replaced
        ensemble = Ensemble([deepcopy(member) for member in members]).to(weight.device)
    ensemble.classifier.load_state_dict({"weight": weight, "bias": bias})
    return ensemble.eval()
