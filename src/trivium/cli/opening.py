"""What several verbs begin with."""

from __future__ import annotations

from pathlib import Path

from trivium.graph.graph import Graph
from trivium.graph.read import column_names, read_graph
from trivium.inference.ranker import Ranker


def open_graph(path: Path, columns: str | None) -> Graph:
    """The graph of a file."""
    return read_graph(path, **column_names(columns))


def open_ranker(graph: Path, checkpoint: str, columns: str | None) -> Ranker:
    """A ranker for the verbs that answer."""
    return Ranker.open(graph, checkpoint, columns=columns)
