import hashlib
import json
from datetime import datetime

import torch
from hypothesis import given
from hypothesis import strategies as st

from distail.provenance import environment, indices_hash
from distail.runtime import Runtime


def test_the_environment_says_what_reproduction_needs():
    facts = environment(Runtime("cpu", "bf16"))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert all(value != "not installed" for value in facts["versions"].values())
    assert (facts["device"], facts["precision"]) == ("cpu", "bf16")
    assert facts["threads"] == torch.get_num_threads()
    assert facts["peak_memory_bytes"] > 10 * 2**20  # torch alone takes more
    assert facts["hardware"].endswith("cores")
    written = datetime.fromisoformat(facts["written"])
    assert written.tzinfo is not None


def test_a_missing_package_is_no_error(monkeypatch):
    monkeypatch.setattr("distail.provenance._PACKAGES", ("distail", "no such package"))
    versions = environment(Runtime())["versions"]
    assert versions["no such package"] == "not installed"
    assert versions["distail"] != "not installed"


@given(first=st.lists(st.integers(0, 9), max_size=5), second=st.lists(st.integers(0, 9), max_size=5))
def test_index_hashes_are_equal_where_the_lists_are(first, second):
    assert (indices_hash(first) == indices_hash(second)) == (first == second)


def test_the_index_hash_can_be_recomputed_elsewhere():
    assert indices_hash([3, 1, 20]) == hashlib.sha256(b"[3, 1, 20]").hexdigest()
