"""`DistilledSet`: the product. One safetensors file with everything needed to train on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from distail.artifact import TensorFile, read_tensors, with_prefix, write_tensors
from distail.config import parse_config
from distail.data.labelled_views import LabelledViews
from distail.data.preprocess import Preprocessing
from distail.errors import DistailError
from distail.synthetic.mosaic import decode_preprocessed
from distail.training.recipe import LabelProtocol, TrainRecipe

KIND = "distilled set"
FILE_NAME = "distilled.safetensors"
_PREPROCESSING = "preprocessing."
_VIEWS = "views."


@dataclass(frozen=True)
class StoredBytes:
    """What a set occupies, part by part, in bytes of its tensors.

    Attributes:
        images: the synthetic images.
        labels: hard and soft labels, and labelled views.
        preprocessing: what turns raw images into the space of the synthetic ones.
        teacher: weights needed to label views while training; 0 unless the protocol asks a teacher.
    """

    images: int
    labels: int
    preprocessing: int
    teacher: int = 0

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.images + self.labels + self.preprocessing + self.teacher


@dataclass(frozen=True, eq=False, repr=False)
class DistilledSet:
    """A small training set, synthetic or selected.

    Attributes:
        images: (n, channels, height, width), in preprocessed space.
        labels: (n,), hard labels.
        class_names: in label order.
        preprocessing: maps raw images to the space of `images`; test images must pass through it.
        soft_labels: (n, classes) logits, or None.
        learning_rate: the student's learned step size, or None.
        mosaic: cells a side; above 1, an image holds mosaic * mosaic small ones, and networks learn from those,
            enlarged (`decoded`).
        provenance: recipe, versions, hashes: how the set was made.
        training_fingerprints: `ImageSet.fingerprints` of the real images it was made from, so that scoring can tell
            test images among them; None where they are not known.
        training: how students are to be trained on it; the common way when None.
        views: of the images, with soft labels of their own, from which students then learn; or None.

    Raises:
        DistailError: shapes disagree, a label is out of range, a value is not finite, the learning rate is not
            positive, the images are no such mosaics, or mosaics have views.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    soft_labels: Float[Tensor, "n k"] | None = None
    learning_rate: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    training_fingerprints: Int64[Tensor, " m"] | None = None
    mosaic: int = 1
    training: TrainRecipe | None = None
    views: LabelledViews | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or len(self.images) == 0:
            raise DistailError(f"A distilled set needs one label per image: {len(self.images)} and {len(self.labels)}.")
        if self.preprocessing.image_shape != self.image_shape:
            raise DistailError(
                f"The distilled images are {self.image_shape}, but the preprocessing is for "
                f"{self.preprocessing.image_shape}. Use the preprocessing the set was made with."
            )
        if self.mosaic < 1 or any(side % self.mosaic for side in self.image_shape[1:]):
            raise DistailError(
                f"Images of {self.image_shape} (channels, height, width) are no mosaics of {self.mosaic}x{self.mosaic} "
                "cells; the cells of a mosaic are at least 1 a side and divide it evenly."
            )
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= self.num_classes:
            raise DistailError(f"Distilled labels must lie in 0..{self.num_classes - 1}.")
        if self.soft_labels is not None and self.soft_labels.shape != (len(self.labels), self.num_classes):
            raise DistailError(
                f"Soft labels have shape {tuple(self.soft_labels.shape)} instead of "
                f"{(len(self.labels), self.num_classes)}."
            )
        self._require_own_views()
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise DistailError(f"The set's learning rate is {rate}, but must be positive and finite; distil again.")
        for name, values in (("images", self.images), ("soft labels", self.soft_labels)):
            if values is not None and not bool(torch.isfinite(values).all()):
                raise DistailError(
                    f"The distilled {name} hold NaN or infinite values; distil again with smaller steps."
                )

    def _require_own_views(self) -> None:
        if self.views is None:
            return
        if (len(self.views), self.views.logits.shape[2]) != (len(self.labels), self.num_classes):
            raise DistailError(
                f"The labelled views are of {len(self.views)} images and {self.views.logits.shape[2]} classes, the set "
                f"has {len(self.labels)} and {self.num_classes}."
            )
        if self.soft_labels is None:
            raise DistailError(
                "A set with labelled views needs soft labels of its images too; relabel it by a teacher."
            )
        if self.mosaic > 1:
            raise DistailError("Views of mosaics are not known: their cells are images of their own.")

    def __repr__(self) -> str:
        soft = "hard" if self.soft_labels is None else "soft"
        what = "images" if self.mosaic == 1 else f"mosaics of {self.mosaic}x{self.mosaic}"
        return f"DistilledSet({len(self)} {what} of {self.image_shape}, {self.num_classes} classes, {soft} labels)"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Distilled images of each class, in label order."""
        return tuple(torch.bincount(self.labels, minlength=self.num_classes).tolist())

    def to_pixels(self) -> UInt8[Tensor, "n c h w"]:
        """The images as ordinary pixels, 0..255: preprocessing inverted, clipped and rounded."""
        return as_pixels(self.images, self.preprocessing)

    def soft_targets(self) -> Float[Tensor, "n k"]:
        """Class probabilities: softmax of the soft labels, or one-hot hard labels where there are none."""
        if self.soft_labels is not None:
            return self.soft_labels.softmax(dim=1)
        return torch.nn.functional.one_hot(self.labels, self.num_classes).float()

    def decoded(self) -> DistilledSet:
        """The set as networks learn from it: every cell of a mosaic an image of its own, with the mosaic's labels.

        The cells of an image stand one after the other. Without mosaics it is the set itself.
        """
        if self.mosaic == 1:
            return self
        cells = self.mosaic**2
        return replace(
            self,
            images=decode_preprocessed(self.images, self.mosaic, self.preprocessing),
            labels=self.labels.repeat_interleave(cells),
            soft_labels=None if self.soft_labels is None else self.soft_labels.repeat_interleave(cells, 0),
            mosaic=1,
        )

    def as_dataset(self, *, soft: bool = False) -> Dataset[tuple[Tensor, ...]]:
        """A torch `Dataset` of (preprocessed image, label), the label an index or, if `soft`, probabilities.

        Mosaics are decoded.
        """
        whole = self.decoded()
        return TensorDataset(whole.images, whole.soft_targets() if soft else whole.labels)

    def as_views(self, epoch: int) -> Dataset[tuple[Tensor, ...]]:
        """A torch `Dataset` of (preprocessed view, logits of its label), a view of each image: another in every epoch.

        Raises:
            DistailError: the set stores no labelled views.
        """
        if self.views is None:
            raise DistailError(
                "The set stores no labelled views. Use as_dataset(), or make a set that does with `distail relabel "
                "--views 100 --teacher FILE`."
            )
        number = epoch % self.views.num_views
        return TensorDataset(self.views.seen(self.images, number), self.views.answers(number).to(self.images.device))

    def stored_bytes(self, labels: LabelProtocol = "static") -> StoredBytes:
        """Bytes of images, labels and preprocessing that students of a label protocol need, without the teacher's.

        Hard labels always count, and all others that are stored under 'static'; mosaics count as they are stored.
        """
        kinds = (self.soft_labels, self.views) if labels == "static" else ()
        soft = sum(kind.nbytes for kind in kinds if kind is not None)
        return StoredBytes(self.images.nbytes, self.labels.nbytes + soft, self.preprocessing.num_bytes)

    def save(self, path: str | Path) -> None:
        """Writes the set to one safetensors file, atomically."""
        tensors = {"images": self.images, "labels": self.labels}
        if self.soft_labels is not None:
            tensors["soft_labels"] = self.soft_labels
        if self.training_fingerprints is not None:
            tensors["training_fingerprints"] = self.training_fingerprints
        if self.views is not None:
            tensors |= {_VIEWS + name: value for name, value in self.views.to_tensors().items()}
        tensors |= {_PREPROCESSING + name: value for name, value in self.preprocessing.to_tensors().items()}
        header = {
            "class_names": list(self.class_names),
            "learning_rate": self.learning_rate,
            "mosaic": self.mosaic,
            "training": None if self.training is None else self.training.given,
            "preprocessing": self.preprocessing.header(),
            "provenance": self.provenance,
        }
        write_tensors(Path(path), TensorFile(KIND, tensors, header))


def as_pixels(images: Float[Tensor, "n c h w"], preprocessing: Preprocessing) -> UInt8[Tensor, "n c h w"]:
    """Preprocessed images as ordinary pixels, 0..255: preprocessing inverted, clipped and rounded."""
    return (preprocessing.invert(images) * 255).round().clamp(0, 255).to(torch.uint8)


def load_distilled(path: str | Path) -> DistilledSet:
    """Reads a distilled set from its file or from the run folder that holds it.

    Raises:
        DistailError: the file is missing, truncated, altered or foreign.
    """
    file = Path(path)
    if file.is_dir():
        file = file / FILE_NAME
        if not file.exists():
            raise DistailError(
                f"{path} holds no finished distilled set ({FILE_NAME}). "
                "Finish the run with `distail distill ... --resume`, or name another run."
            )
    content = read_tensors(file, KIND)
    tensors, header = content.tensors, content.header
    try:
        return DistilledSet(
            images=tensors["images"],
            labels=tensors["labels"],
            class_names=tuple(header["class_names"]),
            preprocessing=Preprocessing.from_parts(header["preprocessing"], with_prefix(tensors, _PREPROCESSING)),
            soft_labels=tensors.get("soft_labels"),
            learning_rate=header["learning_rate"],
            provenance=header["provenance"],
            training_fingerprints=tensors.get("training_fingerprints"),
            mosaic=_mosaic(header.get("mosaic", 1), file),
            training=_training(header.get("training"), file),
            views=LabelledViews.from_tensors(with_prefix(tensors, _VIEWS)),
        )
    except KeyError as error:
        raise DistailError(f"{file} lacks {error}; it is not a whole distilled set. Make it again.") from None


def _mosaic(found: object, file: Path) -> int:
    """Cells a side, as the header says; 1 in files older than mosaics."""
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise DistailError(
            f"{file} names {found!r} cells a side of its mosaics instead of a whole number from 1. It is damaged; make "
            "it again."
        )
    return found


def _training(found: object, file: Path) -> TrainRecipe | None:
    """How students are trained, as the header says; None in files older than that."""
    if found is None:
        return None
    if not isinstance(found, dict):
        raise DistailError(f"{file} names {found!r} as how to train students. It is damaged; make it again.")
    return parse_config(TrainRecipe, found, f"{file}, how to train students")
