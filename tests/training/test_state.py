"""Trainings that are killed between two epochs end with the same bits as those that are not."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from distail.checkpoint import FileCheckpoint
from distail.errors import DistailError
from distail.models import Network, build_network
from distail.progress import SilentProgress
from distail.runtime import Runtime
from distail.training.loop import Selection, train_network
from distail.training.mixed_views import Lessons
from distail.training.mixture import MixtureLoss, TwoHeaded, train_by_mixture
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet
from tests.methods import tiny  # noqa: F401  one thread

EPOCHS = 6
IMAGES = torch.randn(11, 3, 8, 8, generator=torch.Generator().manual_seed(0))
DATA = TensorTrainingSet(IMAGES, Targets(torch.arange(11) % 3), 3)


class KilledError(Exception):
    pass


class DiesAfter(SilentProgress):
    """Ends the process, so to speak, when so many epochs are done."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    @contextmanager
    def task(self, title, total, done=0):
        def advance(steps=1, **figures):
            self.left -= 1
            if self.left == 0:
                raise KilledError

        yield advance


def recipe(**settings: Any) -> TrainRecipe:
    return TrainRecipe(**{"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.05, "schedule": "cosine", **settings})


def network() -> Network:
    return build_network("convnet2-w8-batch", (3, 8, 8), 3, seed=3)


def plain(how: TrainRecipe, folder: Path | None, progress=None, selection=None, seed: int = 7, title: str = "t"):
    trained = network()
    checkpoint = FileCheckpoint(folder / "state.safetensors", 0.0) if folder else None
    rest = {"selection": selection, "title": title, "checkpoint": checkpoint}
    history = train_network(trained, DATA, how, seed=seed, runtime=Runtime(), progress=progress, **rest)
    return trained, history


def mixed(how: TrainRecipe, folder: Path | None, progress=None, **others):
    model = TwoHeaded(network(), 4, seed=1)
    lessons = Lessons(DATA, lambda epoch, generator: torch.randperm(11, generator=generator).split(how.batch_size))
    checkpoint = FileCheckpoint(folder / "state.safetensors", 0.0) if folder else None
    history = train_by_mixture(
        model,
        lessons,
        MixtureLoss(torch.ones(3)),
        how,
        seed=7,
        runtime=Runtime(),
        progress=progress or SilentProgress(),
        title="t",
        checkpoint=checkpoint,
    )
    return model, history


def assert_same(found, expected) -> None:
    (one, history), (other, whole) = found, expected
    for name, value in other.state_dict().items():
        assert torch.equal(one.state_dict()[name], value), name
    assert history == whole


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "momentum": (plain, {}),
    "adamw": (plain, {"optimizer": "adamw", "learning_rate": 0.003}),
    "average": (plain, {"average": 0.9}),
    "step": (plain, {"schedule": "step", "epochs": EPOCHS - 1}),
    "mixture": (mixed, {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("killed_after", [1, 4, EPOCHS])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, way, killed_after):
    train, settings = WAYS[way]
    how = recipe(**settings)
    expected = train(how, None)
    with pytest.raises(KilledError):
        train(how, tmp_path, DiesAfter(killed_after))
    again = DiesAfter(EPOCHS - killed_after + 1)  # which would end it if it began anew
    assert_same(train(how, tmp_path, again), expected)


def test_the_best_epoch_so_far_survives(tmp_path):
    def looks(*scores: float) -> Selection:
        left = iter(scores)
        return Selection(lambda network: next(left), every=1)

    expected = plain(recipe(), None, selection=looks(0.1, 0.9, 0.2, 0.3, 0.4, 0.5))
    with pytest.raises(KilledError):
        plain(recipe(), tmp_path, DiesAfter(3), selection=looks(0.1, 0.9, 0.2))
    found = plain(recipe(), tmp_path, selection=looks(0.3, 0.4, 0.5))
    assert_same(found, expected)
    assert found[1].kept_epoch == 1


@pytest.mark.parametrize("other", [{"seed": 8}, {"title": "another"}])
def test_the_state_of_another_training_is_left_alone(tmp_path, other):
    with pytest.raises(KilledError):
        plain(recipe(), tmp_path, DiesAfter(4))
    assert_same(plain(recipe(), tmp_path, **other), plain(recipe(), None, **other))


def test_other_settings_are_another_training(tmp_path):
    with pytest.raises(KilledError):
        plain(recipe(), tmp_path, DiesAfter(4))
    slower = recipe(learning_rate=0.01)
    assert_same(plain(slower, tmp_path), plain(slower, None))


def test_a_damaged_state_is_a_clear_error(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(DistailError, match="make it again"):
        plain(recipe(), tmp_path)
