"""Content hashes of data, found once."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from distail.artifact import read_json
from distail.bench import sources
from distail.bench.sources import SourceHashes
from distail.data.sources import load, load_test
from distail.errors import DistailError
from distail.recipe import DataRecipe
from tests.cli.calling import pets, write_npz


@pytest.fixture
def read(monkeypatch):
    """The sources that were read, one by one."""
    found: list[str] = []
    real = sources.SourceHashes._read_hash

    def reading(self: SourceHashes, split: str, source: str, data: DataRecipe) -> str:
        found.append(f"{split} of {Path(source).name}")
        return real(self, split, source, data)

    monkeypatch.setattr(sources.SourceHashes, "_read_hash", reading)
    return found


@pytest.fixture
def own(source, tmp_path):
    """A copy of the source that a test may change."""
    return Path(shutil.copy(source, tmp_path / "own.npz"))


def data(path: Path, **others: object) -> DataRecipe:
    return DataRecipe(source=str(path), **others)


def test_the_hashes_are_those_of_the_images(own, tmp_path, read):
    hashes = SourceHashes(tmp_path / "sources.json")
    assert hashes.of_training(data(own)) == load(str(own)).content_hash
    assert hashes.of_test(data(own), None) == load_test(str(own)).content_hash
    assert hashes.of_test(data(own), str(own)) == hashes.of_test(data(own), None)
    assert read == ["train of own.npz", "test of own.npz"]


def test_another_process_need_not_read_them_again(own, tmp_path, read):
    first = SourceHashes(tmp_path / "sources.json").of_training(data(own))
    assert SourceHashes(tmp_path / "sources.json").of_training(data(own, imbalance=10.0)) == first
    assert read == ["train of own.npz"]


def test_a_long_tail_is_no_other_source_and_a_size_is(own, tmp_path, read):
    hashes = SourceHashes(tmp_path / "sources.json")
    plain = hashes.of_training(data(own, imbalance=3.0))
    assert hashes.of_training(data(own, holdout=0.2)) == plain
    assert hashes.of_training(data(own, image_size=16)) != plain
    assert len(read) == 2


def test_images_set_aside_have_no_hash_of_their_own(own, tmp_path, read):
    hashes = SourceHashes(tmp_path / "sources.json")
    assert hashes.of_test(data(own, holdout=0.2), None) is None
    assert hashes.of_test(data(own, holdout=0.2), str(own)) is None
    assert read == []


def test_test_images_from_elsewhere(own, source, tmp_path):
    hashes = SourceHashes(tmp_path / "sources.json")
    found = hashes.of_test(data(own, holdout=0.2), str(source))
    assert found == load_test(str(source)).content_hash


def test_a_changed_file_is_read_again(own, tmp_path, read):
    file = tmp_path / "sources.json"
    before = SourceHashes(file).of_training(data(own))
    os.utime(own, (1, 1))
    assert SourceHashes(file).of_training(data(own)) == before  # touched, with the same images
    write_npz(own, train=pets((12, 12, 12), 9), test=pets((6, 6, 6), 2))
    assert SourceHashes(file).of_training(data(own)) != before
    assert len(read) == 3


def test_a_changed_file_in_a_folder_is_noticed(tmp_path):
    folder = tmp_path / "birds" / "jay"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"one")
    before = sources._stamp(str(tmp_path / "birds"))
    assert sources._stamp(str(tmp_path / "birds")) == before
    (folder / "1.png").write_bytes(b"other")
    after = sources._stamp(str(tmp_path / "birds"))
    (folder / "1.png").rename(folder / "2.png")
    assert len({before, after, sources._stamp(str(tmp_path / "birds"))}) == 3


def test_links_to_folders_are_followed_and_those_that_lead_back_end(tmp_path):
    elsewhere, birds = tmp_path / "elsewhere", tmp_path / "birds"
    elsewhere.mkdir()
    birds.mkdir()
    (elsewhere / "1.png").write_bytes(b"one")
    (birds / "jay").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(birds)
    (birds / "gone.png").symlink_to(tmp_path / "nothing")
    before = sources._stamp(str(birds))
    (elsewhere / "1.png").write_bytes(b"other")
    assert sources._stamp(str(birds)) != before


def test_what_is_not_here_counts_as_it_was(own, tmp_path):
    file = tmp_path / "sources.json"
    before = SourceHashes(file).of_training(data(own))
    own.unlink()
    assert SourceHashes(file).of_training(data(own)) == before
    with pytest.raises(DistailError, match=r"own.npz"):
        SourceHashes(tmp_path / "others.json").of_training(data(own))


@pytest.mark.parametrize("content", ["", "[1]", '{"format": 99, "sources": {}}', '{"format": 1, "sources": 3}'])
def test_a_damaged_file_is_nothing_known(own, tmp_path, read, content):
    (tmp_path / "sources.json").write_text(content)
    assert SourceHashes(tmp_path / "sources.json").of_training(data(own)) == load(str(own)).content_hash
    assert SourceHashes(tmp_path / "sources.json").of_training(data(own))
    assert read == ["train of own.npz"]


def test_what_another_process_found_meanwhile_is_kept(own, source, tmp_path):
    first, second = SourceHashes(tmp_path / "sources.json"), SourceHashes(tmp_path / "sources.json")
    first.of_training(data(own))
    second.of_training(data(source))
    assert len(read_json(tmp_path / "sources.json")["sources"]) == 2


def test_a_folder_that_may_only_be_read_does_no_harm(own, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(sources, "write_json", refuse)
    assert SourceHashes(tmp_path / "sources.json").of_training(data(own)) == load(str(own)).content_hash
    assert not (tmp_path / "sources.json").exists()
