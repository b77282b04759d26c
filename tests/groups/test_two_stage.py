"""The two-stage network and its file: routing against the written-out formula, and what is refused."""

import pytest
import torch
from torch import nn

from distail.artifact import TensorFile, read_tensors, write_tensors
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.groups.grouping import Grouping
from distail.groups.two_stage import KIND, Decisions, SavedTwoStage, TwoStage, load_two_stage, save_two_stage
from distail.models.architecture import build_network
from distail.models.network import Network
from distail.models.saved import SavedNetwork, load_network, save_network
from tests.evaluation.separable import images_of
from tests.reference import two_stage as reference

NAMES = tuple("abcde")
GROUPING = Grouping(NAMES, (0, 1, 0, 2, 1), {"made": "by hand"})
SHAPE = (3, 8, 8)


class Says(Network):
    """Answers every image with its own first pixels, so that a test chooses the logits."""

    def __init__(self, first: int, outputs: int) -> None:
        super().__init__()
        self.first, self.feature_size = first, outputs
        self.classifier = nn.Linear(outputs, outputs, bias=False)
        nn.init.eye_(self.classifier.weight)

    def features(self, images):
        return images.flatten(1)[:, self.first : self.first + self.feature_size].to(self.classifier.weight.dtype)


def talking(grouping: Grouping = GROUPING) -> TwoStage:
    """Its group logits are an image's first values, those of each group's classes the next."""
    first, classes = grouping.num_groups, []
    for group in range(grouping.num_groups):
        size = len(grouping.members(group))
        classes.append(Says(first, size).double() if size > 1 else None)
        first += size if size > 1 else 0
    return TwoStage(Says(0, grouping.num_groups).double(), classes, grouping).eval()


def images_saying(values: torch.Tensor) -> torch.Tensor:
    images = torch.zeros(len(values), *SHAPE, dtype=torch.float64)
    images.view(len(values), -1)[:, : values.shape[1]] = values
    return images


def some_logits(scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(20, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_routing_is_the_formula(routing):
    values = some_logits()
    found = talking()(images_saying(values), routing).exp()
    expected = [
        getattr(reference, routing)(row[:3], [row[3:5], row[5:7], [0.0]], GROUPING.group_of) for row in values.tolist()
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sum(1), torch.ones(20, dtype=torch.float64))


def test_extreme_logits_stay_finite_in_soft_routing():
    found = talking()(images_saying(some_logits(scale=2000.0)))
    assert bool(torch.isfinite(found).all())
    torch.testing.assert_close(found.exp().sum(1), torch.ones(20, dtype=torch.float64))


def test_hard_routing_picks_inside_the_most_probable_group_alone():
    values = some_logits()
    hard = talking()(images_saying(values), "hard")
    groups = torch.tensor(GROUPING.group_of)
    winner = values[:, :3].argmax(1)
    assert torch.equal(hard.isinf(), groups[None] != winner[:, None])
    assert torch.equal(groups[hard.argmax(1)], winner)
    assert bool(torch.isfinite(hard.softmax(1)).all())


def test_behind_a_perfect_group_stage_the_class_stage_decides():
    within = some_logits()[:, :5].log_softmax(1)
    group_of = torch.tensor(GROUPING.group_of)
    labels = torch.arange(20) % 5
    sure = torch.full((20, 3), -50.0, dtype=torch.float64)
    sure[torch.arange(20), group_of[labels]] = 0.0
    decided = Decisions(sure, within, group_of)
    assert decided.group_accuracy(labels) == 1.0
    best = within.masked_fill(group_of[None] != group_of[labels][:, None], -torch.inf).argmax(1)
    assert torch.equal(decided.routed("hard").argmax(1), best)
    assert torch.equal(decided.routed("soft").argmax(1), best)


@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_with_a_group_a_class_the_group_network_decides(routing):
    alone = Grouping(NAMES, (0, 1, 2, 3, 4))
    values = some_logits()[:, :5]
    model = talking(alone)
    assert len(model.classes) == 0
    found = model(images_saying(values), routing)
    assert torch.equal(found.argmax(1), values.argmax(1))
    if routing == "soft":
        torch.testing.assert_close(found, values.log_softmax(1))


def test_group_accuracy_is_the_share_of_right_groups():
    decided = Decisions(torch.eye(3).log_softmax(1), torch.zeros(3, 5), torch.tensor(GROUPING.group_of))
    assert decided.group_accuracy(torch.tensor([2, 4, 0])) == pytest.approx(2 / 3)


# What is refused


def network(outputs: int) -> Network:
    return build_network("convnet2-w8", SHAPE, outputs, seed=outputs)


def test_networks_that_do_not_fit_the_grouping_are_refused():
    right = [network(2), network(2), None]
    with pytest.raises(DistailError, match="decides for a group has 2 outputs instead of 3"):
        TwoStage(network(2), right, GROUPING)
    with pytest.raises(DistailError, match="network of group 2 has 3 outputs instead of 2"):
        TwoStage(network(3), [network(2), network(3), None], GROUPING)
    with pytest.raises(DistailError, match="Group 3 has 1 class"):
        TwoStage(network(3), [network(2), network(2), network(1)], GROUPING)
    with pytest.raises(DistailError, match="2 class stages for 3 groups"):
        TwoStage(network(3), right[:2], GROUPING)


def test_a_single_group_and_a_single_class_are_refused():
    with pytest.raises(DistailError, match="all classes into one group"):
        TwoStage(network(1), [network(5)], Grouping(NAMES, (0,) * 5))
    with pytest.raises(DistailError, match="at least two classes"):
        Grouping(("a",), (0,))


# The file


def make_saved(architecture: str = "convnet2-w8") -> SavedTwoStage:
    images = images_of((4,) * 5, 1, class_names=NAMES)
    group = build_network(architecture, SHAPE, 3, seed=1)
    classes = [build_network(architecture, SHAPE, 2, seed=2), build_network("alexnet", SHAPE, 2, seed=3), None]
    preprocessing = fit_preprocessing(images, "zca")
    model = TwoStage(group, classes, GROUPING).eval()
    return SavedTwoStage(model, architecture, (architecture, "alexnet", None), preprocessing, {"seed": 3})


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_round_trip_gives_the_same_logits(tmp_path, architecture):
    saved, images = make_saved(architecture), images_of((3,) * 5, 2, class_names=NAMES).images
    save_two_stage(tmp_path / "two.safetensors", saved)
    state = torch.get_rng_state()
    loaded = load_two_stage(tmp_path / "two.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    for routing in ("soft", "hard"):
        assert torch.equal(
            loaded.predict_logits(images, routing=routing), saved.predict_logits(images, routing=routing)
        )
    assert (loaded.class_names, loaded.image_shape) == (NAMES, SHAPE)
    assert loaded.model.grouping == GROUPING
    assert loaded.provenance == {"seed": 3}
    assert loaded.class_architectures == (architecture, "alexnet", None)
    assert not loaded.model.training


def test_raw_images_pass_through_the_preprocessing_and_modes_stay(tmp_path):
    saved, images = make_saved(), images_of((3,) * 5, 2, class_names=NAMES).images
    saved.model.group.train()
    found = saved.predict_logits(images, batch_size=4)
    assert saved.model.group.training
    assert not saved.model.group.fused
    with torch.no_grad():
        expected = saved.model.eval()(saved.preprocessing.apply(images))
    torch.testing.assert_close(found, expected)
    with pytest.raises(DistailError, match="was trained on images of shape"):
        saved.predict_logits(images[:, :, :4])
    assert saved.predict_logits(images[:0]).shape == (0, 5)


def test_files_of_one_kind_are_no_files_of_the_other(tmp_path):
    saved = make_saved()
    save_two_stage(tmp_path / "two.safetensors", saved)
    with pytest.raises(DistailError, match="holds a two-stage network, but a network is needed"):
        load_network(tmp_path / "two.safetensors")
    one = SavedNetwork(network(5), "convnet2-w8", SHAPE, NAMES, saved.preprocessing, {})
    save_network(tmp_path / "one.safetensors", one)
    with pytest.raises(DistailError, match="holds a network, but a two-stage network is needed"):
        load_two_stage(tmp_path / "one.safetensors")
    with pytest.raises(DistailError, match="does not exist"):
        load_two_stage(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_shape": [3, 8]}, "does not describe a two-stage network"),
        ({"grouping": 3}, "is no grouping"),
        ({"grouping": {"class_names": ["a", "b"], "groups": [["a"], ["b"]]}}, "do not fit this architecture"),
        ({"class_architectures": ["convnet2-w8", "convnet2-w8", None]}, "do not fit this architecture"),
        ({"class_architectures": ["convnet2-w8", "alexnet"]}, "2 class stages for 3 groups"),
        ({"group_architecture": "transformer"}, "Unknown architecture"),
        ({"image_shape": [3, 16, 16]}, "do not fit this architecture"),
    ],
    ids=str,
)
def test_a_spoilt_file_is_a_clear_error(tmp_path, changes, message):
    path = tmp_path / "two.safetensors"
    save_two_stage(path, make_saved())
    content = read_tensors(path, KIND)
    write_tensors(path, TensorFile(KIND, content.tensors, content.header | changes))
    with pytest.raises(DistailError, match=message):
        load_two_stage(path)


def test_an_altered_file_is_refused(tmp_path):
    path = tmp_path / "two.safetensors"
    save_two_stage(path, make_saved())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DistailError, match="altered"):
        load_two_stage(path)
