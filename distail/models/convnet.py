"""ConvNet-D: the small network that almost every dataset distillation paper distils with.

D blocks of [3x3 convolution, normalisation, ReLU, 2x2 average pooling], then one linear layer.

Source: Gidaris and Komodakis, arXiv:1804.09458 (the architecture); Zhao et al., Dataset Condensation,
arXiv:2006.05929 (its use for distillation, 128 channels and instance normalisation).

Deviations from the field's code
    - Grey 28x28 images are not padded to 32x32 in the first layer; every image is padded by 1.
    - On maps too small to pool or to normalise, that layer is left out; see `distail.models.norm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.convnet_functional import block_forward, block_tangent, layers_of, split_by_block
from distail.models.network import Network
from distail.models.norm import Norm, make_norm, make_pool, pooled_size

DEFAULT_WIDTH = 128


@final
class ConvNet(Network):
    """ConvNet-D.

    With `fused` set, `features` and `features_with` take `distail.models.fused.block` for every block that has
    instance normalisation and even sides and is on the CPU, and plain layers elsewhere. The result is the same up
    to rounding, but it has no second derivative and no forward-mode derivative, and hooks on layers do not run.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
        depth: blocks. The field takes 3 for 32 pixels and one more for every doubling.
        width: channels of every block. The field's value: 128.
        norm: normalisation after each convolution. The field's value: instance.
    """

    takes_images_one_by_one: ClassVar[bool] = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        depth: int = 3,
        width: int = DEFAULT_WIDTH,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        channels, *size = image_shape
        map_size = (size[0], size[1])
        layers: list[nn.Module] = []
        for block in range(depth):
            layers += [
                nn.Conv2d(channels if block == 0 else width, width, kernel_size=3, padding=1),
                make_norm(norm, width, map_size),
                nn.ReLU(),
                make_pool("average", map_size),
            ]
            map_size = pooled_size(map_size)
        self.feature_size = width * map_size[0] * map_size[1]
        self.backbone = nn.Sequential(*layers)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last block's map, flattened."""
        if not self.fused or self.mixes_images:  # only the module itself updates running statistics
            return self.backbone(images).flatten(1)
        own = [tensor for layers in layers_of(self.backbone) for tensor in layers.own_parameters()]
        return self._features(own, images)

    def features_with(self, parameters: Sequence[Tensor], images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """`features` with other parameters than the network's own, which are left alone.

        No state of the network changes, so that threads may share it. Batch normalisation does not update its
        running statistics.

        Args:
            parameters: one tensor for each of `parameters()`, in this order and of these shapes; the classifier's
                two at the end are not used.
            images: preprocessed images.

        Raises:
            ValueError: there are too many or too few parameters.
        """
        self._check_count(parameters)
        return self._features(parameters, images)

    def tangent_features(
        self, parameters: Sequence[Tensor], direction: Sequence[Tensor], images: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n f"], Float[Tensor, "n f"]]:
        """Features, and their derivative when the parameters move along a direction while the images stay.

        Fused blocks are taken wherever possible, whether or not `fused` is set. No state of the network changes.
        Both results can be differentiated once, in reverse mode, in the images, the parameters and the direction.

        Args:
            parameters: as for `features_with`.
            direction: one tensor for each parameter, of its shape.
            images: preprocessed images.

        Raises:
            ValueError: there are too many or too few parameters, or the network has batch normalisation.

        Source: Pearlmutter, Fast Exact Multiplication by the Hessian, Neural Computation 1994.
        """
        self._check_count(parameters)
        self._check_count(direction)
        blocks = layers_of(self.backbone)
        maps, dmaps = images, None
        pieces = zip(blocks, split_by_block(blocks, parameters), split_by_block(blocks, direction), strict=True)
        for layers, own, moved in pieces:
            maps, dmaps = block_tangent(layers, own, moved, maps, dmaps)
        assert dmaps is not None
        return maps.flatten(1), dmaps.flatten(1)

    def _features(self, parameters: Sequence[Tensor], images: Tensor) -> Tensor:
        maps = images
        blocks = layers_of(self.backbone)
        for layers, own in zip(blocks, split_by_block(blocks, parameters), strict=True):
            maps = block_forward(layers, own, maps, self.fused)
        return maps.flatten(1)

    def _check_count(self, tensors: Sequence[Tensor]) -> None:
        expected = sum(layers.parameter_count for layers in layers_of(self.backbone)) + 2
        if len(tensors) != expected:
            raise ValueError(f"{len(tensors)} tensors for a network that has {expected} parameters.")
