"""Built-in recipes: every row reads and builds, the released settings and published numbers stand where they should."""

import re
import subprocess
import sys

import pytest

from distail.catalog import CPU, built_in, built_in_recipe, family_names, find_built_in, merged, recipe_names
from distail.cost import class_counts, cost_on_cpu
from distail.data.image_set import ImageSet
from distail.errors import DistailError
from distail.methods._registry import build_method
from distail.models.architecture import check_architecture
from distail.recipe import load_recipe
from distail.training.recipe import TrainRecipe

NAMES = recipe_names()
TWENTY_MINUTES = 1200
WORDS = {"initial_images", "dam", "view", "architecture", "optimizer", "schedule", "augmentation", "weights_sum_to"}
"""Settings whose values are texts."""
TAUGHT = {"sre2l", "rded", "edc", "rldd"}
"""Methods whose students learn from a teacher that goes with the set."""


def method_of(name: str):
    recipe = built_in_recipe(name)
    return build_method(recipe.method, recipe.settings)


# Every recipe


def test_names_are_unique_and_come_in_pairs():
    assert len(set(NAMES)) == len(NAMES)
    assert [f"{name}{CPU}" for name in NAMES[::2]] == list(NAMES[1::2])
    assert {name.split("-")[0] for name in NAMES} == {
        *("lad", "datm", "mtt", "dm", "dc", "dsa", "idm", "dream", "herding", "k_center", "graph_cut"),
        *("sre2l", "rded", "edc", "rldd"),
        "tailor",
    }


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_runnable_and_is_what_its_name_says(name):
    entry = built_in(name)
    recipe = entry.recipe
    method = build_method(recipe.method, recipe.settings)
    check_architecture(recipe.architecture)
    assert recipe.evaluation is not None
    assert recipe.evaluation.architectures == (recipe.architecture,)
    assert recipe.evaluation.seeds == 3
    assert recipe.evaluation.labels == ("teacher" if recipe.method in TAUGHT else "static")
    assert recipe.evaluation.train.epochs == 1000
    assert recipe.evaluation.train.batch_size == (128 if recipe.method in ("lad", "datm") else 256)
    method_name, data, imbalance, ipc = name.removesuffix(CPU).split("-")
    assert (method_name, imbalance, ipc) == (
        recipe.method,
        f"if{recipe.data.imbalance:g}",
        f"ipc{recipe.images_per_class}",
    )
    assert data == re.sub("[^a-z0-9]", "", entry.about.data.lower())
    # A number that YAML reads as a text, such as 1e-4, would only be noticed by methods that take any value.
    assert all(
        type(value) in (int, float, bool, type(None)) for key, value in leaves(recipe.settings) if key not in WORDS
    )
    assert method.model_dump().keys() >= recipe.settings.keys()


def leaves(settings):
    for key, value in settings.items():
        if isinstance(value, list):
            for group in value:
                yield from leaves(group)
        else:
            yield from leaves(value) if isinstance(value, dict) else [(key, value)]


@pytest.mark.parametrize("name", NAMES)
def test_text_and_back(name, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(built_in_recipe(name).to_yaml())
    assert load_recipe(path) == built_in_recipe(name)


@pytest.mark.parametrize("name", NAMES[::2])
def test_the_variant_for_a_cpu_differs_in_settings_alone(name):
    whole, short = built_in(name), built_in(name + CPU)
    assert (whole.is_for_cpu, short.is_for_cpu) == (False, True)
    assert short.recipe.model_copy(update={"settings": whole.recipe.settings}) == whole.recipe
    assert short.recipe.settings != whole.recipe.settings
    assert (short.published, short.note) == (whole.published, f"{whole.note} {short.cpu_note}".strip())


@pytest.mark.parametrize("family", family_names())
def test_the_variant_for_a_cpu_says_what_it_changes(family):
    whole, short = [built_in(name) for name in NAMES if built_in(name).family == family][:2]
    assert whole.cpu_note == ""
    assert short.cpu_note.startswith("Variant for a CPU: ")
    assert ("dam: adjusted" in short.note) == (short.recipe.settings.get("dam") == "adjusted")
    assert ("selection network" in short.note) == ("selection_epochs" in short.recipe.settings)
    assert cost_on_cpu(short).scoring_seconds == cost_on_cpu(whole).scoring_seconds


@pytest.mark.parametrize("family", family_names())
def test_data_and_network_fit(family):
    entry = next(built_in(name) for name in NAMES if built_in(name).family == family)
    side = entry.about.image_shape[1]
    assert (entry.recipe.architecture, entry.recipe.data.image_size) == {
        32: ("convnet3", None),
        64: ("convnet4", 64),
    }[side]
    trajectories = entry.recipe.method in ("lad", "datm", "mtt")
    preprocessing = "none" if entry.about.data == "ImageNet-LT" else "zca" if trajectories else "normalize"
    assert entry.recipe.preprocessing == preprocessing
    assert entry.published is None or entry.published.source == entry.about.published_in


# Class counts


def test_class_counts_are_the_published_ones():
    counts = class_counts(built_in("lad-cifar10lt-if100-ipc10"))
    assert counts == (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    totals = {
        "lad-cifar10lt-if200-ipc10": 11203,
        "lad-cifar100lt-if20-ipc10": 15907,
        "mtt-tinyimagenetlt-if100-ipc20": 21549,
    }
    assert {name: sum(class_counts(built_in(name))) for name in totals} == totals
    assert max(class_counts(built_in("lad-imagenetlt-if5-ipc10"))) == 1281


# Released settings


LAD_CIFAR10 = {
    # imbalance, IPC: image_lr, steps, classifier steps, first bound, last bound, expansion end, both weights
    (10, 10): (100, 80, 80, 10, 20, 1000, 1.0, 0.2),
    (10, 20): (100, 80, 80, None, 40, None, 1.0, 0.2),
    (10, 50): (1000, 80, 80, None, 40, None, 1.0, 0.2),
    (50, 10): (100, 80, 80, None, 20, None, 1.0, 0.5),
    (50, 20): (100, 80, 80, 10, 20, 2000, 0.5, 1.0),
    (50, 50): (100, 80, 80, 20, 40, 2000, 0.5, 1.0),
    (100, 10): (100, 80, 80, None, 20, None, 0.5, 1.0),
    (100, 20): (100, 80, 80, 10, 20, 2000, 0.5, 1.0),
    (100, 50): (1000, 80, 60, None, 40, None, 1.0, 0.5),
    (200, 10): (100, 80, 80, None, 20, None, 0.1, 1.0),
    (200, 20): (1000, 80, 80, None, 40, None, 0.1, 1.0),
    (200, 50): (1000, 80, 80, None, 40, None, 0.1, 1.0),
}


def test_all_released_rows_of_lad_on_cifar10_are_there():
    rows = {name for name in NAMES if name.startswith("lad-cifar10lt") and not name.endswith(CPU)}
    released = {f"lad-cifar10lt-if{imbalance}-ipc{ipc}" for imbalance, ipc in LAD_CIFAR10}
    assert rows == released | {"lad-cifar10lt-if100-ipc1"}  # which is published, and no file of it is released


@pytest.mark.parametrize(("row", "released"), LAD_CIFAR10.items())
def test_lad_on_cifar10_as_released(row, released):
    lad = method_of(f"lad-cifar10lt-if{row[0]}-ipc{row[1]}")
    expansion = None if lad.initial_max_start_epoch is None else lad.expansion_end
    bounds = (lad.initial_max_start_epoch, lad.max_start_epoch, expansion)
    weights = (lad.representation_weight, lad.classifier_weight)
    assert (lad.image_lr, lad.steps, lad.classifier_steps, *bounds, *weights) == released
    assert (lad.batch_size, lad.min_start_epoch, lad.expert_span, lad.iterations) == (500, 0, 2, 10_000)
    assert (lad.label_lr, lad.label_momentum, lad.learning_rate_lr, lad.initial_learning_rate) == (2, 0.9, 1e-5, 0.01)
    assert (lad.dam, lad.decoupling, lad.initial_images) == ("weighted", True, "correct")
    assert (lad.num_experts, lad.num_label_experts, lad.expert_epochs, lad.classifier_epochs) == (100, 100, 100, 10)
    assert lad.experts.model_dump(exclude_defaults=True) == {"weight_decay": 5e-3, "gsam_rho": 0.01, "gsam_alpha": 0.3}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lad-cifar100lt-if10-ipc10", {"image_lr": 1000, "min_start_epoch": 30, "max_start_epoch": 50}),
        ("lad-cifar100lt-if10-ipc20", {"num_label_experts": 1, "num_classifier_experts": 100}),
        ("lad-cifar100lt-if20-ipc50", {"steps": 40, "classifier_steps": 20, "batch_size": 1000, "label_lr": 10}),
        ("lad-cifar100lt-if50-ipc10", {"min_start_epoch": 20, "max_start_epoch": 70, "initial_images": "random"}),
        ("lad-tinyimagenetlt-if10-ipc10", {"steps": 25, "classifier_steps": 25, "learning_rate_lr": 1e-4}),
        ("lad-tinyimagenetlt-if10-ipc20", {"steps": 20, "batch_size": 500, "min_start_epoch": 10}),
        ("lad-tinyimagenetlt-if20-ipc50", {"steps": 10, "iterations": 1500, "learning_rate_lr": 1e-5}),
        ("lad-imagenetlt-if10-ipc10", {"steps": 25, "max_start_epoch": 50, "classifier_weight": 0.1}),
        ("datm-cifar10lt-if100-ipc10", {"batch_size": 100, "image_lr": 100, "initial_max_start_epoch": 10}),
        ("datm-cifar10lt-if100-ipc20", {"batch_size": 100, "max_start_epoch": 20}),
        ("datm-cifar10lt-if10-ipc50", {"batch_size": 500, "image_lr": 1000, "expansion_end": 2000}),
        ("datm-cifar100lt-if10-ipc10", {"steps": 80, "initial_max_start_epoch": 30, "initial_images": "correct"}),
        ("datm-cifar100lt-if10-ipc50", {"min_start_epoch": 20, "initial_max_start_epoch": None}),
        ("datm-tinyimagenetlt-if10-ipc10", {"steps": 40, "image_lr": 100, "initial_max_start_epoch": None}),
        ("mtt-cifar10lt-if100-ipc10", {"steps": 30, "max_start_epoch": 20, "initial_learning_rate": 1e-3}),
        ("mtt-cifar10lt-if100-ipc50", {"image_lr": 1000, "max_start_epoch": 40}),
        ("mtt-cifar100lt-if10-ipc10", {"steps": 20, "image_lr": 1000, "max_start_epoch": 40}),
        ("mtt-cifar100lt-if10-ipc50", {"steps": 80, "batch_size": 125}),
        ("dm-cifar10lt-if100-ipc10", {"iterations": 20_000, "image_lr": 1}),
        ("dc-cifar10lt-if100-ipc50", {"iterations": 1000, "rounds": None, "initial_images": "noise"}),
        ("dsa-cifar10lt-if100-ipc10", {"image_lr": 0.1, "initial_images": "real"}),
        ("idm-cifar10lt-if100-ipc20", {"iterations": 20_000, "mosaic": 2, "classification_weight": 0.5}),
        ("idm-cifar10lt-if10-ipc50", {"classification_weight": 0.1, "real_batch": 256}),
        ("dream-cifar10lt-if50-ipc50", {"iterations": 2000, "inner_steps": 100, "real_batch": 128}),
        ("dream-cifar10lt-if50-ipc50-cpu", {"inner_steps": 10, "image_lr": 5e-3}),
        ("k_center-cifar10lt-if100-ipc10", {"selection_epochs": 40}),
        ("lad-cifar10lt-if100-ipc50-cpu", {"steps": 20, "max_start_epoch": 6, "image_lr": 20, "batch_size": 100}),
        ("datm-cifar100lt-if10-ipc50-cpu", {"min_start_epoch": 0, "max_start_epoch": 6, "num_experts": 4}),
        ("sre2l-cifar10lt-if100-ipc10", {"iterations": 1000, "image_lr": 0.25, "statistics_weight": 0.01}),
        ("sre2l-tinyimagenetlt-if10-ipc10", {"iterations": 4000, "image_lr": 0.1, "statistics_weight": 1}),
        ("rded-cifar100lt-if10-ipc50", {"factor": 1, "crops_per_image": 5, "max_images": 300}),
        ("edc-cifar10lt-if100-ipc10", {"iterations": 75, "image_lr": 0.05, "smoothing": 0.8, "view": "resized"}),
        ("edc-tinyimagenetlt-if10-ipc10", {"iterations": 2000, "initial_images": "confident", "batch_size": 100}),
        ("rldd-cifar10lt-if100-ipc10", {"iterations": 75, "view": "crop", "max_images": 5000}),
        ("rldd-cifar100lt-if50-ipc50", {"iterations": 2000, "view": "resized", "smallest_crop": 0.5}),
    ],
)
def test_settings_of_other_rows(name, expected):
    method = method_of(name)
    assert {key: getattr(method, key) for key in expected} == expected


def test_experts_for_a_cpu_differ_by_method():
    plain = {"learning_rate": 0.03}
    flat = {**plain, "gsam_rho": 0.01, "gsam_alpha": 0.3}
    found = {
        name: method_of(f"{name}-cifar10lt-if100-ipc10-cpu").experts.model_dump(exclude_defaults=True)
        for name in ("lad", "datm", "mtt")
    }
    assert found == {"lad": {**flat, "weight_decay": 0.005}, "datm": flat, "mtt": plain}


# Published numbers


@pytest.mark.parametrize(
    ("name", "accuracy", "std"),
    [
        ("lad-cifar10lt-if100-ipc10", 53.4, 0.1),
        ("lad-cifar10lt-if200-ipc50", 62.3, None),
        ("lad-cifar100lt-if50-ipc50", 33.2, 0.5),
        ("lad-tinyimagenetlt-if100-ipc20", 18.0, 0.5),
        ("lad-imagenetlt-if5-ipc10", 20.8, 0.2),
        ("datm-cifar10lt-if100-ipc50", 44.3, 0.1),
        ("datm-cifar100lt-if50-ipc20", 19.8, 0.4),
        ("datm-imagenetlt-if10-ipc20", 8.2, 0.1),
        ("mtt-cifar10lt-if50-ipc10", 45.8, 1.4),
        ("mtt-tinyimagenetlt-if20-ipc10", 7.7, 0.1),
        ("graph_cut-cifar10lt-if100-ipc10", 22.9, 0.9),
        ("dc-cifar10lt-if10-ipc50", 37.4, 1.4),
        ("dc-cifar10lt-if100-ipc10", 36.7, 0.8),
        ("idm-cifar10lt-if50-ipc20", 53.3, 0.6),
        ("idm-cifar10lt-if100-ipc50", 53.1, 0.4),
        ("dream-cifar10lt-if10-ipc10", 34.6, 0.6),
        ("dream-cifar10lt-if100-ipc20", 34.9, 0.8),
        ("sre2l-cifar10lt-if100-ipc50", 34.6, None),
        ("rded-cifar10lt-if10-ipc20", 55.5, 0.3),
        ("rded-tinyimagenetlt-if100-ipc1", 9.1, None),
        ("edc-cifar100lt-if50-ipc10", 30.2, 0.2),
        ("edc-tinyimagenetlt-if20-ipc20", 23.7, 0.4),
        ("rldd-cifar10lt-if100-ipc1", 44.8, None),
        ("rldd-cifar100lt-if50-ipc50", 44.2, 0.1),
        ("rldd-tinyimagenetlt-if100-ipc20", 29.8, 0.1),
    ],
)
def test_published_numbers(name, accuracy, std):
    published = built_in(name).published
    assert (published.accuracy, published.std) == (accuracy, std)
    assert "table" in published.source or "LAD" in published.source


def test_what_is_not_published_is_not_made_up():
    ours = "tailor-"  # published nowhere
    without = {name for name in NAMES[::2] if built_in(name).published is None and not name.startswith(ours)}
    assert without == {
        "dm-cifar10lt-if100-ipc10",
        "dsa-cifar10lt-if100-ipc10",
        "herding-cifar10lt-if100-ipc10",
        "lad-cifar10lt-if200-ipc10",
        "lad-cifar10lt-if200-ipc20",
        "lad-tinyimagenetlt-if10-ipc50",
        "lad-tinyimagenetlt-if20-ipc50",
        "sre2l-cifar100lt-if10-ipc10",
        "sre2l-cifar100lt-if50-ipc10",
        "sre2l-tinyimagenetlt-if10-ipc10",
        "sre2l-tinyimagenetlt-if100-ipc10",
    }


@pytest.mark.parametrize(
    ("name", "students"),
    [
        ("sre2l-cifar10lt-if100-ipc10", {"epochs": 400, "batch_size": 128, "temperature": 30, "mixing": "mixup"}),
        ("rded-cifar10lt-if100-ipc1", {"epochs": 300, "batch_size": 10, "temperature": 20, "schedule": "half_cosine"}),
        ("rded-cifar100lt-if10-ipc10", {"batch_size": 25, "learning_rate": 2e-3, "optimizer": "adamw"}),
        ("edc-cifar10lt-if10-ipc10", {"epochs": 1000, "optimizer": "adamw", "schedule": "late_steps"}),
        ("edc-cifar10lt-if10-ipc10-cpu", {"augmentation": "rand+resized+flip", "smallest_crop": 0.08}),
        ("edc-tinyimagenetlt-if10-ipc10", {"augmentation": "rand+resized+flip", "smallest_crop": 0.5}),
        ("edc-cifar100lt-if10-ipc10", {"optimizer": "sgd", "momentum": 0.875, "schedule": "late_linear"}),
        ("edc-cifar100lt-if10-ipc10", {"augmentation": "rand+resized+flip", "smallest_crop": 0.5}),
        ("rldd-cifar10lt-if100-ipc10", {"batch_size": 25, "hard_weight": 0.025, "average": 0.99}),
        ("rldd-tinyimagenetlt-if10-ipc20", {"batch_size": 100, "schedule": "half_cosine", "loss": "squared_error"}),
    ],
)
def test_students_of_sets_with_a_teacher(name, students):
    recipe = method_of(name).students.model_dump()
    assert {key: recipe[key] for key in students} == students


def test_teachers_are_recipes():
    """A key of `train` that no recipe has would only be noticed when the teacher is trained."""
    for name in NAMES:
        method = method_of(name)
        specs = getattr(method, "observers", ()) or [getattr(method, "teacher", None)]
        for spec in filter(None, specs):
            assert TrainRecipe.model_validate(spec.train).epochs <= 200
            check_architecture(spec.architecture or "convnet3-batch")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lad-cifar10lt-if50-ipc50", "imbalance 100"),
        ("lad-cifar10lt-if200-ipc50", "20 images"),
        ("lad-cifar100lt-if50-ipc10", "No configuration was released"),
        ("lad-imagenetlt-if5-ipc10", "No configuration was released"),
        ("lad-tinyimagenetlt-if100-ipc10", "No configuration was released"),
        ("datm-cifar10lt-if10-ipc20", "closest"),
        ("mtt-cifar100lt-if10-ipc20", "closest"),
        ("idm-cifar10lt-if100-ipc20", "closest"),
        ("dc-cifar10lt-if100-ipc10", "balanced CIFAR-10"),
        ("dream-cifar10lt-if100-ipc10", "CutMix"),
        ("sre2l-cifar10lt-if50-ipc50", "another protocol"),
        ("rded-cifar10lt-if100-ipc20", "closest"),
        ("edc-cifar10lt-if10-ipc10", "a teacher that labels every view"),
        ("rldd-cifar10lt-if100-ipc50", "a teacher that labels every view"),
        ("rldd-cifar10lt-if100-ipc50-cpu", "Nothing of it is tuned"),
    ],
)
def test_where_settings_are_not_the_authors_own_a_note_says_so(name, words):
    assert words in built_in(name).note


# Costs


@pytest.mark.parametrize("name", NAMES)
def test_variants_for_a_cpu_distil_in_twenty_minutes(name):
    cost = cost_on_cpu(built_in(name))
    assert cost.memory_bytes > 500 * 2**20
    assert cost.distillation_seconds > 0
    assert (cost.experts_seconds > 0) == (name.split("-")[0] in ("lad", "datm", "mtt"))
    assert not name.endswith(CPU) or cost.distillation_seconds < TWENTY_MINUTES


def test_costs_are_counted_as_by_hand():
    """MTT, -cpu: iterations of 20 steps on all 100 images; plain experts of 6 epochs on 12,406 images."""
    name = "mtt-cifar10lt-if100-ipc10-cpu"
    cost, settings = cost_on_cpu(built_in(name)), built_in(name).recipe.settings
    passes = settings["iterations"] * 20 * 100
    assert cost.distillation_seconds == pytest.approx(passes / 1150 + passes / 360, rel=0.02)
    assert cost.experts_seconds == pytest.approx(settings["num_experts"] * 6 * 12_406 / 1150)
    assert cost.scoring_seconds == pytest.approx(3 * 1001 * 100 / 1150)
    datm = cost_on_cpu(built_in("datm-cifar10lt-if100-ipc10"))
    passes = 10_000 * 80 * 100
    assert datm.distillation_seconds == pytest.approx(passes / 1150 + passes / 510, rel=0.01)
    assert datm.experts_seconds == pytest.approx(100 * 100 * 2 * 12_406 / 1150)


def test_costs_of_methods_with_fused_kernels_and_mosaics():
    """IDM: real batches forward, cells and training both ways; its students learn from four cells an image."""
    cost = cost_on_cpu(built_in("idm-cifar10lt-if100-ipc10"))
    real = 6 * 256 + 232 + 139 + 83 + 50
    assert cost.distillation_seconds == pytest.approx(20_000 * (real / 3000 + (400 + 2 * 10 * 256) / 1150), rel=0.02)
    assert cost.scoring_seconds == pytest.approx(3 * 1001 * 400 / 1150)
    dc = cost_on_cpu(built_in("dc-cifar10lt-if100-ipc10"))
    passes = 1000 * (10 * (real + 3.25 * 100) + 9 * 50 * 100)
    assert dc.distillation_seconds == pytest.approx(passes / 1150, rel=0.01)


def test_costs_of_methods_with_a_teacher():
    """RDED: a teacher of 12 epochs judges 5 crops of at most 300 images; students ask it for 300 epochs."""
    cost = cost_on_cpu(built_in("rded-cifar10lt-if100-ipc10-cpu"))
    judged = 5 * (6 * 300 + 232 + 139 + 83 + 50)
    assert cost.distillation_seconds == pytest.approx(12 * 12_406 / 486 + (judged + 100) / 800, rel=0.02)
    assert cost.scoring_seconds == pytest.approx(3 * 300 * 100 * (1 / 1150 + 1 / 3000))


def test_costs_need_no_data(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(ImageSet, "content_hash", property(refuse))
    monkeypatch.setattr(ImageSet, "fingerprints", property(refuse))
    assert cost_on_cpu(built_in("lad-imagenetlt-if5-ipc20")).memory_bytes < 2**35


# Names


def test_an_unknown_name_is_a_clear_error():
    with pytest.raises(
        DistailError, match=r"no built-in recipe 'lad-cifar10lt-if100-ipc11'\. Did you mean 'lad-cifar10"
    ):
        built_in("lad-cifar10lt-if100-ipc11")
    for name in ("", "lad", "x", "lad-cifar10lt-if100-ipc10-gpu", "/etc-if1-ipc1", "../lad-cifar10lt-if100-ipc10"):
        with pytest.raises(DistailError, match="`distail recipes` lists"):
            built_in_recipe(name)


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "lad-cifar10lt-if100-ipc10"
    found = find_built_in(name)
    assert found
    assert found.name == name
    (tmp_path / name).write_text("data: {source: digits}\n")
    assert find_built_in(name) is None
    with pytest.raises(DistailError, match=r"no recipe 'a/b\.yaml': neither a file nor a built-in recipe"):
        find_built_in("a/b.yaml")


def test_merging_goes_group_by_group():
    under = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    over = {"a": {"c": {"f": 4}, "b": None}, "e": {"g": 5}}
    assert merged(under, over) == {"a": {"b": None, "c": {"d": 2, "f": 4}}, "e": {"g": 5}}
    assert under == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def test_the_catalog_needs_no_torch():
    code = "import sys, distail.catalog as c; c.built_in(c.recipe_names()[0]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
