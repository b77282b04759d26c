"""`LabelledViews`: several views of each image of a set, with a teacher's answer to every one of them.

One soft label an image says what a teacher thinks of the image as it is, and nothing of its parts. Labels of views tell
networks almost as much as the teacher itself would, and take less room: 5 bytes for a view's box, 2 a class for its
label. A box is stored in whole 256ths of the image's sides, and is labelled as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from distail.data.augment import DSA, DSAParameters
from distail.errors import DistailError

_STEPS = 256
"""Lengths that a box's side can have."""
_LARGEST = 65504.0
"""Of the numbers that half precision holds."""


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """v views of each of n images: a box, enlarged to the whole image, mirrored or not.

    Attributes:
        boxes: height and width in 256ths of the image's, less one; then the room above and on the left, in 255ths of
            what the box leaves.
        mirrored: whether left and right are exchanged.
        logits: a teacher's, in half precision.

    Raises:
        DistailError: there is no view, the parts disagree, or a logit is not finite.
    """

    boxes: UInt8[Tensor, "n v 4"]
    mirrored: Bool[Tensor, "n v"]
    logits: Float[Tensor, "n v k"]

    def __post_init__(self) -> None:
        shape = tuple(self.mirrored.shape)
        whole = len(shape) == 2 and self.boxes.shape == (*shape, 4) and tuple(self.logits.shape[:-1]) == shape
        kinds = (self.boxes.dtype, self.mirrored.dtype, self.logits.dtype)
        if not whole or kinds != (torch.uint8, torch.bool, torch.float16) or 0 in shape:
            raise DistailError(
                f"Labelled views have boxes {tuple(self.boxes.shape)}, mirrored {shape} and logits "
                f"{tuple(self.logits.shape)} of types {kinds}; they belong together as (images, views, ...)."
            )
        if not bool(torch.isfinite(self.logits).all()):
            raise DistailError("Labels of views hold NaN or infinite values; distil again.")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def num_views(self) -> int:
        """Views of each image."""
        return self.mirrored.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that boxes and labels occupy."""
        return self.boxes.nbytes + self.mirrored.nbytes + self.logits.nbytes

    def seen(self, images: Float[Tensor, "n c h w"], numbers: Int64[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        """One view of each image.

        Args:
            images: preprocessed, on any device.
            numbers: of the views, 0 to v - 1.
        """
        rows = torch.arange(len(self))
        tall, wide, down, right = self.boxes[rows, numbers].float().unbind(1)
        tall, wide = (tall + 1) / _STEPS, (wide + 1) / _STEPS
        box = {
            "tall": tall,
            "wide": wide,
            "top": down / (_STEPS - 1) * (1 - tall),
            "left": right / (_STEPS - 1) * (1 - wide),
        }
        shape = (images.shape[1], images.shape[2], images.shape[3])
        enlarged = DSA("resized").apply(images, DSAParameters("resized", shape, box))
        return DSA("flip").apply(enlarged, DSAParameters("flip", shape, {"flip": self.mirrored[rows, numbers]}))

    def answers(self, numbers: Int64[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """The teacher's logits for one view of each image, in single precision."""
        return self.logits[torch.arange(len(self)), numbers].float()

    def of_images(self, kept: Bool[Tensor, " n"] | Int64[Tensor, " m"]) -> LabelledViews:
        """The views of some of the images."""
        return LabelledViews(self.boxes[kept], self.mirrored[kept], self.logits[kept])

    def answering(self, question: Callable[[Float[Tensor, "m k"]], Float[Tensor, "m o"]]) -> LabelledViews:
        """The same views with other logits, which follow from those of all classes."""
        flat = question(self.logits.flatten(0, 1).float())
        return self._labelled(flat.view(*self.mirrored.shape, -1))

    @torch.no_grad()
    def answered_by(
        self, teacher: Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n k"]], images: Float[Tensor, "n c h w"]
    ) -> LabelledViews:
        """The same views with a teacher's logits.

        Args:
            teacher: from a view of every image to their logits.
            images: preprocessed.
        """
        views = (torch.full((len(images),), number) for number in range(self.num_views))
        return self._labelled(torch.stack([teacher(self.seen(images, view)).float().cpu() for view in views], dim=1))

    def to_tensors(self) -> dict[str, Tensor]:
        """What a file holds."""
        return {"boxes": self.boxes, "mirrored": self.mirrored, "logits": self.logits}

    @staticmethod
    def from_tensors(parts: Mapping[str, Tensor]) -> LabelledViews | None:
        """What a file holds; None where it holds nothing of views.

        Raises:
            KeyError: a part is missing.
            DistailError: the parts disagree.
        """
        return LabelledViews(parts["boxes"], parts["mirrored"], parts["logits"]) if parts else None

    @staticmethod
    def drawn(
        images: Float[Tensor, "n c h w"],
        num_views: int,
        smallest_crop: float,
        teacher: Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n k"]],
        generator: torch.Generator,
    ) -> LabelledViews:
        """Random views, mirrored half of the time, labelled by a teacher.

        Args:
            images: preprocessed.
            num_views: of each image, at least 1.
            smallest_crop: smallest share of the image's area that a box takes.
            teacher: from views of all images to their logits.
            generator: on the CPU.
        """
        shape = (images.shape[1], images.shape[2], images.shape[3])
        count = len(images) * num_views
        drawn = DSA("resized", smallest_crop=smallest_crop).sample(count, shape, generator).values
        sides = [(drawn[name] * _STEPS).round().clamp(1, _STEPS) - 1 for name in ("tall", "wide")]
        rooms = [(drawn[at] / (1 - drawn[side]).clamp_min(1e-6)) for at, side in (("top", "tall"), ("left", "wide"))]
        boxes = torch.stack([*sides, *((room.clamp(0, 1) * (_STEPS - 1)).round() for room in rooms)], dim=1)
        mirrored = torch.rand(count, generator=generator) < 0.5
        unlabelled = LabelledViews(
            boxes.to(torch.uint8).view(len(images), num_views, 4),
            mirrored.view(len(images), num_views),
            torch.zeros(len(images), num_views, 1, dtype=torch.float16),
        )
        return unlabelled.answered_by(teacher, images)

    def _labelled(self, logits: Float[Tensor, "n v k"]) -> LabelledViews:
        return replace(self, logits=logits.clamp(-_LARGEST, _LARGEST).to(torch.float16))
