"""What groups are found on: a source with or without a long tail, and distilled sets, as a recipe names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from distail.choices import DeviceName, PrecisionName, PreprocessingKind
from distail.config import Config
from distail.data.image_set import IN_MEMORY, ImageSet
from distail.data.sources import read_test_source, source_splits
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.groups.finding import require_lessons_for
from distail.groups.settings import GroupingSettings
from distail.opening import is_distilled, require_plain
from distail.progress import Progress
from distail.recipe import DataRecipe
from distail.scoring import require_size
from distail.training_images import read_training_split, training_images, training_images_of

BALANCED = "balanced"
"""What `compare` calls the source without a long tail."""

_MOST_UNEVEN = 2.0
"""Imbalance factor above which classes cut to their mean size do not count as balanced."""


class GroupRecipe(Config):
    """Which groups are found, and with what they are compared."""

    data: DataRecipe
    """The images; or a distilled set that the network learns from, and the images that it was made from."""
    settings: GroupingSettings = GroupingSettings()
    """How groups are found."""
    architecture: str = "convnet3"
    """The network whose features are grouped."""
    preprocessing: PreprocessingKind = "normalize"
    """Fitted on the training images of each data set."""
    seed: int = 0
    """Seed of the grouping that is kept."""
    seeds: int = Field(default=1, ge=1)
    """Groupings found on each data set, with this seed and the following ones."""
    compare: tuple[str, ...] = ()
    """'balanced', imbalance factors, and distilled sets whose groups are set beside."""
    test: str | None = None
    """Source of test images, with features='test'; the source's own test split when omitted."""
    device: DeviceName = "auto"
    """Where to compute."""
    precision: PrecisionName = "auto"
    """Precision of network passes."""


@dataclass(frozen=True, eq=False)
class GroupData:
    """What one grouping is found on.

    Attributes:
        name: for tables and pictures.
        train: images that the network learns from, and that are looked at.
        lessons: a distilled set that the network learns from instead.
    """

    name: str
    train: ImageSet
    lessons: DistilledSet | None = None


def open_group_data(recipe: GroupRecipe, source: ImageSet | None, progress: Progress) -> list[GroupData]:
    """The data asked about and those to compare, all read and checked before any network is trained.

    Args:
        recipe: names them.
        source: images in memory, in place of the recipe's source.
        progress: how to report.

    Raises:
        DistailError: a source or set cannot be read, does not fit the others, or is named twice.
    """
    data, lessons = recipe.data, None
    if source is None and is_distilled(Path(data.source)):
        require_plain(data.source, data.imbalance, data.holdout, data.image_size)
        lessons = load_distilled(data.source)
        train = training_images_of(lessons, progress).images
        require_lessons_for(train, lessons)
        main = GroupData(data.source, train, lessons)
        data = DataRecipe(**lessons.provenance["recipe"]["data"])
        whole = None
    else:
        whole = source or read_training_split(data, progress)
        train = training_images(whole, imbalance=data.imbalance, holdout=data.holdout).images
        main = GroupData(f"imbalance {data.imbalance:g}" if data.imbalance else "as it is", train)
    opened = [main]
    for text in dict.fromkeys(recipe.compare):
        if (known := _imbalance(text)) is None:
            opened.append(_distilled_data(text, train))
            continue
        if whole is None:
            whole = read_training_split(data, progress)
        opened.append(_long_tailed_data(text, known, whole, data.holdout, train))
    names = [one.name for one in opened]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DistailError(f"--compare asks for '{twice}' twice, or for what is compared with it. Leave one out.")
    return opened


def _imbalance(text: str) -> float | None:
    """The imbalance that `compare` names; None where it names something else."""
    if text == BALANCED:
        return 1.0
    try:
        return float(text)
    except ValueError:
        return None


def _long_tailed_data(
    text: str, imbalance: float, source: ImageSet, holdout: float | None, main: ImageSet
) -> GroupData:
    train = training_images(source, imbalance=imbalance, holdout=holdout).images
    if text != BALANCED:
        return GroupData(f"imbalance {imbalance:g}", train)
    if main.imbalance_factor <= _MOST_UNEVEN:
        raise DistailError(
            f"{source.origin} is balanced as it is, so --compare balanced would compare it with the same data. Leave "
            "it out, or make the data long-tailed with --imbalance."
        )
    if train.imbalance_factor > _MOST_UNEVEN:
        raise DistailError(
            f"{source.origin} is long-tailed itself (imbalance factor {source.imbalance_factor:.4g}), so there are no "
            "balanced data to compare with. Leave out --compare balanced."
        )
    return GroupData(BALANCED, train)


def _distilled_data(text: str, train: ImageSet) -> GroupData:
    if not is_distilled(Path(text)):
        raise DistailError(
            f"--compare {text}: there is no such distilled set. Name 'balanced', an imbalance factor such as 10, a run "
            "folder, or its distilled.safetensors."
        )
    lessons = load_distilled(text)
    require_lessons_for(train, lessons)
    return GroupData(text, train, lessons)


def test_images_of(recipe: GroupRecipe, train: ImageSet, progress: Progress) -> ImageSet:
    """The test images that features='test' asks for.

    Raises:
        DistailError: the source has none and no others are named, or they are of another size.
    """
    if recipe.test is None and (train.origin == IN_MEMORY or "test" not in source_splits(train.origin)):
        raise DistailError(f"{train.origin} has no test split. Name test images with --test, or use other features.")
    named = recipe.test or train.origin
    _, height, width = train.image_shape
    contents = read_test_source(
        named, class_names=train.class_names, image_size=(height, width), strict=recipe.data.strict, progress=progress
    )
    if recipe.data.image_size is None:
        require_size(contents, (height, width))
    return contents.readable(progress)
