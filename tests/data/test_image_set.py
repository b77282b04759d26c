import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.image_set import ImageSet, require_same_classes
from distail.errors import DistailError


def image_set(labels, num_classes=3, size=(8, 9), channels=3, origin="here") -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    shape = (len(labels), channels, *size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    names = tuple(f"class{label}" for label in range(num_classes))
    return ImageSet(pixels, torch.tensor(labels, dtype=torch.int64), names, origin)


labels_of = st.lists(st.integers(0, 2), min_size=1, max_size=30)


def test_facts_of_a_small_set():
    images = image_set([0, 1, 0, 1, 0])
    assert len(images) == 5
    assert images.num_classes == 3
    assert images.image_shape == (3, 8, 9)
    assert images.class_counts == (3, 2, 0)
    assert images.empty_classes == ("class2",)
    assert images.imbalance_factor == float("inf")
    assert images.indices_of(1).tolist() == [1, 3]
    assert images.indices_of(2).tolist() == []
    assert image_set([0, 1, 0], num_classes=2).imbalance_factor == 2


@given(labels_of)
@settings(deadline=None)
def test_counts_and_indices_describe_the_labels(labels):
    images = image_set(labels)
    assert images.class_counts == tuple(labels.count(label) for label in range(3))
    for label in range(3):
        assert images.indices_of(label).tolist() == [i for i, found in enumerate(labels) if found == label]


@given(labels_of, st.data())
@settings(deadline=None)
def test_a_subset_keeps_order_pixels_and_names(labels, data):
    images = image_set(labels)
    chosen = data.draw(st.lists(st.integers(0, len(labels) - 1), min_size=1))
    for indices in (chosen, torch.tensor(chosen)):
        subset = images.subset(indices)
        assert torch.equal(subset.images, images.images[chosen])
        assert subset.labels.tolist() == [labels[index] for index in chosen]
        assert subset.class_names == images.class_names
        assert subset.origin == images.origin


@given(labels_of)
@settings(deadline=None)
def test_the_hash_depends_on_content_alone(labels):
    images = image_set(labels)
    assert image_set(labels, origin="elsewhere").content_hash == images.content_hash
    stored_otherwise = images.images.to(memory_format=torch.channels_last)
    same = ImageSet(stored_otherwise, images.labels, images.class_names)
    assert same.content_hash == images.content_hash


def test_the_hash_sees_every_change():
    images = image_set([0, 1, 2])
    pixels = images.images.clone()
    pixels[2, 0, 0, 0] ^= 1
    others = [
        ImageSet(pixels, images.labels, images.class_names),
        ImageSet(images.images, torch.tensor([0, 1, 1]), images.class_names),
        ImageSet(images.images, images.labels, ("a", "b", "c")),
        ImageSet(images.images.reshape(3, 3, 9, 8), images.labels, images.class_names),
    ]
    assert len({images.content_hash, *(other.content_hash for other in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1, 3])}, "labels run from 0 to 3.*0..2"),
        ({"labels": torch.tensor([-1, 1, 2])}, "labels run from -1 to 2"),
        ({"class_names": ("only",)}, r"only one class \(only\)"),
        ({"class_names": ("a", "b", "a")}, "class names repeat"),
        ({"images": torch.zeros(3, 1, 7, 8, dtype=torch.uint8)}, "7x8 pixels.*--image-size 8"),
        (
            {
                "images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8),
                "labels": torch.zeros(0, dtype=torch.int64),
            },
            "there are no images",
        ),
    ],
)
def test_invalid_data_is_an_error_that_names_the_source(changes, message):
    valid = image_set([0, 1, 2])
    parts = {"images": valid.images, "labels": valid.labels, "class_names": valid.class_names} | changes
    with pytest.raises(DistailError, match=f"^there: .*{message}"):
        ImageSet(**parts, origin="there")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1])}, "3 images but 2 labels"),
        ({"images": torch.zeros(3, 1, 8, 8)}, r"must be uint8 .*not torch\.float32"),
        ({"images": torch.zeros(3, 8, 8, dtype=torch.uint8)}, r"not torch\.uint8 of shape \(3, 8, 8\)"),
    ],
)
def test_wrong_types_and_lengths_are_explained_where_no_type_checker_runs(changes, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    valid = image_set([0, 1, 2])
    parts = {"images": valid.images, "labels": valid.labels, "class_names": valid.class_names} | changes
    with pytest.raises(DistailError, match=f"^there: .*{message}"):
        ImageSet(**parts, origin="there")


def test_an_empty_class_is_named_when_it_matters():
    image_set([0, 1, 2]).require_no_empty_class()
    with pytest.raises(DistailError, match="no image in class class0, class2"):
        image_set([1, 1]).require_no_empty_class()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (["a", "b"], "test lacks 'c'"),
        (["a", "b", "c", "d"], "test has 'd', unknown to train"),
        (["a", "b", "z"], "test lacks 'c'; test has 'z'"),
        (["b", "a", "c"], "train orders them 'a', 'b', 'c', test orders them 'b', 'a', 'c'"),
        ([str(name) for name in range(12)], "'7' and 4 more"),
    ],
)
def test_differing_classes_are_explained(found, message):
    with pytest.raises(DistailError, match=message):
        require_same_classes(["a", "b", "c"], "train", found, "test")


def test_equal_classes_pass():
    require_same_classes(("a", "b"), "train", ["a", "b"], "test")


def test_fingerprints_are_equal_exactly_where_pixels_are():
    images = image_set([0, 1, 0, 1])
    pixels = images.images[[0, 1, 0, 2]].clone()
    pixels[3, 0, 0, 0] ^= 1
    first, second, again, changed = ImageSet(pixels, images.labels, images.class_names).fingerprints.tolist()
    assert first == again
    assert len({first, second, changed, int(images.fingerprints[2])}) == 4


def test_fingerprints_tell_shapes_apart():
    images = image_set([0, 1])
    turned = ImageSet(images.images.reshape(2, 3, 9, 8), images.labels, images.class_names)
    assert not set(images.fingerprints.tolist()) & set(turned.fingerprints.tolist())
