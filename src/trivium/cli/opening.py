"""What several verbs begin with: a graph, a calibration."""

from __future__ import annotations

from pathlib import Path

from trivium.calibration import Calibration
from trivium.graph.graph import Graph
from trivium.graph.read import column_names, read_graph
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import checkpoint_sha256


def open_graph(path: Path, columns: str | None) -> Graph:
    """The graph of a file."""
    return read_graph(path, **column_names(columns))


def open_ranker(graph: Path, checkpoint: str, columns: str | None) -> Ranker:
    """A ranker for the verbs that answer."""
    return Ranker.open(graph, checkpoint, columns=columns)


def open_calibration(path: Path | None, ranker: Ranker, checkpoint: str) -> Calibration | None:
    """A calibration that serves this graph and this checkpoint; none of none."""
    if path is None:
        return None
    calibration = Calibration.load(path)
    calibration.check(ranker.graph, checkpoint_sha256(checkpoint))
    return calibration
