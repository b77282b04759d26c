import io

import numpy as np
import pytest
from PIL import Image

from distail.data.sources.decode import decode_image, decode_images, in_batches
from distail.progress import SilentProgress
from tests.data.sources.builders import encoded, pixels


def decode(items, image_size=None):
    return decode_images(
        in_batches(items, 3), len(items), image_size=image_size, origin="here", progress=SilentProgress()
    )


def array(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled_by_257(kind):
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    assert (array(encoded(deep, kind)) == np.rint(deep / 257)).all()
    assert array(encoded(np.full((8, 8), 65535, np.uint16), kind)).max() == 255


def test_palette_alpha_and_cmyk_become_rgb():
    colour = Image.fromarray(pixels(1)[0])
    palette = colour.convert("P", palette=Image.Palette.ADAPTIVE)
    assert (array(encoded(palette)) == np.asarray(palette.convert("RGB"))).all()
    see_through = encoded(palette, transparency=bytes([0, 128, 255]))
    assert (array(see_through) == np.asarray(palette.convert("RGB"))).all()
    transparent = colour.copy()
    transparent.putalpha(7)
    assert (array(encoded(transparent)) == np.asarray(colour)).all()
    cmyk = colour.convert("CMYK")
    assert (array(encoded(cmyk, "TIFF")) == np.asarray(cmyk.convert("RGB"))).all()


def test_black_and_white_and_gray_with_alpha_become_gray():
    gray = Image.fromarray(pixels(1, (8, 8))[0])
    two_tone = gray.point(lambda value: 255 * (value > 127)).convert("1")
    assert (array(encoded(two_tone)) == np.asarray(two_tone.convert("L"))).all()
    with_alpha = gray.convert("LA")
    with_alpha.putalpha(9)
    assert (array(encoded(with_alpha)) == np.asarray(gray)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind):
    image = Image.new("RGB", (16, 8))
    image.paste((255, 255, 255), (0, 0, 8, 8))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the left becomes the top
    upright = array(encoded(image, kind, exif=exif))
    assert upright.shape == (16, 8, 3)
    assert upright[:6].min() > 200
    assert upright[10:].max() < 55


def test_a_damaged_exif_block_does_not_cost_the_image():
    data = encoded(pixels(1)[0], "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fgarbage")
    assert decode([data, data]).failures == ()


def test_sizes_are_those_after_turning_and_before_resizing():
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = encoded(np.zeros((8, 16), np.uint8), "JPEG", exif=exif)
    assert decode([turned], (10, 10)).sizes == {(16, 8): 1}


def test_resizing_is_bicubic_to_the_exact_size():
    image = pixels(1, (20, 30, 3))[0]
    expected = np.asarray(Image.fromarray(image).resize((9, 12), Image.Resampling.BICUBIC))
    assert (decode([encoded(image)], (12, 9)).pixels[0] == expected.transpose(2, 0, 1)).all()


def test_order_and_gaps_are_kept_over_many_batches():
    images = pixels(50, (8, 8))
    items: list[bytes | None] = [encoded(image) for image in images]
    items[3] = None
    items[17] = b"junk"
    decoded = decode(items)
    kept = [index for index in range(50) if index not in (3, 17)]
    assert decoded.kept.tolist() == kept
    assert (decoded.pixels[:, 0] == images[kept]).all()
    assert [index for index, _ in decoded.failures] == [3, 17]
    assert "no image is stored" in decoded.failures[0][1]


def test_pixels_without_a_scale_are_unreadable():
    floating = Image.fromarray(np.zeros((8, 8), np.float32))
    huge = Image.fromarray(np.full((8, 8), 100_000, np.int32))
    good = encoded(pixels(1)[0])
    decoded = decode([encoded(floating, "TIFF"), good, encoded(huge, "TIFF")])
    assert "floating-point" in decoded.failures[0][1]
    assert "outside 0..65535" in decoded.failures[1][1]


def test_a_missing_file_and_a_decompression_bomb_are_unreadable(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    decoded = decode([tmp_path / "gone.png", encoded(pixels(1, (60, 60, 3))[0]), encoded(pixels(1)[0])])
    assert decoded.kept.tolist() == [2]
    assert decoded.failures[0][1] == "No such file or directory"
    assert "decompression bomb" in decoded.failures[1][1]


def test_only_the_first_frame_of_an_animation_counts():
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert (array(buffer.getvalue()) == 10).all()
