import numpy as np
import torch
from sklearn.datasets import load_digits

from distail.data.sources import load, read_source, source_splits


def test_digits_are_split_once_and_for_all():
    assert source_splits("digits") == ("train", "test")
    train, test = read_source("digits"), read_source("digits", "test")
    assert train.images.image_shape == test.images.image_shape == (1, 8, 8)
    assert train.images.class_names == test.images.class_names == tuple("0123456789")
    assert len(train.images) == 1201
    assert len(test.images) == 596
    assert train.sizes == {(8, 8): 1201}
    assert train.images.content_hash == load("digits").content_hash


def test_every_class_gives_a_third_to_testing():
    train, test = load("digits"), load("digits", "test")
    for kept, held_out in zip(train.class_counts, test.class_counts, strict=True):
        assert held_out == (kept + held_out) // 3


def test_both_splits_together_are_the_whole_data_with_pixels_scaled():
    train, test = load("digits"), load("digits", "test")
    together = torch.cat([train.images, test.images]).numpy().reshape(-1, 64)
    expected = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, together)) == sorted(map(bytes, expected))


def test_reading_leaves_global_random_state_alone():
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    load("digits", image_size=16)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_digits_can_be_enlarged():
    enlarged = read_source("digits", image_size=(16, 12))
    assert enlarged.images.image_shape == (1, 16, 12)
    assert enlarged.sizes == {(8, 8): 1201}
