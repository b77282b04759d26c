"""Processes that work on one job together, each on a device of its own; what connects them is hidden here.

Nothing is wrapped: whoever shares work sums the few tensors that all need, so gradients of any order can be shared.
"""

from distail.peers.group import ALONE, Peers
from distail.peers.launching import PeerKilledError, launch
from distail.peers.relay import relayed

__all__ = ["ALONE", "PeerKilledError", "Peers", "launch", "relayed"]
