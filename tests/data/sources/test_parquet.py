import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distail.data.sources import load, read_source, source_splits
from distail.errors import DistailError
from tests.data.sources.builders import encoded, hugging_face_table, pixels, write_parquet

NAMES = ("cat", "dog", "eel")


def encoded_images(n: int, seed: int = 0) -> list[bytes]:
    return [encoded(image) for image in pixels(n, seed=seed)]


def plain(path, labels, **columns):
    return write_parquet(path, {"image": encoded_images(len(labels)), "label": labels} | columns)


def test_hugging_face_layout_with_class_names(tmp_path):
    images = pixels(7)
    table = hugging_face_table([encoded(image) for image in images], [2, 0, 1, 2, 0, 0, 2], NAMES)
    loaded = load(write_parquet(tmp_path / "animals.parquet", table))
    assert loaded.class_names == NAMES
    assert loaded.labels.tolist() == [2, 0, 1, 2, 0, 0, 2]
    assert (loaded.images.numpy() == images.transpose(0, 3, 1, 2)).all()


@settings(max_examples=15, deadline=None)
@given(data=st.data(), shape=st.sampled_from([(8, 8), (9, 12), (8, 11, 3)]), n=st.integers(2, 9))
def test_png_rows_come_back_exactly(data, shape, n, tmp_path_factory):
    images = data.draw(hnp.arrays(np.uint8, (n, *shape)))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    write_parquet(path, hugging_face_table([encoded(image) for image in images], labels, NAMES))
    loaded = load(path)
    expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    assert (loaded.images.numpy() == expected).all()
    assert loaded.labels.tolist() == labels


def test_plain_columns_under_common_names(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet",
        {"img": encoded_images(3), "target": [0, 2, 1], "patient": [7, 7, 8], "note": ["x", "y", "z"]},
    )
    loaded = load(path)
    assert loaded.class_names == ("0", "1", "2")
    assert loaded.labels.tolist() == [0, 2, 1]


def test_the_only_fitting_columns_may_have_any_name(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"scan": encoded_images(2), "finding": ["b", "a"]})
    assert load(path).class_names == ("a", "b")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_string_labels_are_sorted_names(tmp_path, kind):
    loaded = load(plain(tmp_path / "a.parquet", pa.array(["owl", "bat", "owl"]).cast(kind)))
    assert loaded.class_names == ("bat", "owl")
    assert loaded.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int32(), pa.float64(), pa.bool_()])
def test_whole_numbers_of_any_type_are_labels(tmp_path, kind):
    loaded = load(plain(tmp_path / "a.parquet", pa.array([1, 0, 1]).cast(kind)))
    assert loaded.labels.tolist() == [1, 0, 1]


def test_a_class_label_column_beats_other_integers(tmp_path):
    table = hugging_face_table(encoded_images(2), [1, 0], NAMES)
    metadata = {"huggingface": table.schema.metadata[b"huggingface"].replace(b'"label"', b'"species"')}
    table = table.rename_columns(["image", "species"]).append_column("class", pa.array([5, 6]))
    path = write_parquet(tmp_path / "a.parquet", table.replace_schema_metadata(metadata))
    assert load(path).class_names == NAMES


def test_malformed_hugging_face_metadata_is_ignored(tmp_path):
    for number, metadata in enumerate(("not json", "[]", '{"info": {"features": {"label": 3}}}')):
        table = hugging_face_table(encoded_images(2), [1, 0]).replace_schema_metadata({"huggingface": metadata})
        assert load(write_parquet(tmp_path / f"{number}.parquet", table)).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0, 1]}, r"no column holds the images.*label \(int64\)"),
        ({"image": [b"a", b"b"]}, r"no column holds the labels.*image \(binary\)"),
        ({"img": [b"a", b"b"], "bytes": [b"a", b"b"], "label": [0, 1]}, "images: img, bytes. Rename"),
        ({"image": [b"a", b"b"], "class": [0, 1], "target": [0, 1]}, "labels: class, target. Rename"),
        ({"image": [b"a", b"b"], "age": [0, 1], "sex": [0, 1]}, "labels: age, sex. Rename"),
    ],
)
def test_missing_and_ambiguous_columns_are_listed(tmp_path, columns, message):
    with pytest.raises(DistailError, match=message):
        load(write_parquet(tmp_path / "a.parquet", columns))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, None, 1, None], "no label in rows 1, 3"),
        ([0.0, float("nan"), 1.0], "no label in row 1 "),
        (["a", None, "b"], "no label in row 1 "),
        (["a", "", "b"], "empty string in row 1 "),
        ([0, -1, 1], "negative in row 1 "),
        ([-1] * 9, "rows 0, 1, 2, 3, 4 and 4 more"),
        ([0.5, 1.0], "no whole number in row 0 "),
        ([0, 10**12], "like ids and unlike classes"),
    ],
)
def test_unusable_labels_are_named_by_row(tmp_path, labels, message):
    with pytest.raises(DistailError, match=message):
        load(plain(tmp_path / "a.parquet", labels))


def test_a_label_beyond_the_class_names_is_an_error(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", hugging_face_table(encoded_images(2), [0, 3], NAMES))
    with pytest.raises(DistailError, match="beyond the 3 class names in row 1"):
        load(path)


def test_unreadable_rows_are_left_out_and_named(tmp_path):
    first, second = encoded_images(3), [b"junk", None, encoded_images(1)[0]]
    write_parquet(tmp_path / "train-00000-of-00002.parquet", hugging_face_table(first, [0, 1, 2], NAMES))
    write_parquet(tmp_path / "train-00001-of-00002.parquet", hugging_face_table(second, [0, 1, 2], NAMES))
    contents = read_source(tmp_path)
    assert contents.images.labels.tolist() == [0, 1, 2, 2]
    assert [image.where for image in contents.unreadable] == [
        f"{tmp_path / 'train-00001-of-00002.parquet'} row 0",
        f"{tmp_path / 'train-00001-of-00002.parquet'} row 1",
    ]


@pytest.mark.parametrize("place", [".", "data"])
def test_a_folder_of_shards(tmp_path, place):
    for shard in range(2):
        table = hugging_face_table(encoded_images(2, seed=shard), [0, shard], NAMES)
        write_parquet(tmp_path / place / f"train-0000{shard}-of-00002.parquet", table)
    write_parquet(tmp_path / place / "test.parquet", hugging_face_table(encoded_images(1), [2], NAMES))
    assert source_splits(tmp_path) == ("train", "test")
    assert load(tmp_path).labels.tolist() == [0, 0, 0, 1]
    assert load(tmp_path, "test").labels.tolist() == [2]


def test_files_not_named_after_splits_are_all_training_data(tmp_path):
    plain(tmp_path / "part-0.parquet", [0, 1])
    plain(tmp_path / "part-1.parquet", [1, 1])
    assert source_splits(tmp_path) == ("train",)
    assert load(tmp_path).labels.tolist() == [0, 1, 1, 1]


def test_string_labels_of_a_test_file_follow_the_training_names(tmp_path):
    plain(tmp_path / "train.parquet", ["c", "a", "b"])
    plain(tmp_path / "test.parquet", ["c", "c"])
    loaded = load(tmp_path, "test")
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.labels.tolist() == [2, 2]


def test_shards_with_different_columns_are_an_error(tmp_path):
    plain(tmp_path / "train-0.parquet", [0, 1])
    write_parquet(tmp_path / "train-1.parquet", {"image": encoded_images(1), "y": [0]})
    with pytest.raises(DistailError, match=r"train-1\.parquet has no column 'label'"):
        load(tmp_path)


def test_a_file_without_rows_is_an_error(tmp_path):
    with pytest.raises(DistailError, match="there are no images"):
        load(write_parquet(tmp_path / "a.parquet", hugging_face_table([], [], NAMES)))


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95junk.", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_another_file_in_disguise_is_an_error(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DistailError, match="cannot be read as a Parquet file"):
        load(path)


def test_damaged_pages_are_an_error(tmp_path):
    path = plain(tmp_path / "a.parquet", [0, 1, 0, 1])
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(DistailError, match="cannot be read as a Parquet file"):
        load(path)
