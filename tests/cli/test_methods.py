"""`distail methods`: every method there is, with its paper."""

from distail.methods._registry import find_method, method_names
from tests.cli.calling import call, succeed


def test_every_method_is_listed_with_its_paper():
    shown = succeed("methods")
    for name in method_names():
        (row,) = [line for line in shown.out.splitlines() if name in line.split()[:1]]
        assert find_method(name).paper.split()[0] in row
    assert "arXiv:2110.04181" in shown.out


def test_json_holds_what_can_be_set():
    outcome = call("methods", "--json")
    assert outcome.err == ""
    assert outcome.json.keys() == set(method_names())
    assert outcome.json["dm"]["settings"]["iterations"] == 20_000
    assert outcome.json["random"]["settings"] == {}
    assert all(entry["summary"] and entry["paper"] for entry in outcome.json.values())
