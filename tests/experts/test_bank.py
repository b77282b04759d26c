import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distail.artifact import TensorFile, identity_hash, read_json, read_tensors, write_json
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.experts import bank
from distail.experts.bank import ExpertBank, Shelf
from distail.experts.ground import FORMAT, ExpertGround
from distail.experts.spec import RepresentationSpec
from distail.runtime import Runtime
from tests.cli.calling import contents
from tests.experts.lessons import FLAT, PLAIN, ground, on


def snapshot(epoch: int) -> Tensor:
    return torch.arange(5.0) + 10 * epoch


def filled(shelf: Shelf, epochs: int, expert: int = 0) -> Shelf:
    for epoch in range(epochs + 1):
        shelf.append(expert, epoch, snapshot(epoch))
    return shelf


def a_shelf(path, spec: RepresentationSpec = PLAIN) -> Shelf:
    return ExpertBank(path).shelf(ground().identity(spec))


def again(shelf: Shelf) -> Shelf:
    """As another process sees it: nothing in memory."""
    return Shelf(shelf.path, shelf.identity)


def files(shelf: Shelf, expert: int = 0) -> list[str]:
    return sorted(path.name for path in (shelf.path / f"expert-{expert:04d}").iterdir())


@pytest.mark.parametrize("epochs", [0, 1, 9, 10, 13, 20])
def test_what_goes_in_comes_out(tmp_path, epochs):
    shelf = filled(a_shelf(tmp_path), epochs)
    for read in (shelf, again(shelf)):
        assert read.num_epochs(0) == epochs
        for epoch in range(epochs + 1):
            assert torch.equal(read.snapshot(0, epoch), snapshot(epoch))
    assert shelf.experts() == [0]


def test_files_hold_ten_snapshots_and_the_last_one_grows(tmp_path):
    shelf = filled(a_shelf(tmp_path), 13)
    assert files(shelf) == ["epochs-0000-0009.safetensors", "epochs-0010-0013.safetensors"]
    again(shelf).append(0, 14, snapshot(14))
    assert files(shelf) == ["epochs-0000-0009.safetensors", "epochs-0010-0014.safetensors"]
    assert torch.equal(again(shelf).snapshot(0, 14), snapshot(14))


def test_random_access_over_more_files_than_are_kept_in_memory(tmp_path):
    shelf = filled(a_shelf(tmp_path), 65)
    for epoch in (0, 60, 5, 33, 65, 12, 47, 0, 21):
        assert torch.equal(shelf.snapshot(0, epoch), snapshot(epoch))
    assert len(shelf._cache) <= 4


def test_what_is_kept_does_not_change_with_the_tensor_that_was_given(tmp_path):
    shelf = a_shelf(tmp_path)
    for epoch in range(11):
        given = snapshot(epoch)
        shelf.append(0, epoch, given)
        given.fill_(-1)
    assert all(torch.equal(shelf.snapshot(0, epoch), snapshot(epoch)) for epoch in range(11))


@pytest.mark.parametrize("epochs", [3, 12])
def test_killed_between_writing_and_deleting(tmp_path, epochs):
    shelf = filled(a_shelf(tmp_path), epochs - 1)
    leftover = shelf.path / "expert-0000" / files(shelf)[-1]
    copy = tmp_path / "copy"
    shutil.copy(leftover, copy)
    shelf.append(0, epochs, snapshot(epochs))
    shutil.copy(copy, leftover)
    read = again(shelf)
    assert read.num_epochs(0) == epochs
    assert all(torch.equal(read.snapshot(0, epoch), snapshot(epoch)) for epoch in range(epochs + 1))
    read.append(0, epochs + 1, snapshot(epochs + 1))
    assert again(shelf).num_epochs(0) == epochs + 1


def test_two_processes_that_train_the_same_expert_keep_one_trajectory(tmp_path):
    """They make the same bits; the slower one must not keep its epoch as if it were the next."""
    one = a_shelf(tmp_path)
    other = again(one)
    for epoch in range(13):
        for process in (one, other) if epoch % 2 else (other, one):
            process.append(0, epoch, snapshot(epoch))
    for read in (one, other, again(one)):
        assert read.num_epochs(0) == 12
        assert all(torch.equal(read.snapshot(0, epoch), snapshot(epoch)) for epoch in range(13))


def _replacing(monkeypatch, trains: Callable[[], None], times: int = 1) -> None:
    """Another process trains on each time a file has been listed, and is about to be read."""
    left = [trains] * times

    def read(path: Path, kind: str) -> TensorFile:
        if left:
            left.pop()()
        return read_tensors(path, kind)

    monkeypatch.setattr(bank, "read_tensors", read)


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_may_be_replaced_before_it_is_read(tmp_path, monkeypatch, times):
    shelf = filled(a_shelf(tmp_path), 3)

    def trains() -> None:
        epoch = shelf.num_epochs(0) + 1
        shelf.append(0, epoch, snapshot(epoch))

    _replacing(monkeypatch, trains, times)
    assert torch.equal(again(shelf).snapshot(0, 2), snapshot(2))
    assert files(shelf) == [f"epochs-0000-{3 + times:04d}.safetensors"]


def test_a_file_may_be_replaced_before_it_is_added_to(tmp_path, monkeypatch):
    shelf = filled(a_shelf(tmp_path), 3)
    _replacing(monkeypatch, lambda: shelf.append(0, 4, snapshot(4)))
    slower = again(shelf)
    slower.append(0, 4, snapshot(4))
    assert files(shelf) == ["epochs-0000-0004.safetensors"]
    slower.append(0, 5, snapshot(5))
    assert all(torch.equal(again(shelf).snapshot(0, epoch), snapshot(epoch)) for epoch in range(6))


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), DistailError("gone")])
def test_a_file_that_is_always_gone_is_a_clear_error(tmp_path, monkeypatch, error):
    """However it is told: before the file is opened, or while."""
    shelf, tried = filled(a_shelf(tmp_path), 3), []
    name = files(shelf)[0]
    file = shelf.path / "expert-0000" / name

    def read(path: Path, kind: str) -> TensorFile:
        tried.append(path)
        raise error

    monkeypatch.setattr(bank, "read_tensors", read)
    monkeypatch.setattr(Shelf, "_shards", lambda shelf, expert: [file])
    file.unlink()
    with pytest.raises(DistailError, match=rf"{name} was removed.*start the command again"):
        again(shelf).snapshot(0, 2)
    assert 1 < len(tried) < 10


def test_a_damaged_file_is_read_once(tmp_path, monkeypatch):
    shelf, tried = filled(a_shelf(tmp_path), 3), []
    (shelf.path / "expert-0000" / files(shelf)[0]).write_bytes(b"")
    _replacing(monkeypatch, lambda: tried.append(True), times=9)
    with pytest.raises(DistailError, match="not a whole safetensors file"):
        again(shelf).snapshot(0, 2)
    with pytest.raises(DistailError, match="not a whole safetensors file"):
        again(shelf).append(0, 4, snapshot(4))
    assert len(tried) == 2


def test_a_file_that_is_replaced_while_bytes_are_counted(tmp_path, monkeypatch):
    shelf = filled(a_shelf(tmp_path), 3)
    gone = shelf.path / "expert-0000" / "epochs-0000-0002.safetensors"
    there = sorted(shelf.path.rglob("*.safetensors"))
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: iter([gone, *there]))
    assert shelf.num_bytes == there[0].stat().st_size > 0


def test_the_folder_is_read_when_a_bank_is_made(monkeypatch):
    monkeypatch.delenv("DISTAIL_EXPERTS", raising=False)
    assert ExpertBank().path == Path("experts")
    monkeypatch.setenv("DISTAIL_EXPERTS", "elsewhere")
    assert ExpertBank().path == Path("elsewhere")
    assert ExpertBank("mine").path == Path("mine")
    monkeypatch.setenv("DISTAIL_EXPERTS", "")  # as good as none
    assert ExpertBank().path == Path("experts")


def test_the_key_is_of_everything_that_decides_a_snapshot():
    known = ground()

    def like(**changes) -> ExpertGround:
        parts = {name: getattr(known, name) for name in ("train", "preprocessing", "architecture", "runtime")}
        return ExpertGround(**{**parts, **changes})

    other_images = known.train.subset(range(13))
    variants = [
        (known, PLAIN),
        (known, FLAT),
        (known, PLAIN.model_copy(update={"seed": 1})),
        (known, PLAIN.model_copy(update={"augmentation": "none"})),
        (known, on()),
        (known, on(base_epochs=3)),
        (known, on(base=PLAIN)),
        (known, on(max_norm=0.1)),
        (known, on(loss="class_balanced")),
        (like(architecture="convnet2-w4"), PLAIN),
        (like(train=other_images), PLAIN),
        (like(preprocessing=fit_preprocessing(known.train, "zca")), PLAIN),
        (like(runtime=Runtime("cpu", "bf16")), PLAIN),
    ]
    names = [identity_hash(grounds.identity(spec)) for grounds, spec in variants]
    assert len(set(names)) == len(names)
    assert identity_hash(ground().identity(RepresentationSpec(learning_rate=0.05, batch_size=6))) == names[0]
    assert all(len(name) == 16 for name in names)


def test_the_published_experts_keep_their_keys():
    """Snapshots on disk are found by these; raise FORMAT if they must become others."""
    assert FORMAT == 1
    assert PLAIN.model_dump(mode="json") == {
        "kind": "representation",
        "learning_rate": 0.05,
        "batch_size": 6,
        "weight_decay": 0.0,
        "gsam_rho": 0.0,
        "gsam_alpha": 0.0,
        "augmentation": "color_crop_cutout_flip_scale_rotate",
        "seed": 0,
    }
    assert sorted(on().model_dump(mode="json")) == [
        *("augmentation", "base", "base_epochs", "batch_size", "beta", "gsam_alpha", "gsam_rho", "images_per_visit"),
        *("kind", "learning_rate", "loss", "max_norm", "weight_decay"),
    ]


def test_finding_writes_nothing(tmp_path):
    bank, identity = ExpertBank(tmp_path / "bank"), ground().identity(PLAIN)
    assert bank.find(identity) is None
    assert list(bank.shelves()) == []
    assert list(tmp_path.iterdir()) == []
    filled(bank.shelf(identity, "pets"), 2)
    before = contents(tmp_path)
    found = bank.find(identity)
    assert found is not None
    assert (found.num_epochs(0), found.num_epochs(1), found.source) == (2, -1, "pets")
    assert [shelf.key for shelf in bank.shelves()] == [found.key]
    assert bank.find(ground().identity(FLAT)) is None
    assert contents(tmp_path) == before


def test_an_epoch_that_was_not_trained_says_what_to_do(tmp_path):
    shelf = filled(a_shelf(tmp_path), 2)
    with pytest.raises(DistailError, match=r"Expert 0 .*trained for 2 epochs, but epoch 3.*`distail experts train`"):
        shelf.snapshot(0, 3)
    with pytest.raises(DistailError, match=r"Expert 4 .*trained for 0 epochs, but epoch 0"):
        shelf.snapshot(4, 0)


@pytest.mark.parametrize("harm", ["truncated", "altered", "empty"])
def test_a_damaged_file_is_a_clear_error(tmp_path, harm):
    shelf = filled(a_shelf(tmp_path), 12)
    file = shelf.path / "expert-0000" / "epochs-0000-0009.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes({"truncated": bytes(content[:-20]), "altered": bytes(content), "empty": b""}[harm])
    with pytest.raises(DistailError, match=r"epochs-0000-0009\.safetensors") as raised:
        again(shelf).snapshot(0, 4)
    assert len(str(raised.value).split()) > 8
    assert torch.equal(again(shelf).snapshot(0, 11), snapshot(11))  # the others are still good


@pytest.mark.parametrize("harm", ["architecture", "no identity", "no object"])
def test_an_altered_description_is_refused(tmp_path, harm):
    bank, identity = ExpertBank(tmp_path), ground().identity(PLAIN)
    about = bank.shelf(identity).path / "about.json"
    altered = read_json(about)
    altered["identity"]["architecture"] = "convnet9"
    write_json(about, {"architecture": altered, "no identity": {"source": "pets"}, "no object": []}[harm])
    for look in (bank.find, bank.shelf, lambda _: list(bank.shelves())):
        with pytest.raises(DistailError, match=r"about\.json has been altered.*Remove the folder"):
            look(identity)


def test_a_file_in_the_place_of_the_bank_is_a_clear_error(tmp_path):
    (tmp_path / "bank").write_text("mine")
    with pytest.raises(DistailError, match=r"bank cannot be made.*--experts"):
        ExpertBank(tmp_path / "bank").shelf(ground().identity(PLAIN))
    assert (tmp_path / "bank").read_text() == "mine"


def test_bytes_on_disk(tmp_path):
    shelf = a_shelf(tmp_path)
    assert shelf.num_bytes == 0
    filled(filled(shelf, 12), 3, expert=2)
    snapshots = sorted(shelf.path.rglob("*.safetensors"))
    assert len(snapshots) == 3
    assert shelf.num_bytes == sum(path.stat().st_size for path in snapshots)
    assert shelf.experts() == [0, 2]


def test_the_source_of_a_network_of_ones_own_is_part_of_the_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_net_of_the_bank.py"
    keys = set()
    for text in ("# one", "# another"):
        file.write_text(text)
        keys.add(identity_hash(ground(architecture="my_net_of_the_bank").identity(PLAIN)))
    assert len(keys) == 2
    for built_in in ("convnet2-w8", "timm:resnet18.a1_in1k"):
        assert "architecture_sha256" not in ground(architecture=built_in).identity(PLAIN)


def test_the_time_of_epochs_is_kept(tmp_path):
    shelf = a_shelf(tmp_path)
    for epoch in range(15):
        shelf.append(0, epoch, snapshot(epoch), 0.0 if epoch == 0 else 2.0)
    assert [again(shelf).seconds(0, epochs) for epochs in (0, 1, 9, 12, 14, 20)] == [0, 2, 18, 24, 28, 28]
    assert shelf.seconds(1, 5) == 0
    assert filled(a_shelf(tmp_path / "untimed"), 3).seconds(0, 3) == 0
