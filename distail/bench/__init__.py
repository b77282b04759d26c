"""Grids of runs: what they expand to, who does which cell, and the results on disk. `worker.py` tells the story."""
