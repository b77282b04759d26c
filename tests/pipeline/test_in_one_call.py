"""Images in memory, without files or folders."""

import numpy as np
import pytest

import distail
from distail.api.sets import distill as distill_in_one_call
from distail.data.sources import load
from distail.distilled import load_distilled
from distail.errors import DistailError
from distail.pipeline import distill
from distail.recipe import DataRecipe, Recipe
from distail.training_images import training_images, training_images_of
from tests.evaluation.separable import ARCHITECTURE, Said, images_of
from tests.pipeline.small_runs import FILES, ITERATIONS, assert_same_set


def test_images_in_memory_make_the_same_set(tmp_path, source, run):
    made = distill_in_one_call(
        load(source),
        "dm",
        images_per_class=2,
        imbalance=4.0,
        architecture=ARCHITECTURE,
        device="cpu",
        precision="fp32",
        out=tmp_path / "run",
        iterations=ITERATIONS,
        real_batch=4,
        image_lr=0.5,
    )
    assert_same_set(made, load_distilled(run))
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert made.provenance["data_sha256"] == load_distilled(run).provenance["data_sha256"]


def test_other_images_in_memory_do_not_resume(tmp_path):
    settings = {"method": "random", "images_per_class": 1, "out": tmp_path / "run"}
    made = distill_in_one_call(images_of((4, 4, 4), 1), **settings)
    assert_same_set(distill_in_one_call(images_of((4, 4, 4), 1), resume=True, **settings), made)
    with pytest.raises(DistailError, match="holds a run on other images"):
        distill_in_one_call(images_of((4, 4, 4), 2), resume=True, **settings)


def test_images_in_memory_are_not_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = distill_in_one_call(images_of((4, 4, 4), 1), "random", images_per_class=1)
    with pytest.raises(DistailError, match="memory"):
        training_images_of(made)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"images_per_class": 0}, "distail.distill: 'images_per_class'"),
        ({"preprocessing": "zka"}, "'preprocessing': input should be"),
        ({"imbalance": -1.0}, "'data.imbalance'"),
        ({"holdout": 1.0}, "'data.holdout'"),
        ({"iterationz": 3}, "unknown key 'iterationz'"),
    ],
)
def test_bad_arguments_are_clear_errors(arguments, match):
    with pytest.raises(DistailError, match=match):
        distill_in_one_call(images_of((4, 4, 4), 1), **arguments)


def test_the_set_knows_its_training_images_and_no_others():
    images = distail.load("digits")
    made = distail.distill(images, "random", images_per_class=1, imbalance=50, architecture="convnet1-w8")
    kept = distail.make_long_tailed(images, 50).images
    assert made.training_fingerprints is not None
    assert set(made.training_fingerprints.tolist()) == set(kept.fingerprints.tolist())


def test_a_class_of_one_image_cannot_be_held_out():
    with pytest.raises(DistailError, match="class 'bee' has a single image"):
        training_images(images_of((4, 1, 4), seed=1), holdout=0.2)
    assert len(training_images(images_of((4, 1, 4), seed=1)).images) == 9


def test_a_source_without_test_images_is_pointed_out_before_the_work(tmp_path):
    images = images_of((6, 6, 6), seed=1)
    path = tmp_path / "only.npz"
    np.savez(path, images=images.images.permute(0, 2, 3, 1).numpy(), labels=images.labels.numpy())
    for holdout, expected in ((None, 1), (0.2, 0)):
        said = Said()
        recipe = Recipe(
            data=DataRecipe(source=str(path), holdout=holdout),
            method="random",
            images_per_class=1,
            architecture=ARCHITECTURE,
        )
        distill(recipe, progress=said)
        assert sum("no test split" in message for message in said.messages) == expected
