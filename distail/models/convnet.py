"""ConvNet-D: the small network that almost every dataset distillation paper distils with.

D blocks of [3x3 convolution, normalisation, ReLU, 2x2 average pooling], then one linear layer.

Source: Gidaris and Komodakis, arXiv:1804.09458 (the architecture); Zhao et al., Dataset Condensation,
arXiv:2006.05929 (its use for distillation, 128 channels and instance normalisation).

Deviations from the field's code
    - Grey 28x28 images are not padded to 32x32 in the first layer; every image is padded by 1.
    - On maps too small to pool or to normalise, that layer is left out; see `distail.models.norm`.
"""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.network import Network
from distail.models.norm import Norm, make_norm, make_pool, pooled_size

DEFAULT_WIDTH = 128


@final
class ConvNet(Network):
    """ConvNet-D.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
        depth: blocks. The field takes 3 for 32 pixels and one more for every doubling.
        width: channels of every block. The field's value: 128.
        norm: normalisation after each convolution. The field's value: instance.
    """

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
        return self.backbone(images).flatten(1)
