import torch

from distail.experts.statistics import measure_statistics
from tests.methods.tiny import tiny_problem


def test_a_network_from_its_parameters_predicts_with_the_statistics_of_real_images():
    problem = tiny_problem(counts=(60, 20), architecture="convnet2-w8-batch")
    network, reference = problem.network("architecture"), problem.network("architecture")
    parameters = [parameter.clone() for parameter in network.parameters()]
    images = 4 + 3 * problem.real(torch.arange(80))  # far from the mean 0 and variance 1 of a new network
    with torch.no_grad():
        wanted = reference.train()(images)
        unprepared = network.eval()(images)
        measure_statistics(network, lambda indices: images[indices], 80)
        found = network(images)
    assert not network.training
    assert float((found - wanted).abs().max()) < 0.02 * float(wanted.abs().max())
    assert float((unprepared - wanted).abs().max()) > 0.3 * float(wanted.abs().max())
    assert all(map(torch.equal, parameters, network.parameters()))


def test_statistics_are_a_mean_over_whole_batches_and_the_same_each_time(monkeypatch):
    problem = tiny_problem(counts=(40, 30), architecture="convnet2-w8-batch")
    monkeypatch.setattr("distail.experts.statistics._BATCH", 32)
    sizes, found = [], []

    def real(indices: torch.Tensor) -> torch.Tensor:
        sizes.append(len(indices))
        return problem.real(indices)

    for _ in range(2):
        network = problem.network("architecture")
        measure_statistics(network, real, 70)
        found.append(network.state_dict())
        assert network.backbone[1].momentum == 0.1
    assert sizes == [32, 32] * 2
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_network_without_batch_normalisation_asks_for_no_image():
    network = tiny_problem().network("architecture").train()
    measure_statistics(network, lambda indices: images_are_not_needed(), 10)
    assert not network.training


def images_are_not_needed() -> torch.Tensor:
    raise AssertionError
