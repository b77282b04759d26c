"""What scoring would refuse is refused before there is a set."""

import pytest

from distail.errors import DistailError
from distail.methods._registry import method_names
from distail.recipe import Recipe
from distail.scorable import require_scorable


def recipe_with(evaluation: dict | None, method: str = "dm") -> Recipe:
    return Recipe.model_validate(
        {"data": {"source": "nowhere"}, "method": method, "images_per_class": 1, "evaluation": evaluation}
    )


@pytest.mark.parametrize(
    "evaluation",
    [
        None,
        {},
        {"labels": "static"},
        {"train": {"augmentation": "rand-2-9+resized+flip"}},
        {"train": {"augmentation": "none"}},
        {"architectures": ["convnet2", "resnet18"]},
    ],
)
def test_what_can_be_scored_passes(evaluation):
    require_scorable(recipe_with(evaluation))


def test_a_teacher_may_be_asked_where_the_method_or_a_file_brings_one(tmp_path):
    file = tmp_path / "teacher.safetensors"
    file.touch()
    for method in method_names():
        require_scorable(recipe_with({"labels": "teacher", "teacher": str(file)}, method))
    for method in ("tailor", "rldd", "edc", "rded", "sre2l", "tests.methods.with_teacher"):
        require_scorable(recipe_with({"labels": "teacher"}, method))


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        ({"labels": "teacher"}, "the method dm keeps none with its sets.*teacher: FILE"),
        ({"labels": "teacher", "teacher": "gone.safetensors"}, "teacher gone.safetensors is not there"),
        ({"labels": "hard", "teacher": "some.safetensors"}, "some.safetensors would not be asked .*'hard'"),
        ({"architectures": ["convnet3", "convnot"]}, "convnot"),
        ({"train": {"augmentation": "crop_flop"}}, "Did you mean 'flip'"),
        ({"train": {"augmentation": "resized+"}}, r"nothing on one side of a '\+'"),
        ({"two_stage": {"grouping": "gone.json"}}, "grouping gone.json is not there"),
    ],
)
def test_what_cannot_be_scored_is_refused(evaluation, words):
    with pytest.raises(DistailError, match=words):
        require_scorable(recipe_with(evaluation))
