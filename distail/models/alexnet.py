"""AlexNet in the small-image variant of the dataset-condensation field: five convolutions, no normalisation.

Source: Krizhevsky et al., NeurIPS 2012, and arXiv:1404.5997 (the architecture); Zhao et al., Dataset
Condensation, arXiv:2006.05929 (the small-image variant).

Deviations from the field's code
    - Grey images are padded by 2 in the first layer like all others, not by 4.
    - On maps too small to pool, the pooling is left out; see `distail.models.norm`.
"""

from __future__ import annotations

from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from distail.models.network import Network
from distail.models.norm import make_pool, pooled_size

# (channels, kernel size, pooled afterwards)
_LAYERS = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))


@final
class AlexNet(Network):
    """AlexNet for small images.

    Args:
        image_shape: (channels, height, width).
        num_classes: logits an image.
    """

    takes_images_one_by_one: ClassVar[bool] = True

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, *size = image_shape
        map_size = (size[0], size[1])
        layers: list[nn.Module] = []
        for width, kernel_size, pooled in _LAYERS:
            layers += [nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2), nn.ReLU()]
            if pooled:
                layers.append(make_pool("max", map_size))
                map_size = pooled_size(map_size)
            channels = width
        self.feature_size = channels * map_size[0] * map_size[1]
        self.backbone = nn.Sequential(*layers)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last map, flattened."""
        return self.backbone(images).flatten(1)
