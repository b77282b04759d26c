"""The product: what is saved comes back to the last bit, and what makes no sense is refused."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from distail.artifact import TensorFile, read_tensors, write_tensors
from distail.data.image_set import ImageSet
from distail.data.labelled_views import LabelledViews
from distail.data.preprocess import Preprocessing, PreprocessingKind, fit_preprocessing
from distail.distilled import FILE_NAME, KIND, DistilledSet, StoredBytes, load_distilled
from distail.errors import DistailError
from distail.synthetic.mosaic import decode
from distail.training.recipe import TrainRecipe

NAMES = ("ant", "bee", "cow")
SHAPE = (3, 8, 9)


def pixels_of(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def fitted(kind: PreprocessingKind, shape: tuple[int, int, int] = SHAPE) -> Preprocessing:
    return fit_preprocessing(ImageSet(pixels_of(9, shape, 5), torch.arange(9) % 3, NAMES), kind)


def make(count: int = 5, kind: PreprocessingKind = "normalize", shape: tuple[int, int, int] = SHAPE, **parts):
    preprocessing = fitted(kind, shape)
    images = preprocessing.apply(pixels_of(count, shape))
    labels = torch.arange(count) % len(NAMES)
    return DistilledSet(
        **{"images": images, "labels": labels, "class_names": NAMES, "preprocessing": preprocessing, **parts}
    )


def soft(count: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, len(NAMES), generator=torch.Generator().manual_seed(seed))


def assert_same(first: DistilledSet, second: DistilledSet) -> None:
    for name in ("images", "labels", "soft_labels"):
        before, after = getattr(first, name), getattr(second, name)
        assert (before is None) == (after is None), name
        if before is not None:
            assert before.dtype == after.dtype
            assert torch.equal(before, after), name
    for name in ("class_names", "learning_rate", "provenance", "mosaic", "training"):
        assert getattr(first, name) == getattr(second, name), name
    assert first.preprocessing.header() == second.preprocessing.header()
    before, after = first.preprocessing.to_tensors(), second.preprocessing.to_tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 7),
    kind=st.sampled_from(["none", "normalize", "zca"]),
    shape=st.sampled_from([(1, 8, 8), (3, 8, 9), (2, 11, 8)]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    with_soft=st.booleans(),
    rate=st.none() | st.floats(1e-300, 1e300),
    names=st.lists(st.text(max_size=9), min_size=3, max_size=3),
    provenance=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
)
def test_what_is_saved_comes_back(tmp_path_factory, count, kind, shape, dtype, with_soft, rate, names, provenance):
    whole = make(
        count,
        kind,
        shape,
        images=torch.randn(count, *shape, generator=torch.Generator().manual_seed(count)).to(dtype),
        soft_labels=soft(count).to(dtype) if with_soft else None,
        learning_rate=rate,
        class_names=tuple(names),
        provenance=provenance,
    )
    path = tmp_path_factory.mktemp("set") / "set.safetensors"
    whole.save(path)
    assert_same(load_distilled(path), whole)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, 3e38, 1 / 3])
def test_extreme_values_keep_their_bits(tmp_path, value):
    whole = make(1, "none", images=torch.full((1, *SHAPE), value))
    whole.save(str(tmp_path / "set"))
    read = load_distilled(str(tmp_path / "set"))
    assert torch.equal(read.images.view(torch.int32), whole.images.view(torch.int32))


def test_a_run_folder_is_as_good_as_its_file(tmp_path):
    whole = make(soft_labels=soft())
    whole.save(tmp_path / FILE_NAME)
    assert_same(load_distilled(tmp_path), whole)
    assert_same(load_distilled(str(tmp_path)), whole)


def test_an_unfinished_run_says_how_to_finish(tmp_path):
    with pytest.raises(DistailError, match=r"no finished distilled set .*--resume"):
        load_distilled(tmp_path)
    with pytest.raises(DistailError, match="does not exist"):
        load_distilled(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("missing", ["images", "labels", "class_names", "preprocessing", "provenance"])
def test_a_file_that_lacks_a_part_says_which(tmp_path, missing):
    make().save(tmp_path / "set")
    content = read_tensors(tmp_path / "set", KIND)
    content.tensors.pop(missing, None)
    content.header.pop(missing, None)
    write_tensors(tmp_path / "set", TensorFile(KIND, content.tensors, content.header))
    with pytest.raises(DistailError, match=f"lacks '{missing}'.*not a whole distilled set"):
        load_distilled(tmp_path / "set")


def test_a_file_that_lacks_fitted_preprocessing_says_so(tmp_path):
    make().save(tmp_path / "set")
    content = read_tensors(tmp_path / "set", KIND)
    del content.tensors["preprocessing.std"]
    write_tensors(tmp_path / "set", content)
    with pytest.raises(DistailError, match="'normalize' needs tensors"):
        load_distilled(tmp_path / "set")


# What is refused


def with_value(value: float) -> torch.Tensor:
    images = torch.zeros(5, *SHAPE)
    images[3, 1, 2, 4] = value
    return images


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"images": torch.zeros(0, *SHAPE), "labels": torch.zeros(0, dtype=torch.int64)}, "0 and 0"),
        ({"images": torch.zeros(5, 3, 8, 8)}, r"\(3, 8, 8\), but the preprocessing is for \(3, 8, 9\)"),
        ({"labels": torch.tensor([0, 1, 2, 3, 0])}, r"must lie in 0\.\.2"),
        ({"labels": torch.tensor([0, 1, 2, -1, 0])}, r"must lie in 0\.\.2"),
        ({"soft_labels": torch.zeros(5, 2)}, r"shape \(5, 2\) instead of \(5, 3\)"),
        ({"images": with_value(float("nan"))}, "distilled images hold NaN or infinite"),
        ({"images": with_value(float("-inf"))}, "distilled images hold NaN or infinite"),
        ({"soft_labels": torch.full((5, 3), float("inf"))}, "distilled soft labels hold NaN or infinite"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"learning_rate": float("inf")}, "learning rate is inf"),
        ({"learning_rate": 0.0}, "must be positive"),
        ({"learning_rate": -0.1}, "must be positive"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(parts, match):
    with pytest.raises(DistailError, match=match):
        make(**parts)


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"labels": torch.tensor([0, 1])}, "one label per image: 5 and 2"),
        ({"soft_labels": torch.zeros(4, 3)}, r"shape \(4, 3\) instead of \(5, 3\)"),
    ],
)
def test_lengths_that_differ_are_refused_without_a_type_checker(parts, match):
    """The shape annotations say so too, but only while testing."""
    whole = make()
    for name, value in parts.items():
        object.__setattr__(whole, name, value)
    with pytest.raises(DistailError, match=match):
        whole.__post_init__()


# What can be asked of it


def test_it_knows_its_shape_and_counts():
    whole = make(5, labels=torch.tensor([2, 0, 2, 2, 0]))
    assert len(whole) == 5
    assert whole.num_classes == 3
    assert whole.image_shape == SHAPE
    assert whole.class_counts == (2, 0, 3)


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
def test_real_pixels_come_back_exactly(kind):
    assert torch.equal(make(5, kind).to_pixels(), pixels_of(5))


def test_learned_images_are_clipped_and_rounded():
    values = torch.tensor([-0.3, 1.7, 100.4 / 255, 100.6 / 255, 1.0, 254.51 / 255, 0.49 / 255])
    images = torch.zeros(1, *SHAPE)
    images.view(-1)[: len(values)] = values
    shown = make(1, "none", images=images).to_pixels()
    assert shown.dtype == torch.uint8
    assert shown.view(-1)[: len(values)].tolist() == [0, 255, 100, 101, 255, 255, 0]


def test_soft_targets_are_probabilities():
    logits = soft()
    targets = make(soft_labels=logits).soft_targets()
    powers = logits.double().exp()
    torch.testing.assert_close(targets.double(), powers / powers.sum(1, keepdim=True))
    hard = make().soft_targets()
    assert hard.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("as_soft", [False, True])
def test_a_data_loader_takes_it(as_soft):
    whole = make(5, soft_labels=soft())
    batches = list(DataLoader(whole.as_dataset(soft=as_soft), batch_size=2))
    assert [len(images) for images, _ in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([images for images, _ in batches]), whole.images)
    expected = whole.soft_targets() if as_soft else whole.labels
    assert torch.equal(torch.cat([targets for _, targets in batches]), expected)


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
@pytest.mark.parametrize("with_soft", [False, True])
def test_stored_bytes_are_those_in_the_file(tmp_path, kind, with_soft):
    whole = make(5, kind, soft_labels=soft() if with_soft else None, learning_rate=0.1)
    whole.save(tmp_path / "set")
    tensors = read_tensors(tmp_path / "set", KIND).tensors
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    stored = whole.stored_bytes()
    assert stored.images == sizes["images"] == 5 * 3 * 8 * 9 * 4
    assert stored.labels == sizes["labels"] + sizes.get("soft_labels", 0) == 5 * 8 + with_soft * 5 * 3 * 4
    assert stored.preprocessing == sum(size for name, size in sizes.items() if name.startswith("preprocessing"))
    assert stored.total == sum(sizes.values())
    assert 0 < (tmp_path / "set").stat().st_size - stored.total < 2000  # the rest is the header


# Mosaics


def mosaics(kind: PreprocessingKind = "normalize", **parts) -> DistilledSet:
    return make(5, kind, (3, 8, 12), mosaic=2, **parts)


def test_mosaics_are_decoded_wherever_networks_learn_from_them():
    whole = mosaics(soft_labels=soft())
    decoded = whole.decoded()
    assert (len(whole), len(decoded), decoded.mosaic) == (5, 20, 1)
    assert decoded.image_shape == whole.image_shape
    assert torch.equal(decoded.images, decode(whole.images, 2))
    assert decoded.labels.tolist() == [label for label in whole.labels.tolist() for _ in range(4)]
    assert torch.equal(decoded.soft_targets()[4:8], whole.soft_targets()[1].expand(4, -1))
    for as_soft in (False, True):
        images, targets = zip(*whole.as_dataset(soft=as_soft), strict=True)
        assert torch.equal(torch.stack(images), decoded.images)
        assert torch.equal(torch.stack(targets), decoded.soft_targets() if as_soft else decoded.labels)
    assert "5 mosaics of 2x2" in repr(whole)
    plain = make()
    assert plain.decoded() is plain


def test_whitened_mosaics_are_cut_as_pixels():
    whole = mosaics("zca")
    pixels = whole.preprocessing.invert(whole.images)
    found = whole.preprocessing.invert(whole.decoded().images)
    torch.testing.assert_close(found, decode(pixels, 2), rtol=0, atol=1e-4)


def test_mosaics_come_back_and_count_as_they_are_stored(tmp_path):
    whole = mosaics()
    whole.save(tmp_path / "set")
    read = load_distilled(tmp_path / "set")
    assert read.mosaic == 2
    assert_same(read, whole)
    assert read.stored_bytes().images == 5 * 3 * 8 * 12 * 4
    assert torch.equal(read.to_pixels(), pixels_of(5, (3, 8, 12)))


def with_header(path, **values) -> None:
    content = read_tensors(path, KIND)
    header = {name: value for name, value in (content.header | values).items() if value is not Ellipsis}
    write_tensors(path, TensorFile(KIND, content.tensors, header))


def test_files_older_than_mosaics_hold_none(tmp_path):
    make().save(tmp_path / "set")
    with_header(tmp_path / "set", mosaic=...)
    assert load_distilled(tmp_path / "set").mosaic == 1


@pytest.mark.parametrize("value", [0, -2, 2.0, "2", None, True, [2]])
def test_a_damaged_number_of_cells_is_a_clear_error(tmp_path, value):
    mosaics().save(tmp_path / "set")
    with_header(tmp_path / "set", mosaic=value)
    with pytest.raises(DistailError, match="cells a side of its mosaics"):
        load_distilled(tmp_path / "set")


def test_cells_that_do_not_divide_the_sides_are_refused(tmp_path):
    for cells in (0, 5):
        with pytest.raises(DistailError, match=rf"no mosaics of {cells}x{cells}"):
            mosaics().__class__(**{**vars(mosaics()), "mosaic": cells})
    make().save(tmp_path / "set")  # 8x9
    with_header(tmp_path / "set", mosaic=2)
    with pytest.raises(DistailError, match="no mosaics of 2x2"):
        load_distilled(tmp_path / "set")


def test_the_total_counts_the_teacher():
    assert StoredBytes(1, 20, 300, 4000).total == 4321


def test_saving_leaves_the_set_and_the_old_file_alone(tmp_path):
    whole = make(soft_labels=soft(), provenance={"list": [1, 2]})
    before = (whole.images.clone(), json.dumps(whole.provenance))
    whole.save(tmp_path / "set")
    assert torch.equal(whole.images, before[0])
    assert json.dumps(whole.provenance) == before[1]
    with pytest.raises(ValueError, match="JSON"):
        make(provenance={"loss": float("nan")}).save(tmp_path / "set")
    assert_same(load_distilled(tmp_path / "set"), whole)


# How students are to be trained


@pytest.mark.parametrize(
    "training", [None, TrainRecipe(), TrainRecipe(optimizer="adamw", loss="squared_error", average=0.99)]
)
def test_how_students_are_trained_comes_back(tmp_path, training):
    whole = make(training=training)
    whole.save(tmp_path / "set.safetensors")
    assert_same(whole, load_distilled(tmp_path / "set.safetensors"))
    stored = read_tensors(tmp_path / "set.safetensors", KIND).header["training"]
    assert stored == (None if training is None else training.given)
    assert set(stored or {}) <= {"optimizer", "loss", "average"}  # what differs is enough
    assert make(training=training).decoded().training == training


def test_files_older_than_that_say_nothing(tmp_path):
    make().save(tmp_path / "set.safetensors")
    content = read_tensors(tmp_path / "set.safetensors", KIND)
    del content.header["training"]
    write_tensors(tmp_path / "set.safetensors", content)
    assert load_distilled(tmp_path / "set.safetensors").training is None


@pytest.mark.parametrize(
    ("found", "match"),
    [
        ({"optimiser": "adamw"}, "set.safetensors, how to train students: unknown key 'optimiser'.*'optimizer'"),
        ({"epochs": 0}, "'epochs': "),
        ("adamw", "names 'adamw' as how to train students. It is damaged"),
    ],
)
def test_what_nobody_can_train_by_is_a_clear_error(tmp_path, found, match):
    make().save(tmp_path / "set.safetensors")
    with_header(tmp_path / "set.safetensors", training=found)
    with pytest.raises(DistailError, match=match):
        load_distilled(tmp_path / "set.safetensors")


def test_every_epoch_has_a_view_of_each_image_with_its_logits():
    boxes = torch.tensor([[[255, 255, 0, 0], [127, 127, 0, 0]]], dtype=torch.uint8).expand(5, 2, 4)
    logits = torch.arange(2.0).half()[None, :, None].expand(5, 2, 3)
    made = make(soft_labels=soft(), views=LabelledViews(boxes, logits))
    (whole, label), (part, other) = (made.as_views(epoch)[3] for epoch in (0, 1))
    torch.testing.assert_close(whole, made.images[3], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(part, whole)
    assert (label.tolist(), other.tolist()) == ([0.0] * 3, [1.0] * 3)
    assert made.as_views(5)[3][0].equal(part)


def test_a_set_without_views_says_how_to_come_by_some():
    with pytest.raises(DistailError, match=r"no labelled views.*as_dataset.*distail relabel"):
        make().as_views(0)
