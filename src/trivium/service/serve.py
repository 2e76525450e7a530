"""`trivium serve`: checks what it is given, binds, and runs until it is told to stop."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import uvicorn

from trivium.errors import ConfigError, InputError
from trivium.report import warn
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Source

LEAST_TOKEN = 16  # characters


def run(source: Source, host: str, port: int, token_file: Path | None, limits: Limits) -> None:
    """Serves a graph until SIGINT or SIGTERM.

    Raises:
        ConfigError: the host is not loopback and there is no token, or the token is too short.
        InputError: something cannot be read, or the address cannot be bound.
    """
    token = None if token_file is None else read_token(token_file)
    if token is None and not is_loopback(host):
        raise ConfigError(f"--host {host} is reached from elsewhere: give --token-file FILE, or leave --host out")
    listener = bind(host, port)
    with listener:
        stamp = source.stamp()
        app = create_app(Current(source, source.load(), stamp), limits, token)
        address, bound = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        warn(f"serving {source.graph} at http://{shown}:{bound}")
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(limits.max_seconds) + 1,
        )
        uvicorn.Server(config).run([listener])


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone. A name other than localhost does not count."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The token that a file holds: its text without the space around it."""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a token in ASCII: {error}") from error
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"{path}: a token is one word of {LEAST_TOKEN} characters or more")
    return token


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: there is no such address here, or its port is taken.
    """
    if not 0 <= port < 1 << 16:  # the system would take it modulo 65536
        raise InputError(f"cannot listen on port {port}: a port is a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"cannot listen on {host} port {port} ({getattr(error, 'strerror', None) or error}): choose another --port"
        ) from error
    return listener
