"""What a service allows. Imported by the command line, so it imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from trivium.settings import Settings


@dataclass(frozen=True)
class Limits(Settings):
    """Bounds of what one request may ask and of what may wait; beyond them the answer is 4xx or 503 with a reason."""

    max_body_bytes: Annotated[int, Ge(1)] = 1 << 20
    """Bytes of a request's body."""
    max_k: Annotated[int, Ge(1)] = 1000
    """Answers to one question."""
    max_queries: Annotated[int, Ge(1)] = 100
    """Questions, or triples to score, in one request."""
    max_paths: Annotated[int, Ge(1)] = 20
    """Paths of one explanation."""
    max_waiting: Annotated[int, Ge(1)] = 256
    """Requests that wait for their turn; further ones are answered with 503."""
    max_seconds: Annotated[float, Gt(0), Le(86_400)] = 30.0
    """Seconds until a question without an answer is given up with 503."""
    max_arrival_seconds: Annotated[float, Gt(0), Le(86_400)] = 5.0
    """Seconds in which a request's head, and then its body, must arrive; then the connection is closed."""
    max_connections: Annotated[int, Ge(1)] = 512
    """Connections at once, fewer where few open files are allowed; beyond them the one that has been idle longest is
    closed."""
