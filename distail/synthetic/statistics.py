"""Means and variances of what enters the layers of a network: of a batch, and of all real images class by class.

Two statistics are taken of a layer's input x of shape (images, channels, height, width):
    channels    mean and variance of each channel, over images and places;
    patches     of convolutions alone: x is cut into patches of 4x4, and mean and variance of each place of a patch in
                the map are over images, channels and the places within the patch. Sides that 4 does not divide are
                enlarged to the next multiple first.

Real images are summed up class by class in one pass, with μ_c ← (1 - a) μ_c + a μ̂_c and a = B_c / (N_c + B_c) for B_c
new images of a class after N_c, which is the exact mean whatever the batches; the same for x². Everything else follows
from these class moments, which take the same memory for any number of images:
    over images     mean and variance of all images alike (EDC);
    over classes    mean over classes of μ_c and of σ²_c = E_c[x²] - μ_c², every class alike (RLDD);
    of labels       the same, weighted by how often a class is among the labels of a batch (EDC, RLDD);
    of each         those of the single classes.

Sources: Shao et al., EDC, NeurIPS 2024; RLDD, AAAI 2026; patches from Shao et al., G-VBSM, CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distail.models import Network
from distail.models.embedding import wide
from distail.problem import Load, Problem, Work
from distail.synthetic.layer_inputs import LayerKind, at_rest, layers_of_kind, watched

_PATCH = 4
"""Side of a patch."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Mean and variance of each number of a statistic, maybe for each of several groups of images."""

    mean: Float[Tensor, "*g d"]
    variance: Float[Tensor, "*g d"]

    def to(self, like: Tensor) -> Spread:
        """In the type and on the device of a tensor."""
        return Spread(self.mean.to(like), self.variance.to(like))


Statistics = dict[str, Spread]
"""By the layer's name and what was taken, such as 'backbone.4/channels'; in the order of the layers."""


def arranged(
    name: str, kind: LayerKind, inputs: Float[Tensor, "n c h w"], among: Container[str] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """(key, numbers) of each statistic of a layer's input; numbers are (images, d, samples of each of the d).

    Args:
        name: of the layer.
        kind: of the layer.
        inputs: what enters it.
        among: keys that are wanted; all when None.
    """
    inputs = wide(inputs)
    if among is None or f"{name}/channels" in among:
        yield f"{name}/channels", inputs.flatten(2)
    if kind == "convolution" and (among is None or f"{name}/patches" in among):
        yield f"{name}/patches", _patches(inputs)


def _patches(inputs: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p s"]:
    count, channels, height, width = inputs.shape
    rows, columns = -(-height // _PATCH), -(-width // _PATCH)
    if (rows * _PATCH, columns * _PATCH) != (height, width):
        size = (rows * _PATCH, columns * _PATCH)
        inputs = F.interpolate(inputs, size=size, mode="bilinear", align_corners=False)
    split = inputs.view(count, channels, rows, _PATCH, columns, _PATCH)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * columns, -1)


def spread_of(numbers: Float[Tensor, "n d s"], groups: Int64[Tensor, " n"] | None = None) -> Spread:
    """Over all images of a batch, or over those of each group; differentiable.

    Args:
        numbers: of each image.
        groups: 0 to the number of groups - 1, none of them empty; one group of all images when None.
    """
    if groups is None:
        variance, mean = torch.var_mean(numbers, dim=(0, 2), correction=0)
        return Spread(mean, variance)
    share = F.one_hot(groups).to(numbers)
    share = share / share.sum(0)
    within, means = torch.var_mean(numbers, dim=2, correction=0)
    with torch.autocast(numbers.device.type, enabled=False):  # which would take these products in half precision
        mean = share.T @ means
        return Spread(mean, share.T @ (within + (means - mean[groups]).square()))


def running_statistics(network: Network) -> Statistics:
    """What batch normalisation keeps of the images that the network was trained on."""
    kept = {}
    for name in layers_of_kind(network, ("batch_norm",)):
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.BatchNorm2d), "layers of this kind are"
        assert layer.running_mean is not None, "networks here track their statistics"
        assert layer.running_var is not None
        kept[f"{name}/channels"] = Spread(layer.running_mean.clone(), layer.running_var.clone())
    return kept


@dataclass(eq=False)
class ClassMoments:
    """Mean of x and of x² over the images of each class, so far; float64 on the CPU.

    Attributes:
        counts: images of each class.
        first, second: by statistic, (classes, d).
    """

    counts: Float[Tensor, " k"]
    first: dict[str, Tensor] = field(default_factory=dict)
    second: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def none(num_classes: int) -> ClassMoments:
        """Of no image yet."""
        return ClassMoments(torch.zeros(num_classes, dtype=torch.float64))

    def add(self, seen: Mapping[str, tuple[Tensor, Tensor]], labels: Int64[Tensor, " n"]) -> None:
        """Takes in a batch.

        Args:
            seen: mean and variance within each image, both (n, d), by statistic.
            labels: of the images.
        """
        new = torch.bincount(labels.cpu(), minlength=len(self.counts)).double()
        share = new / (self.counts + new).clamp_min(1)  # a of each class
        for key, (mean, variance) in seen.items():
            mean, variance = mean.cpu().double(), variance.cpu().double()
            for kept, values in ((self.first, mean), (self.second, variance + mean.square())):
                total = values.new_zeros(len(new), values.shape[1]).index_add(0, labels.cpu(), values)
                found = total / new.clamp_min(1)[:, None]
                before = kept.get(key, torch.zeros_like(found))
                kept[key] = before + share[:, None] * (found - before)
        self.counts = self.counts + new

    def over_images(self) -> Statistics:
        """Every image alike; classes may lie apart, which the variance contains."""
        weights = self.counts / self.counts.sum()
        found = {}
        for key, first in self.first.items():
            mean = weights @ first
            found[key] = Spread(mean, (weights @ self.second[key] - mean.square()).clamp_min(0))
        return found

    def over_classes(self) -> Statistics:
        """Every class alike, however many images it has."""
        return self._within(torch.full_like(self.counts, 1 / len(self.counts)))

    def of_each(self, labels: Int64[Tensor, " n"]) -> Statistics:
        """Of each class among these labels on its own, in ascending order."""
        among = labels.cpu().unique()
        return {key: Spread(first[among], self._variances(key)[among]) for key, first in self.first.items()}

    def of_labels(self, labels: Int64[Tensor, " n"]) -> Statistics:
        """Classes as often as they are among these labels."""
        counts = torch.bincount(labels.cpu(), minlength=len(self.counts)).double()
        return self._within(counts / counts.sum())

    def _within(self, weights: Float[Tensor, " k"]) -> Statistics:
        """Weighted means of the classes' means and variances."""
        return {key: Spread(weights @ first, weights @ self._variances(key)) for key, first in self.first.items()}

    def _variances(self, key: str) -> Float[Tensor, "k d"]:
        """Within each class."""
        return (self.second[key] - self.first[key].square()).clamp_min(0)


@torch.no_grad()
def class_moments(problem: Problem, network: Network, batch_size: int) -> ClassMoments:
    """Class moments of all training images, as they are, in one pass.

    Args:
        problem: gives the images.
        network: on the device; left as it was.
        batch_size: images at a time; the result does not depend on it, or on their order, beyond rounding.
    """
    layers = layers_of_kind(network, ("convolution", "batch_norm"))
    moments = ClassMoments.none(problem.num_classes)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def see(name: str, inputs: Tensor) -> None:
        for key, numbers in arranged(name, layers[name], inputs):
            variance, mean = torch.var_mean(numbers, dim=2, correction=0)
            seen[key] = (mean, variance)

    batches = torch.arange(len(problem.train)).split(batch_size)
    title = "statistics of real images"
    with at_rest(network), watched(network, layers, see), problem.progress.task(title, len(batches)) as advance:
        for indices in batches:
            with problem.runtime.autocast():
                network(problem.real(indices))
            moments.add(seen, problem.train.labels[indices])
            advance()
    return moments


def statistics_work(problem: Problem, architectures: Sequence[str], batch_size: int) -> Work:
    """All training images pass forward through each of the networks."""
    num_images = len(problem.train)
    cost = sum(problem.relative_cost(architecture) for architecture in architectures)
    loads = (Load(min(num_images, batch_size), "forward", architecture=architecture) for architecture in architectures)
    return Work(forward=int(num_images * cost), loads=tuple(loads))
