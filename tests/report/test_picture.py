from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch

from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.report.picture import demo_picture, image_grid
from distail.report.sheet import Sheet, shortened, text_width
from tests.report.pictures import pixels_of

BARS = [("distilled (dm)", 0.8, 0.02), ("random images", 0.5, 0.0), ("whole data", 1.0, 0.01)]


def make_set(classes=3, per_class=2, channels=3, side=8, kind="none", names=None):
    generator = torch.Generator().manual_seed(0)
    shape = (classes * per_class, channels, side, side)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.arange(classes).repeat_interleave(per_class)
    names = names or tuple(f"class {label}" for label in range(classes))
    preprocessing = fit_preprocessing(ImageSet(pixels, labels, names), kind)
    return DistilledSet(
        images=preprocessing.apply(pixels), labels=labels, class_names=names, preprocessing=preprocessing
    )


def enlarged(distilled, index, factor):
    image = distilled.to_pixels()[index].expand(3, -1, -1).permute(1, 2, 0).numpy()
    return image.repeat(factor, 0).repeat(factor, 1)


def find(picture, patch):
    """(top, left) of the first exact occurrence of the patch, or None."""
    height, width = patch.shape[:2]
    for top, left in np.argwhere((picture == patch[0, 0]).all(-1)):
        if np.array_equal(picture[top : top + height, left : left + width], patch):
            return int(top), int(left)
    return None


@pytest.mark.parametrize(("side", "channels", "kind"), [(8, 1, "normalize"), (32, 3, "zca"), (8, 3, "none")])
def test_every_pixel_is_the_sets_in_rows_of_classes(tmp_path, side, channels, kind):
    distilled = make_set(side=side, channels=channels, kind=kind)
    image_grid(distilled, tmp_path / "grid.png")
    picture = pixels_of(tmp_path / "grid.png")
    places = [find(picture, enlarged(distilled, index, 64 // side)) for index in range(len(distilled))]
    assert None not in places
    tops, lefts = [place[0] for place in places], [place[1] for place in places]
    assert tops == [24, 24, 92, 92, 160, 160]
    assert len(set(lefts)) == 2
    assert picture.shape[0] == 24 + 3 * 64 + 2 * 4 + 24
    assert picture.shape[1] == max(lefts) + 64 + 24


def test_left_out_images_and_classes(tmp_path):
    distilled = make_set(classes=7, per_class=4)
    image_grid(distilled, tmp_path / "all.png")
    image_grid(distilled, tmp_path / "some.png", max_per_class=3, max_classes=4)
    everything, some = pixels_of(tmp_path / "all.png"), pixels_of(tmp_path / "some.png")
    assert everything.shape[0] == 48 + 7 * 64 + 6 * 4
    assert some.shape[0] == 48 + 4 * 64 + 26 + 4 * 4 + 26  # four classes, the remark between them, the note
    shown = {index for index in range(len(distilled)) if find(some, enlarged(distilled, index, 8))}
    assert shown == {4 * label + copy for label in (0, 1, 5, 6) for copy in range(3)}


def test_large_images_are_reduced_and_other_channels_averaged(tmp_path):
    image_grid(make_set(classes=2, per_class=1, side=200), tmp_path / "large.png")
    assert pixels_of(tmp_path / "large.png").shape[0] == 48 + 2 * 100 + 4
    two = make_set(classes=2, per_class=1, channels=2)
    image_grid(two, tmp_path / "two.png")
    mean = two.to_pixels().float().mean(1, keepdim=True).round().to(torch.uint8)
    patch = mean[0].expand(3, -1, -1).permute(1, 2, 0).numpy().repeat(8, 0).repeat(8, 1)
    assert find(pixels_of(tmp_path / "two.png"), patch)


def test_mosaics_are_shown_as_they_are_stored_and_a_note_says_so(tmp_path):
    plain = make_set(classes=2, per_class=1)
    mosaics = replace(plain, mosaic=2)
    for name, distilled in (("plain", plain), ("mosaics", mosaics)):
        image_grid(distilled, tmp_path / f"{name}.png")
    picture = pixels_of(tmp_path / "mosaics.png")
    assert picture.shape[0] == pixels_of(tmp_path / "plain.png").shape[0] + 26
    assert all(find(picture, enlarged(mosaics, index, 8)) for index in range(2))


def test_a_class_without_images_has_a_row(tmp_path):
    full = make_set(classes=3, per_class=1)
    kept = torch.tensor([0, 2])
    distilled = DistilledSet(
        images=full.images[kept],
        labels=full.labels[kept],
        class_names=full.class_names,
        preprocessing=full.preprocessing,
    )
    image_grid(distilled, tmp_path / "grid.png")
    assert find(pixels_of(tmp_path / "grid.png"), enlarged(distilled, 1, 8))


def test_odd_class_names_are_drawn_literally(tmp_path):
    names = ("$x$", "$\\undefined{", "<script>", "n" * 500, "猫", "two\nlines\x1b[31m", "")
    image_grid(make_set(classes=7, per_class=1, names=names), tmp_path / "odd.png")
    picture = pixels_of(tmp_path / "odd.png")
    assert picture.shape[1] < 350
    image_grid(make_set(classes=7, per_class=1, names=("x", *names[1:])), tmp_path / "plain.png")
    # Were the dollars taken for mathematics, '$x$' would not be wider than 'x'.
    rows = slice(24, 88)
    dark = [(pixels_of(tmp_path / f"{name}.png")[rows, :190] < 128).sum() for name in ("odd", "plain")]
    assert dark[0] > 1.5 * dark[1]


def test_demo_picture_has_bars_in_proportion_and_the_images(tmp_path):
    distilled = make_set()
    demo_picture(distilled, BARS, tmp_path / "demo.png")
    picture = pixels_of(tmp_path / "demo.png")
    assert find(picture, enlarged(distilled, 5, 8))
    blue = (picture == (0x2F, 0x6F, 0xB3)).all(-1)
    grey = (picture == (0x9A, 0xA7, 0xB4)).all(-1)
    grey_rows = np.flatnonzero(grey.any(1))
    first_grey = grey[grey_rows[0] + 1].sum()
    assert blue[np.flatnonzero(blue.any(1))[0] + 1].sum() / first_grey == pytest.approx(0.8 / 0.5, abs=0.02)
    # The second bar has no whisker, the others have one.
    assert np.flatnonzero(blue.any(1)).max() < grey_rows.min()


@pytest.mark.parametrize("bars", [[], [("a", 87.3, 1.0)], [("a", -0.1, 0.0)], [("a", float("nan"), 0.0)]])
def test_impossible_bars(tmp_path, bars):
    with pytest.raises(DistailError, match="fraction between 0 and 1"):
        demo_picture(make_set(), bars, tmp_path / "demo.png")


def test_impossible_maximum(tmp_path):
    with pytest.raises(DistailError, match="1 or more"):
        image_grid(make_set(), tmp_path / "grid.png", max_per_class=0)


def test_the_users_matplotlib_style_changes_nothing(tmp_path):
    image_grid(make_set(), tmp_path / "a.png")
    with matplotlib.rc_context({"savefig.bbox": "tight", "text.usetex": True, "savefig.dpi": 30}):
        image_grid(make_set(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("room", [10, 60, 200])
def test_shortened_fits(room):
    text = shortened("An unusually long class name " * 20, room)
    assert text.endswith("…")
    assert text_width(text) <= room or text == "…"
    assert shortened("ok", 60) == "ok"


@pytest.mark.parametrize("size", [(57, 115), (333, 1001)])
def test_a_sheet_is_as_large_as_asked(tmp_path, size):
    Sheet(*size).save(tmp_path / "sheet.png")
    assert pixels_of(tmp_path / "sheet.png").shape == (size[1], size[0], 3)
