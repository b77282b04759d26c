"""Where marks stand, and what is said of them."""

import math
from itertools import pairwise

import pytest

from distail.evaluation.metrics import CalibrationBin
from distail.report.page.charts import HEIGHT, MAX_POINTS, WIDTH, line_chart, reliability


def points_of(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (part.split() for part in path.removeprefix("M").split("L"))]


def test_a_curve_goes_from_left_to_right_and_falls_with_its_values():
    chart = line_chart("loss", range(5), [5.0, 4.0, 3.0, 2.0, 1.0])
    assert chart is not None
    points = points_of(chart.path)
    across, up = [x for x, _ in points], [y for _, y in points]
    assert across == sorted(across)
    assert up == sorted(up)  # smaller values stand lower, which SVG counts from the top
    steps = [round(b - a, 1) for a, b in pairwise(up)]
    assert max(steps) - min(steps) <= 0.11
    assert [tick.label for tick in chart.x] == ["0", "2", "4"]
    assert chart.rows == ((0, "5"), (1, "4"), (2, "3"), (3, "2"), (4, "1"))
    assert "5 at step 0, 1 at step 4; lowest 1, highest 5" in chart.description
    assert chart.note == ""


@pytest.mark.parametrize(
    "values",
    [
        [1e-9, 2e-9, 5e-9],
        [1e12, 1.5e12],
        [-3.0, 4.0, 0.0],
        [0.0, 1000.0],
        [1e-6, 1.0, 1e6],
        [0.3, 0.3 + 1e-12],
        [-2.0, -1.0],
    ],
)
def test_marks_stay_inside_the_chart(values):
    chart = line_chart("x", range(len(values)), values)
    assert chart is not None
    assert 1 <= len(chart.y) <= 12
    for x, y in points_of(chart.path):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert all(-1 <= tick.place <= HEIGHT for tick in chart.y)


def test_large_ranges_get_a_logarithmic_axis_and_say_so():
    chart = line_chart("x", range(3), [1.0, 10.0, 100.0])
    assert chart is not None
    assert chart.note == "logarithmic axis"
    up = [y for _, y in points_of(chart.path)]
    assert up[0] - up[1] == pytest.approx(up[1] - up[2], abs=0.11)


def test_long_curves_are_drawn_as_means_and_say_so():
    values = [float(step % 2) for step in range(24_001)]
    chart = line_chart("x", range(24_001), values)
    assert chart is not None
    points = points_of(chart.path)
    assert len(points) <= MAX_POINTS
    assert chart.note == "each point the mean of 100 steps"
    assert len({y for _, y in points[1:]}) <= 3  # means of as many zeros as ones
    assert chart.rows[0] == (0, "0")
    assert chart.rows[-1][0] == 24_000


def test_what_is_not_known_leaves_no_mark():
    assert line_chart("x", range(3), [None, 1.0, None]) is None
    chart = line_chart("x", range(4), [None, 1.0, math.inf, 3.0])
    assert chart is not None
    assert len(points_of(chart.path)) == 2


def test_reliability_pools_networks_by_their_predictions():
    first = (CalibrationBin(3, 0.4, 1 / 3), CalibrationBin(0, None, None))
    second = (CalibrationBin(1, 0.2, 1.0), CalibrationBin(4, 0.9, 0.5))
    found = reliability([first, second], "9 %")
    assert found is not None
    assert found.bins[0].count == 4
    assert found.bins[0].confidence == pytest.approx(0.35)
    assert found.bins[0].accuracy == pytest.approx(0.5)
    assert found.bins[1] == CalibrationBin(4, 0.9, 0.5)
    left, right = found.columns
    assert (left.left, left.width, left.weight) == (0, 0.5, 0.5)
    assert (right.height, right.top) == (0.5, 0.5)
    assert right.expected == pytest.approx(0.1)
    # 4 (0.35 - 0.5) + 4 (0.9 - 0.5) = 1.0 over 8 predictions
    assert "more confident than right, by 12.5 points" in found.description


def test_without_bins_there_is_no_diagram():
    assert reliability([], "") is None
