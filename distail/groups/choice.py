"""How many groups: the number with which deciding in two stages does best on images held out of training.

In two stages, a network trained on the long-tailed data decides for a group, and a rule that gives every class the
same chance decides for a class in it. More groups leave more of the decision to the network, which favours the head;
fewer leave more to the balanced rule, which knows less: with a single group that rule decides alone, and with one group
a class the network does. What is best in between depends on the data, so each number of groups is tried on held-out
images: the group with the largest sum of the network's probabilities, in it the class with the nearest centroid, judged
by balanced accuracy. Held-out images of a tail class are few, so the winner is often chance: taken is the smallest
number within one standard error of the best.

Source: ours; the rule of one standard error is that of Breiman et al., Classification and Regression Trees, 1984. The
paper sets two groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.groups.distances import ClassCentroids


@dataclass(frozen=True)
class GroupCount:
    """How well one number of groups did on held-out images.

    Attributes:
        num_groups: the number; 1 stands for no groups at all, where the balanced rule decides alone.
        accuracy: mean over classes of the share of held-out images decided rightly in two stages, 0..1.
        standard_error: of that mean.
        group_accuracy: mean over classes of the share whose group was decided rightly, 0..1.
    """

    num_groups: int
    accuracy: float
    standard_error: float
    group_accuracy: float


def two_stage_accuracy(
    group_of: Sequence[int],
    probabilities: Float[Tensor, "n k"],
    class_distances: Float[Tensor, "n k"],
    labels: Int64[Tensor, " n"],
) -> GroupCount:
    """What deciding for a group and then for a class in it reaches.

    Args:
        group_of: group of each class.
        probabilities: the network's, of held-out images.
        class_distances: of each held-out image to the nearest centroid of each class.
        labels: of the held-out images; classes without any do not count.
    """
    groups = torch.tensor(tuple(group_of))
    sums = torch.zeros(len(labels), int(groups.max()) + 1).index_add(1, groups, probabilities)
    chosen = sums.argmax(dim=1)
    outside = groups[None, :] != chosen[:, None]
    right = class_distances.masked_fill(outside, torch.inf).argmin(dim=1) == labels
    group_right = chosen == groups[labels]
    shares, group_shares, errors = [], [], []
    for label in labels.unique().tolist():
        own = labels == label
        # Laplace's estimate: one image that is right does not make a class certain.
        hits, count = float(right[own].sum()), int(own.sum())
        share = (hits + 1) / (count + 2)
        errors.append(share * (1 - share) / count)
        shares.append(hits / count)
        group_shares.append(float(group_right[own].float().mean()))
    num_classes = len(shares)
    return GroupCount(
        num_groups=int(groups.max()) + 1,
        accuracy=sum(shares) / num_classes,
        standard_error=sum(errors) ** 0.5 / num_classes,
        group_accuracy=sum(group_shares) / num_classes,
    )


def nearest_centroids(features: Float[Tensor, "n f"], centroids: ClassCentroids) -> Float[Tensor, "n k"]:
    """Distance of each image's features to the nearest centroid of each class."""
    centres = centroids.centres.split(list(centroids.counts))
    return torch.stack([torch.cdist(features.double(), own).amin(dim=1) for own in centres], dim=1).float()


def best_count(counts: Sequence[GroupCount]) -> GroupCount:
    """The smallest number of groups, from 2 on, within one standard error of the most accurate."""
    several = [count for count in counts if count.num_groups > 1]
    best = max(several, key=lambda count: count.accuracy)
    near = [count for count in several if count.accuracy >= best.accuracy - best.standard_error]
    return min(near, key=lambda count: count.num_groups)
