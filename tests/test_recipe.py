"""Recipes: text and back without a change, and a useful word on every mistake."""

import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.cli.options import parse_settings
from distail.config import parse_config
from distail.errors import DistailError
from distail.evaluation.recipe import EvaluationRecipe
from distail.groups.settings import TwoStageRecipe
from distail.methods._registry import build_method
from distail.methods.lad import LAD
from distail.recipe import DataRecipe, Recipe, load_recipe, parse_yaml
from distail.training.recipe import TrainRecipe

positive = st.floats(0, 1e6, exclude_min=True)
words = st.text(min_size=1, max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
data_recipes = st.builds(
    DataRecipe,
    source=words,
    imbalance=st.none() | positive,
    holdout=st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
    image_size=st.none() | st.integers(8, 999),
    strict=st.booleans(),
)
train_recipes = st.builds(
    TrainRecipe,
    epochs=st.integers(1, 9999),
    batch_size=st.integers(1, 999),
    learning_rate=positive,
    momentum=st.floats(0, 1, exclude_max=True),
    weight_decay=st.floats(0, 1),
    schedule=st.sampled_from(["step", "cosine", "constant"]),
    augmentation=words,
)
evaluation_recipes = st.builds(
    EvaluationRecipe,
    architectures=st.lists(words, min_size=1, max_size=3).map(tuple),
    seeds=st.integers(1, 9),
    labels=st.sampled_from(["hard", "static", "teacher"]),
    teacher=st.none() | words,
    train=train_recipes,
    select=st.sampled_from(["last", "validation"]),
    references=st.lists(st.sampled_from(["random", "full"]), max_size=2, unique=True).map(tuple),
    full_epochs=st.none() | st.integers(1, 99),
)
recipes = st.builds(
    Recipe,
    data=data_recipes,
    method=words,
    settings=st.dictionaries(st.text(max_size=9), plain, max_size=4),
    images_per_class=st.integers(1, 999),
    preprocessing=st.sampled_from(["none", "normalize", "zca"]),
    architecture=words,
    seed=st.integers(),
    device=st.sampled_from(["auto", "cpu", "cuda", "mps"]),
    precision=st.sampled_from(["auto", "fp32", "bf16"]),
    test=st.none() | words,
    evaluation=st.none() | evaluation_recipes,
)


def written(tmp_path, text: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@settings(max_examples=60, deadline=None)
@given(recipe=recipes)
def test_text_and_back(tmp_path_factory, recipe):
    path = written(tmp_path_factory.mktemp("recipe"), recipe.to_yaml())
    read = load_recipe(path)
    assert read == recipe
    assert read.to_yaml() == recipe.to_yaml()
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize("word", ["1e5", "0E0", "-2.e+3", "1.5", "007", "no", "true", "null", "~"])
def test_words_that_look_like_other_values_stay_words(tmp_path, word):
    recipe = Recipe(data=DataRecipe(source=word), architecture=word, settings={word: word})
    assert load_recipe(written(tmp_path, recipe.to_yaml())) == recipe


def test_only_the_source_is_needed(tmp_path):
    read = load_recipe(written(tmp_path, "data:\n  source: digits\n"))
    assert read == Recipe(data=DataRecipe(source="digits"))
    assert (read.method, read.images_per_class, read.evaluation) == ("tailor", 10, None)


def test_the_text_keeps_the_order_of_the_fields():
    keys = list(yaml.safe_load(Recipe(data=DataRecipe(source="digits")).to_yaml()))
    assert keys == list(Recipe.model_fields)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("methd: dm", r"unknown key 'methd'\. Did you mean 'method'\?"),
        ("data: {source: a, imbalence: 3}", r"unknown key 'data\.imbalence'\. Did you mean 'imbalance'\?"),
        (
            "evaluation: {train: {lerning_rate: 0.1}}",
            r"unknown key 'evaluation\.train\.lerning_rate'\. Did you mean 'learning_rate'\?",
        ),
        ("evaluation: {qqqq: 1}", r"unknown key 'evaluation\.qqqq'\. Choose one of: architectures, .*seeds"),
        ("images_per_class: 0", "'images_per_class': input should be greater than or equal to 1"),
        ("images_per_class: ten", "'images_per_class': input should be a valid integer"),
        ("preprocessing: zka", "'preprocessing': input should be 'none', 'normalize' or 'zca'"),
        ("data: {source: a, imbalance: .nan}", r"'data\.imbalance': input should be a finite number"),
        ("data: {source: a, imbalance: -1}", r"'data\.imbalance': input should be greater than 0"),
        ("data: {source: a, holdout: 1}", r"'data\.holdout': input should be less than 1"),
        ("data: {source: a, image_size: 7}", r"'data\.image_size': input should be greater than or equal to 8"),
        ("data: {}", r"'data\.source': field required"),
        ("method: ''", "'method': .*name a method"),
        ("evaluation: {architectures: []}", r"'evaluation\.architectures'"),
        ("evaluation: {train: {momentum: 1}}", r"'evaluation\.train\.momentum': input should be less than 1"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, match):
    defaults = "" if text.startswith("data") else "data: {source: digits}\n"
    with pytest.raises(DistailError, match=match) as caught:
        load_recipe(written(tmp_path, f"{defaults}{text}\n"))
    assert "recipe.yaml" in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(DistailError, match=r"'data': field required.*'seed': .*unknown key 'ipc'"):
        load_recipe(written(tmp_path, "seed: x\nipc: 3\n"))


def test_a_missing_recipe_is_a_clear_error(tmp_path):
    with pytest.raises(DistailError, match=r"nothing\.yaml cannot be read: No such file"):
        load_recipe(tmp_path / "nothing.yaml")
    with pytest.raises(DistailError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


@pytest.mark.parametrize("content", [b"data: [", b"a: b: c", b"\t- x", b"\x00\x01", b"\xff\xfe\xfa", b"!!python/x y"])
def test_what_is_not_yaml_is_a_clear_error(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(DistailError, match=r"recipe\.yaml is not valid YAML"):
        load_recipe(path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "words", "3"])
def test_what_holds_no_settings_is_a_clear_error(tmp_path, text):
    with pytest.raises(DistailError, match="holds no settings; it should start with `data:`"):
        load_recipe(written(tmp_path, text))


def test_yaml_cannot_run_code(tmp_path):
    mark = tmp_path / "harm done"
    path = written(tmp_path, f'data: !!python/object/apply:pathlib.Path.touch ["{mark}"]\n')
    with pytest.raises(DistailError, match="not valid YAML"):
        load_recipe(path)
    assert not mark.exists()


def test_recipes_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Recipe(data=DataRecipe(source="digits")).seed = 3


def test_every_setting_is_explained():
    for model in (Recipe, DataRecipe, EvaluationRecipe, TrainRecipe, TwoStageRecipe):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_parsing_a_dumped_recipe_is_the_identity():
    evaluation = EvaluationRecipe(seeds=2, two_stage=TwoStageRecipe(class_data="full"))
    recipe = Recipe(data=DataRecipe(source="digits"), evaluation=evaluation)
    assert parse_config(Recipe, recipe.model_dump(mode="json"), "here") == recipe


def test_students_are_asked_for_what_the_recipe_says_and_no_more(tmp_path):
    """A value that nobody gave must not become one that is given by writing and reading the recipe."""
    evaluation = EvaluationRecipe(train=TrainRecipe(epochs=1000, loss="divergence"))
    recipe = Recipe(data=DataRecipe(source="digits"), evaluation=evaluation)
    read = load_recipe(written(tmp_path, recipe.to_yaml()))
    assert read == recipe
    assert read.evaluation is not None
    assert read.evaluation.train.model_fields_set == {"epochs", "loss"}
    assert recipe.model_dump(mode="json")["evaluation"]["train"] == {"epochs": 1000, "loss": "divergence"}


def test_recipes_need_no_torch():
    code = "import sys, distail.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("word", ["off", "on", "yes", "no", "Off", "NO"])
def test_words_stay_words(word):
    assert parse_yaml(f"[{word}, {{{word}: 1}}]") == [word, {word: 1}]


def test_true_and_false_are_booleans():
    assert parse_yaml("[true, True, false, FALSE, 'true', truth]") == [True, True, False, False, "true", "truth"]


def test_an_ablation_can_be_named_on_the_command_line():
    asked = parse_settings(["dam=off", "decoupling=false"])
    lad = build_method("lad", asked)
    assert isinstance(lad, LAD)
    assert (lad.dam, lad.decoupling) == ("off", False)
    again = parse_yaml(Recipe(data=DataRecipe(source="x"), method="lad", settings=asked).to_yaml())
    assert again["settings"] == asked


def test_a_setting_in_a_group_is_named_by_a_dot():
    asked = parse_settings(["experts.batch_size=32", "experts.learning_rate=3e-2", "iterations=5"])
    assert asked == {"experts": {"batch_size": 32, "learning_rate": 0.03}, "iterations": 5}
    lad = build_method("lad", asked)
    assert isinstance(lad, LAD)
    experts = lad.experts
    assert (experts.batch_size, experts.learning_rate, experts.weight_decay) == (32, 0.03, 5e-3)


@pytest.mark.parametrize(("text", "value"), [("1e-7", 1e-7), ("1e3", 1000.0), ("-2.5E+4", -25000.0), ("1e", "1e")])
def test_numbers_with_an_exponent_are_numbers(text, value):
    assert parse_yaml(text) == value
