"""Batches, shared work, a bounded queue, time limits: without a graph."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from trivium.errors import BusyError
from trivium.service.batching import Batcher, Deliver


@dataclass(frozen=True)
class Number:
    value: int
    weight: ClassVar[int] = 1


class Slow:
    """Squares numbers, one batch at a time, when it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, jobs: Sequence[Number], deliver: Deliver) -> None:
        self.batches.append([job.value for job in jobs])
        assert self.go.wait(10)
        for job in jobs:
            if not deliver(job, ValueError("thirteen") if job.value == 13 else job.value**2):
                return


def play(scene: Callable[[Batcher, Slow], Coroutine[Any, Any, None]], waiting: int = 10, together: int = 4) -> None:
    async def run() -> None:
        slow = Slow()
        batcher = Batcher(slow, waiting, together)
        task = asyncio.create_task(batcher.serve())
        try:
            await scene(batcher, slow)
        finally:
            slow.go.set()
            task.cancel()
            batcher.close()

    asyncio.run(run())


async def started(slow: Slow, batches: int = 1) -> None:
    while len(slow.batches) < batches:
        await asyncio.sleep(0.001)


def test_what_arrives_together_shares_a_batch_and_equal_jobs_are_computed_once() -> None:
    async def scene(batcher: Batcher, slow: Slow) -> None:
        first = asyncio.create_task(batcher.ask([Number(1)], 5))
        await started(slow)
        rest = [asyncio.create_task(batcher.ask([Number(n)], 5)) for n in (2, 3, 2, 1, 4, 5, 6)]
        await asyncio.sleep(0.01)
        slow.go.set()
        assert await first == [1]
        assert await asyncio.gather(*rest) == [[4], [9], [4], [1], [16], [25], [36]]
        assert slow.batches == [[1], [2, 3, 4, 5], [6]]  # 1 was in flight; four at a time
        assert batcher.counts.shared == 2
        assert await batcher.ask([Number(7), Number(7), Number(1)], 5) == [49, 49, 1]

    play(scene)


def test_a_full_queue_refuses_at_once_and_all_or_nothing() -> None:
    async def scene(batcher: Batcher, slow: Slow) -> None:
        first = asyncio.create_task(batcher.ask([Number(1)], 5))
        await started(slow)
        second = asyncio.create_task(batcher.ask([Number(2)], 5))
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="1 questions wait already, of 2 at most"):
            await batcher.ask([Number(3), Number(4)], 5)
        third = asyncio.create_task(batcher.ask([Number(3), Number(2)], 5))  # only one of them is new
        await asyncio.sleep(0.01)
        slow.go.set()
        assert [await first, await second, await third] == [[1], [4], [9, 4]]

    play(scene, waiting=2)


def test_late_answers_are_given_up_and_never_computed() -> None:
    async def scene(batcher: Batcher, slow: Slow) -> None:
        first = asyncio.create_task(batcher.ask([Number(1)], 5))
        await started(slow)
        began = time.monotonic()
        with pytest.raises(BusyError, match=r"no answer within 0.05 seconds"):
            await batcher.ask([Number(2)], 0.05)
        assert time.monotonic() - began < 1
        slow.go.set()
        assert await first == [1]
        assert await batcher.ask([Number(3)], 5) == [9]
        assert slow.batches == [[1], [3]]  # nobody waited for 2 any more

    play(scene)


def test_an_error_reaches_those_who_asked_for_it_alone() -> None:
    async def scene(batcher: Batcher, slow: Slow) -> None:
        slow.go.set()
        answers = await asyncio.gather(*(batcher.ask([Number(n)], 5) for n in (12, 13, 14)), return_exceptions=True)
        assert answers[0] == [144]
        assert isinstance(answers[1], ValueError)
        assert answers[2] == [196]
        assert await batcher.ask([Number(2)], 5) == [4]  # and it goes on

    play(scene)


def test_a_batch_that_breaks_down_breaks_for_all_in_it() -> None:
    async def run() -> None:
        def broken(jobs: Sequence[Number], deliver: Deliver) -> None:
            raise MemoryError("too much")

        batcher = Batcher(broken, 4, 4)
        task = asyncio.create_task(batcher.serve())
        for _ in range(2):
            with pytest.raises(MemoryError):
                await batcher.ask([Number(1)], 5)
        task.cancel()
        batcher.close()

    asyncio.run(run())
