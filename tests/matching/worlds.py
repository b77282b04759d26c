"""Small float64 problems to match on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from distail.data.augment import DSA
from distail.matching import FlatNetwork, InnerLoop, InnerLoss, MatchingGradients, Steps
from distail.models import Network, build_network
from distail.models.flat import FlatLayout
from distail.runtime import Runtime

NUM_CLASSES = 4
COUNTS = [40, 11, 5, 2]


class Residual(Network):
    """What ResNet, VGG and AlexNet are made of, in small: a shortcut, max-pooling, a wide kernel, a fixed pooling."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.feature_size = 5
        self.stem = nn.Sequential(nn.Conv2d(image_shape[0], 5, 5, padding=2), nn.MaxPool2d(2))
        self.residual = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1, bias=False), nn.GroupNorm(5, 5), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(5, num_classes)

    def features(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        return self.pool(torch.relu(self.residual(maps) + maps)).flatten(1)


class Smooth(Network):
    """A network without kinks or maps."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.feature_size = 6
        self.hidden = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], 6)
        self.classifier = nn.Linear(6, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return torch.tanh(self.hidden(images.flatten(1)))


class Attention(Network):
    """Rows of pixels that attend to each other."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.feature_size = 4
        self.embed = nn.Linear(image_shape[0] * image_shape[2], 12)
        self.classifier = nn.Linear(4, num_classes)

    def features(self, images: Tensor) -> Tensor:
        query, key, value = self.embed(images.transpose(1, 2).flatten(2)).split(4, dim=2)  # n h 4
        return nn.functional.scaled_dot_product_attention(query, key, value).mean(1)


OWN: dict[str, type[Network]] = {"residual": Residual, "smooth": Smooth, "attention": Attention}


def new_network(architecture: str, shape: tuple[int, int, int], seed: int = 0) -> Network:
    if architecture not in OWN:
        return build_network(architecture, shape, NUM_CLASSES, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OWN[architecture](shape, NUM_CLASSES)  # type: ignore[call-arg]


@dataclass(frozen=True, eq=False)
class World:
    """All arguments of a matching function."""

    network: FlatNetwork
    images: Tensor
    targets: Tensor
    learning_rate: Tensor
    start: Tensor
    target: Tensor
    steps: Steps
    loss: InnerLoss
    augment: DSA

    def match(self, function: Any, **options: Any) -> MatchingGradients:
        loop = InnerLoop(self.images, self.targets, self.learning_rate, self.steps, self.augment, self.loss)
        return function(self.network, loop, self.start, self.target, **options)

    def with_(self, **changes: Any) -> World:
        return replace(self, **changes)

    def classifier_only(self) -> World:
        """The target has the start's backbone, as a classifier expert's has."""
        first = self.network.classifier_start
        return self.with_(target=torch.cat([self.start[:first], self.target[first:]]))

    def in_precision(self, precision: Any) -> World:
        """float32 vectors; bf16 arithmetic where asked for."""
        floats = {
            name: getattr(self, name).float() for name in ("images", "targets", "learning_rate", "start", "target")
        }
        return self.with_(network=FlatNetwork(self.network.network, Runtime("cpu", precision)), **floats)


def make_world(
    architecture: str = "convnet2-w6",
    side: int = 8,
    *,
    num_images: int = 10,
    batch_size: int = 4,
    num_steps: int = 4,
    hard: bool = False,
    loss: InnerLoss | None = None,
    augment: DSA | None = None,
) -> World:
    shape = (3, side, side)
    network = new_network(architecture, shape)
    generator = torch.Generator().manual_seed(7)
    augment = augment or DSA()

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    start = FlatLayout.of(network).flatten(network).double()
    start = start + 0.05 * normal(len(start))  # scales and shifts begin as ones and zeros, which would hide a swap
    targets = (
        torch.randint(NUM_CLASSES, (num_images,), generator=generator) if hard else normal(num_images, NUM_CLASSES)
    )
    return World(
        network=FlatNetwork(network.double(), Runtime()),
        images=normal(num_images, *shape),
        targets=targets,
        learning_rate=torch.tensor(0.3, dtype=torch.float64),
        start=start,
        target=start + 0.1 * normal(len(start)),
        steps=Steps.draw(num_images, num_steps, batch_size, shape, augment, generator),
        loss=loss or InnerLoss.plain(),
        augment=augment,
    )


def relative(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, in units of the largest number wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def assert_alike(found: MatchingGradients, wanted: MatchingGradients, tolerance: float = 1e-9) -> None:
    assert abs(found.loss - wanted.loss) <= tolerance * wanted.loss
    assert relative(found.images, wanted.images) <= tolerance
    assert relative(found.learning_rate, wanted.learning_rate) <= tolerance
    assert (found.labels is None) == (wanted.labels is None)
    if found.labels is not None and wanted.labels is not None:
        assert relative(found.labels, wanted.labels) <= tolerance
