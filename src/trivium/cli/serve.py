"""Answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trivium.cli.options import Asking
from trivium.errors import MissingPackageError
from trivium.service.settings import Limits


def serve(
    graph: Path,
    /,
    *,
    port: int = 8917,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    asking: Asking = Asking(),
    limits: Annotated[Limits, Parameter(name="*")] = Limits(),
) -> None:
    """Serves a graph over HTTP: ranked answers, scores, reasons, search, and at / a page for people.

    The graph is read anew on SIGHUP or when its file changes; until then, and if that fails, the old one answers.

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
    """
    try:
        from trivium.service.serve import run
        from trivium.service.snapshot import Source
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"serving needs {error.name}: pip install 'trivium[service]'") from error
    source = Source(lambda: asking.ranker(graph), graph, asking.checkpoint, asking.calibration)
    run(source, host, port, token_file, limits)
