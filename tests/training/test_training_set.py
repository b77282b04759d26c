import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.preprocess import fit_preprocessing
from distail.training.targets import Targets
from distail.training.training_set import (
    RealTrainingSet,
    TensorTrainingSet,
    TrainingSet,
    shuffled_batches,
    without_single_image,
)
from tests.methods.tiny import tiny_images


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_an_epoch_sees_every_image_once(num_images, batch_size, seed):
    batches = shuffled_batches(num_images, batch_size, torch.Generator().manual_seed(seed))
    assert torch.cat(batches).sort().values.tolist() == list(range(num_images))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size


def test_a_last_batch_of_one_image_joins_the_one_before():
    def sizes(*of: int) -> list[int]:
        batches = torch.arange(sum(of)).split(list(of))
        joined = without_single_image(batches)
        assert torch.cat(list(joined)).tolist() == list(range(sum(of)))
        return [len(batch) for batch in joined]

    assert sizes(4, 4, 1) == [4, 5]
    assert sizes(4, 4, 2) == [4, 4, 2]
    assert sizes(1) == [1]


def test_order_comes_from_the_generator_alone():
    def order(seed: int) -> list[int]:
        return torch.cat(shuffled_batches(50, 8, torch.Generator().manual_seed(seed))).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != list(range(50))


def test_real_images_are_preprocessed_as_they_are_asked_for():
    train = tiny_images((3, 2), (3, 8, 9))
    preprocessing = fit_preprocessing(train, "normalize")
    data = RealTrainingSet(train, preprocessing)
    picked = torch.tensor([4, 0, 4])
    images = data.images(picked)
    assert torch.equal(images, preprocessing.apply(train.images[picked]))
    assert torch.equal(data.targets(picked, images).labels, train.labels[picked])
    assert (len(data), data.num_classes, data.image_shape) == (5, 2, (3, 8, 9))


@pytest.mark.parametrize("targets", [torch.tensor([0, 2, 1]), torch.tensor([[0.5, 0.5], [1, 0], [0, 1.0]])])
def test_tensors_are_given_out_as_they_are(targets):
    images = torch.randn(3, 1, 8, 10)
    data = TensorTrainingSet(images, Targets(targets), num_classes=3)
    picked = torch.tensor([2, 0])
    assert torch.equal(data.images(picked), images[[2, 0]])
    assert torch.equal(data.targets(picked, images[picked]).labels, targets[[2, 0]])
    assert (len(data), data.num_classes, data.image_shape) == (3, 3, (1, 8, 10))


def test_both_are_training_sets():
    train = tiny_images()
    fitted = fit_preprocessing(train, "none")
    real, tensors = RealTrainingSet(train, fitted), (torch.zeros(2, 3, 8, 8), Targets(torch.tensor([0, 1])), 2)
    for data in (real, TensorTrainingSet(*tensors)):
        assert isinstance(data, TrainingSet)
    assert (real.preprocessing, TensorTrainingSet(*tensors, fitted).preprocessing) == (fitted, fitted)
    assert TensorTrainingSet(*tensors).preprocessing is None
