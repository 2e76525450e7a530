"""Work beside the event loop: a bounded queue before a few threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from trivium.errors import BusyError, InputError

T = TypeVar("T")


class Worker:
    """Runs functions on its threads, first come first served. The event loop never computes and never blocks.

    Args:
        threads: how many functions run at once.
        max_waiting: functions that may wait for a thread.
        max_seconds: until a result is given up. What nobody waits for any more is not begun.
    """

    def __init__(self, threads: int, max_waiting: int, max_seconds: float) -> None:
        self.pool = ThreadPoolExecutor(threads, "trivium")
        self.max_waiting = max_waiting
        self.max_seconds = max_seconds
        self.futures: set[Future[Any]] = set()
        """Of functions that wait or run."""

    @property
    def waiting(self) -> int:
        """How many functions wait for a thread."""
        return sum(not future.running() for future in tuple(self.futures))

    async def run(self, *functions: Callable[[], T]) -> list[T]:
        """The results of some functions, in their order.

        Raises:
            BusyError: too many wait already, or the results took longer than ``max_seconds``.
            InputError: they are more than may wait.
            Exception: what one of them raised.
        """
        if len(functions) > self.max_waiting:
            raise InputError(f"{len(functions)} questions at once, but only {self.max_waiting} may wait: ask for fewer")
        if (waiting := self.waiting) + len(functions) > self.max_waiting:
            raise BusyError(f"{waiting} questions wait already, of {self.max_waiting} at most: try again later")
        futures = [self.pool.submit(function) for function in functions]
        self.futures.update(futures)
        for future in futures:
            future.add_done_callback(self.futures.discard)
        try:
            async with asyncio.timeout(self.max_seconds):
                return [await asyncio.wrap_future(future) for future in futures]
        except TimeoutError:
            reason = f"no answer within {self.max_seconds:g} seconds: ask for less, or try again later"
            raise BusyError(reason) from None
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Lets the threads end after what they run."""
        self.pool.shutdown(wait=False, cancel_futures=True)
