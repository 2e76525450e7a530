"""Structural encoders, the entity encoder and the whole model against the slow statement, and their invariances."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import PLAIN, graph_of, random_graph, renamed, small_model
from tests.reference.ultra import relation_edges, scores

from trivium.graph.graph import inverse
from trivium.model.config import ModelConfig
from trivium.model.topology import Topology

ULTRA = replace(PLAIN, structure="relation_graph", structure_layers=3, layers=3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 10), st.integers(1, 4), st.integers(1, 25))
def test_the_relation_graph_equals_brute_force(seed: int, entities: int, relations: int, triples: int) -> None:
    graph = random_graph(seed, entities, relations, triples)
    edges = Topology(graph).relation_graph
    found = set(zip(edges.sources.tolist(), edges.relations.tolist(), edges.targets.tolist(), strict=True))
    assert len(found) == len(edges.sources)
    assert found == set(relation_edges(graph))


@pytest.mark.parametrize("conditioning", ["own", "forward"])
@pytest.mark.parametrize("reversed_messages", [False, True])
def test_the_model_equals_the_slow_statement(conditioning: Literal["own", "forward"], reversed_messages: bool) -> None:
    model = small_model(replace(ULTRA, conditioning=conditioning, reversed_messages=reversed_messages)).double()
    graph = random_graph(2, entities=12, relations=3, triples=30)
    topology = Topology(graph)
    head, query = torch.tensor([0, 5, 5]), torch.tensor([1, 4, 0])
    fast = model(topology, head, query)
    slow = torch.stack([scores(model, graph, int(h), int(q)) for h, q in zip(head, query, strict=True)])
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)  # double: only the order of sums differs
    gradients = [torch.autograd.grad(output.square().sum(), [*model.parameters()]) for output in (fast, slow)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("config", [ULTRA, PLAIN], ids=["relation graph", "alternating"])
def test_renaming_permutes_and_nothing_else(config: ModelConfig) -> None:
    model = small_model(config).double()
    graph = random_graph(4)
    rng = np.random.default_rng(0)
    entity, kind = rng.permutation(graph.num_entities), rng.permutation(graph.num_relations)
    topology, other = Topology(graph), Topology(renamed(graph, entity, kind))
    kinds = np.concatenate([kind, inverse(kind, graph.num_relations)])
    head, query = np.array([0, 7, 7, 20]), np.array([0, 3, 5, 7])
    first = model(topology, torch.from_numpy(head), torch.from_numpy(query))
    second = model(other, torch.from_numpy(entity[head]), torch.from_numpy(kinds[query]))
    torch.testing.assert_close(second[:, entity], first, rtol=1e-9, atol=1e-9)
    r = model.relation_representations(topology, torch.from_numpy(query))
    s = model.relation_representations(other, torch.from_numpy(kinds[query]))
    torch.testing.assert_close(s[:, kinds], r, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("config", [ULTRA, PLAIN], ids=["relation graph", "alternating"])
def test_an_unconnected_component_changes_no_score(config: ModelConfig) -> None:
    model = small_model(config).double()
    graph = random_graph(6)
    extra = graph.triples[:5] + np.array([graph.num_entities, graph.num_relations, graph.num_entities])
    triples = np.concatenate([graph.triples, extra])
    larger = graph_of(triples, 2 * graph.num_entities, 2 * graph.num_relations)
    head, query = torch.tensor([3]), torch.tensor([2])
    small = model(Topology(graph), head, query)
    large = model(Topology(larger), head, query)
    torch.testing.assert_close(large[:, : graph.num_entities], small, rtol=1e-9, atol=1e-9)


def test_an_encoder_sees_the_relation_that_is_asked() -> None:
    r = small_model(PLAIN).relation_representations(Topology(random_graph(4)), torch.tensor([0, 4, 1]))
    assert (r[0] - r[1]).abs().max() > 1e-3  # a relation and its inverse are different questions
    assert (r[0] - r[2]).abs().max() > 1e-3
