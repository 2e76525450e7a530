"""What several verbs begin with."""

from __future__ import annotations

from pathlib import Path

from trivium.inference.ranker import Ranker


def open_ranker(graph: Path, checkpoint: str, columns: str | None) -> Ranker:
    """A ranker for the verbs that answer."""
    return Ranker.open(graph, checkpoint, columns=columns)
