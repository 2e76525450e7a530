"""What FastAPI and uvicorn leave to the service: bodies that end in time, headers of every reply, figures of both."""

from __future__ import annotations

import asyncio
import time

from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivium.service.metrics import Metrics
from trivium.service.settings import Limits

DRAINED = 32
"""Times the allowed size: how much of a body that is too large is still read."""

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
    size, more, ends = 0, True, asyncio.get_running_loop().time() + limits.max_seconds

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
            reason = f"the body did not arrive within {limits.max_seconds:g} seconds"
            raise HTTPException(408, reason, {"connection": "close"}) from None
        if size > limits.max_body_bytes:
            reason = f"the body is larger than {limits.max_body_bytes:,} bytes: ask for less at a time"
            raise HTTPException(413, reason, {"connection": "close"})
        return message

    return receiving
