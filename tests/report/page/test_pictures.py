"""Images in the page show what they should, and no more than fits."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from distail.report.group_pictures import COLOURS, features_picture
from distail.report.page import pictures
from distail.report.page.pictures import (
    MAX_PICTURE_SIDE,
    Picture,
    Reduction,
    file_picture,
    reduction_for,
    shares_picture,
    strip,
)
from tests.report.test_group_pictures import found_of, shown_of


def opened(picture: Picture) -> Image.Image:
    head, _, body = picture.uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strip_holds_every_pixel_unchanged(channels):
    pixels = torch.randint(0, 256, (13, channels, 8, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sheet = np.asarray(opened(strip(pixels, "thirteen")).convert("RGB"))
    for place in range(13):
        top, left = place // 10 * 9, place % 10 * 10
        shown = torch.from_numpy(sheet[top : top + 8, left : left + 9].copy()).permute(2, 0, 1)
        assert shown.equal(pixels[place].expand(3, -1, -1))


def test_gaps_are_see_through_and_pixels_are_not():
    pixels = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
    alpha = np.asarray(opened(strip(pixels, "two")).convert("RGBA"))[..., 3]
    assert alpha.shape == (8, 17)
    assert (alpha[:, 8] == 0).all()
    assert (np.delete(alpha, 8, axis=1) == 255).all()


def test_small_images_are_shown_larger_by_a_whole_factor():
    shown = strip(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), "three")
    assert (shown.width, shown.height) == (7 * 26, 7 * 8)
    assert strip(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), "one").width == 64


def test_other_channels_appear_as_their_mean():
    pixels = torch.tensor([10, 20, 30, 60], dtype=torch.uint8).reshape(1, 4, 1, 1).expand(1, 4, 8, 8)
    assert (np.asarray(opened(strip(pixels, "one")).convert("L")) == 30).all()


def test_shares_are_stronger_the_larger_they_are():
    alpha = np.asarray(opened(shares_picture(torch.tensor([[0.0, 0.25], [1.0, 0.0]]), "m")))[..., 3]
    assert alpha.tolist() == [[0, 128], [255, 0]]


def test_pictures_of_files_are_reduced(tmp_path):
    Image.new("RGB", (4000, 1000), "red").save(tmp_path / "large.png")
    assert opened(file_picture(tmp_path / "large.png", "red")).size == (1600, 400)
    (tmp_path / "none.png").write_text("no picture")
    with pytest.raises(OSError, match="cannot identify"):
        file_picture(tmp_path / "none.png", "none")


@pytest.mark.parametrize(("most", "off"), [(pictures.MAX_PLAIN_BYTES, 0), (0, 8)])
def test_classes_of_a_plane_keep_their_colours(tmp_path, monkeypatch, most, off):
    monkeypatch.setattr(pictures, "MAX_PLAIN_BYTES", most)
    features_picture(shown_of(found_of(10, names=tuple(f"class {label}" for label in range(10)))), tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as file:
        plain = file.convert("RGB")
    plain.thumbnail((MAX_PICTURE_SIDE, MAX_PICTURE_SIDE))
    before = np.asarray(plain).astype(int)
    picture = opened(file_picture(tmp_path / "f.png", "t-SNE"))
    assert (picture.mode == "P") == (most == 0)
    after = np.asarray(picture.convert("RGB")).astype(int)
    assert after.shape == before.shape
    legend = np.array([ImageColor.getrgb(colour) for colour in COLOURS])
    for number, colour in enumerate(legend):
        shown = after[(before == colour).all(-1)]
        assert len(shown) > 100
        assert abs(shown - colour).max() <= off
        nearest = abs(shown[:, None] - legend).sum(-1).argmin(-1)
        assert (nearest == number).all()


@pytest.mark.parametrize(
    ("num_classes", "per_class", "shape"),
    [
        (10, 10, (3, 32, 32)),
        (200, 50, (3, 64, 64)),
        (1000, 20, (3, 64, 64)),
        (2, 3000, (1, 8, 8)),
        (3, 1, (3, 224, 224)),
    ],
)
def test_a_reduction_fits(num_classes, per_class, shape):
    found = reduction_for(num_classes, per_class, shape, 4_600_000)
    shown = found.apply(torch.zeros(min(per_class, 60), *shape, dtype=torch.uint8))
    assert num_classes * shown.numel() * 4 / 3 <= 4_600_000
    assert len(shown) == min(found.per_class, per_class)


def test_of_very_many_classes_nothing_is_shown():
    assert reduction_for(10_000, 1, (3, 64, 64), 4_600_000) == Reduction(0)


def test_what_fits_is_not_reduced():
    assert reduction_for(10, 10, (3, 32, 32), 4_000_000) == Reduction(50)
    pixels = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    assert Reduction(1).apply(pixels).equal(pixels)
    assert Reduction(1, 2).apply(pixels)[0, 0, 0, 0] == 4  # the mean of 0, 1, 8 and 9, rounded to even
