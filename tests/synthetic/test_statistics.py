import pytest
import torch

from distail.models import build_network
from distail.problem import Problem
from distail.synthetic.statistics import (
    ClassMoments,
    arranged,
    class_moments,
    running_statistics,
    spread_of,
    statistics_work,
)
from tests.methods.tiny import DoubleProblem, tiny_problem
from tests.reference import recovery as reference


def problem_and_network(counts=(9, 4, 1), shape=(3, 8, 8)) -> tuple[Problem, torch.nn.Module]:
    problem = tiny_problem(counts, shape, problem_type=DoubleProblem, architecture="convnet2-w8-batch")
    network = problem.network("observer").train()
    for _ in range(3):  # running statistics that are those of no batch
        network(problem.real(torch.arange(8)))
    return problem, network.eval()


def inputs_of(network, images) -> dict[str, torch.Tensor]:
    return {
        "backbone.0": images,
        "backbone.1": network.backbone[:1](images),
        "backbone.4": network.backbone[:4](images),
        "backbone.5": network.backbone[:5](images),
    }


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_class_moments_are_those_of_all_images_of_a_class_whatever_the_batches(batch_size):
    problem, network = problem_and_network()
    moments = class_moments(problem, network, batch_size)
    assert moments.counts.tolist() == [9, 4, 1]
    for label in range(3):
        images = problem.real(problem.train.indices_of(label))
        own = moments.of_labels(torch.tensor([label, label]))
        for name, inputs in inputs_of(network, images).items():
            expected = {f"{name}/channels": reference.channel_statistics(inputs)}
            if name in ("backbone.0", "backbone.4"):
                expected[f"{name}/patches"] = reference.patch_statistics(inputs)
            for key, (mean, variance) in expected.items():
                torch.testing.assert_close(own[key].mean, mean, rtol=1e-10, atol=1e-10)
                torch.testing.assert_close(own[key].variance, variance, rtol=1e-8, atol=1e-10)


def test_the_order_of_images_does_not_matter():
    problem, _ = problem_and_network((20, 7, 2))
    seen = {}
    for key, numbers in arranged("layer", "convolution", problem.real(torch.arange(29))):
        variance, mean = torch.var_mean(numbers, dim=2, correction=0)
        seen[key] = (mean, variance)
    found = []
    for order in (torch.arange(29), torch.randperm(29, generator=torch.Generator().manual_seed(1))):
        moments = ClassMoments.none(3)
        for indices in order.split(4):
            part = {key: (mean[indices], variance[indices]) for key, (mean, variance) in seen.items()}
            moments.add(part, problem.train.labels[indices])
        found.append(moments)
    for key in seen:
        torch.testing.assert_close(found[0].first[key], found[1].first[key], rtol=0, atol=1e-13)
        torch.testing.assert_close(found[0].second[key], found[1].second[key], rtol=0, atol=1e-13)


def test_over_images_counts_images_and_over_classes_counts_classes():
    problem, network = problem_and_network()
    moments = class_moments(problem, network, 5)
    everything = problem.real(torch.arange(14))
    mean, variance = reference.channel_statistics(inputs_of(network, everything)["backbone.4"])
    found = moments.over_images()["backbone.4/channels"]
    torch.testing.assert_close(found.mean, mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.variance, variance, rtol=1e-8, atol=1e-10)
    classes = [moments.of_labels(torch.tensor([label]))["backbone.4/channels"] for label in range(3)]
    fair = moments.over_classes()["backbone.4/channels"]
    torch.testing.assert_close(fair.mean, torch.stack([one.mean for one in classes]).mean(0))
    torch.testing.assert_close(fair.variance, torch.stack([one.variance for one in classes]).mean(0))
    mixed = moments.of_labels(torch.tensor([0, 2, 2, 2]))["backbone.4/channels"]
    torch.testing.assert_close(mixed.mean, classes[0].mean / 4 + classes[2].mean * 3 / 4)


def test_a_class_is_fair_however_often_its_images_are_there():
    """Twice the images of the head change what counts images, and nothing of what counts classes."""
    moments, doubled = ClassMoments.none(2), ClassMoments.none(2)
    numbers = torch.rand(3, 5, 7, dtype=torch.float64)
    variance, mean = torch.var_mean(numbers, dim=2, correction=0)
    labels = torch.tensor([0, 0, 1])
    moments.add({"x": (mean, variance)}, labels)
    again = torch.tensor([0, 1, 0, 1, 2])
    doubled.add({"x": (mean[again], variance[again])}, labels[again])
    torch.testing.assert_close(moments.over_classes()["x"].mean, doubled.over_classes()["x"].mean)
    assert not torch.allclose(moments.over_images()["x"].mean, doubled.over_images()["x"].mean)


def test_sides_that_four_does_not_divide_are_enlarged():
    inputs = torch.rand(3, 2, 6, 4, dtype=torch.float64)
    found = dict(arranged("layer", "convolution", inputs))["layer/patches"]
    larger = torch.nn.functional.interpolate(inputs, size=(8, 4), mode="bilinear", align_corners=False)
    mean, variance = reference.patch_statistics(larger)
    torch.testing.assert_close(spread_of(found).mean, mean)
    torch.testing.assert_close(spread_of(found).variance, variance)
    assert list(dict(arranged("layer", "batch_norm", inputs))) == ["layer/channels"]


def test_running_statistics_are_those_of_batch_normalisation():
    _, network = problem_and_network()
    found = running_statistics(network)
    assert list(found) == ["backbone.1/channels", "backbone.5/channels"]
    assert torch.equal(found["backbone.5/channels"].variance, network.backbone[5].running_var)
    assert running_statistics(build_network("convnet2-w8", (3, 8, 8), 3, seed=0)) == {}


def test_measuring_leaves_the_network_alone():
    problem, network = problem_and_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    class_moments(problem, network, 4)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_work_is_a_pass_of_all_images_through_each_network():
    problem = tiny_problem(architecture="convnet2-w8")
    work = statistics_work(problem, ["convnet2-w8-batch", "convnet2-w8-batch"], 5)
    assert (work.forward, work.forward_backward) == (2 * 14, 0)
    assert [load.images for load in work.loads] == [5, 5]


def test_groups_of_a_batch_are_measured_one_by_one():
    numbers = torch.randn(7, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    groups = torch.tensor([1, 0, 2, 1, 1, 0, 2])
    found = spread_of(numbers, groups)
    for group in range(3):
        own = spread_of(numbers[groups == group])
        torch.testing.assert_close(found.mean[group], own.mean)
        torch.testing.assert_close(found.variance[group], own.variance)


def test_each_class_among_labels_has_its_own_row():
    problem, network = problem_and_network()
    moments = class_moments(problem, network, 5)
    found = moments.of_each(torch.tensor([2, 0, 0]))
    for key, spread in found.items():
        for row, label in enumerate((0, 2)):
            own = moments.of_labels(torch.tensor([label]))[key]
            assert torch.equal(spread.mean[row], own.mean)
            torch.testing.assert_close(spread.variance[row], own.variance)


def test_groups_are_measured_in_full_precision_under_autocast():
    numbers, groups = torch.randn(6, 5, 7, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0, 1, 1, 0])
    plain = spread_of(numbers, groups)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = spread_of(numbers, groups)
    assert torch.equal(under.mean, plain.mean)
    assert torch.equal(under.variance, plain.variance)
