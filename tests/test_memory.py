"""The reckoning of memory: against what was measured, and how it follows from what a method says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from distail.catalog import built_in
from distail.cost import cost_on_cpu
from distail.data.preprocess import fit_preprocessing
from distail.estimate import estimate
from distail.experts import ground
from distail.memory import PROCESS_BYTES, Machine, memory_needed
from distail.methods._method import Method
from distail.methods._registry import build_method
from distail.models import build_network
from distail.models.size import NetworkSize
from distail.problem import Load, Problem, Work
from distail.runtime import Runtime
from tests.methods.tiny import tiny_images, tiny_problem
from tests.test_estimate import Working

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
MIB = 2**20
TWO_CORES = Machine(threads=2, available_bytes=2**40)
VECTOR = 4 * sum(parameter.numel() for parameter in build_network("convnet2-w8", (3, 8, 8), 3, seed=0).parameters())


def result(name: str):
    return json.loads((RESULTS / f"{name}.json").read_text())


def matching(method: str = "lad", **settings) -> Method:
    return build_method(method, {"num_experts": 1, **settings})


def added(problem: Problem, method: Method, threads: int = 2) -> int:
    """What the method takes, the floats of the training images left out."""
    return memory_needed(problem, method, Machine(threads, 0)).method


def heaviest(problem: Problem, load: Load, threads: int = 2) -> int:
    """Bytes of a load, without the set."""
    return added(problem, Working(asked=Work(1, 1, (load,))), threads) - added(problem, Working(), threads)


# Against measurements


@pytest.mark.parametrize(
    ("ipc", "row", "engine", "precision", "steps"),
    # As benchmarks/matching_speed.py runs them; 'memory' is the oracle in a process that keeps freed memory.
    [
        (10, "bf16", "fast", "bf16", 10),
        (10, "bf16, more steps", "fast", "bf16", 40),
        (10, "threads", "fast", "fp32", 10),
        (10, "plain", "plain", "fp32", 6),
        (10, "memory", "plain", "fp32", 6),
        (50, "bf16", "fast", "bf16", 4),
        (50, "bf16, more steps", "fast", "bf16", 16),
        (50, "threads", "fast", "fp32", 4),
        (50, "plain", "plain", "fp32", 2),
        (50, "memory", "plain", "fp32", 2),
    ],
)
def test_matching_takes_what_was_measured(ipc, row, engine, precision, steps):
    measured = result("matching_speed")["ipc"][str(ipc)][row]["peak_bytes"]
    problem = tiny_problem((20,) * 10, (3, 32, 32), images_per_class=ipc, architecture="convnet3")
    problem = replace(problem, runtime=Runtime("cpu", precision))
    method = matching(engine=engine, steps=steps, classifier_steps=steps, num_label_experts=1)
    assert 1 / 1.65 < added(problem, method) / measured < 1.65


@pytest.mark.parametrize("method", ["lad", "datm", "dm", "herding", "k_center"])
def test_whole_runs_take_what_was_measured(method):
    measured = result(method)["distill_peak_memory_bytes"]
    assert 1 / 1.3 < cost_on_cpu(built_in(f"{method}-cifar10lt-if100-ipc10-cpu")).memory_bytes / measured < 1.3


# What depends on what


def test_all_three_ask_the_same_reckoning(monkeypatch):
    needed = memory_needed(tiny_problem(), matching(), TWO_CORES)
    monkeypatch.setattr("distail.estimate.memory_needed", lambda *_: needed)
    monkeypatch.setattr("distail.cost.memory_needed", lambda *_: needed)
    monkeypatch.setattr("distail.estimate._seconds_per_image", lambda problem, *, backward: 0.0)
    assert estimate(tiny_problem(), Working()).memory_bytes == needed.peak
    assert cost_on_cpu(built_in("dm-cifar10lt-if100-ipc10")).memory_bytes == needed.peak


def test_a_batch_in_parts_takes_no_more_the_larger_it_is():
    problem = tiny_problem()
    small, large = (heaviest(problem, Load(images, "tangents", shared=True)) for images in (64, 6400))
    # 2 parts, or 200, each with a gradient of its own; 32 images at once on either of 2 threads.
    assert large - small == 198 * VECTOR
    whole = replace(problem, runtime=Runtime("cpu"), architecture="convnet2-w8-batch")
    small, large = (heaviest(whole, Load(images, "tangents", shared=True)) for images in (64, 6400))
    assert large > 50 * small


def test_parts_are_counted_by_the_threads_there_are():
    problem, load = tiny_problem(), Load(640, shared=True)
    one, two, many = (heaviest(problem, load, threads) for threads in (1, 2, 1000))
    assert one - 20 * VECTOR == (two - 20 * VECTOR) // 2
    assert many - 20 * VECTOR == 20 * (one - 20 * VECTOR)
    # Where nothing is shared, the whole batch counts on any number of threads.
    assert heaviest(problem, replace(load, shared=False), 1) == heaviest(problem, replace(load, shared=False), 9)
    assert heaviest(problem, replace(load, shared=False)) - VECTOR == many - 20 * VECTOR


@pytest.mark.parametrize("network", ["vgg11", "alexnet", "resnet18-batch"])
def test_networks_without_tangents_are_matched_by_double_backward_of_the_whole_batch(network):
    problem = tiny_problem((9, 4), (3, 32, 32), architecture=network)
    assert heaviest(problem, Load(100, "tangents", shared=True)) == heaviest(problem, Load(100, "double_backward"))


def test_every_step_keeps_its_parameters_and_the_exact_gradient_one_vector_more():
    problem = tiny_problem()
    tesla, mtt = matching("tesla", steps=5000), matching("mtt", steps=5000)
    assert added(problem, mtt) - added(problem, tesla) == VECTOR
    assert added(problem, matching("tesla", steps=6000)) - added(problem, tesla) == 1000 * VECTOR


def test_the_plain_exact_gradient_keeps_the_graphs_of_all_steps():
    problem = tiny_problem()
    few, many = (added(problem, matching("mtt", steps=steps, engine="plain")) for steps in (10, 100))
    assert many > 5 * few
    one_graph = added(problem, matching("tesla", steps=100, engine="plain"))
    assert one_graph < few < many


def test_experts_that_label_are_held_together():
    problem = tiny_problem()
    few, many = (added(problem, matching(num_label_experts=count)) for count in (40_000, 42_000))
    assert many - few == 2000 * VECTOR


def test_fitting_zca_may_be_the_most():
    images = tiny_images()
    problem = Problem(images, fit_preprocessing(images, "zca"), 2, "convnet2-w8")
    needed = memory_needed(problem, Working(), TWO_CORES)
    assert needed.fitting == 3 * 8 * 14**2  # fewer images than values
    assert needed.peak == PROCESS_BYTES + images.images.nbytes + max(needed.fitting, needed.method)


def test_images_as_floats_count_while_experts_train_and_memory_is_plentiful(monkeypatch):
    problem, load = tiny_problem(), Load(8, float_images=True)
    floats = 4 * problem.train.images.numel()
    plenty, scarce = (
        memory_needed(problem, Working(asked=Work(1, 1, (load,))), Machine(2, free)).method
        for free in (8 * floats, 8 * floats - 1)
    )
    assert plenty - scarce == floats
    monkeypatch.setattr(ground, "available_memory_bytes", lambda device: 8 * floats)
    assert isinstance(problem.ground.training_set(), ground.TensorTrainingSet)
    monkeypatch.setattr(ground, "available_memory_bytes", lambda device: 8 * floats - 1)
    assert isinstance(problem.ground.training_set(), ground.RealTrainingSet)


def test_on_cuda_batches_are_whole_and_the_host_does_not_count(monkeypatch):
    size = NetworkSize(1, output_bytes=1000, widest_bytes=500, vector_bytes=VECTOR, feature_bytes=9, mixes_images=False)
    monkeypatch.setattr("distail.memory.network_size", lambda *_: size)
    problem = tiny_problem()
    on_cpu = heaviest(problem, Load(6400, "tangents", shared=True))
    cuda = replace(problem, runtime=Runtime("cuda"))
    assert heaviest(cuda, Load(6400, "tangents", shared=True)) == 5 * 6400 * 1000 + VECTOR
    assert on_cpu == 3 * 64 * 1000 + 200 * VECTOR + 80 * MIB
    needed = memory_needed(cuda, matching(), TWO_CORES)
    assert (needed.process, needed.data, needed.fitting) == (0, 0, 0)
    assert needed.peak == needed.method


def test_a_load_may_name_another_network_and_several_graphs():
    problem = tiny_problem()
    own = heaviest(problem, Load(50, architecture=problem.architecture))
    assert own == heaviest(problem, Load(50))
    assert heaviest(problem, Load(50, architecture="convnet2-w64")) > 3 * own
    assert heaviest(problem, Load(50, graphs=3)) == pytest.approx(3 * own, rel=0.1)
