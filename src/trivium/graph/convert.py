"""Graphs of other libraries, as graphs here: none of these libraries is imported.

The way back is `Graph.named`: ``graph.named(graph.triples)`` is a polars frame of names, from which each of them makes
its own graph; docs/your-data.md has the lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trivium.errors import GraphError
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.graph.read import read_graph

_ATTRIBUTES = ("relation", "predicate", "label", "type")


def from_networkx(graph: Any, attribute: str | None = None, *, relation: str | None = None) -> Graph:
    """A graph of networkx; the edges of an undirected one as they stand, each once.

    Args:
        attribute: of the edges, which names their relation; by default ``relation``, ``predicate``, ``label`` or
            ``type``, else the key of a multigraph's edge.
        relation: one for all edges instead.

    Raises:
        GraphError: an edge has no relation.
    """
    keys = {"keys": True} if graph.is_multigraph() else {}
    rows = []
    for head, tail, *key, held in graph.edges(data=True, **keys):
        names = (held[a] for a in ([attribute] if attribute else _ATTRIBUTES) if a in held)
        name: Any = next(names, key[0] if key and isinstance(key[0], str) and attribute is None else None)
        name = name if relation is None else relation
        if name is None:
            wanted = attribute or ", ".join(_ATTRIBUTES)
            raise GraphError(f"the edge from {head!r} to {tail!r} has no {wanted}: name one for all, relation=NAME")
        rows.append((str(head), str(name), str(tail)))
    return Graph.from_triples(rows)


def from_pyg(data: Any, entities: Sequence[str] | None = None, relations: Sequence[str] | None = None) -> Graph:
    """A `torch_geometric` ``Data`` with ``edge_index`` and ``edge_type``, or a ``HeteroData``.

    Args:
        entities, relations: names by id, of a ``Data``; by default the ids. Those of a ``HeteroData`` are
            ``type/number`` and the middle word of an edge's type.

    Raises:
        GraphError: there are no edges with types, or more ids than names.
    """
    if hasattr(data, "edge_types"):
        rows = []
        for head, name, tail in data.edge_types:
            ends = _array(data[head, name, tail].edge_index).T
            rows += [(f"{head}/{h}", name, f"{tail}/{t}") for h, t in ends.tolist()]
        return Graph.from_triples(rows)
    if getattr(data, "edge_index", None) is None or getattr(data, "edge_type", None) is None:
        raise GraphError("no edge_index with an edge_type: give each edge the number of its relation")
    (heads, tails), kinds = _array(data.edge_index), _array(data.edge_type)
    count = int(kinds.max(initial=-1)) + 1
    return Graph.from_ids(
        *(heads, kinds, tails),
        entities=int(data.num_nodes) if entities is None else Names(entities),
        relation_names=count if relations is None else Names(relations),
    )


def from_pykeen(factory: Any) -> Graph:
    """The triples of a pykeen factory, with its names where it has them."""
    triples = _array(factory.mapped_triples)
    names = [
        Names([str(held[place]) for place in range(count)]) if (held := getattr(factory, labels, None)) else count
        for labels, count in (
            ("entity_id_to_label", factory.num_entities),
            ("relation_id_to_label", factory.num_relations),
        )
    ]
    return Graph.from_ids(*triples.T, entities=names[0], relation_names=names[1])


def from_rdflib(graph: Any) -> Graph:
    """A graph of rdflib: what `read_graph` makes of its triples."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.nt")
        graph.serialize(path, format="nt", encoding="utf-8")
        return read_graph(path)


def _array(tensor: Any) -> Any:
    return np.asarray(tensor)
