"""What settings and flags alike choose from, by name. Imports nothing heavy, so that `--help` stays fast."""

from __future__ import annotations

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
"""Where to compute; 'auto' is the fastest that there is."""
PrecisionName = Literal["auto", "fp32", "bf16"]
"""Precision of network passes; 'auto' is bf16 where the hardware multiplies it faster."""
PreprocessingKind = Literal["none", "normalize", "zca"]
"""How raw images become what networks see: as they are; every channel standardised; or the ZCA of all pixels."""
