"""Trivium: finds the missing links of a knowledge graph it has never seen."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trivium.calibration.calibration import Calibration as Calibration
    from trivium.evaluation.evaluate import evaluate as evaluate
    from trivium.explanation.explain import explain as explain
    from trivium.graph.convert import from_networkx as from_networkx
    from trivium.graph.convert import from_pyg as from_pyg
    from trivium.graph.convert import from_pykeen as from_pykeen
    from trivium.graph.convert import from_rdflib as from_rdflib
    from trivium.graph.graph import Graph as Graph
    from trivium.graph.read import read_graph as read_graph
    from trivium.inference.ranker import Ranker as Ranker
    from trivium.inference.relate import relate as relate
    from trivium.model.hub import HubModel as HubModel
    from trivium.model.trivium import Trivium as Trivium

    load_model = Trivium.load

__all__ = [
    "Calibration",
    "Graph",
    "HubModel",
    "Ranker",
    "Trivium",
    "evaluate",
    "explain",
    "from_networkx",
    "from_pyg",
    "from_pykeen",
    "from_rdflib",
    "load_model",
    "read_graph",
    "relate",
]
__version__ = "0.1.0"

_HOMES = {
    "Calibration": "trivium.calibration.calibration:Calibration",
    "Graph": "trivium.graph.graph:Graph",
    "HubModel": "trivium.model.hub:HubModel",
    "Ranker": "trivium.inference.ranker:Ranker",
    "Trivium": "trivium.model.trivium:Trivium",
    "evaluate": "trivium.evaluation.evaluate:evaluate",
    **{name: f"trivium.graph.convert:{name}" for name in ("from_networkx", "from_pyg", "from_pykeen", "from_rdflib")},
    "explain": "trivium.explanation.explain:explain",
    "load_model": "trivium.model.trivium:Trivium.load",
    "read_graph": "trivium.graph.read:read_graph",
    "relate": "trivium.inference.relate:relate",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its home when it is first asked for, so that importing Trivium costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trivium' has no attribute {name!r}")
    module, _, path = _HOMES[name].partition(":")
    return attrgetter(path)(import_module(module))


def __dir__() -> list[str]:
    """The public names, though none of them is loaded yet."""
    return [*__all__, "__version__"]
