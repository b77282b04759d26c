"""Labelled views: boxes of images, each with a teacher's answer."""

import pytest
import torch

from distail.data.augment import DSA, DSAParameters
from distail.data.labelled_views import LabelledViews, Parts, bytes_of_view
from distail.errors import DistailError

IMAGES = torch.randn(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))


def means(images: torch.Tensor) -> torch.Tensor:
    """A teacher that tells how bright each channel of a view is."""
    return images.mean((2, 3))


def drawn(num_views: int = 4, smallest: float = 0.2, seed: int = 0, teacher=means, mixed: float = 1.0) -> LabelledViews:
    generator = torch.Generator().manual_seed(seed)
    return LabelledViews.drawn(IMAGES, num_views, teacher, generator, smallest_crop=smallest, mixed=mixed)


def parts_of(views: LabelledViews) -> Parts:
    assert views.parts is not None
    return views.parts


def rows(values: list[int], kind: torch.dtype = torch.uint8) -> torch.Tensor:
    """The same values for one view of each image."""
    return torch.tensor(values, dtype=kind).expand(5, 1, len(values))


def made(boxes: list[int], parts: Parts | None = None) -> LabelledViews:
    """The same view of each image."""
    return LabelledViews(rows(boxes), torch.zeros(5, 1, 2, dtype=torch.float16), parts)


WHOLE = [255, 255, 0, 0]
NEXT = torch.tensor([[1], [2], [3], [4], [0]], dtype=torch.int32)


def test_the_largest_box_is_the_image():
    torch.testing.assert_close(made([255, 255, 9, 200]).seen(IMAGES, 0), IMAGES, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made(WHOLE).seen(IMAGES, 0), IMAGES, rtol=1e-5, atol=1e-5)


def test_a_box_is_enlarged():
    found = made([127, 63, 255, 0]).seen(IMAGES, 0)
    expected = {"tall": 0.5, "wide": 0.25, "top": 0.5, "left": 0.0}
    box = DSAParameters("resized", (3, 8, 6), {name: torch.full((5,), value) for name, value in expected.items()})
    torch.testing.assert_close(found, DSA("resized").apply(IMAGES, box))


def test_a_rectangle_shows_a_box_of_the_partner():
    parts = Parts(NEXT, rows([127, 127, 0, 0]), rows([64, 191, 0, 128]))  # rows 2 to 5 of 8, columns 0 to 2 of 6
    found = made(WHOLE, parts=parts).seen(IMAGES, 0)
    others = made([127, 127, 0, 0]).seen(IMAGES, 0)[[1, 2, 3, 4, 0]]
    expected = IMAGES.clone()
    expected[:, :, 2:6, :3] = others[:, :, 2:6, :3]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_an_empty_rectangle_shows_nothing_of_the_partner():
    parts = Parts(NEXT, rows(WHOLE), rows([0, 0, 0, 0]))
    torch.testing.assert_close(made(WHOLE, parts=parts).seen(IMAGES, 0), IMAGES, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mixed", [0.0, 1.0])
def test_the_teacher_sees_views_as_they_are_stored(mixed):
    views = drawn(mixed=mixed)
    for number in range(4):
        torch.testing.assert_close(views.answers(number), means(views.seen(IMAGES, number)), rtol=1e-3, atol=1e-3)
    assert (views.parts is None) == (mixed == 0)


def test_boxes_are_as_large_as_asked_and_lie_anywhere():
    views = drawn(num_views=400, smallest=0.3)
    for boxes in (views.boxes, parts_of(views).boxes):
        tall, wide, down, right = (boxes.double().flatten(0, 1) + torch.tensor([1.0, 1.0, 0, 0])).unbind(1)
        area = tall * wide / 256**2
        assert area.min() > 0.29
        assert area.max() > 0.97
        assert area.mean() == pytest.approx(0.65, abs=0.02)
        for room in (down, right):
            assert room.mean() / 255 == pytest.approx(0.5, abs=0.03)
            assert (room.min(), room.max()) == (0, 255)


def test_rectangles_are_those_of_cutmix():
    places = parts_of(drawn(num_views=2000)).places.flatten(0, 1).double() / 255
    top, bottom, left, right = places.unbind(1)
    area = (bottom - top) * (right - left)
    # Before it is cut off at the borders a rectangle has an even share u of the area; a side of length a around an
    # even centre keeps a - a²/4 of it in the mean, and a = √u.
    assert area.mean() == pytest.approx(0.5 - 2 * (2 / 5) / 4 + (1 / 3) / 16, abs=0.01)
    assert ((top + bottom) / 2).mean() == pytest.approx(0.5, abs=0.02)
    assert bool((top <= bottom).all() and (left <= right).all())
    assert area.max() > 0.8


def test_hard_labels_of_mixed_views_are_shares_of_pixels():
    parts = Parts(NEXT, rows(WHOLE), rows([64, 191, 0, 128]))  # 12 of 48 pixels
    labels = torch.tensor([0, 1, 1, 0, 1])
    found = made(WHOLE, parts=parts).hard_labels(labels, 0, (8, 6))
    expected = torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.25, 0.75], [0.75, 0.25], [0.25, 0.75]])
    torch.testing.assert_close(found, expected)
    assert torch.equal(made(WHOLE).hard_labels(labels, 0, (8, 6)), labels)


def test_partners_are_the_images_in_another_order():
    partners = parts_of(drawn(num_views=50)).partners
    assert torch.equal(partners.sort(dim=0).values, torch.arange(5, dtype=torch.int32)[:, None].expand(5, 50))
    assert len(partners.unique(dim=1).T) > 10


def test_some_views_are_mixed_with_nothing():
    views = drawn(num_views=400, mixed=0.25)
    alone = (parts_of(views).partners == torch.arange(5)[:, None]) & (parts_of(views).places == 0).all(2)
    assert alone.double().mean() == pytest.approx(0.75, abs=0.03)


def test_the_same_seed_draws_the_same():
    first, second, other = drawn(), drawn(), drawn(seed=1)
    assert torch.equal(first.boxes, second.boxes)
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
    views = drawn(mixed=0.0)
    part = views.of_images(torch.tensor([True, False, False, True, False]))
    assert part is not None
    assert (len(part), part.num_views) == (2, 4)
    assert torch.equal(part.logits[1], views.logits[3])
    assert torch.equal(part.seen(IMAGES[[0, 3]], 2), views.seen(IMAGES, 2)[[0, 3]])


def test_some_images_keep_views_that_show_no_others():
    kept, views = torch.tensor([True, False, True, True, False]), drawn(num_views=60)
    part = views.of_images(kept)
    assert part is not None
    whole = kept[parts_of(views).partners.long()][kept]
    assert part.num_views == whole.sum(1).max()
    for row, image in enumerate((0, 2, 3)):
        own = whole[row].nonzero().flatten().tolist()
        for number in range(part.num_views):
            before = own[number % len(own)]
            assert torch.equal(part.logits[row, number], views.logits[image, before])
            found = part.seen(IMAGES[kept], number)[row]
            torch.testing.assert_close(found, views.seen(IMAGES, before)[image], rtol=1e-5, atol=1e-5)


def test_images_whose_views_all_show_others_keep_none():
    parts = Parts(NEXT, rows(WHOLE), rows([0, 9, 0, 9]))
    assert made(WHOLE, parts=parts).of_images(torch.tensor([True, True, False, False, False])) is None


@pytest.mark.parametrize("mixed", [0.0, 1.0])
def test_what_is_stored_comes_back_and_is_counted(mixed):
    views = drawn(mixed=mixed)
    tensors = views.to_tensors()
    again = LabelledViews.from_tensors(tensors)
    assert again is not None
    assert torch.equal(again.seen(IMAGES, 1), views.seen(IMAGES, 1))
    size = 4 + 2 * 3 + (4 + 4 + 4 if mixed else 0)
    assert views.nbytes == sum(tensor.nbytes for tensor in tensors.values()) == 5 * 4 * size
    assert size == bytes_of_view(3) - (0 if mixed else 12)
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
        {"logits": torch.zeros(5, 4, 3)},
        {"logits": torch.zeros(5, 2, 3, dtype=torch.float16)},
        {"parts": Parts(NEXT, rows(WHOLE), rows(WHOLE))},
        {"parts": Parts(NEXT.expand(5, 4).long(), *(torch.zeros(5, 4, 4, dtype=torch.uint8) for _ in range(2)))},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changed):
    """The shape annotations say so too, but only while testing."""
    views = drawn()
    for name, value in changed.items():
        object.__setattr__(views, name, value)
    with pytest.raises(DistailError, match="belong together"):
        views.__post_init__()


@pytest.mark.parametrize("partner", [-1, 5])
def test_partners_that_are_not_there_are_refused(partner):
    partners = torch.full((5, 1), partner, dtype=torch.int32)
    with pytest.raises(DistailError, match="does not have"):
        made(WHOLE, parts=Parts(partners, rows(WHOLE), rows(WHOLE)))


def test_no_view_is_refused():
    empty = {name: tensor[:, :0] for name, tensor in drawn().to_tensors().items()}
    with pytest.raises(DistailError, match="belong together"):
        LabelledViews.from_tensors(empty)
