import pytest

from distail.config import parse_config
from distail.errors import DistailError
from distail.training.recipe import TrainRecipe


@pytest.mark.parametrize(("schedule", "epochs"), [("step", 8), ("cosine", 7), ("constant", 7)])
def test_only_the_step_schedule_runs_one_epoch_more(schedule, epochs):
    assert TrainRecipe(epochs=7, schedule=schedule).num_epochs == epochs


def test_defaults_are_the_common_evaluation():
    recipe = TrainRecipe()
    assert (recipe.num_epochs, recipe.batch_size, recipe.learning_rate) == (1001, 256, 0.01)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 5e-4)
    assert recipe.augmentation.split("_") == ["color", "crop", "cutout", "flip", "scale", "rotate"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -1e-9),
        ("schedule", "linear"),
    ],
)
def test_impossible_values_are_refused(key, value):
    with pytest.raises(DistailError, match=rf"recipe: '{key}': "):
        parse_config(TrainRecipe, {key: value}, "recipe")


def test_every_setting_is_documented():
    assert all(field.description for field in TrainRecipe.model_fields.values())
