"""Command lines that many of these tests share."""

from tests.cli.calling import NETWORK

RANDOM = ("--method", "random", "--ipc", 1)
NETWORK_FILE = "network.safetensors"


def reading(source: object) -> dict[str, tuple[object, ...]]:
    """The commands that read training images."""
    return {
        "check": ("check", source, "--arch", NETWORK),
        "distill": ("distill", source, *RANDOM),
        "train": ("train", source, "--out", NETWORK_FILE, "--arch", NETWORK, "--epochs", 1),
    }


READERS = tuple(reading(""))
