"""A network without convolutions, named by this module's path."""

from torch import Tensor, nn

from distail.models import Network


class Flat(Network):
    """One hidden layer of the pixels."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.feature_size = 6
        self.hidden = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], 6)
        self.classifier = nn.Linear(6, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return self.hidden(images.flatten(1)).relu()
