"""What a service allows. Imported by the command line, so it imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from trivium.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds of what one request may ask and of what may wait; beyond them the answer is 4xx or 503 with a reason."""

    max_body_bytes: int = 1 << 20
    """Bytes of a request's body."""
    max_k: int = 1000
    """Answers to one question."""
    max_queries: int = 100
    """Questions, or triples to score, in one request."""
    max_paths: int = 20
    """Paths of one explanation."""
    max_waiting: int = 256
    """Questions that wait for their turn; further ones are answered with 503."""
    max_seconds: float = 30.0
    """Seconds until a question without an answer is given up with 503."""

    def __post_init__(self) -> None:
        for part in fields(self):
            if not 0 < getattr(self, part.name) < inf:
                raise ConfigError(f"{part.name} is {getattr(self, part.name)}: give a number above 0")
