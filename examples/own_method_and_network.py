"""A distillation method and a network of one's own, used by module path like the built-in ones.

    python examples/own_method_and_network.py
    cd examples && distail distill digits --method own_method_and_network --arch own_method_and_network \
        --ipc 2 --imbalance 50 --set neighbours=5 --out ../runs/own
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

import distail


class Neighbourhoods(distail.Method):
    """Each synthetic image is the mean of a random real image and its nearest neighbours in the same class."""

    paper: ClassVar[str] = "an example"
    summary: ClassVar[str] = "means of small neighbourhoods of each class"

    neighbours: int = 3
    """Images to average, the centre included."""

    def distill(self, problem: distail.Problem) -> distail.Synthetic:
        """Draws centres and averages around them."""
        images = []
        for label in range(problem.num_classes):
            real = problem.real(problem.train.indices_of(label))
            generator = problem.generator("centres", label)
            centres = real[torch.randint(len(real), (problem.images_per_class,), generator=generator)]
            distances = torch.cdist(centres.flatten(1), real.flatten(1))
            nearest = distances.topk(min(self.neighbours, len(real)), largest=False).indices
            images.append(real[nearest].mean(dim=1))
        labels = torch.arange(problem.num_classes).repeat_interleave(problem.images_per_class)
        return distail.Synthetic(torch.cat(images).cpu(), labels)


class TinyMLP(distail.Network):
    """One hidden layer on flattened pixels."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.feature_size = 64
        self.hidden = nn.Linear(channels * height * width, self.feature_size)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Hidden activations, (n, 64)."""
        return self.hidden(images.flatten(1)).relu()


if __name__ == "__main__":
    name = "own_method_and_network"
    small = distail.distill("digits", name, images_per_class=2, imbalance=50, architecture=name, neighbours=5)
    scores = distail.evaluate(small, architectures=[name], seeds=2, epochs=200)
    print(scores.summary()["balanced_accuracy"])
