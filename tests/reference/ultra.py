"""A plain, slow statement of both networks in torch, from the papers' formulas: the meaning that the engine must keep.

It materialises every message and shares nothing between queries. It reads the same weights by name.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from trivium.graph.graph import Graph
from trivium.model.encoders import RelationGraphEncoder
from trivium.model.trivium import Trivium


def message_sum(state: Tensor, relation: Tensor, edges: list[tuple[int, int, int]], targets: int) -> Tensor:
    """``out[t] = Σ over edges (h, r, t) of state[h] ⊙ relation[r]``, an edge at a time."""
    rows = [torch.zeros(state.shape[1], dtype=state.dtype) for _ in range(targets)]
    for source, kind, target in edges:
        rows[target] = rows[target] + state[source] * relation[kind]
    return torch.stack(rows)


def graph_edges(graph: Graph) -> list[tuple[int, int, int]]:
    """Every edge (source, relation, target), inverse ones included."""
    count = graph.num_relations
    triples = graph.triples.tolist()
    return [(h, r, t) for h, r, t in triples] + [(t, r + count, h) for h, r, t in triples]


def relation_edges(graph: Graph) -> list[tuple[int, int, int]]:
    """The relation graph by brute force: (i, kind, j) for every two relations that share an entity in either place."""
    edges = graph_edges(graph)
    heads: dict[int, set[int]] = {}
    tails: dict[int, set[int]] = {}
    for h, r, t in edges:
        heads.setdefault(r, set()).add(h)
        tails.setdefault(r, set()).add(t)
    kinds = ((heads, heads), (tails, tails), (heads, tails), (tails, heads))
    return [
        (i, kind, j)
        for kind, (of_i, of_j) in enumerate(kinds)
        for i in sorted(of_i)
        for j in sorted(of_j)
        if of_i[i] & of_j[j]
    ]


def layers(
    model_layers: Iterable[tuple[nn.Module, nn.Module]],
    relation_rows: Iterable[Tensor],
    state: Tensor,
    boundary: Tensor,
    edges: list[tuple[int, int, int]],
) -> Tensor:
    """Rounds of ``x ← x + ReLU(LN(W [x ; Σ + boundary]))``."""
    for (linear, norm), rows in zip(model_layers, relation_rows, strict=True):
        aggregate = message_sum(state, rows, edges, len(state)) + boundary
        state = state + functional.relu(norm(linear(torch.cat([state, aggregate], 1))))
    return state


def scores(model: Trivium, graph: Graph, head: int, query: int) -> Tensor:
    """Scores of every entity for one query, with ULTRA's relation graph encoder."""
    structure, entity = model.structure, model.entity
    assert isinstance(structure, RelationGraphEncoder)
    count = graph.num_relations
    seen = query % count if model.config.conditioning == "forward" else query
    boundary = torch.zeros(2 * count, structure.dim, dtype=structure.kinds[0].dtype)
    boundary[seen] = 1
    maps = zip(structure.linear, structure.norm, strict=True)
    relation = layers(maps, structure.kinds, boundary, boundary, relation_edges(graph))
    carried = relation.roll(count, 0) if model.config.reversed_messages else relation
    start = torch.zeros(graph.num_entities, relation.shape[1], dtype=relation.dtype)
    start[head] = relation[query]
    state = layers(
        [(layer.linear, layer.norm) for layer in entity.layers],
        [layer.relation(carried) for layer in entity.layers],
        start,
        start,
        graph_edges(graph),
    )
    out: Tensor = entity.score(torch.cat([state, relation[query].expand(len(state), -1)], 1)).squeeze(1)
    return out
