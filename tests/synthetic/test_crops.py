import pytest
import torch

from distail.data.preprocess import fit_preprocessing
from distail.problem import Problem
from distail.synthetic.crops import _alone, boxes_from, chosen_in_rounds, confident_crops, crops_work
from tests.methods.tiny import CountedImages, tiny_images, tiny_problem
from tests.reference.recovery import rounds


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9, 12, 13, 30])
def test_rounds_are_those_written_out(count):
    scores = torch.rand(4, 3, generator=torch.Generator().manual_seed(count))
    expected = [image * 3 + crop for image, crop in rounds(scores.tolist(), count)]
    assert chosen_in_rounds(scores, count).tolist() == expected


def test_with_enough_images_it_is_the_best_crop_of_the_most_confident():
    scores = torch.rand(50, 5, generator=torch.Generator().manual_seed(0))
    best = scores.min(1)
    confident = best.values.argsort()[:7]
    expected = (confident * 5 + best.indices[confident]).tolist()
    assert chosen_in_rounds(scores, 7).tolist() == expected


def test_a_single_image_gives_all_its_crops_before_one_repeats():
    found = chosen_in_rounds(torch.tensor([[3.0, 1.0, 2.0]]), 7).tolist()
    assert found == [1, 2, 0, 1, 2, 0, 1]


def chosen(problem: Problem, **settings):
    network = problem.network("judge").eval()
    defaults = {"crops_per_image": 3, "max_images": None, "smallest": 0.2}
    return confident_crops(problem, network, **{**defaults, **settings}), network


@pytest.mark.parametrize("kind", ["normalize", "none", "zca"])
def test_chooses_the_crops_of_lowest_cross_entropy(kind):
    train = tiny_images((9, 4, 1))
    problem = Problem(train, fit_preprocessing(train, kind), images_per_class=2, architecture="convnet2-w8")
    found, network = chosen(problem)
    for label in range(3):
        generator = problem.generator("crops", label)
        of_class = train.indices_of(label)
        picked = of_class[torch.randperm(len(of_class), generator=generator)]
        cut = boxes_from(0.2)
        boxes = cut.sample(len(picked) * 3, train.image_shape, generator)
        assert torch.equal(boxes.values["tall"], boxes.values["wide"])
        crops = cut.apply(train.images[picked.repeat_interleave(3)].float() / 255, boxes)
        inputs = problem.preprocessing.apply(crops)
        with torch.no_grad():
            scores = -network(inputs).log_softmax(1)[:, label]
        order = [image * 3 + crop for image, crop in rounds(scores.view(-1, 3).tolist(), 2)]
        torch.testing.assert_close(found[2 * label : 2 * label + 2], inputs[order])


def test_crops_are_pixels_of_real_images():
    problem = tiny_problem((20, 9, 3), images_per_class=4)
    found, _ = chosen(problem)
    pixels = problem.preprocessing.invert(found)
    assert pixels.shape == (12, 3, 8, 8)
    assert float(pixels.min()) > -1e-5
    assert float(pixels.max()) < 1 + 1e-5


def test_looks_at_no_more_images_than_asked_for():
    problem = tiny_problem((20, 9, 3))
    with CountedImages(channels=3) as counted:
        chosen(problem, max_images=5)
    work = crops_work(problem, "convnet2-w8", crops_per_image=3, max_images=5)
    assert counted.forward == work.forward == 3 * (5 + 5 + 3)
    assert counted.batch == work.loads[0].images == 15
    assert counted.forward_backward == 0


@pytest.mark.parametrize("counts", [(9, 4, 1), (1, 1)])
def test_four_crops_make_an_image(counts):
    """Of a class of one image, whose three crops are not enough, one repeats."""
    problem = tiny_problem(counts, images_per_class=2)
    found, _ = chosen(problem, factor=2)
    assert found.shape == (2 * len(counts), 3, 8, 8)
    last = found[-2:]  # of the class with one image
    assert torch.equal(last[0, :, 4:, 4:], last[0, :, :4, :4])
    assert not torch.equal(last[0, :, :4, 4:], last[0, :, :4, :4])


def test_a_small_crop_is_judged_in_the_middle_of_nothing():
    problem = tiny_problem()
    pixels = torch.rand(2, 3, 8, 8)
    inputs = problem.preprocessing.apply(_alone(problem, pixels, 2))
    border = inputs.clone()
    border[:, :, 2:6, 2:6] = 0
    assert float(border.abs().max()) < 1e-5
    small = torch.nn.functional.avg_pool2d(pixels, 2)
    torch.testing.assert_close(problem.preprocessing.invert(inputs)[:, :, 2:6, 2:6], small)
