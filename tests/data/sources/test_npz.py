import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distail.data.sources import load, read_source, source_splits
from distail.errors import DistailError
from tests.data.sources.builders import pixels

LABELS = np.array([0, 1, 1, 0])


def save(folder, **arrays):
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return path


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    n=st.integers(2, 5),
    size=st.tuples(st.integers(8, 12), st.integers(8, 12)),
    channels=st.sampled_from([1, 3]),
    layout=st.sampled_from(["nhwc", "nchw", "nhw"]),
    scale=st.sampled_from(["uint8", "int64", "unit float32", "unit float64", "float32"]),
)
def test_every_layout_and_scale_comes_back_exactly(data, n, size, channels, layout, scale, tmp_path_factory):
    channels = 1 if layout == "nhw" else channels
    images = data.draw(hnp.arrays(np.uint8, (n, channels, *size)))
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 255, 0  # a float scale shows only where the range is used
    arranged = {"nchw": images, "nhwc": images.transpose(0, 2, 3, 1), "nhw": images[:, 0]}[layout]
    scaled = arranged / 255 if scale.startswith("unit") else arranged
    labels = np.arange(n) % 2
    path = save(tmp_path_factory.mktemp("npz"), images=scaled.astype(scale.split()[-1]), labels=labels)
    loaded = load(path)
    assert (loaded.images.numpy() == images).all()
    assert loaded.labels.tolist() == labels.tolist()
    assert read_source(path).sizes == {size: n}


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("x", "y"), ("X", "Y"), ("data", "target"), ("x_train", "y_train")],
)
def test_unsplit_and_training_keys(tmp_path, images, labels):
    path = save(tmp_path, **{images: pixels(4), labels: LABELS})
    assert source_splits(path) == ("train",)
    assert load(path).labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("pattern", ["{split}_{part}", "{part}_{split}"])
def test_split_keys(tmp_path, pattern):
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        arrays[pattern.format(split=split, part="images")] = pixels(4, seed=number)
        arrays[pattern.format(split=split, part="labels")] = LABELS[:, None]  # the (n, 1) of medical sets
    path = save(tmp_path, **arrays)
    assert source_splits(path) == ("train", "test", "validation")
    for number, split in enumerate(("train", "val", "test")):
        loaded = load(path, split)
        assert (loaded.images.numpy() == pixels(4, seed=number).transpose(0, 3, 1, 2)).all()
        assert loaded.labels.tolist() == LABELS.tolist()


def test_class_names_and_string_labels(tmp_path):
    named = load(save(tmp_path, images=pixels(4), labels=LABELS, class_names=np.array(["cat", "dog", "eel"])))
    assert named.class_names == ("cat", "dog", "eel")
    assert named.empty_classes == ("eel",)
    for labels in (np.array(["b", "a", "a", "b"]), np.array([b"b", b"a", b"a", b"b"])):
        loaded = load(save(tmp_path, images=pixels(4), labels=labels))
        assert loaded.class_names == ("a", "b")
        assert loaded.labels.tolist() == [1, 0, 0, 1]


def test_a_string_label_outside_the_class_names_is_an_error(tmp_path):
    path = save(tmp_path, images=pixels(2), labels=np.array(["a", "c"]), class_names=np.array(["a", "b"]))
    with pytest.raises(DistailError, match="label 'c' is none of the class names in row 1"):
        load(path)


def test_test_labels_that_miss_the_last_class_follow_the_training_names(tmp_path):
    path = save(tmp_path, x_train=pixels(4), y_train=np.array([0, 1, 2, 2]), x_test=pixels(2), y_test=np.array([0, 1]))
    assert load(path, "test").class_names == ("0", "1", "2")


def test_a_fourth_channel_is_dropped_and_booleans_are_black_and_white(tmp_path):
    images = pixels(4, (8, 8, 4))
    loaded = load(save(tmp_path, images=images, labels=LABELS))
    assert (loaded.images.numpy() == images[..., :3].transpose(0, 3, 1, 2)).all()
    masks = pixels(4, (8, 8)) > 127
    assert (load(save(tmp_path, images=masks, labels=LABELS)).images.numpy()[:, 0] == masks * 255).all()


def test_arrays_can_be_resized(tmp_path):
    contents = read_source(save(tmp_path, images=pixels(4, (3, 9, 11)), labels=LABELS), image_size=16)
    assert contents.images.image_shape == (3, 16, 16)
    assert contents.sizes == {(9, 11): 4}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 3, 32, 3), np.uint8), "channels first or last"),
        (np.zeros((4, 32, 32, 2), np.uint8), "no axis of 1, 3 or 4 channels"),
        (np.zeros((4, 192), np.uint8), r"shape \(4, 192\)"),
        (np.full((4, 8, 8), np.nan), "NaN or infinite"),
        (np.full((4, 8, 8), np.inf), "NaN or infinite"),
        (np.linspace(-1, 1, 256).reshape(4, 8, 8), "from -1 to 1"),
        (np.full((4, 8, 8), 256.0), "from 256 to 256"),
        (np.full((4, 8, 8), 4000, np.uint16), "from 4000 to 4000"),
        (np.full((4, 8, 8), 1j), "type complex128"),
        (np.zeros((0, 8, 8), np.uint8), "0 images in 'images' but 4 labels"),
        (np.zeros((3, 8, 8), np.uint8), "3 images in 'images' but 4 labels"),
        (np.zeros((4, 7, 8), np.uint8), "--image-size 8"),
    ],
)
def test_unusable_images_are_errors(tmp_path, images, message):
    with pytest.raises(DistailError, match=message):
        load(save(tmp_path, images=images, labels=LABELS))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(4), r"shape \(4, 4\)"),
        (np.array(3), r"shape \(\)"),
        (np.array([0, 1, -1, 0]), "negative in row 2 "),
        (np.array([0, 1, np.nan, 0]), "no whole number in row 2 "),
        (np.array([0, 1, 2, 3], "datetime64[s]"), "type datetime64"),
        (np.zeros(4, np.int64), "only one class"),
    ],
)
def test_unusable_labels_are_errors(tmp_path, labels, message):
    with pytest.raises(DistailError, match=message):
        load(save(tmp_path, images=pixels(4), labels=labels))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((), r"no images and labels among the arrays \(none\)"),
        (("weights",), "among the arrays weights"),
        (("images",), "'images' has no partner"),
        (("images", "labels", "test_images"), "'test_images' has no partner"),
        (("images", "x", "labels"), "'images' and 'x' mean the same"),
        (("images", "labels", "train_images", "train_labels"), "both look like training images"),
    ],
)
def test_missing_and_ambiguous_keys_are_errors(tmp_path, keys, message):
    with pytest.raises(DistailError, match=message):
        load(save(tmp_path, **{key: np.zeros(2) for key in keys}))


def test_an_archive_without_images_is_an_error(tmp_path):
    path = save(tmp_path, images=pixels(0), labels=LABELS[:0], class_names=np.array(["a", "b"]))
    with pytest.raises(DistailError, match="no images"):
        load(path)


class Trap:
    """Would leave a file behind if it were ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("key", ["images", "labels", "class_names"])
def test_python_objects_are_never_unpickled(tmp_path, key):
    trap = np.empty(4, dtype=object)
    trap[:] = [Trap(tmp_path / "sprung")] * 4
    path = save(tmp_path, **({"images": pixels(4), "labels": LABELS} | {key: trap}))
    with pytest.raises(DistailError, match=f"'{key}' cannot be read: it holds Python objects"):
        load(path)
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_in_disguise_is_never_unpickled(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DistailError, match=r"not an \.npz archive"):
        load(path)
    assert not (tmp_path / "sprung").exists()


def test_truncated_and_foreign_archives_are_errors(tmp_path):
    whole = save(tmp_path, images=pixels(4), labels=LABELS).read_bytes()
    path = tmp_path / "a.npz"
    path.write_bytes(whole[:200])
    with pytest.raises(DistailError, match=r"not an \.npz archive, or an incomplete one"):
        load(path)
    damaged = bytearray(whole)
    damaged[300:340] = b"\xff" * 40
    path.write_bytes(damaged)
    with pytest.raises(DistailError, match=r"'images' cannot be read: .*damaged"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", "text")
        archive.writestr("labels", "text")
    with pytest.raises(DistailError, match="file of another kind"):
        load(path)
