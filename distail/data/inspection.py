"""What is worth knowing about a dataset before distilling it: counts, sizes, damage and duplicates."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from distail.data.image_set import ImageSet
from distail.data.long_tail import shot_group
from distail.data.sources.contents import SourceContents, UnreadableImage


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are equal in every pixel.

    Attributes:
        indices: positions in the inspected split, rising.
        other_indices: positions in the other split, rising; empty for duplicates within one split.
        class_names: the distinct classes that these images are labelled with, sorted.
    """

    indices: tuple[int, ...]
    other_indices: tuple[int, ...]
    class_names: tuple[str, ...]

    @property
    def labels_disagree(self) -> bool:
        """Whether the same image is labelled with more than one class."""
        return len(self.class_names) > 1


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known about one split, and what it shares with another.

    Attributes:
        origin: the source as the user named it.
        split: the inspected split.
        num_images: its readable images.
        class_names: in label order, as in the next two.
        class_counts: images of each class.
        shot_groups: 'many', 'medium' or 'few' for each class, by its count.
        imbalance_factor: largest over smallest class count; infinite where a class is empty.
        image_shape: (channels, height, width) as read.
        sizes: count of each original (height, width).
        unreadable: the images that were left out.
        empty_classes: names of classes without an image.
        duplicates_within: groups of equal images of this split, in order of their first image.
        duplicates_across: groups of equal images of which some stand in this split and some in the other one:
            a leak, if the other one is for testing. Empty where there is no other split.
    """

    origin: str
    split: str
    num_images: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    shot_groups: tuple[str, ...]
    imbalance_factor: float
    image_shape: tuple[int, int, int]
    sizes: dict[tuple[int, int], int]
    unreadable: tuple[UnreadableImage, ...]
    empty_classes: tuple[str, ...]
    duplicates_within: tuple[DuplicateGroup, ...]
    duplicates_across: tuple[DuplicateGroup, ...]

    def to_json(self) -> dict[str, object]:
        """The same facts as values that `json.dumps` takes; an infinite imbalance factor becomes None."""
        return {
            "origin": self.origin,
            "split": self.split,
            "num_images": self.num_images,
            "classes": [
                {"name": name, "count": count, "shot_group": group}
                for name, count, group in zip(self.class_names, self.class_counts, self.shot_groups, strict=True)
            ],
            "imbalance_factor": self.imbalance_factor if math.isfinite(self.imbalance_factor) else None,
            "image_shape": list(self.image_shape),
            "sizes": [
                {"height": height, "width": width, "count": count}
                for (height, width), count in sorted(self.sizes.items())
            ],
            "unreadable": [{"where": image.where, "reason": image.reason} for image in self.unreadable],
            "empty_classes": list(self.empty_classes),
            "duplicates_within": [_group_to_json(group) for group in self.duplicates_within],
            "duplicates_across": [_group_to_json(group) for group in self.duplicates_across],
        }


def inspect(contents: SourceContents, other: SourceContents | None = None) -> Inspection:
    """Looks one split over, and for images that it shares with another.

    Images are compared as they were read, so after any resizing.

    Args:
        contents: the split to inspect, usually the training data.
        other: the split that should share no image with it, usually the test data.
    """
    images = contents.images
    positions = _positions_by_pixels(images)
    return Inspection(
        origin=images.origin,
        split=contents.split,
        num_images=len(images),
        class_names=images.class_names,
        class_counts=images.class_counts,
        shot_groups=tuple(shot_group(count) for count in images.class_counts),
        imbalance_factor=images.imbalance_factor,
        image_shape=images.image_shape,
        sizes=contents.sizes,
        unreadable=contents.unreadable,
        empty_classes=images.empty_classes,
        duplicates_within=_duplicates_within(images, positions),
        duplicates_across=_duplicates_across(images, positions, other.images) if other is not None else (),
    )


def _positions_by_pixels(images: ImageSet) -> dict[int, list[int]]:
    """Where each distinct image stands, by its fingerprint."""
    positions: dict[int, list[int]] = defaultdict(list)
    for index, fingerprint in enumerate(images.fingerprints.tolist()):
        positions[fingerprint].append(index)
    return positions


def _duplicates_within(images: ImageSet, positions: dict[int, list[int]]) -> tuple[DuplicateGroup, ...]:
    return tuple(
        DuplicateGroup(tuple(indices), (), _classes_of(images, indices))
        for indices in positions.values()
        if len(indices) > 1
    )


def _duplicates_across(
    images: ImageSet, positions: dict[int, list[int]], other: ImageSet
) -> tuple[DuplicateGroup, ...]:
    elsewhere = _positions_by_pixels(other)
    groups = []
    for fingerprint, indices in positions.items():
        if fingerprint in elsewhere:
            classes = {*_classes_of(images, indices), *_classes_of(other, elsewhere[fingerprint])}
            groups.append(DuplicateGroup(tuple(indices), tuple(elsewhere[fingerprint]), tuple(sorted(classes))))
    return tuple(groups)


def _classes_of(images: ImageSet, indices: list[int]) -> tuple[str, ...]:
    return tuple(sorted({images.class_names[label] for label in images.labels[indices].tolist()}))


def _group_to_json(group: DuplicateGroup) -> dict[str, object]:
    return {
        "indices": list(group.indices),
        "other_indices": list(group.other_indices),
        "class_names": list(group.class_names),
        "labels_disagree": group.labels_disagree,
    }
