"""Estimates: the arithmetic by hand, and a refusal that says what to do."""

from typing import ClassVar

import pytest

from distail import estimate as module
from distail.errors import DistailError
from distail.estimate import Estimate, estimate, require_memory
from distail.memory import Machine, memory_needed
from distail.methods._method import Method
from distail.methods._registry import find_method, method_names
from distail.problem import Load, Problem, Synthetic, Work
from distail.runtime import Runtime
from tests.methods.tiny import tiny_problem

MIB = 2**20


class Working(Method):
    """Asks for a certain amount of work."""

    paper: ClassVar[str] = "none"
    summary: ClassVar[str] = "asks for work"
    batch_field: ClassVar[str | None] = "real_batch"
    asked: Work = Work()
    real_batch: int = 0

    def distill(self, problem: Problem) -> Synthetic:
        raise NotImplementedError

    def work(self, problem: Problem) -> Work:
        return Work(1, 1, (Load(self.real_batch),)) if self.real_batch else self.asked


class Batchless(Working):
    """Has no field for its batch."""

    batch_field: ClassVar[str | None] = None


def test_no_work_takes_no_time_and_no_network(monkeypatch):
    problem = tiny_problem((9, 4, 1), (3, 8, 8), images_per_class=2)
    monkeypatch.setattr("distail.memory.build_network", lambda *_: pytest.fail("builds a network"))
    monkeypatch.setattr("distail.memory.network_size", lambda *_: pytest.fail("builds a network"))
    monkeypatch.setattr(Problem, "network", lambda *_: pytest.fail("builds a network"))
    found = estimate(problem, Working())
    # Process, images, and five float copies of 3 classes x 2 images of 3x8x8.
    assert found == Estimate(0.0, 500 * MIB + 14 * 192 + 5 * 4 * 6 * 192)


def test_time_is_work_times_the_time_of_one_image(monkeypatch):
    monkeypatch.setattr(module, "_seconds_per_image", lambda problem, *, backward: 0.5 if backward else 0.125)
    assert estimate(tiny_problem(), Working(asked=Work(100, 10))).seconds == 100 * 0.125 + 10 * 0.5
    assert estimate(tiny_problem(), Working(asked=Work(0, 10))).seconds == 5.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_time_is_measured(precision):
    problem = tiny_problem(runtime=Runtime("cpu", precision))
    found = estimate(problem, Working(asked=Work(10, 10))).seconds
    assert 0 < found < 60
    assert all(parameter.grad is None for parameter in problem.network("estimate").parameters())


def test_memory_grows_with_the_batch_in_the_network():
    problem = tiny_problem()
    sizes = [estimate(problem, Working(asked=Work(1, 1, (Load(batch),)))).memory_bytes for batch in (1, 2, 11)]
    per_image = sizes[1] - sizes[0]
    assert sizes[2] - sizes[0] == 10 * per_image
    # The first block of convnet2-w8 alone: convolution, norm and ReLU of 8 channels of 8x8.
    assert per_image >= 3 * 8 * 64 * 4


def test_what_fits_is_allowed(monkeypatch):
    problem = tiny_problem()
    need = estimate(problem, Working()).memory_bytes - 500 * MIB - problem.train.images.nbytes
    monkeypatch.setattr(module, "available_memory_bytes", lambda device: need)
    require_memory(problem, Working())
    monkeypatch.setattr(module, "available_memory_bytes", lambda device: need - 1)
    with pytest.raises(DistailError, match="need about"):
        require_memory(problem, Working())


def test_what_cannot_fit_is_refused_with_figures(monkeypatch):
    problem = tiny_problem((9, 4, 1), (3, 8, 8), images_per_class=1_000_000)
    monkeypatch.setattr(module, "available_memory_bytes", lambda device: 3 * 2**30)
    # 5 copies x 3 million images x 192 values x 4 bytes = 10.7 GiB.
    with pytest.raises(DistailError) as caught:
        require_memory(problem, Working())
    assert str(caught.value) == (
        "3000000 synthetic images (1000000 per class) need about 10.7 GiB, but 3.0 GiB are free. "
        "Ask for fewer with --ipc, or smaller ones with --image-size."
    )


def test_a_smaller_batch_is_named_where_it_would_fit(monkeypatch):
    problem = tiny_problem()
    need = memory_needed(problem, Working(real_batch=100), Machine(1, 0)).method
    monkeypatch.setattr(module, "available_memory_bytes", lambda device: need)
    require_memory(problem, Working(real_batch=100))
    with pytest.raises(DistailError, match=r"--image-size\. Or pass fewer .*: --set real_batch=75\.$"):
        require_memory(problem, Working(real_batch=150))
    with pytest.raises(DistailError, match=r"--image-size\.$"):
        require_memory(problem, Batchless(real_batch=150))
    # No batch helps where the set alone is too large.
    monkeypatch.setattr(module, "available_memory_bytes", lambda device: 1000)
    with pytest.raises(DistailError, match=r"--image-size\.$"):
        require_memory(problem, Working(real_batch=150))


def test_every_batch_field_is_a_field():
    fields = {name: (find_method(name), find_method(name).batch_field) for name in method_names()}
    assert {name: field for name, (_, field) in fields.items() if field} == {
        **dict.fromkeys(("lad", "datm", "ftd", "mtt", "tesla"), "batch_size"),
        **dict.fromkeys(("sre2l", "edc", "rldd", "tailor"), "batch_size"),
        **dict.fromkeys(("dm", "dc", "dsa"), "real_batch"),
        "idm": "network_batch_size",
        "dream": "synthetic_batch",
    }
    assert all(field in method.model_fields for method, field in fields.values() if field)


def test_the_memory_of_the_device_counts(monkeypatch):
    asked = []

    def available(device):
        asked.append(device)
        return 2**40

    monkeypatch.setattr(module, "available_memory_bytes", available)
    require_memory(tiny_problem(), Working())
    assert asked == ["cpu"]
