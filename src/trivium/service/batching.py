"""Requests that arrive together share a batch; what is asked twice at once is computed once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from trivium.errors import BusyError, InputError


class Job(Hashable, Protocol):
    """Something to compute; equal jobs have equal results."""

    @property
    def weight(self) -> int:
        """How many plain questions it is about as dear as."""


Deliver = Callable[[Any, Any], bool]
"""Takes a job and its result (an exception is one too); false when nobody waits for any job of the batch any more."""

Run = Callable[[Sequence[Any], Deliver], None]


@dataclass
class _Entry:
    future: asyncio.Future[Any]
    waiting: int = 0
    """How many requests wait for it."""


@dataclass
class Counts:
    """What a batcher has done, for the metrics."""

    batches: list[int] = field(default_factory=lambda: [0, 0])
    """Batches, and jobs in them."""
    shared: int = 0
    """Jobs that were in flight already when they were asked for."""


class Batcher:
    """A bounded queue before one thread, which takes everything that has arrived each time it is free.

    The event loop never computes and never blocks. Everything but ``run`` happens on the event loop.

    Args:
        run: computes jobs on the thread; delivers each result as soon as it has it.
        max_waiting: jobs that may wait for the thread.
        together: the weight of jobs that are taken at once, so that later ones do not wait for a long batch.
    """

    def __init__(self, run: Run, max_waiting: int, together: int) -> None:
        self.run = run
        self.max_waiting = max_waiting
        self.together = together
        self.counts = Counts()
        self.waiting: OrderedDict[Job, _Entry] = OrderedDict()
        self.running: dict[Job, _Entry] = {}
        self.thread = ThreadPoolExecutor(1, "trivium")
        self._arrived = asyncio.Event()

    async def ask(self, jobs: Sequence[Job], seconds: float) -> list[Any]:
        """The results of some jobs, in their order.

        Raises:
            BusyError: too many wait already, or the results took longer than ``seconds``.
            InputError: they are more than may wait.
            Exception: what computing a job raised.
        """
        distinct = dict.fromkeys(jobs)
        held = {job: entry for job in distinct if (entry := self.running.get(job) or self.waiting.get(job))}
        if len(distinct) > self.max_waiting:
            raise InputError(f"{len(distinct)} questions at once, but only {self.max_waiting} may wait: ask for fewer")
        if len(self.waiting) + len(distinct) - len(held) > self.max_waiting:
            raise BusyError(
                f"{len(self.waiting)} questions wait already, of {self.max_waiting} at most: try again later"
            )
        self.counts.shared += len(jobs) - len(distinct) + len(held)
        loop = asyncio.get_running_loop()
        entries = {job: held.get(job) or _Entry(loop.create_future()) for job in distinct}
        for job, entry in entries.items():
            entry.waiting += 1
            if job not in held:
                self.waiting[job] = entry
        self._arrived.set()
        try:
            _, late = await asyncio.wait([entry.future for entry in entries.values()], timeout=seconds)
        finally:
            for entry in entries.values():
                entry.waiting -= 1
        if late:
            raise BusyError(f"no answer within {seconds:g} seconds: ask for less, or try again later")
        results = [entries[job].future.result() for job in jobs]
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def serve(self) -> None:
        """Takes and computes batches until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take()
            if batch:
                self.counts.batches[0] += 1
                self.counts.batches[1] += len(batch)
                await loop.run_in_executor(self.thread, self._compute, batch, loop)

    def close(self) -> None:
        """Lets the thread end after its batch."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[Job]:
        """The next jobs that somebody still waits for."""
        batch, weight = [], 0
        while self.waiting and weight < self.together:
            job, entry = self.waiting.popitem(last=False)
            if entry.waiting:
                batch.append(job)
                weight += job.weight
                self.running[job] = entry
        if not self.waiting:
            self._arrived.clear()
        return batch

    def _compute(self, batch: list[Job], loop: asyncio.AbstractEventLoop) -> None:
        entries = {job: self.running[job] for job in batch}
        left = set(batch)

        def deliver(job: Job, result: Any) -> bool:
            left.discard(job)
            loop.call_soon_threadsafe(self._done, job, result)
            return any(entries[other].waiting for other in left)

        try:
            self.run(batch, deliver)
            problem: BaseException = BusyError("the question was given up")
        except BaseException as error:
            problem = error
        for job in tuple(left):
            deliver(job, problem)

    def _done(self, job: Job, result: Any) -> None:
        entry = self.running.pop(job)
        if not entry.future.done():
            entry.future.set_result(result)
