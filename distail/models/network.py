"""`Network`: the one interface of every architecture, a feature extractor followed by a linear classifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.errors import DistailError

_ONE_BY_ONE = (
    nn.Conv2d,
    nn.Linear,
    nn.GroupNorm,
    nn.ReLU,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Sequential,
    nn.Identity,
)
"""Layers that treat each image of a batch on its own, and draw no random numbers."""
LARGE = 1_000_000
"""Weights before the classifier above which a network counts as large."""


class Network(nn.Module, ABC):
    """A feature extractor and a linear classifier on top of it.

    A subclass registers `classifier` after every other layer, so that its weight and bias are the last two
    entries of `parameters()`; methods that treat the classifier apart from the backbone rely on that order.

    Attributes:
        feature_size: numbers in one feature vector.
        classifier: from features to one logit a class.
        fused: whether `features` may run several layers as one faster step, which can be differentiated once in
            reverse mode only: no double backward, no forward-mode, no `torch.func` transform. Off unless set.
            It may be set on every network, is no part of the state dict, and only ConvNet acts on it.
        takes_images_one_by_one: a subclass's promise that nothing in `features` but its layers looks at several images
            at once or draws random numbers, so that threads may share a batch.
    """

    feature_size: int
    classifier: nn.Linear
    fused: bool = False
    takes_images_one_by_one: ClassVar[bool] = False

    @property
    def mixes_images(self) -> bool:
        """Whether an image's features may depend on the other images of its batch, which then cannot be split.

        True with batch normalisation, also in evaluation mode, and for every network that does not promise otherwise
        by `takes_images_one_by_one`.
        """
        if not self.takes_images_one_by_one:
            return True
        layers = [module for module in self.modules() if not list(module.children())]
        return not all(isinstance(layer, _ONE_BY_ONE) for layer in layers)

    @property
    def is_large(self) -> bool:
        """Whether it has more than a million weights before the classifier; ConvNets of common widths have not."""
        own = {id(parameter) for parameter in self.classifier.parameters()}
        return sum(one.numel() for one in self.parameters() if id(one) not in own) > LARGE

    def require_linear_classifier(self, who: str) -> None:
        """Refuses a classifier that is no plain linear layer, for those who compute with its weight and bias.

        Args:
            who: what needs it, to begin the message with.

        Raises:
            DistailError: the classifier is of another kind, such as that of `convnet3-cosine`.
        """
        if type(self.classifier) is not nn.Linear:
            raise DistailError(f"{who} needs a network with a linear classifier. Use one without '-cosine'.")

    @abstractmethod
    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """What the classifier sees: one flat vector of `feature_size` numbers an image."""

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits, one row an image.

        Args:
            images: preprocessed images of the shape that the network was built for.
        """
        return self.classifier(self.features(images))
