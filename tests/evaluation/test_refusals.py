"""What cannot be scored is refused, test images that networks have learned from above all."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.evaluation.protocol import Scoring, evaluate
from tests.evaluation.separable import NAMES, TEST, TRAIN, images_of, make_set, quick


def with_classes(names: Sequence[str]) -> ImageSet:
    return ImageSet(TEST.images, TEST.labels, tuple(names), "test images")


def test_other_classes_are_refused():
    with pytest.raises(DistailError, match="orders them 'ant', 'bee', 'cow', the test data orders them 'bee'"):
        Scoring(make_set(), with_classes(("bee", "ant", "cow")), quick())
    with pytest.raises(DistailError, match="the test data lacks 'cow'; the test data has 'dog'"):
        Scoring(make_set(), with_classes(("ant", "bee", "dog")), quick())
    other = ImageSet(TRAIN.images, TRAIN.labels, ("bee", "ant", "cow"))
    with pytest.raises(DistailError, match="the training data orders them"):
        Scoring(make_set(), TEST, quick(), train=other)


@pytest.mark.parametrize("shape", [(3, 8, 9), (3, 10, 10), (1, 8, 8)])
def test_other_image_sizes_are_refused(shape):
    with pytest.raises(DistailError, match=r"Test images are .*distilled ones \(3, 8, 8\).*--image-size 8"):
        Scoring(make_set(), images_of((2, 2, 2), 0, shape), quick())


def test_a_test_set_that_lacks_a_class_is_refused():
    with pytest.raises(DistailError, match="no image in class bee"):
        Scoring(make_set(), images_of((2, 0, 2), 0), quick())


def test_testing_on_the_training_data_is_refused():
    same = ImageSet(TRAIN.images.clone(), TRAIN.labels.clone(), NAMES, "a copy")  # whatever it is called
    with pytest.raises(DistailError, match="a copy is the very data the set was made from"):
        Scoring(make_set(provenance={"data_sha256": TRAIN.content_hash}), same, quick())
    with pytest.raises(DistailError, match="a copy is the very data"):
        Scoring(make_set(), same, quick(), train=TRAIN)
    Scoring(make_set(provenance={"data_sha256": TRAIN.content_hash}), TEST, quick(), train=TRAIN)


@pytest.mark.parametrize("recipe", [{"references": ("random",)}, {"references": ("full",)}, {"select": "validation"}])
def test_what_needs_training_data_says_so(recipe):
    with pytest.raises(DistailError, match=r"drawn from the training data.*--train"):
        Scoring(make_set(), TEST, quick(**recipe))


# Test images among the training images


def mixed(leaked: int) -> ImageSet:
    """60 test images, of which the first few of each class are training images."""
    fresh = images_of((20, 20, 20), seed=2)
    images = fresh.images.clone()
    stolen = torch.cat([TRAIN.indices_of(label)[: leaked // 3] for label in range(3)])
    places = torch.cat([fresh.indices_of(label)[: leaked // 3] for label in range(3)])
    images[places] = TRAIN.images[stolen]
    return ImageSet(images, fresh.labels, fresh.class_names, "mixed images")


def informed() -> DistilledSet:
    return replace(make_set(), training_fingerprints=TRAIN.fingerprints)


def test_a_few_training_images_in_the_test_data_are_counted():
    evaluation = evaluate(Scoring(informed(), mixed(6), quick()))
    assert evaluation.provenance["test"]["leaked"] == 6
    assert evaluate(Scoring(informed(), mixed(0), quick())).provenance["test"]["leaked"] == 0
    # Without fingerprints in the set, the training data tell the same.
    assert Scoring(make_set(), mixed(6), quick(), TRAIN).num_leaked == 6
    assert Scoring(make_set(), mixed(6), quick()).num_leaked == 0


def test_many_training_images_in_the_test_data_are_refused():
    with pytest.raises(DistailError, match="9 of the 60 images of mixed images are among"):
        Scoring(informed(), mixed(9), quick())
