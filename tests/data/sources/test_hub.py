import datasets
import numpy as np
import pytest

from distail.data.sources import load, read_source, read_test_source, source_splits
from distail.errors import DistailError
from tests.data.sources.builders import encoded, hugging_face_table, pixels, write_folder, write_parquet

NAMES = ("cat", "dog", "eel")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def dataset(labels, seed=0, names=NAMES, image="image", label="label"):
    features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=list(names))})
    rows = [{"bytes": encoded(picture), "path": None} for picture in pixels(len(labels), seed=seed)]
    return datasets.Dataset.from_dict({image: rows, label: labels}, features=features)


def expected(n, seed=0):
    return pixels(n, seed=seed).transpose(0, 3, 1, 2)


def test_a_folder_in_the_layout_of_the_hub(tmp_path):
    folder = tmp_path / "animals"
    table = hugging_face_table([encoded(image) for image in pixels(3)], [2, 0, 1], NAMES)
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", table)
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", table.slice(0, 2))
    assert source_splits(f"hf:{folder}") == ("train", "test")
    images = load(f"hf:{folder}")
    assert images.class_names == NAMES
    assert images.labels.tolist() == [2, 0, 1]
    assert (images.images.numpy() == expected(3)).all()
    assert images.content_hash == load(folder).content_hash
    assert load(f"hf:{folder}#test").labels.tolist() == [2, 0]


def test_image_files_in_the_layout_of_the_hub(tmp_path):
    root = write_folder(tmp_path / "pets" / "train", {"cat": pixels(2), "dog": pixels(1, seed=1)}).parent
    images = load(f"hf:{root}")
    assert images.class_names == ("cat", "dog")
    assert images.class_counts == (2, 1)
    assert (images.images.numpy() == np.concatenate([expected(2), expected(1, 1)])).all()


def test_splits_that_were_saved_to_disk(tmp_path):
    parts = {"train": dataset([0, 1, 2]), "validation": dataset([2, 2], seed=1)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert source_splits(f"hf:{tmp_path / 'saved'}") == ("train", "validation")
    images = load(f"hf:{tmp_path / 'saved'}", "val")
    assert images.labels.tolist() == [2, 2]
    assert (images.images.numpy() == expected(2, seed=1)).all()
    with pytest.raises(DistailError, match=r"no test split. It has train, validation"):
        load(f"hf:{tmp_path / 'saved'}", "test")


def test_one_dataset_that_was_saved_to_disk_after_a_selection(tmp_path):
    dataset([0, 1, 2, 0]).select([3, 1]).save_to_disk(tmp_path / "saved")
    source = f"hf:{tmp_path / 'saved'}"
    assert source_splits(source) == ("train",)
    assert (load(source).images.numpy() == expected(4)[[3, 1]]).all()
    assert read_test_source(source).images.labels.tolist() == [0, 1]
    with pytest.raises(DistailError, match=r"save_to_disk.*hf:"):
        load(tmp_path / "saved")


def test_features_of_any_name_are_found_by_type(tmp_path):
    dataset([0, 1], image="scan", label="finding").save_to_disk(tmp_path / "saved")
    assert load(f"hf:{tmp_path / 'saved'}").class_names == NAMES


def test_fine_labels_are_preferred_and_others_are_ambiguous(tmp_path):
    both = dataset([0, 1], label="fine_label").add_column("coarse_label", [0, 0])
    both = both.cast_column("coarse_label", datasets.ClassLabel(names=["x", "y"]))
    both.save_to_disk(tmp_path / "fine")
    assert load(f"hf:{tmp_path / 'fine'}").class_names == NAMES
    both.rename_column("fine_label", "small_label").save_to_disk(tmp_path / "unclear")
    with pytest.raises(DistailError, match="several columns could hold the labels: small_label, coarse_label"):
        load(f"hf:{tmp_path / 'unclear'}")


def test_unlabelled_rows_are_an_error(tmp_path):
    dataset([0, None]).save_to_disk(tmp_path / "saved")
    with pytest.raises(DistailError, match="no label in row 1"):
        load(f"hf:{tmp_path / 'saved'}")


def test_unreadable_rows_are_left_out_and_named(tmp_path):
    folder = tmp_path / "animals"
    images = [b"junk", *(encoded(image) for image in pixels(2))]
    write_parquet(folder / "train.parquet", hugging_face_table(images, [0, 1, 2], NAMES))
    contents = read_source(f"hf:{folder}")
    assert contents.images.labels.tolist() == [1, 2]
    assert [image.where for image in contents.unreadable] == [f"hf:{folder} train row 0"]


def test_names_and_configurations_reach_the_hub(monkeypatch):
    asked = []

    def load_dataset(name, config, **options):
        asked.append((name, config, options))
        return datasets.DatasetDict(train=dataset([0, 1]))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    load("hf:owner/animals")
    load("hf:owner/animals:small")
    load("hf:owner/animals:small#train")
    assert asked == [("owner/animals", None, {})] + 2 * [("owner/animals", "small", {})]


def test_code_of_a_dataset_is_refused_by_old_versions_too(monkeypatch):
    asked = []

    def load_dataset(name, config, **options):
        asked.append(options)
        return datasets.DatasetDict(train=dataset([0, 1]))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    load("hf:owner/animals")
    assert asked == [{"trust_remote_code": False}]


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), FileNotFoundError("gone"), ValueError()])
def test_a_failure_says_what_to_do(monkeypatch, error):
    def load_dataset(name, config, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DistailError, match=f"{type(error).__name__}.*the network.*local copy"):
        load("hf:owner/animals")


def test_hf_needs_a_name():
    with pytest.raises(DistailError, match="hf:OWNER/NAME"):
        load("hf:")
