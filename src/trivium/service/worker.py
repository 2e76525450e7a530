"""Work beside the event loop: a bounded queue before a few threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trivium.errors import BusyError

T = TypeVar("T")

TURN = 4  # functions of one request that wait for a thread at once; the next four queue behind others again


class Worker:
    """Runs functions on its threads, first come first served. The event loop never computes and never blocks.

    Args:
        threads: how many functions run at once.
        max_waiting: requests that may wait for a thread.
        max_seconds: until a request is given up. What nobody waits for any more is not begun.
        each: tells how many seconds a question takes, 0 if that is not known.
    """

    def __init__(
        self, threads: int, max_waiting: int, max_seconds: float, each: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.each = each
        self.pool = ThreadPoolExecutor(threads, "trivium")
        self.threads = threads
        self.max_waiting = max_waiting
        self.max_seconds = max_seconds
        self.requests = 0
        """That wait or run."""
        self.preparing = False

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return max(0, self.requests - self.threads)

    async def run(self, *functions: Callable[[], T]) -> list[T]:
        """The results of some functions, in their order. Cancelled, or when one fails, it begins no more of them.

        Raises:
            BusyError: too many requests wait already, or the results took longer than ``max_seconds``.
            Exception: what one of them raised.
        """
        if self.waiting >= self.max_waiting:
            raise BusyError(f"{self.waiting} requests wait already, the most that may: try again later")
        self.requests += 1
        found: list[T] = []
        try:
            async with asyncio.timeout(self.max_seconds):
                for begin in range(0, len(functions), TURN):
                    futures = [self.pool.submit(function) for function in functions[begin : begin + TURN]]
                    try:
                        found += [await asyncio.wrap_future(future) for future in futures]
                    finally:
                        for future in futures:
                            future.cancel()
            return found
        except TimeoutError:
            seconds = self.each()
            many = f", in which this graph answers about {self.max_seconds / seconds:.2g} questions" if seconds else ""
            reason = f"no answer within {self.max_seconds:g} seconds{many}: ask for less, or try again later"
            if self.preparing:
                reason = "the graph is being prepared, for minutes if loops are to be compiled: try again in a minute"
            raise BusyError(reason) from None
        finally:
            self.requests -= 1

    async def prepare(self, function: Callable[[], object]) -> None:
        """Runs what others wait for, however long it takes."""
        self.preparing = True
        try:
            await asyncio.wrap_future(self.pool.submit(function))
        finally:
            self.preparing = False

    def close(self) -> None:
        """Lets the threads end after what they run."""
        self.pool.shutdown(wait=False, cancel_futures=True)
