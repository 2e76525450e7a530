"""Answers over HTTP."""

from __future__ import annotations

import asyncio
import getpass
import ipaddress
import socket
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.types import Port

from trivium.cli.options import Answering, Calibrated, Opening
from trivium.errors import ConfigError, InputError, MissingPackageError
from trivium.report import warn
from trivium.service.settings import Limits

MIN_TOKEN_LENGTH = 16  # characters


def serve(
    graph: Path,
    /,
    *,
    port: Port = 8917,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    calibration: Calibrated = None,
    mcp: bool = False,
    review: bool = False,
    suggestions: Path | None = None,
    opening: Opening = Opening(),
    answering: Answering = Answering(),
    limits: Annotated[Limits, Parameter(name="*")] = Limits(),
) -> None:
    """Serves a graph over HTTP: ranked answers, scores, reasons, search, and at / a page for people.

    The graph is read again on SIGHUP or when its file changes; until then, and if that fails, the old one answers.

    Parameters
    ----------
    graph
        The graph; an index is ready soonest.
    port
        Where to listen; 0 takes a free one.
    host
        Loopback by default; anything else needs a token.
    token_file
        A file with the token that clients must send (Authorization: Bearer TOKEN).
    mcp
        Agents may ask at /mcp too, by the Model Context Protocol.
    review
        Who has the token may also tell facts and decide about links; they are kept with the decisions.
    suggestions
        With --review: a table of links from `trivium complete`, to go through on the page.
    """
    try:
        from trivium.service.app import create_app
        from trivium.service.server import create_server
        from trivium.service.snapshot import Current, Source
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"serving needs {error.name}: pip install 'trivium[service]'") from error
    token = None if token_file is None else read_token(token_file)
    if token is None and not is_loopback(host):
        raise ConfigError(f"--host {host} is reached from elsewhere: give --token-file FILE, or leave --host out")
    if review and token is None:
        raise ConfigError("--review lets clients change what the graph holds: give --token-file FILE")
    if suggestions is not None and not review:
        raise ConfigError("--suggestions are there to be decided: give --review too")
    if mcp:
        need_mcp()
    with listen(host, port) as listener:
        narrow = partial(answering.applied, reading=opening)
        source = Source(
            *(graph, opening.checkpoint, calibration, reading(opening), review, suggestions, narrow, answering.files)
        )
        app = create_app(Current(source), limits, token, mcp)
        address, bound = listener.getsockname()[:2]
        warn(f"serving {graph} at http://{f'[{address}]' if ':' in address else address}:{bound}")
        warn("it is being prepared, for over a minute if the graph is large or loops are to be compiled: see /ready")
        create_server(app, limits).run([listener])


def mcp(
    graph: Path,
    /,
    *,
    review: bool = False,
    reviewer: str | None = None,
    calibration: Calibrated = None,
    opening: Opening = Opening(),
    limits: Annotated[Limits, Parameter(name="*")] = Limits(),
) -> None:
    """Answers agents on standard input and output, by the Model Context Protocol.

    Tools: search, facts, rank, score, explain, suggest. The graph is read again when its file or what was decided
    changes.

    Parameters
    ----------
    graph
        The graph; an index is ready soonest.
    review
        Also a tool to decide about links; decisions are kept beside the graph.
    reviewer
        Whose decisions these are; the user's name by default.
    """
    need_mcp()
    from trivium.service import jobs
    from trivium.service.snapshot import Current, Snapshot, Source
    from trivium.service.tools import create_tools
    from trivium.service.worker import Worker

    current = Current(Source(graph, opening.checkpoint, calibration, reading(opening), review))
    ranking, lookups = (Worker(threads, limits.max_waiting, limits.max_seconds) for threads in (1, 2))

    async def warm(snapshot: Snapshot) -> None:
        await ranking.prepare(partial(jobs.prepare, snapshot))

    async def answer() -> None:
        decide = partial(current.decide, warm)
        watching = asyncio.create_task(current.watch(warm))
        await create_tools(current, ranking, lookups, limits, decide, reviewer or getpass.getuser()).run_stdio_async()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    try:
        asyncio.run(answer())
    except* BrokenPipeError:
        pass  # who asked has gone
    finally:
        ranking.close()
        lookups.close()


def reading(opening: Opening) -> dict[str, Any]:
    """How a graph's file is read, as `trivium.Ranker.open` takes it."""
    return {name: value for name, value in vars(opening).items() if name != "checkpoint"}


def need_mcp() -> None:
    """Says how to install what agents need, where it is missing."""
    for name, extra in (("fastapi", "service"), ("mcp", "mcp")):
        if find_spec(name) is None:
            raise MissingPackageError(f"answering agents needs {name}: pip install 'trivium[{extra}]'")


def read_token(path: Path) -> str:
    """The token that a file holds: its text without the space around it."""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a token in ASCII: {error}") from error
    if len(token) < MIN_TOKEN_LENGTH or not token.isprintable() or " " in token:
        raise ConfigError(f"{path}: a token is one word of {MIN_TOKEN_LENGTH} characters or more")
    return token


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone. A name other than localhost does not count."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: there is no such address here, or its port is taken.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot listen on {host} port {port} ({error}): choose another --port") from error
