import pytest

from distail.config import parse_config
from distail.data.augment import DSA
from distail.errors import DistailError
from distail.training.recipe import DSA_ALL, TrainRecipe


@pytest.mark.parametrize(("schedule", "epochs"), [("step", 8), ("cosine", 7), ("constant", 7)])
def test_only_the_step_schedule_runs_one_epoch_more(schedule, epochs):
    assert TrainRecipe(epochs=7, schedule=schedule).num_epochs == epochs


def test_defaults_are_the_common_evaluation():
    recipe = TrainRecipe()
    assert (recipe.num_epochs, recipe.batch_size, recipe.learning_rate) == (1001, 256, 0.01)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 5e-4)
    assert recipe.augmentation.split("_") == ["color", "crop", "cutout", "flip", "scale", "rotate"]
    assert recipe.augmentation == DSA_ALL == DSA().strategy


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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer", "adam"),
        ("loss", "mse"),
        ("temperature", 0.0),
        ("hard_weight", -0.1),
        ("mixing", "mixcut"),
        ("mixing_probability", 1.1),
        ("smallest_crop", 0.0),
        ("average", 1.0),
        ("learning_rate_large", 0.0),
    ],
)
def test_impossible_values_of_richer_training_are_refused(key, value):
    with pytest.raises(DistailError, match=rf"recipe: '{key}': "):
        parse_config(TrainRecipe, {key: value}, "recipe")


def test_only_what_was_given_changes_a_recipe():
    own = TrainRecipe(epochs=5, loss="divergence", temperature=20.0)
    assert own.changed_by(TrainRecipe()) == own
    changed = own.changed_by(TrainRecipe(epochs=1000, batch_size=10))
    assert (changed.epochs, changed.batch_size, changed.loss, changed.temperature) == (1000, 10, "divergence", 20.0)


def test_a_step_size_that_was_given_is_that_of_all_networks():
    own = TrainRecipe(learning_rate=0.1, learning_rate_large=0.01)
    assert own.changed_by(TrainRecipe(epochs=5)).learning_rate_large == 0.01
    changed = own.changed_by(TrainRecipe(learning_rate=0.2))
    assert (changed.learning_rate, changed.learning_rate_large) == (0.2, None)
    both = own.changed_by(TrainRecipe(learning_rate=0.2, learning_rate_large=0.3))
    assert (both.learning_rate, both.learning_rate_large) == (0.2, 0.3)


def test_a_step_size_that_is_none_of_its_own_is_not_written():
    """So that what was trained by earlier recipes is found under its name."""
    assert "learning_rate_large" not in TrainRecipe().model_dump()
    recipe = TrainRecipe(learning_rate_large=0.3)
    assert recipe.model_dump(mode="json")["learning_rate_large"] == 0.3
    assert TrainRecipe.model_validate(recipe.given) == recipe


def test_what_differs_from_the_common_evaluation():
    assert TrainRecipe().given == {}
    assert TrainRecipe(epochs=1000, loss="divergence").given == {"loss": "divergence"}


def test_hard_labels_leave_cross_entropy_alone():
    rich = TrainRecipe(loss="squared_error", hard_weight=0.1, mixing="cutmix", optimizer="adamw")
    assert rich.on_hard_labels == TrainRecipe(mixing="cutmix", optimizer="adamw")
    assert TrainRecipe().on_hard_labels == TrainRecipe()


def test_every_setting_is_documented():
    assert all(field.description for field in TrainRecipe.model_fields.values())
