import hashlib
import io
import json
import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.export import export_set, folder_names, pixel_loss

NAMES = ("cat", "a/b", "Cat")


def make_set(n=6, channels=3, kind="none", soft=False, names=NAMES, seed=0, **parts):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, channels, 8, 9), generator=generator, dtype=torch.uint8)
    labels = torch.arange(n) % len(names)
    preprocessing = fit_preprocessing(ImageSet(pixels, labels, names), kind)
    return DistilledSet(
        images=preprocessing.apply(pixels),
        labels=labels,
        class_names=names,
        preprocessing=preprocessing,
        soft_labels=torch.randn(n, len(names), generator=generator) if soft else None,
        **parts,
    )


def with_values(values):
    """A grayscale set of which these pixel-scale values, in 0..255 units, are the first, and the rest 0."""
    images = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    images.view(-1)[: len(values)] = torch.tensor(values, dtype=torch.float64) / 255
    base = make_set(2, 1, names=("a", "b"))
    preprocessing = fit_preprocessing(
        ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), base.labels, ("a", "b")), "none"
    )
    return DistilledSet(images=images, labels=base.labels, class_names=("a", "b"), preprocessing=preprocessing)


def read_back(distilled, path, format):
    """Pixels (n, c, h, w) in the set's order, read by the format's usual reader."""
    if format == "npz":
        with np.load(path, allow_pickle=False) as archive:
            return torch.from_numpy(archive["images"]).permute(0, 3, 1, 2)
    if format == "folder":
        files = sorted(path.glob("*/*.png"), key=lambda file: file.name)
        arrays = [np.asarray(Image.open(file)) for file in files]
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(path).column("image").to_pylist()
        arrays = [np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in rows]
    stacked = torch.from_numpy(np.stack(arrays))
    return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2)


@settings(max_examples=12, deadline=None)
@given(
    format=st.sampled_from(["parquet", "folder", "npz"]),
    n=st.integers(1, 7),
    channels=st.sampled_from([1, 3]),
    scale=st.sampled_from([1.0, 1.7]),
    seed=st.integers(0, 99),
)
def test_exported_pixels_are_the_sets(tmp_path_factory, format, n, channels, scale, seed):
    distilled = make_set(n, channels, seed=seed)
    learned = DistilledSet(
        images=distilled.images * scale - 0.1 * (scale - 1),
        labels=distilled.labels,
        class_names=distilled.class_names,
        preprocessing=distilled.preprocessing,
    )
    path = tmp_path_factory.mktemp("export") / "set"
    export_set(learned, str(path), format)
    assert torch.equal(read_back(learned, path, format), learned.to_pixels())


@pytest.mark.parametrize("channels", [1, 3])
def test_parquet_loads_as_a_hugging_face_dataset(tmp_path, monkeypatch, channels):
    import datasets

    distilled = make_set(channels=channels, soft=True)
    path = tmp_path / "set.parquet"
    export_set(distilled, path, "parquet")
    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert tuple(loaded.features["label"].names) == NAMES
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded["label"] == distilled.labels.tolist()
    assert torch.equal(torch.tensor(loaded["soft_label"][:]), distilled.soft_labels)
    for image, pixels in zip(loaded["image"], distilled.to_pixels(), strict=True):
        array = np.asarray(image)
        assert image.mode == ("L" if channels == 1 else "RGB")
        assert np.array_equal(array if channels == 3 else array[..., None], pixels.permute(1, 2, 0).numpy())


def test_npz_holds_labels_names_and_logits_without_objects(tmp_path):
    distilled = make_set(channels=2, soft=True)
    export_set(distilled, tmp_path / "set", "npz")
    with np.load(tmp_path / "set", allow_pickle=False) as archive:
        assert tuple(archive["class_names"]) == NAMES
        assert archive["labels"].tolist() == distilled.labels.tolist()
        assert archive["labels"].dtype == np.int64
        assert archive["images"].shape == (6, 8, 9, 2)
        assert np.array_equal(archive["soft_labels"], distilled.soft_labels.numpy())


def test_a_hard_set_writes_no_soft_labels(tmp_path):
    export_set(make_set(), tmp_path / "set.npz", "npz")
    with np.load(tmp_path / "set.npz") as archive:
        assert set(archive.files) == {"images", "labels", "class_names"}


def test_folder_has_one_folder_a_class_even_for_empty_ones(tmp_path):
    distilled = make_set(2)
    export_set(distilled, tmp_path / "out", "folder")
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert files == ["Cat~2", "a_b", "a_b/0001.png", "cat", "cat/0000.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a/b", "a_b"), ("a_b~2", "a_b")),
        (("a/b", "a\\b", "a:b"), ("a_b", "a_b~2", "a_b~3")),
        (("Dog", "dog"), ("Dog", "dog~2")),
        (("..", "."), ("_", "_~2")),
        (("../../etc", "x"), ("_._.._etc", "x")),
        ((".hidden", "end. "), ("_hidden", "end")),
        (("nul", "CON.txt", "ok"), ("_nul", "_CON.txt", "ok")),
        (("", " "), ("_", "_~2")),
        (("猫", "ß"), ("猫", "ß")),
        (("a\nb", "a\x00b"), ("a_b", "a_b~2")),
    ],
)
def test_folder_names(names, expected):
    assert folder_names(names) == expected


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.text(max_size=200), min_size=1, max_size=12, unique=True))
def test_folder_names_are_distinct_single_components(names):
    made = folder_names(tuple(names))
    assert len({name.casefold() for name in made}) == len(names)
    for name in made:
        assert name.isprintable()
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\:*?"<>|')
        assert len(name.encode()) <= 130


def test_loss_against_a_hand_computation():
    # 0.25 and 2.5 are rounded (to 0 and, to even, 2), 265 and -20 clipped by 10 and 20, 100 exact.
    loss = pixel_loss(distilled := with_values([0.25, 2.5, 265.0, -20.0, 100.0]), distilled.to_pixels())
    total = 2 * 64
    assert loss.rms == pytest.approx(math.sqrt((0.25**2 + 0.5**2 + 10**2 + 20**2) / total))
    assert loss.clipping_rms == pytest.approx(math.sqrt((10**2 + 20**2) / total))
    assert loss.rounding_rms == pytest.approx(math.sqrt((0.25**2 + 0.5**2) / total))
    assert loss.clipped_fraction == pytest.approx(2 / total)
    assert loss.max == pytest.approx(20)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), scale=st.floats(0.1, 4.0))
def test_clipping_and_rounding_add_up(seed, scale):
    distilled = with_values((torch.randn(100, generator=torch.Generator().manual_seed(seed)) * 100 * scale).tolist())
    loss = pixel_loss(distilled, distilled.to_pixels())
    assert loss.rms**2 == pytest.approx(loss.clipping_rms**2 + loss.rounding_rms**2)
    assert loss.rounding_rms <= 0.5


@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
def test_images_that_were_pixels_lose_nothing(tmp_path, kind):
    loss = export_set(make_set(40, kind=kind, names=("a", "b")), tmp_path / "set.npz", "npz")
    assert loss.pixels.max < 0.01
    assert loss.pixels.clipped_fraction == 0
    assert loss.dropped == (() if kind == "none" else ("preprocessing",))
    assert loss.describe().startswith("The written pixels are the images, to within 0.01 of 255.")


def test_dropped_parts_are_named(tmp_path):
    distilled = make_set(kind="normalize", soft=True, learning_rate=0.02, provenance={"seed": 1})
    distilled = DistilledSet(**(vars(distilled) | {"images": distilled.images + 0.001}))
    always = ("exact float images", "learning rate", "preprocessing", "provenance")
    parquet = export_set(distilled, tmp_path / "set.parquet", "parquet")
    folder = export_set(distilled, tmp_path / "folder", "folder")
    assert parquet.dropped == always
    assert set(folder.dropped) == {*always, "soft labels", "class names", "class order"}
    assert "of the values. Not in the export: exact float images, soft labels" in folder.describe()
    assert json.loads(json.dumps(folder.to_json()))["dropped"] == list(folder.dropped)
    assert folder.to_json()["pixels"]["rms"] == folder.pixels.rms


@pytest.mark.parametrize("format", ["parquet", "folder", "npz"])
def test_bytes_are_those_on_disk(tmp_path, format):
    path = tmp_path / "new" / "set"
    loss = export_set(make_set(), path, format)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert loss.bytes_written == sum(file.stat().st_size for file in files)


@pytest.mark.parametrize("format", ["parquet", "npz"])
def test_the_same_set_gives_the_same_bytes(tmp_path, format):
    digests = set()
    for name in ("a", "b"):
        export_set(make_set(soft=True), tmp_path / name, format)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("format", ["parquet", "folder", "npz"])
def test_mosaics_are_written_as_the_images_that_they_hold(tmp_path, format):
    square = torch.rand(6, 3, 8, 12)
    base = make_set()
    preprocessing = fit_preprocessing(ImageSet((square * 255).byte(), base.labels, NAMES), "normalize")
    mosaics = DistilledSet(preprocessing.apply(square), base.labels, NAMES, preprocessing, mosaic=2)
    loss = export_set(mosaics, tmp_path / "out", format)
    assert loss.dropped[0] == "mosaics"
    assert torch.equal(read_back(mosaics, tmp_path / "out", format), mosaics.decoded().to_pixels())
    assert "mosaics" not in export_set(base, tmp_path / "plain", format).dropped


def test_unknown_format_suggests_the_closest(tmp_path):
    with pytest.raises(DistailError, match="Did you mean 'parquet'"):
        export_set(make_set(), tmp_path / "x", "parket")


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("format", ["parquet", "folder"])
def test_channels_that_png_cannot_hold(tmp_path, channels, format):
    with pytest.raises(DistailError, match=f"these have {channels}. Export as npz"):
        export_set(make_set(channels=channels), tmp_path / "x", format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["parquet", "folder", "npz"])
def test_what_exists_is_not_touched(tmp_path, format):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for path in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(DistailError, match="Choose another name"):
            export_set(make_set(), path, format)
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_an_empty_folder_is_filled_by_folder_and_refused_by_files(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DistailError, match="is a folder"):
        export_set(make_set(), tmp_path / "empty", "npz")
    export_set(make_set(), tmp_path / "empty", "folder")
    assert (tmp_path / "empty" / "cat" / "0000.png").exists()


@pytest.mark.parametrize("format", ["parquet", "folder", "npz"])
def test_a_failure_leaves_nothing(tmp_path, monkeypatch, format):
    def full_disk(handle):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DistailError, match="could not be written"):
        export_set(make_set(), tmp_path / "set", format)
    assert not list(tmp_path.iterdir())


def test_global_random_state_and_the_set_are_untouched(tmp_path):
    distilled = make_set()
    before = distilled.images.clone()
    state = torch.get_rng_state()
    for format in ("parquet", "folder", "npz"):
        export_set(distilled, tmp_path / format, format)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(distilled.images, before)
