"""Clients of a service, honest and hostile, as a process of their own:

    python -m tests.trust.clients KIND[,KIND…] PORT SECONDS CLIENTS TRIPLES

``KIND`` is ``honest``, ``health`` or a name in `HOSTILE`; ``TRIPLES`` a file of tab-separated names. Prints what they
saw as JSON: the seconds of each answer, how many connections or requests were tried, and what went wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

Triples = list[list[str]]

PACE = 0.2
"""Seconds, at most, until a hostile client comes again. With none they also show how much of two cores they take from
the honest beside them: 400 connections a second, most of which hang up."""

HOST = b"Host: 127.0.0.1\r\n"


def post(path: str, body: bytes, more: bytes = b"") -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + HOST + more + b"\r\n" + body


def get(path: str, more: bytes = b"") -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + HOST + more + b"\r\n"


async def reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    return int(head.split(b" ")[1]), await reader.readexactly(int(fields.get(b"content-length", 0)))


MEGABYTES = {
    name: (start + part * ((1_048_000 - len(start)) // len(part)))[: 1_048_000 - 8].rstrip(b",") + end
    for name, start, part, end in (
        ("objects", b'{"triples":[', b"{},", b"]}"),
        ("numbers", b'{"questions":[', b"0,", b"]}"),
        ("lists", b'{"questions":[', b"[],", b"]}"),
        ("questions", b'{"questions":[', b'{"head":"a","relation":"b"},', b"]}"),
        ("fields", b"{", b'"x":0,', b"}"),
        ("nested", b'{"head":', b"[", b""),
        ("strings", b'["', b'\\"', b""),
        ("name", b'{"relation":"x","head":"', b"\xc2\xa0", b'"}'),
        ("field", b'{"', b"\\u0001", b'":1}'),
        ("spaces", b"{", b" ", b"}"),
        ("digits", b'{"k":', b"9", b"}"),
    )
}
"""Bodies of an allowed megabyte, by what they are full of."""


class Crowd:
    """Some clients of one service, and what they see.

    Args:
        port: of the service, on 127.0.0.1.
        seconds: until they stop.
        triples: names that they ask for.
    """

    def __init__(self, port: int, seconds: float, triples: Triples) -> None:
        self.port = port
        self.ends = monotonic() + seconds
        self.triples = triples
        self.tried = 0
        self.latency: dict[str, list[float]] = {}
        self.wrong: Counter[str] = Counter()

    def question(self, rng: random.Random) -> dict[str, Any]:
        head, relation, tail = rng.choice(self.triples)
        return {"relation": relation, **({"head": head} if rng.random() < 0.5 else {"tail": tail})}

    def request(self, rng: random.Random) -> tuple[str, bytes]:
        """What people and programs ask for."""
        head, relation, tail = rng.choice(self.triples)
        kind = rng.choices(["rank", "score", "explain", "entity", "search"], [80, 5, 3, 6, 6])[0]
        if kind in ("entity", "search"):
            return kind, get(f"/api/{kind}?{'name' if kind == 'entity' else 'q'}={quote(head)}")
        body = self.question(rng) if kind == "rank" else {"head": head, "relation": relation, "tail": tail}
        return kind, post(f"/api/{kind}", json.dumps({"triples": [body]} if kind == "score" else body).encode())

    async def honest(self, rng: random.Random) -> None:
        """Asks, waits for the answer, asks again on the same connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while monotonic() < self.ends:
            kind, request = self.request(rng)
            await self.timed(kind, reader, writer, request)
        writer.close()

    async def health(self, _: random.Random) -> None:
        """Asks for /health, each time on a new connection."""
        while monotonic() < self.ends:
            began = monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            await self.timed("health", reader, writer, get("/health"), began)
            writer.close()
            await asyncio.sleep(0.05)

    async def timed(
        self,
        kind: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
        began: float | None = None,
    ) -> None:
        began = began or monotonic()
        self.tried += 1
        writer.write(request)
        status, body = await asyncio.wait_for(reply(reader), 60)
        self.latency.setdefault(kind, []).append(monotonic() - began)
        if status != 200:
            self.wrong[f"{kind}: {status} {body[:100]!r}"] += 1

    async def idle_head(self, rng: random.Random) -> None:
        """Connects and sends nothing, half a head, or a head a byte at a time."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        kind = rng.randrange(3)
        writer.write((b"", b"GET /health HTTP/1.1\r\nHost: a", b"GET /health HTTP/1.1\r\nX: ")[kind])
        while kind == 2 and not reader.at_eof() and monotonic() < self.ends:
            writer.write(b"x")
            await asyncio.sleep(0.2)
        await asyncio.wait_for(reader.read(), max(0.1, self.ends - monotonic()))
        writer.close()

    async def slow_body(self, rng: random.Random) -> None:
        """A body that stops after its head, or comes a byte at a time, or in chunks of one byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        chunked = rng.random() < 0.5
        head = post("/api/rank", b"{" * 99)[:-99]
        writer.write(head.replace(b"Content-Length: 99", b"Transfer-Encoding: chunked") if chunked else head)
        with suppress(TimeoutError):
            while monotonic() < self.ends and not reader.at_eof():
                writer.write(rng.choice([b"1\r\n \r\n" * 20_000, b"1\r\n \r\n"]) if chunked else b" ")
                await asyncio.wait_for(reader.read(1 << 16), 0.2)
        writer.close()

    async def megabyte(self, rng: random.Random) -> None:
        """An allowed megabyte that asks for far too much."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        name = rng.choice([*MEGABYTES])
        writer.write(post(rng.choice(["/api/rank", "/api/batch/rank", "/api/score"]), MEGABYTES[name]))
        status, body = await asyncio.wait_for(reply(reader), 60)
        if not 400 <= status < 500:
            self.wrong[f"{name}: {status} {body[:100]!r}"] += 1
        writer.close()

    async def hang_up(self, rng: random.Random) -> None:
        """Asks for much and leaves, in one way or another, before the answer."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head, relation, tail = rng.choice(self.triples)
        many = {"questions": [self.question(rng) for _ in range(100)]}
        path, body = rng.choice(
            [
                ("rank", self.question(rng)),
                ("batch/rank", many),
                ("explain", {"head": head, "relation": relation, "tail": tail, "paths": 20}),
            ]
        )
        writer.write(post(f"/api/{path}", json.dumps(body).encode()) + rng.choice([b"", b"GET", get("/health")]))
        await asyncio.sleep(rng.choice([0, 0.02, 0.1]))
        if rng.random() < 0.5:
            writer.transport.abort()
        writer.close()

    async def no_reader(self, rng: random.Random) -> None:
        """Asks for much and reads nothing."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1)
        writer.write(get("/page/cytoscape.esm.min.mjs") * rng.choice([1, 100]))
        await asyncio.sleep(min(rng.random() * 10, self.ends - monotonic()))
        writer.transport.abort()

    async def repeated(self, act: Callable[[random.Random], Awaitable[None]], number: int) -> None:
        """One hostile client after another; being refused or closed is what they must expect."""
        rng = random.Random(number)
        while monotonic() < self.ends:
            self.tried += 1
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await act(rng)
            await asyncio.sleep(rng.random() * PACE)


HOSTILE = ("idle_head", "slow_body", "megabyte", "hang_up")


async def run(kinds: list[str], port: int, seconds: float, clients: int, triples: Triples) -> dict[str, Any]:
    """What so many clients saw, the kinds in turn."""
    crowd = Crowd(port, seconds, triples)
    tasks = []
    for number in range(clients):
        act = getattr(crowd, kinds[number % len(kinds)])
        kind = kinds[number % len(kinds)]
        tasks.append(act(random.Random(number)) if kind in ("honest", "health") else crowd.repeated(act, number))
    for failed in await asyncio.gather(*tasks, return_exceptions=True):
        if failed is not None:
            crowd.wrong[f"{type(failed).__name__}: {failed}"] += 1
    return {"tried": crowd.tried, "latency": crowd.latency, "wrong": dict(crowd.wrong)}


if __name__ == "__main__":
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a service has closed is what they expect
    kinds, port, seconds, clients, file = sys.argv[1:]
    names = [line.split("\t") for line in Path(file).read_text("utf-8").splitlines()]
    print(json.dumps(asyncio.run(run(kinds.split(","), int(port), float(seconds), int(clients), names))))
