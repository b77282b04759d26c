"""Processes that share a folder, also from several machines, do not do the same work twice.

A claim is a small file that only one process can make. Its holder renews it every few seconds, so one whose holder was
killed is found out: at once on the same machine, where the process is gone, and after two minutes from elsewhere.
Should two processes hold the same claim after all, as when a machine slept, they do the same work side by side; what
they write must therefore be whole files with the same content.
"""

from distail.claims.file import Holder
from distail.claims.holding import Claim, Claimed, Claims

FOLDER = "claims"
"""Usual name of a folder of claims, beside the work that they are about."""

__all__ = ["FOLDER", "Claim", "Claimed", "Claims", "Holder"]
