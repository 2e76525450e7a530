"""The paths that carried a score: gradients with respect to edges, then a best-first search over the layers."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trivium.graph.graph import Graph
from trivium.model.encoders import EntityEncoder
from trivium.model.topology import Topology

MAX_EDGES = 1_000_000  # a larger graph is narrowed to what lies between; twice as many take 13 s of a core, 2.2 GB
MAX_STEPS = 100_000  # of the search

Floats = NDArray[np.float64]
Check = Callable[[], object]
"""Called between steps; what it raises ends the work, of which nobody waits for the result any more."""


@dataclass(frozen=True)
class Path:
    """A way from the head to the tail, along edges.

    Attributes:
        weight: the mean over its edges of the score's gradient, in units of the score.
        steps: ``(from, relation, to)`` ids, relations over ``2 · num_relations``.
    """

    weight: float
    steps: tuple[tuple[int, int, int], ...]


def between(graph: Graph, head: int, tail: int, max_steps: int, max_edges: int = MAX_EDGES) -> NDArray[np.bool_]:
    """Which entities lie on walks of at most ``max_steps`` steps from head to tail, ``[num_entities]``.

    In a graph of at most ``max_edges`` edges all do. In a larger one ``max_steps`` shrinks until the edges among those
    entities are so few, but not below the shortest way.
    """
    if len(graph.sources) <= max_edges:
        return np.ones(graph.num_entities, np.bool_)
    total = graph.distances(head, max_steps) + graph.distances(tail, max_steps)
    degree = np.diff(graph.offsets)
    while max_steps > total.min() and degree[total <= max_steps].sum() > max_edges:
        max_steps -= 1
    inside: NDArray[np.bool_] = total <= max_steps
    inside[[head, tail]] = True
    return inside


def narrowed(topology: Topology, inside: NDArray[np.bool_]) -> tuple[Topology, NDArray[np.int64]]:
    """The graph among some entities, and their ids in it, ``[num_entities]`` (-1 outside)."""
    graph = topology.graph
    ids = np.where(inside, np.cumsum(inside) - 1, -1)
    if inside.all():
        return topology, ids
    h, r, t = graph.triples[inside[graph.triples[:, [0, 2]]].all(1)].T
    part = Graph.from_ids(ids[h], r, ids[t], entities=int(inside.sum()), relation_names=graph.relations)
    return Topology(part, device=topology.device), ids


def edge_gradients(
    encoder: EntityEncoder,
    topology: Topology,
    representations: Tensor,
    head: int,
    relation: int,
    tail: int,
    check: Check = object,
) -> Floats:
    """``[layers, edges]``: the gradient of ``score(head, relation, tail)`` by each edge's weight in each layer.

    It is what the score would lose, to first order, without the edge in that layer.

    Args:
        representations: ``[2 · num_relations, dim]``, of the relations, conditioned on ``relation``.
        check: called between the layers of the way back; what it raises ends it.

    Cost: O(layers · edges · dim) time, O(layers · (entities · dim + edges)) memory.
    Source: Zhu et al., NBFNet (2021), section on interpretation: a first-order Taylor polynomial over paths.
    """
    device = topology.device
    query = torch.tensor([head], device=device), torch.tensor([relation], device=device)
    with torch.enable_grad():
        weights = [torch.ones(len(topology.graph.sources), device=device, requires_grad=True) for _ in encoder.layers]
        for weight in weights:
            weight.register_hook(lambda _: check() and None)  # type: ignore[no-untyped-call]
        scores = encoder(topology, representations.detach()[None], *query, weights)
        check()
        gradients = torch.autograd.grad(scores[0, tail], weights)
    return torch.stack(gradients).double().cpu().numpy()


def best_paths(
    topology: Topology, gradients: Floats, head: int, tail: int, max_paths: int, check: Check = object
) -> list[Path]:
    """The ``max_paths`` heaviest paths from head to tail that visit no entity twice, heaviest first.

    A path of ``k`` edges can lie over the ``L`` layers in ``L − k + 1`` ways: each layer adds the head's boundary, so
    it may begin there, and keeps the state that it has led to. Its weight is the mean over its edges of their
    gradients, summed over those ways. The search is exact: it extends the unfinished path whose best completion
    promises most.

    Args:
        gradients: ``[layers, edges]``.
        check: called in each step of the search; what it raises ends it.

    Cost: O(layers² · edges) for the bounds, then about one step a path; at most `MAX_STEPS`.
    Source: after the beam search of Zhu et al., NBFNet (2021).
    """
    runs = topology.edges.by_source
    layers = len(gradients)
    totals = np.pad(np.cumsum(gradients[:, runs.positions], 0), ((1, 0), (0, 0)))
    promises: dict[tuple[int, int], Floats] = {}  # of each edge as step i of k, up to the tail

    def gains(k: int, i: int, edges: int | slice) -> Any:
        """Of edges as step ``i`` of ``k``: their gradients over the layers i to i + layers - k."""
        return (totals[i + layers - k + 1, edges] - totals[i, edges]) / k

    some = np.flatnonzero(np.diff(runs.offsets))
    for k in range(1, layers + 1):
        bound = np.full(topology.num_entities, -np.inf)
        bound[tail] = 0.0
        for i in reversed(range(k)):
            promises[k, i] = gains(k, i, slice(None)) + bound[runs.first]
            bound = np.full_like(bound, -np.inf)
            bound[some] = np.maximum.reduceat(promises[k, i], runs.offsets[some])

    @cache
    def choices(k: int, i: int, entity: int) -> NDArray[np.int64]:
        """An entity's outgoing edges as step ``i`` of ``k`` that lead to the tail, most promising first."""
        begin, end = runs.offsets[entity : entity + 2]
        own = promises[k, i][begin:end]
        order: NDArray[np.int64] = begin + np.argsort(-own, kind="stable")
        return order[: np.isfinite(own).sum()]

    found: list[Path] = []
    heap: list[tuple[Any, ...]] = []
    serial = count()  # among equals, what was pushed first comes first

    def push(k: int, gained: float, edges: tuple[int, ...], visited: tuple[int, ...], choice: int) -> None:
        """An unfinished path of ``k`` edges, to go on with its end's ``choice``-th best edge, if there is one."""
        order = choices(k, len(edges), visited[-1])
        if choice < len(order):
            promise = gained + promises[k, len(edges)][order[choice]]
            heapq.heappush(heap, (-promise, next(serial), k, gained, edges, visited, choice))

    for k in range(1, layers + 1):
        push(k, 0.0, (), (head,), 0)
    for _ in range(MAX_STEPS):
        if not heap or len(found) == max_paths:
            break
        check()
        _, _, k, gained, edges, visited, choice = heapq.heappop(heap)
        push(k, gained, edges, visited, choice + 1)
        edge = int(choices(k, len(edges), visited[-1])[choice])
        target = int(runs.first[edge])
        gained += float(gains(k, len(edges), edge))
        edges = (*edges, edge)
        if len(edges) == k:
            relations = runs.second[[*edges]].tolist()
            found.append(Path(gained, tuple(zip(visited, relations, (*visited[1:], target), strict=True))))
        elif target not in visited and target != tail:
            push(k, gained, edges, (*visited, target), 0)
    return found
