"""What can be known of scoring before there is a set, so that nobody waits for one that cannot be scored."""

from __future__ import annotations

from pathlib import Path

from distail.data.augment_chain import require_augmentation
from distail.data.sources import source_splits
from distail.errors import DistailError
from distail.evaluation.recipe import EvaluationRecipe
from distail.methods._registry import find_method
from distail.models.architecture import check_architecture
from distail.recipe import Recipe


def require_scorable(recipe: Recipe) -> None:
    """Refuses what scoring would refuse for certain after the set has been made. Reads no images and no networks.

    Raises:
        DistailError: a network or augmentation is unknown; a teacher is to be asked that no file is named for and the
            method does not keep, or one is named that is not asked; or a file that is named is not there.
    """
    if recipe.evaluation is None:
        return
    _require_teacher(recipe.method, recipe.evaluation)
    for architecture in recipe.evaluation.architectures:
        check_architecture(architecture)
    require_augmentation(recipe.evaluation.train.augmentation)
    stages = recipe.evaluation.two_stage
    if stages and stages.grouping:
        _require_file("grouping", stages.grouping)


def has_test_images(recipe: Recipe) -> bool:
    """Whether a recipe says where its test images are: a source, images set aside, or the source's own test split."""
    return recipe.test is not None or recipe.data.holdout is not None or has_test_split(recipe.data.source)


def has_test_split(source: str) -> bool:
    """Whether a source has a test split, as one that cannot be opened now may have."""
    try:
        return "test" in source_splits(source)
    except DistailError:
        return True


def _require_teacher(method: str, evaluation: EvaluationRecipe) -> None:
    if evaluation.labels != "teacher":
        if evaluation.teacher is not None:
            raise DistailError(
                f"The teacher {evaluation.teacher} would not be asked by the label protocol '{evaluation.labels}'. "
                "Write `labels: teacher` in `evaluation`, or leave the teacher out."
            )
    elif evaluation.teacher is not None:
        _require_file("teacher", evaluation.teacher)
    elif not find_method(method).keeps_teacher:
        raise DistailError(
            f"The label protocol 'teacher' asks a network, and the method {method} keeps none with its sets. Name one "
            "by `teacher: FILE` in `evaluation`, such as a network that `distail baseline --save` or `distail train` "
            "made, or leave out `labels: teacher`."
        )


def _require_file(kind: str, path: str) -> None:
    if not Path(path).is_file():
        raise DistailError(f"The {kind} {path} is not there, or is no file. Check the path.")
