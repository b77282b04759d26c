"""`LabelledViews`: several views of each image of a set, with a teacher's answer to every one of them.

One soft label an image says what a teacher thinks of the image as it is, and nothing of its parts, or of images that
are mixed. Labels of what networks will see while they train tell them almost as much as the teacher itself would, and
take less room: 4 bytes for a view's box, 12 for what is mixed into it, 2 a class for its label. What a view looks like
is counted in whole 255ths or 256ths of the image's sides, and is labelled as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Integer, UInt8
from torch import Tensor

from distail.data.augment import DSA, DSAParameters
from distail.errors import DistailError

Teacher = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n k"]]
"""From preprocessed images to logits."""
_LENGTHS = 256
"""Lengths that a box's side can have."""
_PLACES = 255
"""Parts of a side that places are counted in."""
_LARGEST = 65504.0
"""Of the numbers that half precision holds."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What is mixed into each view: a box of another image, enlarged too, of which a rectangle shows.

    Attributes:
        partners: the other image; the image itself where nothing is mixed in.
        boxes: of that image, as in `LabelledViews`.
        places: top, bottom, left and right of the rectangle, in 255ths of the sides.
    """

    partners: Integer[Tensor, "n v"]
    boxes: UInt8[Tensor, "n v 4"]
    places: UInt8[Tensor, "n v 4"]

    def shown(self, number: int, size: tuple[int, int]) -> Bool[Tensor, "n h w"]:
        """Which pixels of one view of each image are the partner's, at this height and width."""
        top, bottom, left, right = self.places[:, number].unbind(1)
        rows, columns = _between(top, bottom, size[0]), _between(left, right, size[1])
        return rows[:, :, None] & columns[:, None, :]

    def to_tensors(self) -> dict[str, Tensor]:
        """What a file holds."""
        return {"partners": self.partners, "partner_boxes": self.boxes, "places": self.places}


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """v views of each of n images: a box, enlarged to the whole image, with a part of another.

    Attributes:
        boxes: height and width in 256ths of the image's, less one; then the room above and on the left, in 255ths of
            what the box leaves.
        logits: a teacher's, in half precision.
        parts: what is mixed in, as by CutMix; None where nothing is.

    Raises:
        DistailError: there is no view, the tensors disagree, a partner is not there, or a logit is not finite.
    """

    boxes: UInt8[Tensor, "n v 4"]
    logits: Float[Tensor, "n v k"]
    parts: Parts | None = None

    def __post_init__(self) -> None:
        found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in self.to_tensors().items()}
        views, classes = tuple(self.boxes.shape[:-1]), self.logits.shape[-1]
        expected = {"boxes": ((*views, 4), torch.uint8), "logits": ((*views, classes), torch.float16)}
        expected |= {"partners": (views, torch.int32)}
        expected |= {"partner_boxes": ((*views, 4), torch.uint8), "places": ((*views, 4), torch.uint8)}
        if len(views) != 2 or 0 in views or any(value != expected[name] for name, value in found.items()):
            raise DistailError(f"The tensors of labelled views do not belong together, distil the set again: {found}.")
        if self.parts and not 0 <= int(self.parts.partners.min()) <= int(self.parts.partners.max()) < len(self):
            raise DistailError("Labelled views show parts of images that the set does not have; distil it again.")
        if not bool(torch.isfinite(self.logits).all()):
            raise DistailError("Labels of views hold NaN or infinite values; distil again.")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def num_views(self) -> int:
        """Views of each image."""
        return self.boxes.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that all of it occupies."""
        return sum(tensor.nbytes for tensor in self.to_tensors().values())

    def seen(self, images: Float[Tensor, "n c h w"], number: int) -> Float[Tensor, "n c h w"]:
        """One view of each image.

        Args:
            images: preprocessed, on any device.
            number: of the view, 0 to v - 1.
        """
        views = _enlarged(images, self.boxes[:, number])
        if self.parts is None:
            return views
        others = _enlarged(images[self.parts.partners[:, number].to(images.device)], self.parts.boxes[:, number])
        shows = self.parts.shown(number, (images.shape[2], images.shape[3]))[:, None]  # n 1 h w
        return torch.where(shows.to(images.device), others, views)

    def hard_labels(
        self, labels: Int64[Tensor, " n"], number: int, size: tuple[int, int]
    ) -> Int64[Tensor, " n"] | Float[Tensor, "n k"]:
        """Hard labels of one view of each image; each class' share of its pixels where views are mixed.

        Args:
            labels: of the images.
            number: of the view.
            size: height and width of the images.
        """
        if self.parts is None:
            return labels
        own = F.one_hot(labels, self.logits.shape[2]).float()
        share = self.parts.shown(number, size).float().mean((1, 2))[:, None].to(own)
        return (1 - share) * own + share * own[self.parts.partners[:, number].to(labels.device)]

    def answers(self, number: int) -> Float[Tensor, "n k"]:
        """The teacher's logits for one view of each image, in single precision."""
        return self.logits[:, number].float()

    def of_images(self, kept: Bool[Tensor, " n"]) -> LabelledViews | None:
        """The views of some of the images that show parts of these alone.

        Every image gets as many as the one that keeps the most, by repeating its own; None where an image keeps none.
        """
        own = kept.nonzero().squeeze(1)
        if self.parts is None:
            return LabelledViews(self.boxes[own], self.logits[own])
        counts = (whole := kept[self.parts.partners[own]]).sum(1)  # m v; m
        if len(own) == 0 or int(counts.min()) == 0:
            return None
        in_order = (~whole).to(torch.uint8).argsort(dim=1, stable=True)  # those that stay whole come first
        numbers = in_order.gather(1, torch.arange(int(counts.max())) % counts[:, None])
        rows, place = own[:, None], torch.cumsum(kept, 0) - 1
        parts = Parts(
            place[self.parts.partners[rows, numbers]].to(torch.int32),
            self.parts.boxes[rows, numbers],
            self.parts.places[rows, numbers],
        )
        return LabelledViews(self.boxes[rows, numbers], self.logits[rows, numbers], parts)

    def answering(self, question: Callable[[Float[Tensor, "m k"]], Float[Tensor, "m o"]]) -> LabelledViews:
        """The same views with other logits, which follow from those of all classes."""
        flat = question(self.logits.flatten(0, 1).float())
        return self._labelled(flat.view(*self.boxes.shape[:2], -1))

    @torch.no_grad()
    def answered_by(self, teacher: Teacher, images: Float[Tensor, "n c h w"]) -> LabelledViews:
        """The same views of these preprocessed images with a teacher's logits."""
        logits = [teacher(self.seen(images, number)).float().cpu() for number in range(self.num_views)]
        return self._labelled(torch.stack(logits, dim=1))

    def to_tensors(self) -> dict[str, Tensor]:
        """What a file holds."""
        own = {"boxes": self.boxes, "logits": self.logits}
        return own if self.parts is None else own | self.parts.to_tensors()

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> LabelledViews | None:
        """What a file holds; None where it holds nothing of views.

        Raises:
            KeyError: a tensor is missing.
            DistailError: the tensors disagree.
        """
        if not tensors:
            return None
        parts = None
        if "partners" in tensors:
            parts = Parts(tensors["partners"], tensors["partner_boxes"], tensors["places"])
        return LabelledViews(tensors["boxes"], tensors["logits"], parts)

    @staticmethod
    def drawn(
        images: Float[Tensor, "n c h w"],
        num_views: int,
        teacher: Teacher,
        generator: torch.Generator,
        *,
        smallest_crop: float,
        mixed: float,
    ) -> LabelledViews:
        """Random views, labelled by a teacher.

        Args:
            images: preprocessed.
            num_views: of each image, at least 1.
            teacher: from views of all images to their logits.
            generator: on the CPU.
            smallest_crop: smallest share of an image's area that a box takes.
            mixed: share of the views that show a part of another image, by CutMix with even shares.
        """
        shape = (len(images), num_views)
        boxes = _random_boxes(shape, smallest_crop, generator)
        parts = None
        if mixed > 0:
            partners = torch.stack([torch.randperm(shape[0], generator=generator) for _ in range(num_views)], dim=1)
            places = _random_places(shape, generator)
            alone = torch.rand(shape, generator=generator) >= mixed
            partners = torch.where(alone, torch.arange(shape[0])[:, None], partners).to(torch.int32)
            places[alone] = 0
            parts = Parts(partners, _random_boxes(shape, smallest_crop, generator), places)
        unlabelled = LabelledViews(boxes, torch.zeros(*shape, 1, dtype=torch.float16), parts)
        return unlabelled.answered_by(teacher, images)

    def _labelled(self, logits: Float[Tensor, "n v k"]) -> LabelledViews:
        return replace(self, logits=logits.clamp(-_LARGEST, _LARGEST).to(torch.float16))


def bytes_of_view(num_classes: int) -> int:
    """What a mixed view takes: its box, the partner with box and place, and a logit a class."""
    return 4 + 12 + 2 * num_classes


def _enlarged(images: Float[Tensor, "n c h w"], boxes: UInt8[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """A box of each image, at the size of the image."""
    tall, wide, above, beside = boxes.float().unbind(1)
    tall, wide = (tall + 1) / _LENGTHS, (wide + 1) / _LENGTHS
    box = {"tall": tall, "wide": wide, "top": above / _PLACES * (1 - tall), "left": beside / _PLACES * (1 - wide)}
    shape = (images.shape[1], images.shape[2], images.shape[3])
    return DSA("resized").apply(images, DSAParameters("resized", shape, box))


def _between(start: UInt8[Tensor, " n"], end: UInt8[Tensor, " n"], side: int) -> Bool[Tensor, "n side"]:
    """Which pixels of a side lie between two places."""
    start, end = ((place.float() * side / _PLACES).round()[:, None] for place in (start, end))
    pixels = torch.arange(side)
    return (pixels >= start) & (pixels < end)


def _random_boxes(shape: tuple[int, int], smallest: float, generator: torch.Generator) -> UInt8[Tensor, "n v 4"]:
    """Boxes as the operation `resized` draws them, in whole steps."""
    square = (1, 1, 1)  # boxes are shares of the sides, whatever these are
    drawn = DSA("resized", smallest_crop=smallest).sample(shape[0] * shape[1], square, generator).values
    sides = [(drawn[name] * _LENGTHS).round().clamp(1, _LENGTHS) - 1 for name in ("tall", "wide")]
    rooms = [drawn[at] / (1 - drawn[side]).clamp_min(1e-6) for at, side in (("top", "tall"), ("left", "wide"))]
    places = [(room.clamp(0, 1) * _PLACES).round() for room in rooms]
    return torch.stack([*sides, *places], dim=1).to(torch.uint8).view(*shape, 4)


def _random_places(shape: tuple[int, int], generator: torch.Generator) -> UInt8[Tensor, "n v 4"]:
    """Rectangles of even shares of the area around even centres, cut off at the borders."""
    half = torch.rand(shape, generator=generator).sqrt() / 2
    ends = []
    for _ in range(2):
        centre = torch.rand(shape, generator=generator)
        ends += [centre - half, centre + half]
    return (torch.stack(ends, dim=2).clamp(0, 1) * _PLACES).round().to(torch.uint8)
