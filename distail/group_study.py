"""Groups from the outside: opens sources and distilled sets, finds groups on each with every seed, compares, keeps.

source ─ long tail ─▶ ImageSet ─ network ─▶ features ─ centroids ─▶ distances ─ max-cut ─▶ Grouping
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distail.artifact import require_not_taken, write_json
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.group_data import GroupRecipe, open_group_data, test_images_of
from distail.groups.finding import FoundGroups, find_grouping
from distail.groups.grouping import Grouping
from distail.groups.projection import project
from distail.groups.stability import Agreement, agreement
from distail.learn.kept import KeptNetworks
from distail.models.architecture import check_architecture
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.report.group_pictures import Shown, comparison_picture, distances_picture, features_picture
from distail.runtime import resolve_runtime


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
    networks: str | Path | None = None,
    progress: Progress | None = None,
) -> GroupStudy:
    """Finds the groups of the data asked about and of those to compare, with every seed.

    With num_groups='auto' the first grouping decides how many groups all others have.

    Args:
        recipe: what to do.
        source: images in memory, in place of the recipe's source.
        test: test images in memory, in place of the recipe's.
        out: folder for the result; must be new or empty; nothing is written when omitted.
        networks: folder in which trained networks are kept; those that are there are not trained again.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    progress, begun = progress or SilentProgress(), time.perf_counter()
    check_architecture(recipe.architecture)
    if out is not None:
        require_not_taken(Path(out))
    if recipe.settings.features != "test" and (recipe.test, test) != (None, None):
        raise DistailError("--test names images for --features test. Pass both, or leave out --test.")
    runtime = resolve_runtime(recipe.device, recipe.precision)
    recipe = recipe.model_copy(update={"device": runtime.device, "precision": runtime.precision})
    data = open_group_data(recipe, source, progress)
    tested = (test or test_images_of(recipe, data[0].train, progress)) if recipe.settings.features == "test" else None
    kept = KeptNetworks(Path(networks)) if networks else None
    found: dict[str, tuple[FoundGroups, ...]] = {}
    num_groups: int | None = None
    for one in data:
        preprocessing = fit_preprocessing(one.train, recipe.preprocessing)
        several: list[FoundGroups] = []
        for seed in range(recipe.seed, recipe.seed + recipe.seeds):
            result = find_grouping(
                one.train,
                preprocessing,
                recipe.settings,
                recipe.architecture,
                seed,
                runtime,
                progress,
                lessons=one.lessons,
                test=tested,
                kept=kept,
                num_groups=num_groups,
                name=one.name,
            )
            several.append(result)
            num_groups = result.grouping.num_groups
        found[one.name] = tuple(several)
    compared = len(data) > 1 or recipe.seeds > 1
    provenance = {"seconds": time.perf_counter() - begun, **environment(runtime)}
    alike = agreement({name: [one.grouping for one in several] for name, several in found.items()})
    study = GroupStudy(found, alike if compared else None, recipe, provenance)
    if out is not None:
        study.save(out)
    return study


def _shown(name: str, found: FoundGroups, seed: int) -> Shown:
    return Shown(name, project(found.features, found.labels, found.centroids, seed), found.grouping, seed)


def _members(grouping: Grouping) -> list[list[str]]:
    return [[grouping.class_names[label] for label in grouping.members(group)] for group in range(grouping.num_groups)]


def _facts(grouping: Grouping) -> dict[str, Any]:
    wanted = ("seed", "data_sha256", "class_counts", "trained_on", "features", "num_images", "num_centroids", "cut")
    return {key: grouping.provenance[key] for key in wanted}


def _agreement_facts(alike: Agreement) -> list[dict[str, Any]]:
    return [{**asdict(pair), "mean": pair.mean, "std": pair.std, "n": len(pair.values)} for pair in alike.pairs]
