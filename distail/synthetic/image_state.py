"""What methods that descend on images carry from one iteration to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from distail.errors import DistailError
from distail.problem import Problem


@dataclass(frozen=True, eq=False)
class ImageState:
    """Images under gradient descent with momentum.

    Attributes:
        images: (n, channels, height, width), on the device.
        velocity: of the same shape.
        iteration: how many are done.
    """

    images: Float[Tensor, "n c h w"]
    velocity: Float[Tensor, "n c h w"]
    iteration: int = 0

    @staticmethod
    def resumed(problem: Problem, start: Float[Tensor, "n c h w"]) -> ImageState:
        """The state that a killed run left in the problem's checkpoint, or the start."""
        start = start.to(problem.runtime.device)
        saved = problem.checkpoint.load()
        if saved is None:
            return ImageState(start, torch.zeros_like(start))
        tensors, values = saved
        images, velocity = (tensors[name].to(start.device) for name in ("images", "velocity"))
        return ImageState(images, velocity, int(values["iteration"]))

    def moved(self, gradient: Float[Tensor, "n c h w"], learning_rate: float, momentum: float) -> ImageState:
        """After one step of SGD, in the same iteration."""
        velocity = momentum * self.velocity + gradient
        return replace(self, images=self.images - learning_rate * velocity, velocity=velocity)

    def moved_in_class(
        self, gradient: Float[Tensor, "k c h w"], label: int, learning_rate: float, momentum: float
    ) -> ImageState:
        """`moved` by the gradient of one class, as in code that has one optimiser for all images.

        The images of the other classes follow their momentum.

        Args:
            gradient: of the class's k images; every class has as many.
            label: the class.
            learning_rate, momentum: of SGD.
        """
        whole = torch.zeros_like(self.images)
        whole[label * len(gradient) : (label + 1) * len(gradient)] = gradient
        return self.moved(whole, learning_rate, momentum)

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and values for a checkpoint."""
        return {"images": self.images, "velocity": self.velocity}, {"iteration": self.iteration}

    def is_finite(self, loss: float) -> bool:
        """Whether the loss that led here and the images are numbers."""
        return math.isfinite(loss) and bool(torch.isfinite(self.images).all())


def divergence(
    name: str, loss: float, iteration: int, image_lr: float, network_lr: float | None = None
) -> DistailError:
    """What to raise where the loss or the images are no longer finite, after the last good state has been saved.

    Args:
        name: of the method.
        loss: of the iteration that went wrong.
        iteration: which one; so many are good.
        image_lr: the step size on the images.
        network_lr: that of networks that train on the images, which may be what went wrong.
    """
    other = "" if network_lr is None else f" or network_lr (now {network_lr:g})"
    return DistailError(
        f"{name}: the loss became {loss:g} or the images are no longer finite in iteration {iteration}. Lower image_lr "
        f"(now {image_lr:g}){other} and start anew. What was learned before is kept: "
        f"`--resume --set iterations={iteration}` makes a set of it."
    )
