import pytest
import torch

from distail.matching import FlatNetwork
from distail.models import build_network
from distail.runtime import Runtime
from distail.synthetic.gradient_matching import convolution_distance, match_class, row_cosine_distance
from tests.matching.worlds import new_network, relative
from tests.reference import gradient_matching as reference

DISTANCES = {
    "rows": (row_cosine_distance, reference.row_cosines),
    "convolutions": (convolution_distance, reference.convolutions),
}


def images_of(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("architecture", ["convnet2-w6", "convnet2-w8-group", "convnet2-w6-none", "residual"])
def test_is_double_backward(architecture, distance):
    ours, plain = DISTANCES[distance]
    network = new_network(architecture, (3, 8, 8)).double()
    student = FlatNetwork(network, Runtime())
    real, synthetic = images_of(70, 0), images_of(5, 1).requires_grad_()
    found = match_class(student, student.layout.flatten(network), real, synthetic, 2, ours)
    expected = reference.class_loss(network, real, synthetic, 2, plain)
    (gradient,) = torch.autograd.grad(expected, synthetic)
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-10)
    assert relative(found.views, gradient) <= 1e-9


def test_frozen_batch_normalisation_takes_the_running_statistics():
    network = build_network("convnet2-w6-batch", (3, 8, 8), 4, seed=0).double()
    network(images_of(30, 3))
    student = FlatNetwork(network, Runtime(), frozen_statistics=True)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    real, synthetic = images_of(9, 0), images_of(2, 1).requires_grad_()
    found = match_class(student, student.layout.flatten(network), real, synthetic, 1, row_cosine_distance)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
    assert network.training
    expected = reference.class_loss(network.eval(), real, synthetic, 1, reference.row_cosines)
    (gradient,) = torch.autograd.grad(expected, synthetic)
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-10)
    assert relative(found.views, gradient) <= 1e-9
    # With the statistics of the batch it would be another number.
    other = FlatNetwork(network, Runtime())
    again = match_class(other, other.layout.flatten(network), real, synthetic, 1, row_cosine_distance)
    assert abs(again.loss - found.loss) > 1e-3


def test_equal_images_leave_nothing_to_match():
    network = build_network("convnet2-w6", (3, 8, 8), 4, seed=0).double()
    student = FlatNetwork(network, Runtime())
    for distance in (row_cosine_distance, convolution_distance):
        images = images_of(4, 0)
        found = match_class(student, student.layout.flatten(network), images, images, 0, distance)
        assert found.loss == pytest.approx(0, abs=1e-2)  # 1e-6 in the cosine's denominator
        assert found.loss >= 0


def test_what_counts_in_a_distance():
    """A scale, a bias, a linear layer and a convolution, each turned around."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(5,), (4, 6), (3, 2, 3, 3)]
    gradient = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    turned = [-tensor for tensor in gradient]
    assert float(row_cosine_distance(gradient, turned)) == pytest.approx(2 * (4 + 3), rel=1e-5)
    assert float(row_cosine_distance(gradient, [turned[0], *gradient[1:]])) == pytest.approx(0, abs=1e-4)
    assert float(convolution_distance(gradient, turned)) == pytest.approx(4 * float(gradient[2].square().sum()))
    assert float(convolution_distance(gradient, [*turned[:2], gradient[2]])) == 0


def test_a_row_without_gradient_has_a_finite_slope():
    row = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    row_cosine_distance([row], [torch.ones(2, 3, dtype=torch.float64)]).backward()
    assert bool(torch.isfinite(row.grad).all())
