"""Message passing: the compiled backend means what the plain one says."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_graph
from tests.reference.ultra import graph_edges, message_sum

from trivium.errors import GraphError
from trivium.kernels.csr import Edges
from trivium.model.topology import Topology
from trivium.nn.propagate import propagate
from trivium.nn.reference import propagate_reference

DIMS = (3, 32, 40)  # scalar tail alone, vectors alone, both


def inputs(edges: Edges, dim: int, shared: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((2, edges.num_sources, dim), (shared, edges.num_relations, dim), (len(edges.sources),))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("with_relation", [True, False])
@pytest.mark.parametrize("with_weight", [True, False])
def test_gradients_of_all_three_inputs(dim: int, shared: int, with_relation: bool, with_weight: bool) -> None:
    edges = Topology(random_graph(1, entities=7, triples=15)).edges
    state, relation, weight = inputs(edges, dim, shared)
    chosen = [state, *([relation] if with_relation else []), *([weight] if with_weight else [])]

    def run(*given: torch.Tensor) -> torch.Tensor:
        return propagate(given[0], given[1] if with_relation else None, edges, given[-1] if with_weight else None)

    assert torch.autograd.gradcheck(run, chosen, fast_mode=dim > 3)
    expected = propagate_reference(state, relation if with_relation else None, edges, weight if with_weight else None)
    # the same additions in double, in the same order but for index_add's
    torch.testing.assert_close(run(*chosen), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3), st.integers(1, 30))
def test_equals_an_edge_at_a_time(seed: int, entities: int, relations: int, triples: int) -> None:
    graph = random_graph(seed, entities, relations, triples)
    edges = Topology(graph).edges
    state = torch.randn(1, entities, 33)
    relation = torch.randn(1, 2 * relations, 33)
    slow = message_sum(state[0].double(), relation[0].double(), graph_edges(graph), entities)
    # products are rounded to float before the double sum: one rounding of 6e-8 for each of up to 60 terms of size ~10
    torch.testing.assert_close(propagate(state, relation, edges)[0].double(), slow, rtol=1e-5, atol=1e-5)


def test_backward_equals_the_reference_in_float32() -> None:
    edges = Topology(random_graph(3)).edges
    ours = inputs(edges, 64, 1, torch.float32)
    theirs = [t.detach().clone().requires_grad_() for t in ours]
    propagate(ours[0], ours[1], edges, ours[2]).square().sum().backward()  # type: ignore[no-untyped-call]
    expected = propagate_reference(theirs[0], theirs[1], edges, theirs[2])
    expected.square().sum().backward()  # type: ignore[no-untyped-call]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-3)  # float32 sums of ~100 terms of size ~100


def test_the_order_of_edges_moves_no_bit() -> None:
    graph = random_graph(5, entities=6, triples=300)
    edges = Topology(graph).edges
    rng, bounds = np.random.default_rng(0), graph.offsets.tolist()
    order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in pairwise(bounds)])
    shuffled = replace(edges, sources=graph.sources[order], relations=graph.edge_relations[order])
    state, relation, _ = inputs(edges, 64, 1, torch.float32)
    assert torch.equal(propagate(state, relation, edges), propagate(state, relation, shuffled))


def test_wrong_rows_are_refused_in_words() -> None:
    edges = Topology(random_graph(1)).edges
    with pytest.raises(GraphError, match="29 states for edges over 30 sources"):
        propagate(torch.zeros(1, 29, 8), None, edges)
    with pytest.raises(GraphError, match="7 relations, the edges need 8"):
        propagate(torch.zeros(1, 30, 8), torch.zeros(1, 7, 8), edges)
