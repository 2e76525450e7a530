"""Gradients and the search against slow, obvious versions."""

import itertools

import numpy as np
import pytest
import torch
from tests.conftest import graph_of, random_graph

from trivium.explanation import paths as module
from trivium.explanation.paths import best_paths, between, edge_gradients, narrowed
from trivium.graph.graph import Graph
from trivium.model.encoders import EntityEncoder
from trivium.model.topology import Topology
from trivium.nn.reference import propagate_reference


@pytest.mark.parametrize("reversed_messages", [False, True])
def test_gradients_equal_those_of_plain_torch(monkeypatch: pytest.MonkeyPatch, reversed_messages: bool) -> None:
    torch.manual_seed(0)
    topology = Topology(random_graph(0, entities=12, relations=3, triples=30))
    encoder, relation = EntityEncoder(32, 3, reversed_messages), torch.randn(6, 32)
    fast = edge_gradients(encoder, topology, relation, 2, 4, 7)
    monkeypatch.setattr("trivium.model.encoders.propagate", propagate_reference)
    slow = edge_gradients(encoder, topology, relation, 2, 4, 7)
    assert fast.shape == (3, len(topology.graph.sources))
    assert np.abs(slow).max() > 1e-3
    np.testing.assert_allclose(fast, slow, atol=1e-5)  # float32 sums in another order; values of size 0.1


def test_weights_of_one_change_nothing() -> None:
    torch.manual_seed(0)
    topology = Topology(random_graph(0))
    encoder, relation = EntityEncoder(32, 2), torch.randn(1, 8, 32)
    ones = [torch.ones(len(topology.graph.sources))] * 2
    query = torch.tensor([0]), torch.tensor([1])
    torch.testing.assert_close(encoder(topology, relation, *query, ones), encoder(topology, relation, *query))


def all_paths(graph: Graph, gradients: np.ndarray, head: int, tail: int) -> list[tuple[float, tuple]]:  # type: ignore[type-arg]
    """Every path without repetition, by trying all sequences of edges."""
    targets = np.repeat(np.arange(graph.num_entities), np.diff(graph.offsets)).tolist()
    edges = list(zip(graph.sources.tolist(), graph.edge_relations.tolist(), targets, strict=True))
    layers = len(gradients)
    found = []
    for k in range(1, layers + 1):
        for walk in itertools.product(range(len(edges)), repeat=k):
            steps = [edges[e] for e in walk]
            visited = [head] + [step[2] for step in steps]
            linked = all(step[0] == before for step, before in zip(steps, visited, strict=False))
            if linked and visited[-1] == tail and len(set(visited)) == len(visited):
                ways = [[gradients[start + i, e] for i, e in enumerate(walk)] for start in range(layers - k + 1)]
                found.append((float(np.sum(ways)) / k, tuple(steps)))
    return sorted(found, key=lambda path: -path[0])


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_heaviest_paths_in_order(seed: int) -> None:
    graph = random_graph(seed, entities=6, relations=2, triples=9)
    gradients = np.random.default_rng(seed).normal(size=(3, len(graph.sources)))
    slow = all_paths(graph, gradients, 0, 1)
    assert len(slow) >= 2
    for count in (1, len(slow) + 5):
        fast = best_paths(Topology(graph), gradients, 0, 1, count)
        assert [path.steps for path in fast] == [steps for _, steps in slow[:count]]
        np.testing.assert_allclose([path.weight for path in fast], [weight for weight, _ in slow[:count]])


def test_the_search_ends_where_nothing_leads_and_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    far = graph_of([[0, 0, 1], [2, 0, 3]], 4, 1)
    assert best_paths(Topology(far), np.ones((3, 4)), 0, 3, 5) == []
    dense = random_graph(0, entities=10, relations=3, triples=200)
    monkeypatch.setattr(module, "MAX_STEPS", 50)
    assert len(best_paths(Topology(dense), np.ones((6, len(dense.sources))), 0, 1, 10_000)) <= 50


def test_a_large_graph_is_narrowed_to_what_lies_between() -> None:
    graph = graph_of([[i, 0, i + 1] for i in range(9)] + [[2, 0, 10], [2, 0, 11], [2, 1, 12]], 13, 2)
    assert graph.distances(0, 3).tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 3, 3, 3]
    assert between(graph, 0, 4, 6).all()
    inside = between(graph, 0, 4, 6, max_edges=10)
    assert np.flatnonzero(inside).tolist() == [0, 1, 2, 3, 4]
    part, ids = narrowed(Topology(graph), inside)
    assert part.graph.triples.tolist() == [[0, 0, 1], [1, 0, 2], [2, 0, 3], [3, 0, 4]]
    assert ids.tolist() == [0, 1, 2, 3, 4, *[-1] * 8]
    (path,) = best_paths(part, np.ones((6, 8)), 0, 4, 3)
    assert [step[2] for step in path.steps] == [1, 2, 3, 4]
