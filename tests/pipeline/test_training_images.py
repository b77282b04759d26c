"""The images that a set was made from are found again, and those set aside never used."""

import pytest
import torch
from PIL import Image

from distail.artifact import read_json
from distail.data.image_set import ImageSet
from distail.data.sources import load
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.pipeline import distill
from distail.recipe import DataRecipe
from distail.training_images import held_out_images, load_training_images, training_images, training_images_of
from tests.evaluation.separable import NAMES, Said, images_of
from tests.pipeline.small_runs import recipe_for, write_source


def test_training_images_are_found_again(run):
    made = load_distilled(run)
    found = training_images_of(made)
    assert found.images.content_hash == made.provenance["data_sha256"]
    assert found.images.class_counts == (12, 6, 3)


@pytest.mark.parametrize("what", ["pixel", "label", "order"])
def test_changed_data_are_noticed(tmp_path, what):
    path = write_source(tmp_path / "images.npz")
    made = distill(recipe_for(path, method="random", settings={}), out=tmp_path / "run")
    training_images_of(made)
    original = images_of((12, 12, 12), 1)
    pixels, labels = original.images.clone(), original.labels.clone()
    first = int(read_json(tmp_path / "run" / "manifest.json")["data"]["kept_indices"][0])
    if what == "pixel":
        pixels[first, 0, 0, 0] ^= 1
    elif what == "label":
        labels[first] = 1
    else:
        pixels = pixels.flip(0)
        labels = labels.flip(0)
    write_source(path, ImageSet(pixels, labels, NAMES))
    with pytest.raises(DistailError, match=r"has changed since the set was made.*--train SOURCE"):
        training_images_of(made)


@pytest.mark.parametrize("provenance", [{}, {"recipe": {}}, {"recipe": {"data": {"source": "digits"}}}])
def test_a_set_of_unknown_origin_says_so(run, provenance):
    made = load_distilled(run)
    unknown = DistilledSet(made.images, made.labels, made.class_names, made.preprocessing, provenance=provenance)
    with pytest.raises(DistailError, match=r"does not say which data.*--train SOURCE"):
        training_images_of(unknown)


def test_an_unreadable_image_is_named(tmp_path):
    for label, name in enumerate(NAMES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (80 * label, 10 * number, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "bee" / "broken.png").write_bytes(b"no image")
    said = Said()
    data = DataRecipe(source=str(tmp_path / "photos"))
    assert load_training_images(data, said).images.class_counts == (3, 3, 3)
    assert len(said.messages) == 1
    assert "left out, unreadable" in said.messages[0]
    assert "broken.png" in said.messages[0]
    with pytest.raises(DistailError, match=r"broken\.png"):
        load_training_images(data.model_copy(update={"strict": True}))


def test_held_out_images_are_never_trained_on(source):
    recipe = recipe_for(source, method="random", settings={}, data={"holdout": 0.25, "imbalance": 2.0})
    training = load_training_images(recipe.data)
    held_out = held_out_images(recipe.data, (8, 8))
    assert held_out.class_counts == (3, 3, 3)
    assert training.images.class_counts[0] == 9
    everything = load(source)
    assert torch.equal(everything.images[training.kept], training.images.images)
    seen = {image.numpy().tobytes() for image in training.images.images}
    assert not seen & {image.numpy().tobytes() for image in held_out.images}
    other_seed = recipe.model_copy(update={"seed": 5})
    assert load_training_images(other_seed.data).images.content_hash == training.images.content_hash


def test_kept_positions_are_positions_in_the_source():
    everything = images_of((20, 10, 10), 3)
    for parts in ({}, {"imbalance": 4.0}, {"holdout": 0.2}, {"imbalance": 4.0, "holdout": 0.2}):
        found = training_images(everything, **parts)
        assert found.source_hash == everything.content_hash
        assert (found.kept is None) == (not parts)
        kept = torch.arange(40) if found.kept is None else found.kept
        assert torch.equal(everything.images[kept], found.images.images)
        assert len(set(kept.tolist())) == len(kept)
