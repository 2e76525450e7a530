"""Answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trivium.cli.opening import open_ranker
from trivium.cli.options import DEFAULT, CalibrationFile, Checkpoint, Columns
from trivium.errors import MissingPackageError
from trivium.service.settings import Limits

LIMITS = Limits()


def serve(
    graph: Path,
    /,
    *,
    port: int = 8917,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    checkpoint: Checkpoint = DEFAULT,
    calibration: CalibrationFile = None,
    columns: Columns = None,
    limits: Annotated[Limits, Parameter(name="*")] = LIMITS,
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
    run(
        Source(lambda: open_ranker(graph, checkpoint, columns), graph, checkpoint, calibration),
        host,
        port,
        token_file,
        limits,
    )
