"""What every request passes before anything reads it: host, token, size, time; and what every reply carries."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivium.service.metrics import Metrics
from trivium.service.settings import Limits

LOOPBACK = ("localhost", "127.0.0.1", "::1")
GUARDED = ("/api/", "/metrics")
DROPPED = 32
"""Times the allowed size: how much of a body that is too large is still read."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_OWN = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Gate:
    """Refuses what may not come in, bounds what may, counts both.

    A body is read whole before the service sees it, so a client that sends too much or too slowly is answered and
    costs no more than the limit. Without a token the service listens on loopback, and a ``Host`` that is none of
    loopback's names is refused: a page elsewhere could else reach it by giving its own name this address.

    Args:
        token: what ``Authorization: Bearer …`` must hold; ``None`` asks for nothing.
        paths: the paths that are counted by name; others are counted together.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, token: str | None, paths: Iterable[str]) -> None:
        self.app = app
        self.limits = limits
        self.metrics = metrics
        self.token = token
        self.paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_OWN]
            await send(message)

        try:
            refusal = self._refusal(scope)
            body = b""
            if refusal is None:
                try:
                    async with asyncio.timeout(self.limits.max_seconds):
                        body, refusal = await self._body(receive)
                except TimeoutError:
                    refusal = 408, f"the body did not arrive within {self.limits.max_seconds:g} seconds"
            if refusal is not None:
                await _refuse(sending, *refusal)
            else:
                await self.app(scope, _replay(body, receive), sending)
        finally:
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self.metrics.requests.labels(path, method, status).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, from the request's head alone."""
        headers = dict(scope["headers"])
        if self.token is None:
            host = headers.get(b"host", b"localhost").decode("latin-1")
            try:
                name = urlsplit(f"//{host}").hostname
            except ValueError:
                name = None
            if name not in LOOPBACK:
                return 421, "this service answers to localhost alone: start it with a token to give it other names"
        elif scope["path"].startswith(GUARDED):
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self.token.encode()):
                return 401, "give the service's token: Authorization: Bearer TOKEN"
        return None

    async def _body(self, receive: Receive) -> tuple[bytes, tuple[int, str] | None]:
        """The body; one over the limit is read and dropped, since many clients read no reply before they sent all."""
        parts, size, more = [], 0, True
        most = self.limits.max_body_bytes
        while more and size <= DROPPED * most:
            message = await receive()
            if message["type"] != "http.request":
                break
            size += len(message.get("body", b""))
            if size <= most:
                parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        if size > most:
            return b"", (413, f"the body is larger than {most:,} bytes: ask for less at a time")
        return b"".join(parts), None


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the service receives: the body, then whatever else comes."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
