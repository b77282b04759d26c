"""Networks to distil with and to score on, one family per file, built from a name."""

from distail.models.architecture import build_network
from distail.models.network import Network

__all__ = ["Network", "build_network"]
