"""Settings of all tests: one thread a worker, since tiny tensors on more threads than free cores only wait."""

import os

import shape_checks
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)
shape_checks.install("distail")
