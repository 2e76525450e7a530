"""A bounded queue before threads, time limits, work that is given up: without a graph."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from trivium.errors import BusyError
from trivium.service.worker import TURN, Worker


class Squares:
    """Squares numbers, one after another, when it is let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.go = threading.Event()

    def __call__(self, value: int) -> int:
        self.begun.append(value)
        assert self.go.wait(10)
        if value == 13:
            raise ValueError("thirteen")
        return value**2


Ask = Callable[..., "asyncio.Task[list[int]]"]


def play(scene: Callable[[Ask, Squares], Coroutine[Any, Any, None]], max_waiting: int, seconds: float = 5) -> None:
    """A scene of clients who ask for squares; the first of them is computed already, or held."""

    async def run() -> None:
        squares = Squares()
        worker = Worker(1, max_waiting, seconds, lambda: 0.05)

        def ask(*numbers: int) -> asyncio.Task[list[int]]:
            return asyncio.create_task(worker.run(*(partial(squares, number) for number in numbers)))

        try:
            await scene(ask, squares)
        finally:
            squares.go.set()
            worker.close()

    asyncio.run(run())


async def begun(squares: Squares, count: int) -> None:
    while len(squares.begun) < count:
        await asyncio.sleep(0.001)


def test_first_come_first_served_and_a_full_queue_refuses() -> None:
    async def scene(ask: Ask, squares: Squares) -> None:
        first = ask(1)
        await begun(squares, 1)
        second, third = ask(2), ask(3, 4)
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="2 requests wait already, the most that may"):
            await ask(5)
        squares.go.set()
        assert [await first, await second, await third] == [[1], [4], [9, 16]]
        assert await ask(7, 8) == [49, 64]
        assert squares.begun == [1, 2, 3, 4, 7, 8]

    play(scene, max_waiting=2)


def test_a_long_request_lets_others_in_between() -> None:
    async def scene(ask: Ask, squares: Squares) -> None:
        long = ask(*range(12))
        await begun(squares, 1)
        short = ask(100)
        await asyncio.sleep(0.01)
        squares.go.set()
        assert await short == [10_000]
        assert squares.begun.index(100) == TURN
        assert await long == [number**2 for number in range(12)]

    play(scene, max_waiting=2)


def test_what_is_late_or_nobody_waits_for_is_never_begun() -> None:
    async def scene(ask: Ask, squares: Squares) -> None:
        first, late, left = ask(1), ask(2, 3), ask(4)
        await begun(squares, 1)
        left.cancel()
        for task in (first, late):
            with pytest.raises(
                BusyError, match=r"no answer within 0\.2 seconds, in which this graph answers about 4 questions"
            ):
                await task
        squares.go.set()
        assert await ask(5) == [25]
        assert squares.begun == [1, 5]

    play(scene, max_waiting=10, seconds=0.2)


def test_what_is_late_while_the_graph_is_prepared_is_told_so() -> None:
    async def scene() -> None:
        worker, go = Worker(1, 10, 0.05), threading.Event()
        preparing = asyncio.create_task(worker.prepare(go.wait))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="the graph is being prepared, for minutes if loops are to be compiled"):
            await worker.run(lambda: 1)
        go.set()
        await preparing
        assert await worker.run(lambda: 2) == [2]
        worker.close()

    asyncio.run(scene())


def test_an_error_reaches_who_asked_for_it_alone() -> None:
    async def scene(ask: Ask, squares: Squares) -> None:
        squares.go.set()
        found = await asyncio.gather(ask(12), ask(13, 14), ask(15), return_exceptions=True)
        assert found[0] == [144]
        assert isinstance(found[1], ValueError)
        assert found[2] == [225]

    play(scene, max_waiting=10)
