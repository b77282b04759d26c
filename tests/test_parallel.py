import os
import signal
import threading
import time

import pytest
import torch

from distail.parallel import CHUNK_IMAGES, map_chunks


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def bounds(num_images: int, chunk_images: int = CHUNK_IMAGES) -> list[tuple[int, int]]:
    return map_chunks(lambda part: (part.start, part.stop), num_images, chunk_images=chunk_images)


def test_parts_cover_the_batch_in_order(threads):
    for num_images in (1, 2, 5, 31, 32, 33, 64, 100):
        found = bounds(num_images)
        assert [image for part in found for image in range(*part)] == list(range(num_images))
        assert max(stop - start for start, stop in found) <= CHUNK_IMAGES


def test_parts_do_not_depend_on_the_number_of_threads():
    cuts = []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        cuts.append([bounds(num_images, 7) for num_images in range(20)])
    torch.set_num_threads(1)
    assert cuts[0] == cuts[1] == cuts[2]
    assert cuts[0][15] == [(0, 3), (3, 7), (7, 11), (11, 15)]  # alike in size, and even in number
    assert cuts[0][6] == [(0, 3), (3, 6)]  # a small batch has work for two threads
    assert cuts[0][1] == [(0, 1)]


def test_results_come_in_order_even_if_the_first_part_is_the_slowest(threads):
    def function(part: slice) -> int:
        time.sleep(0.05 if part.start == 0 else 0)
        return part.start

    assert map_chunks(function, 12, chunk_images=3) == [0, 3, 6, 9]


def test_an_empty_batch_asks_for_nothing(threads):
    assert map_chunks(lambda part: pytest.fail("called"), 0) == []


def test_elsewhere_than_on_the_cpu_the_batch_is_whole_and_the_caller_works(threads):
    caller = threading.get_ident()
    assert map_chunks(lambda part: (part, threading.get_ident()), 100, "cuda") == [(slice(0, 100), caller)]


def test_each_worker_computes_alone_and_the_caller_keeps_its_threads():
    torch.set_num_threads(3)
    try:
        for _ in range(3):
            seen = map_chunks(lambda part: (torch.get_num_threads(), threading.get_ident()), 60, chunk_images=1)
            assert {number for number, _ in seen} == {1}
            assert threading.get_ident() not in {worker for _, worker in seen}
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_workers_work_at_the_same_time():
    torch.set_num_threads(2)
    meeting = threading.Barrier(2)
    try:
        map_chunks(lambda part: meeting.wait(timeout=20), 2, chunk_images=1)  # one alone would wait in vain
    finally:
        torch.set_num_threads(1)


def test_an_error_in_a_part_is_the_callers_error(threads):
    def function(part: slice) -> int:
        if part.start == 3:
            raise ValueError("the second part")
        return part.start

    with pytest.raises(ValueError, match="the second part"):
        map_chunks(function, 12, chunk_images=3)
    assert map_chunks(lambda part: part.start, 12, chunk_images=3) == [0, 3, 6, 9]  # the pool has survived


def test_a_worker_may_call_it_again(threads):
    def outer(part: slice) -> list[int]:
        return map_chunks(lambda inner: inner.start, 4, chunk_images=2)

    assert map_chunks(outer, 8, chunk_images=2) == [[0, 2]] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_child_makes_its_own_threads():
    torch.set_num_threads(2)
    map_chunks(lambda part: part, 8)  # the parent has a pool now
    child = os.fork()
    if child == 0:
        os._exit(0 if map_chunks(lambda part: part.start, 4, chunk_images=2) == [0, 2] else 1)
    torch.set_num_threads(1)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child waits for threads that it does not have")
