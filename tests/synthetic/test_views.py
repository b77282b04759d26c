import pytest
import torch

from distail.synthetic.views import Boxes, cut, draw_boxes, random_views


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def box(top: float, left: float, height: float, width: float, mirrored: bool = False) -> Boxes:
    return Boxes(*(torch.tensor([float(value)]) for value in (top, left, height, width)), torch.tensor([mirrored]))


def test_the_whole_image_is_itself():
    image = torch.rand(1, 3, 8, 12, dtype=torch.float64)
    torch.testing.assert_close(cut(image, box(0, 0, 1, 1)), image)
    torch.testing.assert_close(cut(image, box(0, 0, 1, 1, mirrored=True)), image.flip(3))


def test_a_box_is_enlarged_as_interpolation_does():
    """Up to the border pixels, which interpolation of the cut alone cannot know of."""
    image = torch.rand(1, 2, 16, 16, dtype=torch.float64)
    found = cut(image, box(0.25, 0.5, 0.5, 0.5))
    expected = torch.nn.functional.interpolate(image[:, :, 4:12, 8:16], scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


def test_boxes_lie_inside_and_have_the_area_asked_for():
    boxes = draw_boxes(4000, generator(), smallest=0.25)
    assert len(boxes) == 4000
    for start, length in ((boxes.top, boxes.height), (boxes.left, boxes.width)):
        assert float(start.min()) >= 0
        assert float((start + length).max()) <= 1 + 1e-6
    area, ratio = boxes.height * boxes.width, boxes.width / boxes.height
    assert float(area.min()) >= 0.25 - 1e-6
    assert 3 / 4 - 1e-6 <= float(ratio.min()) < 0.8 < 1.25 < float(ratio.max()) <= 4 / 3 + 1e-6
    assert 0.45 < float(boxes.mirrored.double().mean()) < 0.55


def test_similar_boxes_have_the_form_of_the_image():
    boxes = draw_boxes(100, generator(), smallest=0.08, similar=True, mirror=False)
    assert torch.equal(boxes.height, boxes.width)
    assert not bool(boxes.mirrored.any())


def test_a_box_that_was_judged_can_be_cut_again():
    images = torch.rand(6, 3, 8, 8)
    boxes = draw_boxes(6, generator(), smallest=0.1)
    picked = torch.tensor([4, 1])
    assert torch.equal(cut(images, boxes)[picked], cut(images[picked], boxes[picked]))


@pytest.mark.parametrize("kind", ["resized", "crop", "roll"])
def test_gradients_reach_the_images(kind):
    images = torch.rand(40, 3, 8, 8, requires_grad=True)
    views = random_views(images, kind, 0.3, generator())
    assert views.shape == images.shape
    assert not torch.equal(views, images)
    assert torch.equal(views, random_views(images, kind, 0.3, generator()))
    views.square().sum().backward()
    assert bool((images.grad.flatten(1).abs().sum(1) > 0).all())


def test_a_roll_loses_nothing_and_is_the_same_for_all():
    images = torch.rand(1, 3, 16, 16).expand(5, -1, -1, -1)
    views = random_views(images, "roll", 1.0, generator(3))
    assert all(torch.equal(view, views[0]) for view in views)
    assert torch.equal(views[0].flatten().sort().values, images[0].flatten().sort().values)
    moves = set()
    for seed in range(60):
        rolled = random_views(images[:1], "roll", 1.0, generator(seed))
        moves |= {
            (down, right)
            for down in range(16)
            for right in range(16)
            if torch.equal(torch.roll(images[:1], (down, right), (2, 3)), rolled)
        }
    assert moves == {(down, right) for down in range(3) for right in range(3)}
