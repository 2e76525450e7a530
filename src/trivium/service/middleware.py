"""What FastAPI and uvicorn leave to the service: who may ask, how much, how long; headers of replies; figures."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivium.service.metrics import Metrics
from trivium.service.settings import Limits

DRAINED = 32
"""Times the allowed size: how much of a body that is too large is still read."""

PER_QUESTION = 8
"""JSON values and containers of a question or triple, at most; one with all its fields has 6."""

PEEK = 1 << 14  # bytes, in which most of what asks for too much shows already

PAUSE = 1.0  # seconds before such a body is refused, else a client that repeats it takes half a core

LEFT = 499
"""The status of a request whose client left before the answer; nobody sees it but the metrics."""

BEARER = HTTPBearer(auto_error=False)

HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Edge:
    """Bounds the body of each request, adds headers to each reply, and counts and times both."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self.app = app
        self.limits = limits
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await self.app(scope, bounded(receive, self.limits), sending)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self.metrics.requests.labels(path, method, status).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - began)


def bounded(receive: Receive, limits: Limits) -> Receive:
    """The messages of one request, whose body ends within the limits or is refused with 408 or 413.

    Nothing in FastAPI or uvicorn ends a body that does not arrive. FastAPI's own limit on size replies before it has
    read the body; its client then often finds a connection that was reset instead of the reply (2 of 5 posts of 5 MB
    with urllib). So what is too large is read on and dropped first.
    """
    size, more, ends = 0, True, asyncio.get_running_loop().time() + limits.max_arrival_seconds

    async def part() -> Message:
        nonlocal size, more
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        return message

    async def receiving() -> Message:
        if not more:
            return await receive()  # that the client has left
        try:
            async with asyncio.timeout_at(ends):
                message = await part()
                while more and limits.max_body_bytes < size <= DRAINED * limits.max_body_bytes:
                    await part()
        except TimeoutError:
            reason = f"the body did not arrive within {limits.max_arrival_seconds:g} seconds"
            raise HTTPException(408, reason, {"connection": "close"}) from None
        if size > limits.max_body_bytes:
            reason = f"the body is larger than {limits.max_body_bytes:,} bytes: ask for less at a time"
            raise HTTPException(413, reason, {"connection": "close"})
        return message

    return receiving


async def check_token(request: Request, token: str) -> None:
    """Refuses with 401 who does not send the token, compared in constant time."""
    given = await BEARER(request)
    if not (given and hmac.compare_digest(given.credentials.encode(), token.encode())):
        reason = "give the service's token: Authorization: Bearer TOKEN"
        raise HTTPException(401, reason, {"www-authenticate": "Bearer"})


def guarded(limits: Limits, token: str | None) -> type[APIRoute]:
    """A route that asks for the token before it reads a body, and refuses a body of too many parts before it is parsed.

    An answer whose client leaves is cancelled; neither FastAPI nor uvicorn does so.

    Args:
        token: what clients must send, compared in constant time; ``None`` asks for nothing.
    """
    most, turn = PER_QUESTION * (limits.max_queries + 10), asyncio.Lock()

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def handle(request: Request) -> Response:
                if token is not None:
                    await check_token(request, token)
                try:
                    body = await request.body()
                except ClientDisconnect:
                    return Response(status_code=LEFT)
                async with turn if len(body) > PEEK else nullcontext():  # of long ones, one a round of the event loop
                    await asyncio.sleep(0)  # who left at once is heard of first
                if any(values(part, most) > most for part in (body[:PEEK], body)):
                    await asyncio.sleep(PAUSE)
                    raise HTTPException(422, f"the body asks for too much: {limits.max_queries} at a time are allowed")
                return await unless_left(request, answer(request))

            return handle

    return Guarded


def values(body: bytes, most: int) -> int:
    """How many values JSON holds, or begins to hold, about; it need not be right about more than ``most``.

    Cost: up to 8 ms a megabyte, whatever it is; parsing one can take 800 ms.
    """
    if (count := sum(map(body.count, (b",", b"[", b"{")))) <= most:
        return count
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"', 4 * most)[::2]  # what is outside strings
    return sum(part.count(sign) for part in bare for sign in (b",", b"[", b"{"))


async def unless_left(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """The answer to a request, or, once its client has left, no answer: it is cancelled."""

    async def leaving() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        answering.cancel()

    watching, answering = asyncio.create_task(leaving()), asyncio.create_task(answer)
    try:
        await asyncio.wait([answering])
        return Response(status_code=LEFT) if answering.cancelled() else answering.result()
    finally:
        watching.cancel()
        answering.cancel()
