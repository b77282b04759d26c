"""Parts of a batch, which together give what the whole one gives."""

import pytest
import torch

from distail.data.augment import DSA
from distail.experts.bank import ExpertBank, shelf_of
from distail.experts.classifier import linear_gradient
from distail.experts.school import train_experts
from distail.experts.shared_batch import BatchPart
from distail.peers import ALONE, Peers
from distail.progress import SilentProgress
from distail.runtime import Runtime
from distail.seeding import torch_generator
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet
from tests.experts.lessons import FLAT, ground, need, trajectory
from tests.peers.pretended import Pretended

COUNT = 7
AT = torch.linspace(-1, 1, 3 * (3 * 8 * 8 + 1), dtype=torch.float64)


def data() -> TensorTrainingSet:
    images = torch.randn(COUNT, 3, 8, 8, generator=torch_generator(0, "images"), dtype=torch.float64)
    return TensorTrainingSet(images, Targets(torch.arange(COUNT) % 3), 3)


def gradient_of(
    peers: Peers, indices: torch.Tensor, strategy: str, *, whole: bool = False
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a linear layer on augmented pixels."""
    batch = BatchPart.of(data(), indices, DSA(strategy), torch_generator(0, "draw"), peers, whole=whole)

    def gradient(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return linear_gradient(at, batch.images.flatten(1), batch.targets.for_cross_entropy, None)

    loss, found = batch.shared(gradient)(AT)
    return float(loss), found


@pytest.mark.parametrize("strategy", ["none", "color", "crop", "cutout", "flip", "scale", "rotate"])
@pytest.mark.parametrize("num_images", [COUNT, 2, 1])
def test_parts_sum_to_the_whole_even_where_some_are_empty(strategy, num_images):
    indices = torch.randperm(COUNT, generator=torch_generator(0, "order"))[:num_images]
    loss, whole = gradient_of(ALONE, indices, strategy)
    parts = [gradient_of(Pretended(rank, 3), indices, strategy) for rank in range(3)]
    assert sum(part for part, _ in parts) == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(sum(part for _, part in parts), whole, rtol=1e-12, atol=1e-13)


def test_where_images_mix_everybody_sees_all(tmp_path):
    indices = torch.arange(COUNT)
    loss, whole = gradient_of(ALONE, indices, "flip")
    found, parts = gradient_of(Pretended(1, 2, factor=2.0), indices, "flip", whole=True)
    assert found == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-13)


def test_devices_that_cannot_help_are_named(tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(SilentProgress, "say", lambda self, line: told.append(line))
    peers = Pretended(0, 2, factor=2.0)
    mixing = "convnet2-w8-batch"
    train_experts(ExpertBank(tmp_path / "one"), ground(architecture=mixing), [need(FLAT, 2)])
    assert told == []
    shared = ground(architecture=mixing, runtime=Runtime(peers=peers))
    train_experts(ExpertBank(tmp_path / "two"), shared, [need(FLAT, 2)])
    assert len(told) == 1
    assert "experts train as fast as on one" in told[0]
    first, second = (trajectory(shelf_of(ExpertBank(tmp_path / name), shared, FLAT)) for name in ("one", "two"))
    assert all(map(torch.equal, first, second))
    # Those that assist are told of each epoch with the parameters before it, and at last that there is no more.
    assert [None if one is None else one[1:3] for one in peers.sent] == [(0, 0), (0, 1), None]
    assert torch.equal(peers.sent[1][3], first[1])
