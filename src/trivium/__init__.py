"""Trivium: finds the missing links of a knowledge graph it has never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trivium.evaluation.evaluate import evaluate as evaluate
    from trivium.graph.graph import Graph as Graph
    from trivium.graph.read import read_graph as read_graph
    from trivium.inference.ranker import Ranker as Ranker
    from trivium.model.trivium import Trivium as Trivium

__all__ = ["Graph", "Ranker", "Trivium", "evaluate", "read_graph"]
__version__ = "0.1.0"

_HOMES = {
    "Graph": "trivium.graph.graph",
    "Ranker": "trivium.inference.ranker",
    "Trivium": "trivium.model.trivium",
    "evaluate": "trivium.evaluation.evaluate",
    "read_graph": "trivium.graph.read",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its home when it is first asked for, so that importing Trivium costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trivium' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
