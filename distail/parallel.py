"""Sharing the images of a batch among CPU threads, each of which computes its part from end to end.

Nothing waits at the end of a layer, a small part of the batch stays in the cache from one layer to the next, and the
memory of activations does not grow with the batch. That is where it gains most: on large batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")

CHUNK_IMAGES = 32
"""Images that a thread takes at once; 25 to 50 were fastest for ConvNet-3 on 32x32 images, and results depend on it
only through the order of sums."""


def map_chunks(
    function: Callable[[slice], T], num_images: int, device: str = "cpu", chunk_images: int = CHUNK_IMAGES
) -> list[T]:
    """`function` of consecutive parts of a batch, computed side by side on the CPU; results in order.

    The parts depend on `num_images` and `chunk_images` alone, and each is computed by one thread, so sums over them in
    order are the same bits on any number of threads. Parts are alike in size and even in number, so that two threads
    end together.
    Grad mode and autocast are those of new threads: `function` sets its own.

    Args:
        function: takes a slice of the batch; must only read what it shares with the others.
        num_images: size of the batch; 0 gives an empty list.
        device: elsewhere than on the CPU the whole batch is one part, computed by the caller.
        chunk_images: most images in a part.
    """
    if num_images == 0:
        return []
    if device != "cpu":
        return [function(slice(0, num_images))]
    count = num_parts(num_images, chunk_images)
    edges = [number * num_images // count for number in range(count + 1)]
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    threads = torch.get_num_threads()
    if threads == 1:
        return [function(part) for part in parts]
    return list(_pool(threads).map(function, parts))


def num_parts(num_images: int, chunk_images: int = CHUNK_IMAGES) -> int:
    """How many parts `map_chunks` makes of a batch on the CPU."""
    return min(2 * -(-num_images // (2 * chunk_images)), num_images)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Workers on each of which an operation runs alone."""
    all_started = Barrier(threads)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # the first look makes the setting the thread's own, whatever others set later
        all_started.wait()

    pool = ThreadPoolExecutor(threads, "distail", initializer=start)
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(threads)
    return pool


# Threads do not survive a fork, so a child that inherited a pool would wait for it for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
