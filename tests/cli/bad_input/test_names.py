"""Names of methods, networks, settings, flags and devices that are not there."""

import pytest
import torch

from tests.cli.bad_input.commands import READERS, reading
from tests.cli.calling import NETWORK, QUICK


@pytest.mark.parametrize("command", ["check", "distill"])
def test_unknown_method(refused, source, command):
    refused(command, source, "--method", "herdin", names=("herdin", "Did you mean 'herding'?"))
    refused(command, source, "--method", "my.own.method", names=("my.own.method", "cannot be imported"))


@pytest.mark.parametrize("command", [*READERS, "evaluate"])
def test_unknown_architecture(refused, run, source, command):
    calls = {**reading(source), "evaluate": ("evaluate", run)}
    start = [part for part in calls[command] if part not in ("--arch", NETWORK)]
    refused(*start, "--arch", "convnet33", names=("convnet33", "Did you mean 'convnet3'?"))


@pytest.mark.parametrize("command", ["check", "distill"])
@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("iteration=3", ("iteration", "Did you mean 'iterations'?")),
        ("iterations=0", ("iterations", "0")),
        ("iterations=many", ("iterations", "many")),
        ("iterations", ("iterations", "NAME=VALUE")),
        ("iterations=[1", ("iterations=[1", "NAME=VALUE")),
    ],
)
def test_impossible_settings(refused, source, command, setting, names):
    refused(command, source, "--method", "dm", "--set", setting, names=names)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("distil", "digits"), ("distil", 'Did you mean "distill"?')),
        (("distill", "digits", "--ips", 3), ("--ips", "Did you mean --ipc?")),
        (("distill",), ("SOURCE", "--help")),
        (("export", "run"), ("--out", "--help")),
        (("distill", "digits", "--preprocessing", "zka"), ("zka", "zca")),
        (("evaluate", "run", "--labels", "soft"), ("soft", "static")),
        (("evaluate", "run", "--reference", "best"), ("best", "random")),
        (("distill", "digits", "--device", "gpu"), ("gpu", "cuda")),
        (("distill", "digits", "--ipc"), ("--ipc",)),
        (("methods", "extra"), ("extra",)),
    ],
)
def test_impossible_command_lines(refused, arguments, names):
    refused(*arguments, names=names)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(refused, run, source, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for command in (*reading(source).values(), ("evaluate", run, *QUICK)):
        refused(*command, "--device", device, names=(device, "--device cpu"))
