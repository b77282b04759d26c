import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distail.data.sources import load, read_source, source_splits
from distail.errors import DistailError
from tests.data.sources.builders import encoded, pixels, write_folder


def test_class_folders_are_sorted_and_so_are_their_files(tmp_path):
    dogs, cats = pixels(3, seed=1), pixels(2, seed=2)
    images = load(write_folder(tmp_path, {"dog": dogs, "cat": cats}))
    assert images.class_names == ("cat", "dog")
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    assert (images.images.numpy() == np.concatenate([cats, dogs]).transpose(0, 3, 1, 2)).all()
    assert images.origin == str(tmp_path)


@settings(max_examples=15, deadline=None)
@given(images=hnp.arrays(np.uint8, st.tuples(st.integers(2, 5), st.integers(8, 11), st.integers(8, 11), st.just(3))))
def test_png_files_come_back_exactly(images, tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("folder"), {"a": images[:1], "b": images[1:]})
    loaded = load(root)
    assert (loaded.images.numpy() == images.transpose(0, 3, 1, 2)).all()
    assert loaded.class_counts == (1, len(images) - 1)


def test_train_and_test_folders_are_splits(tmp_path):
    write_folder(tmp_path / "train", {"a": pixels(2), "b": pixels(3)})
    write_folder(tmp_path / "test", {"a": pixels(1), "b": pixels(1)})
    write_folder(tmp_path / "val", {"a": pixels(4), "b": pixels(1)})
    assert source_splits(tmp_path) == ("train", "test", "validation")
    assert load(tmp_path).class_counts == (2, 3)
    assert load(tmp_path, "test").class_counts == (1, 1)
    assert load(tmp_path, "val").class_counts == load(f"{tmp_path}#validation").class_counts == (4, 1)


def test_classes_may_be_called_like_splits(tmp_path):
    write_folder(tmp_path, {"train": pixels(2), "test": pixels(1), "car": pixels(1)})
    assert load(tmp_path).class_names == ("car", "test", "train")


def test_images_in_folders_below_the_class_folder_count(tmp_path):
    write_folder(tmp_path, {"a/images": pixels(2), "a/more": pixels(1), "b": pixels(1)})
    assert load(tmp_path).class_counts == (3, 1)


def test_other_files_hidden_files_and_leftovers_are_ignored(tmp_path):
    write_folder(tmp_path, {"a": pixels(1), "b": pixels(1), ".thumbnails": pixels(1), "__MACOSX": pixels(1)})
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / ".hidden.png").write_bytes(b"no image")
    contents = read_source(tmp_path, strict=True)
    assert contents.images.class_counts == (1, 1)


def test_a_link_in_a_circle_is_not_followed(tmp_path):
    write_folder(tmp_path, {"a": pixels(1), "b": pixels(1)})
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert load(tmp_path).class_counts == (1, 1)


def test_an_empty_class_folder_is_a_class_without_images(tmp_path):
    write_folder(tmp_path, {"a": pixels(1), "b": [], "c": pixels(1)})
    images = load(tmp_path)
    assert images.class_counts == (1, 0, 1)
    assert images.empty_classes == ("b",)


def test_a_test_folder_that_lacks_a_class_keeps_the_training_names(tmp_path):
    write_folder(tmp_path / "train", {"a": pixels(1), "b": pixels(1), "c": pixels(1)})
    write_folder(tmp_path / "test", {"b": pixels(1), "c": pixels(2)})
    images = load(tmp_path, "test")
    assert images.class_names == ("a", "b", "c")
    assert images.labels.tolist() == [1, 2, 2]


def test_a_test_folder_with_an_unknown_class_keeps_its_own_names(tmp_path):
    write_folder(tmp_path / "train", {"a": pixels(1), "b": pixels(1)})
    write_folder(tmp_path / "test", {"b": pixels(1), "z": pixels(1)})
    assert load(tmp_path, "test").class_names == ("b", "z")


def test_unreadable_files_are_left_out_and_named(tmp_path):
    write_folder(tmp_path, {"a": pixels(3), "b": pixels(2)})
    whole = encoded(pixels(1, (64, 64, 3))[0], "JPEG")
    (tmp_path / "a" / "001.png").write_bytes(b"this is no image")
    (tmp_path / "b" / "000.png").write_bytes(whole[: len(whole) // 2])
    contents = read_source(tmp_path)
    assert contents.images.class_counts == (2, 1)
    assert [image.where for image in contents.unreadable] == [
        str(tmp_path / "a" / "001.png"),
        str(tmp_path / "b" / "000.png"),
    ]
    assert "not an image" in contents.unreadable[0].reason
    assert "truncated" in contents.unreadable[1].reason
    assert sum(contents.sizes.values()) == 3
    with pytest.raises(DistailError, match=r"2 unreadable images: .*001\.png.*000\.png"):
        read_source(tmp_path, strict=True)


def test_an_empty_image_file_is_unreadable(tmp_path):
    write_folder(tmp_path, {"a": pixels(2), "b": pixels(1)})
    (tmp_path / "a" / "000.png").write_bytes(b"")
    assert len(read_source(tmp_path).unreadable) == 1


def test_nothing_readable_at_all_is_an_error(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(b"broken")
    with pytest.raises(DistailError, match="none of the 2 images can be read"):
        load(tmp_path)


def test_mixed_sizes_need_an_image_size(tmp_path):
    write_folder(tmp_path, {"a": pixels(1, (9, 8, 3)), "b": pixels(2, (16, 24, 3))})
    with pytest.raises(DistailError, match=r"9x8 and 16x24 .*--image-size 8"):
        load(tmp_path)
    contents = read_source(tmp_path, image_size=(12, 10))
    assert contents.images.image_shape == (3, 12, 10)
    assert contents.sizes == {(9, 8): 1, (16, 24): 2}


def test_gray_and_colour_together_become_colour(tmp_path):
    gray, colour = pixels(2, (8, 8), seed=1), pixels(2, seed=2)
    images = load(write_folder(tmp_path, {"a": gray, "b": colour})).images
    assert images.shape == (4, 3, 8, 8)
    for channel in range(3):
        assert torch.equal(images[:2, channel], torch.from_numpy(gray))
    assert torch.equal(images[2:], torch.from_numpy(colour).permute(0, 3, 1, 2))


def test_gray_alone_stays_one_channel(tmp_path):
    gray = pixels(3, (8, 10))
    images = load(write_folder(tmp_path, {"a": gray[:1], "b": gray[1:]})).images
    assert torch.equal(images, torch.from_numpy(gray)[:, None])


def test_folders_without_images_or_classes_are_errors(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DistailError, match="is an empty folder"):
        load(empty)
    write_folder(tmp_path / "hollow", {"a": [], "b": []})
    with pytest.raises(DistailError, match=r"no image files.*\.png"):
        load(tmp_path / "hollow")
    write_folder(tmp_path / "flat", {".": []} | {"a": pixels(1)})
    with pytest.raises(DistailError, match="holds images, but no class folders"):
        load(tmp_path / "flat" / "a")
    with pytest.raises(DistailError, match="only one class"):
        load(tmp_path / "flat")
    (empty / "notes.txt").write_text("hello")
    with pytest.raises(DistailError, match="neither class folders nor Parquet"):
        load(empty)


def test_a_stray_folder_beside_the_splits_is_an_error(tmp_path):
    write_folder(tmp_path / "train", {"a": pixels(1), "b": pixels(1)})
    (tmp_path / "docs").mkdir()
    with pytest.raises(DistailError, match="stands 'docs', which is none"):
        load(tmp_path)


def test_two_folders_for_one_split_are_an_error(tmp_path):
    for split in ("train", "val", "validation"):
        write_folder(tmp_path / split, {"a": pixels(1), "b": pixels(1)})
    with pytest.raises(DistailError, match="val and validation are the same split"):
        load(tmp_path)
