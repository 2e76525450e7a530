"""The paths that carried a score: gradients with respect to edges, then a best-first search over the layers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trivium.graph.graph import Graph
from trivium.model.entity import EntityEncoder
from trivium.model.topology import Topology

MOST_EDGES = 1_000_000  # a larger graph is narrowed to what lies between; twice as many take 13 s of a core, 2.2 GB
MOST_STEPS = 100_000  # of the search

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """A way from the head to the tail, along edges.

    Attributes:
        weight: the mean over its edges of the score's gradient, in units of the score.
        steps: ``(from, relation, to)`` ids, relations over ``2 · num_relations``.
    """

    weight: float
    steps: tuple[tuple[int, int, int], ...]


def distances(graph: Graph, start: int, most: int) -> NDArray[np.int64]:
    """``[num_entities]``: steps from an entity over edges either way, ``most + 1`` for what is farther.

    Cost: O(edges within ``most`` steps).
    """
    out = np.full(graph.num_entities, most + 1)
    out[start] = 0
    frontier = np.array([start])
    for step in range(1, most + 1):
        runs = [graph.sources[graph.offsets[e] : graph.offsets[e + 1]] for e in frontier]
        near = np.unique(np.concatenate(runs)) if runs else np.empty(0, np.int64)
        frontier = near[out[near] > most]
        out[frontier] = step
    return out


def between(graph: Graph, head: int, tail: int, most: int, most_edges: int = MOST_EDGES) -> NDArray[np.bool_]:
    """Which entities stand on walks of at most ``most`` steps from head to tail, ``[num_entities]``.

    In a graph of at most ``most_edges`` edges all do. In a larger one ``most`` shrinks until the edges among those
    entities are so few, but not below the shortest way.
    """
    if len(graph.sources) <= most_edges:
        return np.ones(graph.num_entities, np.bool_)
    total = distances(graph, head, most) + distances(graph, tail, most)
    degree = np.diff(graph.offsets)
    while most > total.min() and degree[total <= most].sum() > most_edges:
        most -= 1
    inside: NDArray[np.bool_] = total <= most
    inside[[head, tail]] = True
    return inside


def narrowed(topology: Topology, inside: NDArray[np.bool_]) -> tuple[Topology, NDArray[np.int64]]:
    """The graph among some entities, and their ids in it, ``[num_entities]`` (-1 outside)."""
    graph = topology.graph
    ids = np.where(inside, np.cumsum(inside) - 1, -1)
    if inside.all():
        return topology, ids
    targets = np.repeat(np.arange(graph.num_entities), np.diff(graph.offsets))
    keep = inside[targets] & inside[graph.sources]
    counts = np.bincount(ids[targets[keep]], minlength=int(inside.sum()))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    sources = ids[graph.sources[keep]].astype(np.int32)
    # names are not needed, and stay where they are
    part = Graph(sources, graph.edge_relations[keep], offsets, graph.entities, graph.relations)
    return Topology(part), ids


def edge_gradients(
    encoder: EntityEncoder, topology: Topology, relation: Tensor, head: int, query: int, tail: int
) -> Floats:
    """``[layers, edges]``: the gradient of ``score(head, query, tail)`` by each edge's weight in each layer.

    It is what the score would lose, to first order, without the edge in that layer.

    Args:
        relation: ``[2 · num_relations, dim]``, the relation representations seen from ``query``.

    Cost: O(layers · edges · dim) time, O(layers · (entities · dim + edges)) memory.
    Source: Zhu et al., NBFNet (2021), section on interpretation: a first-order Taylor polynomial over paths.
    """
    with torch.enable_grad():
        weights = [torch.ones(len(topology.graph.sources), requires_grad=True) for _ in encoder.layers]
        scores = encoder(topology, relation.detach()[None], torch.tensor([head]), torch.tensor([query]), weights)
        gradients = torch.autograd.grad(scores[0, tail], weights)
    return torch.stack(gradients).double().numpy()


def best_paths(topology: Topology, gradients: Floats, head: int, tail: int, count: int) -> list[Path]:
    """The ``count`` heaviest paths from head to tail that visit no entity twice, heaviest first.

    A path of ``k`` edges can lie over the layers in ``L − k + 1`` ways, since the head's boundary enters, and a state
    stays, at each layer; its weight is the mean over its edges of their gradients, summed over those ways. The search
    goes from the head and is exact: it orders unfinished paths by the most that any completion can reach.

    Args:
        gradients: ``[layers, edges]``.

    Cost: O(layers² · edges) for the bounds, then about one step a path; at most `MOST_STEPS`.
    Source: after the beam search of Zhu et al., NBFNet (2021).
    """
    search = _Search(topology, gradients, head, tail)
    found = []
    for path in search.run():
        found.append(path)
        if len(found) == count:
            break
    return found


class _Search:
    """Best first, over all lengths at once."""

    def __init__(self, topology: Topology, gradients: Floats, head: int, tail: int) -> None:
        self.head, self.tail = head, tail
        runs = topology.edges.by_source
        self.offsets, self.targets, self.relations = runs.offsets, runs.first, runs.second
        by_source = gradients[:, runs.positions]
        layers = len(gradients)
        totals = np.concatenate([np.zeros((1, by_source.shape[1])), np.cumsum(by_source, 0)])
        # gains[k, i]: of the edges as step i of k, over the layers i to i + layers - k
        self.gains = {
            (k, i): (totals[i + layers - k + 1] - totals[i]) / k for k in range(1, layers + 1) for i in range(k)
        }
        self.bounds: dict[tuple[int, int], Floats] = {}
        for k in range(1, layers + 1):
            bound = np.full(topology.num_entities, -np.inf)
            bound[tail] = 0.0
            self.bounds[k, k] = bound
            for i in reversed(range(k)):
                bound = self._best_over_edges(self.gains[k, i] + bound[self.targets])
                self.bounds[k, i] = bound
        self.ordered: dict[tuple[int, int, int], tuple[NDArray[np.int64], Floats]] = {}

    def _best_over_edges(self, values: Floats) -> Floats:
        """``[entities]``: the most over each entity's outgoing edges."""
        out = np.full(len(self.offsets) - 1, -np.inf)
        some = np.flatnonzero(np.diff(self.offsets))
        if len(some):
            out[some] = np.maximum.reduceat(values, self.offsets[some])
        return out

    def _choices(self, k: int, i: int, entity: int) -> tuple[NDArray[np.int64], Floats]:
        """An entity's outgoing edges as step ``i`` of ``k``, most promising first, and what they promise."""
        if (k, i, entity) not in self.ordered:
            edges = np.arange(self.offsets[entity], self.offsets[entity + 1])
            promise = self.gains[k, i][edges] + self.bounds[k, i + 1][self.targets[edges]]
            edges, promise = edges[np.isfinite(promise)], promise[np.isfinite(promise)]
            order = np.argsort(-promise, kind="stable")
            self.ordered[k, i, entity] = edges[order], promise[order]
        return self.ordered[k, i, entity]

    def run(self) -> Iterator[Path]:
        """All paths, heaviest first."""
        heap: list[tuple[float, int, int, float, tuple[int, ...], tuple[int, ...], int]] = []
        made = 0

        def push(k: int, gained: float, edges: tuple[int, ...], visited: tuple[int, ...], place: int) -> None:
            nonlocal made
            _, promise = self._choices(k, len(edges), visited[-1])
            if place < len(promise):
                made += 1
                heapq.heappush(heap, (-(gained + promise[place]), made, k, gained, edges, visited, place))

        for k, i in self.gains:
            if i == 0:
                push(k, 0.0, (), (self.head,), 0)
        for _ in range(MOST_STEPS):
            if not heap:
                return
            _, _, k, gained, edges, visited, place = heapq.heappop(heap)
            push(k, gained, edges, visited, place + 1)
            edge = int(self._choices(k, len(edges), visited[-1])[0][place])
            target = int(self.targets[edge])
            gained += float(self.gains[k, len(edges)][edge])
            edges = (*edges, edge)
            if len(edges) == k:
                yield Path(gained, self._steps(edges, (*visited, target)))
            elif target not in visited and target != self.tail:
                push(k, gained, edges, (*visited, target), 0)

    def _steps(self, edges: tuple[int, ...], visited: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
        kinds = [int(self.relations[edge]) for edge in edges]
        return tuple(zip(visited[:-1], kinds, visited[1:], strict=True))
