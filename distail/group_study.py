"""Groups from the outside: opens sources and distilled sets, finds groups on each with every seed, compares, keeps.

source ─ long tail ─▶ ImageSet ─ network ─▶ features ─ centroids ─▶ distances ─ max-cut ─▶ Grouping
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from distail.artifact import write_json
from distail.config import Config
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.data.sources import read_source, read_test_source
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.groups.finding import FoundGroups, find_grouping, require_lessons_for
from distail.groups.grouping import Grouping
from distail.groups.projection import project
from distail.groups.settings import GroupingSettings
from distail.groups.stability import Agreement, agreement
from distail.models.architecture import check_architecture
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.recipe import DataRecipe
from distail.report.group_pictures import Shown, comparison_picture, distances_picture, features_picture
from distail.runtime import resolve_runtime
from distail.scoring import is_distilled
from distail.training_images import training_images, training_images_of

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
    preprocessing: Literal["none", "normalize", "zca"] = "normalize"
    """Fitted on the training images of each data set."""
    seed: int = 0
    """Seed of the grouping that is kept."""
    seeds: int = Field(default=1, ge=1)
    """Groupings found on each data set, with this seed and the following ones."""
    compare: tuple[str, ...] = ()
    """'balanced', imbalance factors, and distilled sets whose groups are set beside."""
    test: str | None = None
    """Source of test images, with features='test'; the source's own test split when omitted."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of network passes."""


@dataclass(frozen=True, eq=False)
class GroupStudy:
    """Groupings of one or several data sets.

    Attributes:
        found: by the name of the data, one for each seed; the data asked about come first.
        agreement: how alike they are; None where there is only one.
        recipe: how they were found, without 'auto'.
        provenance: versions, hardware and time.
    """

    found: dict[str, tuple[FoundGroups, ...]]
    agreement: Agreement | None
    recipe: GroupRecipe
    provenance: dict[str, Any]

    @property
    def main(self) -> FoundGroups:
        """What was found on the data asked about, with the first seed."""
        return next(iter(self.found.values()))[0]

    @property
    def grouping(self) -> Grouping:
        """The grouping to use."""
        return self.main.grouping

    def to_json(self) -> dict[str, Any]:
        """Everything but features and networks, as JSON values."""
        return {
            "groups": _members(self.grouping),
            "num_groups": self.grouping.num_groups,
            "cut": {**asdict(self.main.cut), "gap": self.main.cut.gap},
            "tried": [asdict(count) for count in self.main.tried],
            "distances": self.main.distances.tolist(),
            "found": {
                name: [{"groups": _members(one.grouping), **_facts(one.grouping)} for one in several]
                for name, several in self.found.items()
            },
            "agreement": None if self.agreement is None else _agreement_facts(self.agreement),
            "recipe": self.recipe.model_dump(mode="json"),
            "provenance": self.provenance,
        }

    def save(self, folder: str | Path) -> None:
        """Writes grouping.json, manifest.json and the pictures; t-SNE takes seconds to a minute for each data set."""
        out = Path(folder)
        self.grouping.save(out / "grouping.json")
        distances_picture(self.main, out / "distances.png")
        shown = [_shown(name, several[0], self.recipe.seed) for name, several in self.found.items()]
        features_picture(shown[0], out / "features.png")
        if len(shown) > 1:
            comparison_picture(shown, out / "compared.png")
        # Last: where it is, everything is.
        write_json(out / "manifest.json", {"kind": "groups", **self.to_json()})


def study_groups(
    recipe: GroupRecipe,
    *,
    source: ImageSet | None = None,
    test: ImageSet | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> GroupStudy:
    """Finds the groups of the data asked about and of those to compare, with every seed.

    With num_groups='auto' the first grouping decides how many groups all others have.

    Args:
        recipe: what to do.
        source: images in memory, in place of the recipe's source.
        test: test images in memory, in place of the recipe's.
        out: folder for the result; must be new or empty; nothing is written when omitted.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    progress, begun = progress or SilentProgress(), time.perf_counter()
    check_architecture(recipe.architecture)
    require_free_folder(out)
    runtime = resolve_runtime(recipe.device, recipe.precision)
    recipe = recipe.model_copy(update={"device": runtime.device, "precision": runtime.precision})
    data = _opened(recipe, source, progress)
    tested = (test or _test_images(recipe, data[0].train, progress)) if recipe.settings.features == "test" else None
    found: dict[str, tuple[FoundGroups, ...]] = {}
    settings = recipe.settings
    for one in data:
        preprocessing = fit_preprocessing(one.train, recipe.preprocessing)
        several: list[FoundGroups] = []
        for seed in range(recipe.seed, recipe.seed + recipe.seeds):
            result = find_grouping(
                one.train,
                preprocessing,
                settings,
                recipe.architecture,
                seed,
                runtime,
                progress,
                lessons=one.lessons,
                test=tested,
            )
            several.append(result)
            settings = settings.model_copy(update={"num_groups": result.grouping.num_groups})
        found[one.name] = tuple(several)
    compared = len(data) > 1 or recipe.seeds > 1
    provenance = {"seconds": time.perf_counter() - begun, **environment(runtime)}
    alike = agreement({name: [one.grouping for one in several] for name, several in found.items()})
    study = GroupStudy(found, alike if compared else None, recipe, provenance)
    if out is not None:
        study.save(out)
    return study


def require_free_folder(out: str | Path | None) -> None:
    """Refuses a folder that holds anything; to be asked before long work.

    Raises:
        DistailError: the folder is a file or is not empty.
    """
    path = None if out is None else Path(out)
    if path is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DistailError(f"{path} is there and not empty. Choose another --out; nothing was touched.")


@dataclass(frozen=True, eq=False)
class _Data:
    """What one grouping is found on: the images looked at, and a distilled set where the network learns from one."""

    name: str
    train: ImageSet
    lessons: DistilledSet | None = None


def _opened(recipe: GroupRecipe, source: ImageSet | None, progress: Progress) -> list[_Data]:
    """The data asked about and those to compare, all read and checked before any network is trained."""
    data, lessons = recipe.data, None
    if source is None and is_distilled(Path(data.source)):
        if (data.imbalance, data.holdout, data.image_size) != (None, None, None):
            raise DistailError(
                f"--imbalance, --holdout and --image-size are for image sources, but {data.source} is a distilled set. "
                "Leave them out."
            )
        lessons = load_distilled(data.source)
        train = training_images_of(lessons, progress).images
        require_lessons_for(train, lessons)
        main = _Data(data.source, train, lessons)
        data = DataRecipe(**lessons.provenance["recipe"]["data"])
        whole = None
    else:
        whole = source or _read(data, progress)
        train = training_images(whole, imbalance=data.imbalance, holdout=data.holdout).images
        main = _Data(f"imbalance {data.imbalance:g}" if data.imbalance else "as it is", train)
    opened = [main]
    for text in dict.fromkeys(recipe.compare):
        if (known := _imbalance(text)) is None:
            opened.append(_distilled_data(text, train))
            continue
        if whole is None:
            whole = _read(data, progress)
        opened.append(_long_tailed_data(text, known, whole, data.holdout))
    names = [one.name for one in opened]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DistailError(f"--compare asks for '{twice}' twice, or for what is compared with it. Leave one out.")
    return opened


def _read(data: DataRecipe, progress: Progress) -> ImageSet:
    contents = read_source(data.source, "train", image_size=data.image_size, strict=data.strict, progress=progress)
    for unreadable in contents.unreadable:
        progress.say(f"left out, unreadable: {unreadable.where} ({unreadable.reason})")
    return contents.images


def _imbalance(text: str) -> float | None:
    """The imbalance that `compare` names; None where it names something else."""
    if text == BALANCED:
        return 1.0
    try:
        return float(text)
    except ValueError:
        return None


def _long_tailed_data(text: str, imbalance: float, source: ImageSet, holdout: float | None) -> _Data:
    train = training_images(source, imbalance=imbalance, holdout=holdout).images
    if text != BALANCED:
        return _Data(f"imbalance {imbalance:g}", train)
    if train.imbalance_factor > _MOST_UNEVEN:
        raise DistailError(
            f"{source.origin} is long-tailed itself (imbalance factor {source.imbalance_factor:.4g}), so there are no "
            "balanced data to compare with. Leave out --compare balanced."
        )
    return _Data(BALANCED, train)


def _distilled_data(text: str, train: ImageSet) -> _Data:
    if not is_distilled(Path(text)):
        raise DistailError(
            f"--compare {text}: there is no such distilled set. Name 'balanced', an imbalance factor such as 10, a run "
            "folder, or its distilled.safetensors."
        )
    lessons = load_distilled(text)
    require_lessons_for(train, lessons)
    return _Data(text, train, lessons)


def _test_images(recipe: GroupRecipe, train: ImageSet, progress: Progress) -> ImageSet:
    """The test images that features='test' asks for."""
    named = recipe.test or train.origin
    _, height, width = train.image_shape
    contents = read_test_source(
        named, class_names=train.class_names, image_size=(height, width), strict=recipe.data.strict, progress=progress
    )
    return contents.images


def _shown(name: str, found: FoundGroups, seed: int) -> Shown:
    return Shown(name, project(found.features, found.labels, found.centroids, seed), found.grouping)


def _members(grouping: Grouping) -> list[list[str]]:
    return [[grouping.class_names[label] for label in grouping.members(group)] for group in range(grouping.num_groups)]


def _facts(grouping: Grouping) -> dict[str, Any]:
    wanted = ("seed", "data_sha256", "class_counts", "trained_on", "features", "num_images", "num_centroids", "cut")
    return {key: grouping.provenance[key] for key in wanted}


def _agreement_facts(alike: Agreement) -> list[dict[str, Any]]:
    return [{**asdict(pair), "mean": pair.mean, "std": pair.std, "n": len(pair.values)} for pair in alike.pairs]
