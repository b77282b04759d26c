"""Labelled views: boxes of images, each with a teacher's answer."""

import pytest
import torch

from distail.data.augment import DSA, DSAParameters
from distail.data.labelled_views import LabelledViews
from distail.errors import DistailError

IMAGES = torch.randn(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))


def means(images: torch.Tensor) -> torch.Tensor:
    """A teacher that tells how bright each channel of a view is."""
    return images.mean((2, 3))


def drawn(num_views: int = 4, smallest: float = 0.2, seed: int = 0, teacher=means) -> LabelledViews:
    return LabelledViews.drawn(IMAGES, num_views, smallest, teacher, torch.Generator().manual_seed(seed))


def view(number: int) -> torch.Tensor:
    return torch.full((5,), number)


def made(boxes: list[int], mirrored: bool = False) -> LabelledViews:
    """The same view of each image."""
    return LabelledViews(
        torch.tensor(boxes, dtype=torch.uint8).expand(5, 1, 4),
        torch.full((5, 1), mirrored),
        torch.zeros(5, 1, 2, dtype=torch.float16),
    )


def test_the_largest_box_is_the_image():
    torch.testing.assert_close(made([255, 255, 9, 200]).seen(IMAGES, view(0)), IMAGES, rtol=1e-5, atol=1e-5)
    mirrored = made([255, 255, 0, 0], mirrored=True).seen(IMAGES, view(0))
    torch.testing.assert_close(mirrored, IMAGES.flip(3), rtol=1e-5, atol=1e-5)


def test_a_box_is_enlarged():
    found = made([127, 63, 255, 0]).seen(IMAGES, view(0))
    expected = {"tall": 0.5, "wide": 0.25, "top": 0.5, "left": 0.0}
    box = DSAParameters("resized", (3, 8, 6), {name: torch.full((5,), value) for name, value in expected.items()})
    torch.testing.assert_close(found, DSA("resized").apply(IMAGES, box))


def test_every_image_may_show_another_view():
    views = drawn()
    numbers = torch.tensor([3, 0, 2, 2, 1])
    expected = torch.stack([views.seen(IMAGES, view(number))[row] for row, number in enumerate(numbers.tolist())])
    assert torch.equal(views.seen(IMAGES, numbers), expected)
    assert torch.equal(views.answers(numbers), views.logits[torch.arange(5), numbers].float())


def test_the_teacher_sees_views_as_they_are_stored():
    views = drawn()
    for number in range(4):
        expected = means(views.seen(IMAGES, view(number)))
        torch.testing.assert_close(views.answers(view(number)), expected, rtol=1e-3, atol=1e-3)


def test_boxes_are_as_large_as_asked_and_lie_anywhere():
    views = drawn(num_views=400, smallest=0.3)
    tall, wide, down, right = (views.boxes.double().flatten(0, 1) + torch.tensor([1.0, 1.0, 0, 0])).unbind(1)
    area = tall * wide / 256**2
    assert area.min() > 0.29
    assert area.max() > 0.97
    assert area.mean() == pytest.approx(0.65, abs=0.02)
    for room in (down, right):
        assert room.mean() / 255 == pytest.approx(0.5, abs=0.03)
        assert (room.min(), room.max()) == (0, 255)
    assert views.mirrored.double().mean() == pytest.approx(0.5, abs=0.04)


def test_the_same_seed_draws_the_same():
    first, second, other = drawn(), drawn(), drawn(seed=1)
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.mirrored, second.mirrored)
    assert torch.equal(first.logits, second.logits)
    assert not torch.equal(first.boxes, other.boxes)


def test_another_teacher_answers_to_the_same_views():
    again = drawn().answered_by(lambda images: 2 * means(images), IMAGES)
    assert torch.equal(again.boxes, drawn().boxes)
    torch.testing.assert_close(again.logits, 2 * drawn().logits)


def test_another_question_is_answered_for_every_view():
    asked = drawn().answering(lambda logits: logits[:, :2] + 1)
    torch.testing.assert_close(asked.logits, drawn().logits[:, :, :2] + 1)
    assert torch.equal(asked.boxes, drawn().boxes)


def test_some_images_keep_their_views():
    part = drawn().of_images(torch.tensor([True, False, False, True, False]))
    assert len(part) == 2
    assert torch.equal(part.logits[1], drawn().logits[3])
    assert torch.equal(part.seen(IMAGES[[0, 3]], view(2)[:2]), drawn().seen(IMAGES, view(2))[[0, 3]])


def test_what_is_stored_comes_back_and_is_counted():
    views = drawn()
    tensors = views.to_tensors()
    again = LabelledViews.from_tensors(tensors)
    assert again is not None
    assert torch.equal(again.seen(IMAGES, view(1)), views.seen(IMAGES, view(1)))
    assert views.nbytes == sum(tensor.nbytes for tensor in tensors.values()) == 5 * 4 * (4 + 1 + 2 * 3)
    assert LabelledViews.from_tensors({}) is None


def test_logits_beyond_half_precision_become_the_largest_there_is():
    views = drawn(teacher=lambda images: means(images) * 1e9)
    assert bool(torch.isfinite(views.logits).all())
    assert views.logits.abs().max() == 65504


def test_labels_that_are_no_numbers_are_refused():
    with pytest.raises(DistailError, match="NaN or infinite"):
        drawn(teacher=lambda images: means(images) * float("nan"))


@pytest.mark.parametrize(
    "changed",
    [
        {"boxes": torch.zeros(5, 4, 3, dtype=torch.uint8)},
        {"boxes": torch.zeros(5, 3, 4, dtype=torch.uint8)},
        {"boxes": torch.zeros(5, 4, 4)},
        {"mirrored": torch.zeros(4, 4, dtype=torch.bool)},
        {"mirrored": torch.zeros(5, dtype=torch.bool)},
        {"logits": torch.zeros(5, 4, 3)},
        {"logits": torch.zeros(5, 2, 3, dtype=torch.float16)},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changed):
    """The shape annotations say so too, but only while testing."""
    views = drawn()
    for name, value in changed.items():
        object.__setattr__(views, name, value)
    with pytest.raises(DistailError, match="belong together"):
        views.__post_init__()


def test_no_view_is_refused():
    empty = {name: tensor[:, :0] for name, tensor in drawn().to_tensors().items()}
    with pytest.raises(DistailError, match="belong together"):
        LabelledViews.from_tensors(empty)
