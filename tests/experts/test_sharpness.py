import math

import pytest
import torch
from torch import Tensor

from distail.experts.sharpness import gsam_direction
from tests.reference import gsam as reference


def bowl(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """A function without symmetry, and its gradient."""
    leaf = parameters.detach().requires_grad_()
    loss = (leaf.exp() * torch.arange(1.0, len(leaf) + 1, dtype=leaf.dtype)).sum() + (leaf[0] * leaf[1:]).sin().sum()
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


def listed(parameters: list[float]) -> list[float]:
    return bowl(torch.tensor(parameters, dtype=torch.float64))[1].tolist()


def random_place(seed: int, size: int = 7) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("rho", "alpha"), [(0.0, 0.3), (0.01, 0.3), (0.1, 0.0), (0.5, 0.4), (2.0, 1.0)])
def test_is_the_direction_of_the_equation(rho, alpha):
    for seed in range(3):
        place = random_place(seed)
        loss, direction = gsam_direction(bowl, place, rho, alpha)
        expected = reference.direction(listed, place.tolist(), rho, alpha)
        assert direction.tolist() == pytest.approx(expected, rel=1e-10, abs=1e-10)
        assert float(loss) == float(bowl(place)[0])  # where the parameters stand, not where they climbed to


def test_without_a_radius_one_plain_gradient_is_enough():
    places = []

    def watched(parameters: Tensor) -> tuple[Tensor, Tensor]:
        places.append(parameters)
        return bowl(parameters)

    place = random_place(0)
    assert torch.equal(gsam_direction(watched, place, 0.0, 0.3)[1], bowl(place)[1])
    assert len(places) == 1
    gsam_direction(watched, place, 0.1, 0.3)
    assert len(places) == 3


def test_the_radius_is_relative_to_each_parameter():
    """‖ε / θ‖ = ρ whatever the size of the parameters, and a parameter of zero stays where it is."""
    places = []

    def watched(parameters: Tensor) -> tuple[Tensor, Tensor]:
        places.append(parameters)
        return bowl(parameters)

    for size in (0.01, 1.0):
        place = size * random_place(1)
        place[3] = 0.0
        gsam_direction(watched, place, 0.2, 0.3)
        moved = places[-1] - place
        assert moved[3] == 0
        relative = moved[place != 0] / place[place != 0]
        assert float(relative.norm()) == pytest.approx(0.2, rel=1e-9)


def test_alpha_takes_away_what_lies_across():
    place = random_place(2)
    whole, half, bare = (gsam_direction(bowl, place, 0.5, alpha)[1] for alpha in (0.0, 0.5, 1.0))
    across = bowl(place)[1] - (bowl(place)[1] @ whole) / (whole @ whole) * whole
    assert abs(float(across @ whole)) < 1e-9
    assert float(across.norm()) > 0.01 * float(whole.norm())
    torch.testing.assert_close(half, (whole + bare) / 2, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(bare, whole - across, rtol=1e-9, atol=1e-9)


def test_a_place_without_slope_is_no_division_by_zero():
    flat = gsam_direction(lambda parameters: (0.0, torch.zeros_like(parameters)), random_place(3), 0.1, 0.3)[1]
    assert flat.tolist() == [0.0] * 7
    loss, direction = gsam_direction(bowl, torch.zeros(4, dtype=torch.float64), 0.1, 0.3)
    assert math.isfinite(float(loss))
    assert bool(direction.isfinite().all())


def test_leaves_the_parameters_alone():
    place = random_place(4)
    before = place.clone()
    gsam_direction(bowl, place, 0.5, 0.3)
    assert torch.equal(place, before)
