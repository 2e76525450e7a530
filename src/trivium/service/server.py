"""uvicorn with an end to whatever waits for a client: connections are few, and none waits long."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from trivium.service.settings import Limits

BACKLOG = 128  # connections that the system keeps ready, and that are taken at once
FILES = 64  # open files that are no connections, at most
AHEAD = 1 << 16  # bytes that a client may send before it has its answer
SMALL = 256  # parts of a body with fewer bytes each than this, of which so many are allowed: a part takes 10 µs
LOGGED = 60.0  # seconds


def create_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """A server of an application, to be run with its listening sockets. What it logs comes once a kind and minute.

    Of the process's open files (`ulimit -n`) it leaves what a burst of connections, the graph and a file for every
    connection need: 384 connections where 1,024 files are allowed.
    """
    try:
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] % (1 << 20)  # -1 stands for any number
    except ModuleNotFoundError:  # Windows, which bounds no sockets
        files = 1 << 20
    backlog = max(1, min(BACKLOG, files // 16))
    most = max(1, min(limits.max_connections, (files - FILES - 3 * backlog) // 2))

    async def look() -> None:
        for connection in list(server.server_state.connections):
            connection.look()  # type: ignore[union-attr]

    config = uvicorn.Config(
        app,
        http=protocol(limits, most),
        ws="none",
        backlog=backlog,
        log_level="error",
        access_log=False,
        server_header=False,
        callback_notify=look,
        timeout_notify=0,  # about once a second
        timeout_graceful_shutdown=int(limits.max_seconds) + 1,
    )
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(Seldom())
    server = uvicorn.Server(config)
    return server


class Seldom(logging.Filter):
    """Lets a kind of record through once a minute: a first line and a kind of exception."""

    def __init__(self) -> None:
        super().__init__()
        self.until: dict[Any, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (str(record.msg).split("\n")[0], record.exc_info and record.exc_info[0]), time.monotonic()
        if now < self.until.get(kind, now):
            return False
        self.until[kind] = now + LOGGED
        return True


class Connection(h11.Connection):
    """Refuses a body whose end is doubtful (RFC 9112, 6.1 and 6.3), or that comes in very many small parts."""

    small = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.small = 0
            framed = {name for name, _ in event.headers} & {b"content-length", b"transfer-encoding"}
            if len(framed) == 2 or (framed == {b"transfer-encoding"} and event.http_version == b"1.0"):
                raise h11.RemoteProtocolError("one of content-length and, in HTTP/1.1, transfer-encoding")
        elif isinstance(event, h11.Data) and len(event.data) < SMALL:
            self.small += 1
            if self.small > SMALL:
                raise h11.RemoteProtocolError("the body comes in too many small parts")
        return event


def protocol(limits: Limits, most: int) -> type[H11Protocol]:
    """uvicorn's protocol for at most so many connections: one that waits for its client makes room, or is closed."""

    class Bounded(H11Protocol):
        state: tuple[Any, ...] = ()
        since = 0.0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            # asyncio does so for sockets that name their protocol, which `socket.create_server` leaves out; else the
            # second part of each reply waits 40 ms for the client's word on the first
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.conn, self.since = Connection(h11.SERVER), self.loop.time()
            if len(self.connections) > most:
                idle: Any = (other for other in self.connections if other.idle())  # type: ignore[union-attr]
                min(idle, key=lambda other: other.since).transport.abort()  # perhaps this one

        def handle_events(self) -> None:
            super().handle_events()
            if self.cycle is not None and not self.cycle.more_body:
                self.flow.resume_reading()  # else nobody hears that the client leaves
                if len(self.conn.trailing_data[0]) > AHEAD:
                    self.transport.abort()

        def on_response_complete(self) -> None:
            self.since = self.loop.time()
            super().on_response_complete()

        def asked(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def idle(self) -> bool:
            """Whether it waits for its client: for a head, for a body, or for a reply to be read."""
            waits = not self.asked() or self.cycle.more_body or self.flow.write_paused
            return waits and not self.transport.is_closing()

        def look(self) -> None:
            """Ends what has lasted too long: a head that does not arrive, a reply that is not read."""
            state, now = (self.cycle, self.asked(), self.flow.write_paused), self.loop.time()
            if state != self.state:
                self.state, self.since = state, now
            unread = self.transport.get_write_buffer_size()
            seconds = limits.max_seconds if unread else limits.max_arrival_seconds
            if (unread or not self.asked()) and now > self.since + seconds:
                self.transport.abort()

    return Bounded
