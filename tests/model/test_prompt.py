"""The prompt enhancer: bounded, blind to names, and moved by what surrounds its examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import graph_of, random_graph, renamed
from torch import Tensor

from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.kernels.neighbourhoods import EXPANDED_DEGREE, FAR
from trivium.model.config import ModelConfig
from trivium.model.enhancers import PromptEnhancer, Prompts, extract
from trivium.model.topology import Topology

DIM = 32


def random_topology(seed: int, triples: int = 120) -> Topology:
    return Topology(random_graph(seed, entities=40, relations=4, triples=triples))


def few_facts(seed: int) -> Graph:
    """Relation 0 has six facts, so that all are examples; the neighbourhoods stay below the limits."""
    triples = random_graph(seed, entities=30, triples=40).triples.copy()
    numbers = np.arange(len(triples))
    triples[:, 1] = np.where(numbers < 6, 0, 1 + numbers % 3)
    return graph_of(triples, 30, 4)


def enhancer() -> PromptEnhancer:
    torch.manual_seed(0)
    return PromptEnhancer(ModelConfig(dim=DIM, prompt_dim=8, prompt_layers=2))


def representations(batch: int, relations: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, relations, DIM, generator=torch.Generator().manual_seed(seed))


def sizes(prompts: Prompts) -> tuple[int, int]:
    """The most entities and edges of any example."""
    count = len(prompts.examples)
    return int(np.bincount(prompts.node_examples, minlength=count).max()), int(prompts.example_edges.max())


def as_sets(prompts: Prompts) -> list[tuple[int, ...]]:
    """Every edge by example and entity ids, sorted: equal for equal prompts, whatever the order inside."""
    source, pair, target = prompts.edges.sources, prompts.edges.relations, prompts.edges.targets
    columns = (
        prompts.examples[prompts.node_examples[target]].T.tolist(),
        [prompts.entities[source].tolist()],
        [prompts.pairs[pair, 1].tolist()],
        [prompts.entities[target].tolist()],
        [prompts.labels[source].tolist()],
    )
    return sorted(zip(*(column for part in columns for column in part), strict=True))


def test_a_small_prompt_by_hand() -> None:
    """a -q-> b, a -1-> c -2-> b, c -1-> d: all but the fact itself, with distances that do not use it."""
    triples = [[0, 0, 1], [0, 1, 2], [2, 2, 1], [2, 1, 3]]
    prompts = extract(Topology(graph_of(triples, 5, 3)), np.array([0]))
    assert prompts.examples.tolist() == [[0, 0, 1]]
    labelled = zip(prompts.entities.tolist(), prompts.labels.tolist(), strict=False)
    distances = {entity: divmod(label, FAR + 1) for entity, label in labelled}
    assert distances == {0: (0, 2), 1: (2, 0), 2: (1, 1), 3: (2, 2)}
    edges = {(s, k, t) for _, _, _, s, k, t, _ in as_sets(prompts)}
    assert edges == {(0, 1, 2), (2, 4, 0), (2, 2, 1), (1, 5, 2), (2, 1, 3), (3, 4, 2)}
    assert not prompts.marks.any()


def test_the_asked_relation_and_its_inverse_are_marked() -> None:
    topology = Topology(graph_of([[0, 0, 1], [1, 0, 2], [1, 1, 3]], 4, 2))
    for query, twin in ((0, 2), (2, 0)):
        prompts = extract(topology, np.array([query]))
        marks = dict(zip(prompts.pairs[:, 1].tolist(), prompts.marks.tolist(), strict=True))
        assert marks == {query: 1, twin: 2, 1: 0, 3: 0}


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_limits_hold_around_hubs(hops: int, training: bool) -> None:
    """Two hubs of 2,000 edges that share their neighbours, each of them in 5 triples more."""
    rng = np.random.default_rng(0)
    leaves = np.arange(2, 2002)
    spokes = [np.stack([np.full(2000, hub), rng.integers(0, 6, 2000), leaves], 1) for hub in (0, 1)]
    others = np.stack([rng.integers(2, 2002, 10_000), rng.integers(0, 6, 10_000), rng.integers(2, 2002, 10_000)], 1)
    topology = Topology(graph_of(np.concatenate([[[0, 0, 1]], *spokes, others]), 2002, 6))
    query = np.arange(12)
    prompts = extract(topology, query, ModelConfig(prompt_hops=hops), np.random.default_rng(1) if training else None)
    assert sizes(prompts) == (64, 256)
    assert np.bincount(prompts.examples[:, 0]).tolist() == [8] * 12
    few = ModelConfig(prompt_examples=3, prompt_hops=hops, prompt_entities=10, prompt_edges=20)
    small = extract(topology, query, few)
    assert sizes(small) == (10, 20)
    assert len(small.examples) == 36
    steps = np.minimum(*divmod(prompts.labels[: len(prompts.entities)], FAR + 1))
    assert (steps <= hops).mean() > 0.9  # edges that were cut are counted in distances too
    assert EXPANDED_DEGREE < 2000


def test_two_hops_see_what_one_does_not() -> None:
    topology = Topology(graph_of([[0, 0, 1], [1, 1, 2], [2, 1, 3], [3, 1, 4]], 5, 2))
    reached = [set(extract(topology, np.array([0]), ModelConfig(prompt_hops=h)).entities.tolist()) for h in (1, 2)]
    assert reached == [{0, 1, 2}, {0, 1, 2, 3}]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_triple_order_and_repetition_never_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(seed, entities=60, triples=400)
    shuffled = rng.permutation(np.concatenate([graph.triples, graph.triples[:50]]))
    ids = rng.permutation(60)  # as a file in another order would number its entities
    names = Names([str(i) for i in np.argsort(ids)])
    moved = np.stack([ids[shuffled[:, 0]], shuffled[:, 1], ids[shuffled[:, 2]]], 1)
    config = ModelConfig(prompt_examples=4, prompt_entities=12, prompt_edges=20)
    one, two = (extract(Topology(g), np.arange(8), config) for g in (graph, graph_of(moved, names, 4)))
    assert sizes(one) == (12, 20)
    back = np.argsort(ids).astype(np.int32)
    named = replace(two, examples=two.examples.copy(), entities=back[two.entities])
    named.examples[:, 1:] = back[two.examples[:, 1:]]
    assert as_sets(one) == as_sets(named)


@pytest.mark.parametrize("seed", range(3))
def test_renaming_entities_changes_nothing(seed: int) -> None:
    graph, ids = few_facts(seed), np.random.default_rng(seed).permutation(30)
    query, r = torch.tensor([0, 4]), representations(2, 8)
    enhance = enhancer()
    one, two = (enhance(Topology(g), query, r) for g in (graph, renamed(graph, ids, np.arange(4))))
    assert one.abs().max() > 1e-3
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)  # sums in another order


@pytest.mark.parametrize("seed", range(3))
def test_renaming_relations_permutes_rows(seed: int) -> None:
    topology = random_topology(seed)
    order = np.random.default_rng(seed).permutation(4)
    both = torch.from_numpy(np.concatenate([order, order + 4]))
    query, r = torch.arange(8), representations(8, 8)
    moved = torch.empty_like(r)
    moved[:, both] = r
    enhance = enhancer()
    one = enhance(topology, query, r)
    two = enhance(Topology(renamed(topology.graph, np.arange(40), order)), both[query], moved)
    assert one.abs().max() > 1e-3
    torch.testing.assert_close(two[:, both], one, rtol=0, atol=1e-5)  # sums in another order


def test_rewiring_the_graph_itself_changes_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    triples = random_topology(2).graph.triples
    turned = triples.copy()
    others = turned[:, 1] != 0
    turned[others, 2] = np.random.default_rng(0).permutation(turned[others, 2])
    query, r = torch.tensor([0]), representations(1, 8)
    examples = np.unique(triples[triples[:, 1] == 0][:8, [1, 0, 2]], axis=0)
    deltas = []
    for t in (triples, turned):
        topology = Topology(graph_of(t, 40, 4))
        monkeypatch.setattr(topology.fact_index, "examples", lambda *_: examples)
        deltas.append(enhancer()(topology, query, r))
    assert (deltas[0] - deltas[1]).norm() > 0.1 * deltas[0].norm()  # two graphs of the same statistics


def test_relations_that_change_are_those_that_occur() -> None:
    topology = random_topology(3)
    query, r = torch.tensor([1, 6]), representations(2, 8)
    changed = (enhancer()(topology, query, r) != 0).any(-1)
    pairs = extract(topology, query.numpy()).pairs
    assert {tuple(row) for row in changed.nonzero().tolist()} == {*map(tuple, pairs.tolist()), (0, 1), (1, 6)}


def test_a_relation_and_its_inverse_get_different_rows() -> None:
    topology = random_topology(3)
    delta = enhancer()(topology, torch.tensor([0]), representations(1, 8))[0]
    assert (delta[1] - delta[5]).norm() > 0.05 * delta[1].norm()


def test_exactly_zero_without_examples() -> None:
    graph = random_topology(0).graph
    topology = Topology(graph.without(graph.triples[graph.triples[:, 1] == 2]))
    query, r = torch.tensor([2, 6, 0]), representations(3, 8)
    delta = enhancer()(topology, query, r)
    assert (delta[:2] == 0).all()
    assert (delta[2] != 0).any()
    assert (enhancer()(topology, query[:2], r[:2]) == 0).all()
    bare = Topology(graph_of([[0, 0, 1], [2, 0, 2], [3, 1, 4]], 5, 2))  # nothing is around any example
    assert (enhancer()(bare, torch.arange(4), representations(4, 4)) == 0).all()


def test_facts_that_are_taken_out_are_in_no_prompt() -> None:
    full = random_topology(4).graph
    left = full.without(full.triples[::7])
    asked = np.arange(8)
    prompts = extract(Topology(left), asked, rng=np.random.default_rng(0))
    query = asked[prompts.examples[:, 0]]
    assert left.contains(np.stack([prompts.examples[:, 1], query, prompts.examples[:, 2]], 1)).all()
    facts = {tuple(row) for row in left.triples.tolist()}
    forward = {(s, k, t) for _, _, _, s, k, t, _ in as_sets(prompts) if k < 4}
    assert forward <= facts


def test_an_example_is_absent_from_its_own_neighbourhood() -> None:
    prompts = extract(random_topology(5), np.arange(8))
    for place, a, b, s, k, t, _ in as_sets(prompts):
        assert not (k == place and (s, t) == (a, b))
        assert not (k == (place + 4) % 8 and (s, t) == (b, a))


def test_training_draws_are_seeded_and_fresh() -> None:
    topology = random_topology(6, triples=400)
    query, r = torch.arange(8), representations(8, 8)
    enhance = enhancer()
    draws = [enhance(topology, query, r, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    rng = np.random.default_rng(0)
    drawn = [extract(topology, np.array([3]), rng=rng).examples[:, 1:].tolist() for _ in range(200)]
    assert all(len({*map(tuple, pairs)}) == 8 for pairs in drawn)
    assert {(h, t) for pairs in drawn for h, t in pairs} == {(h, t) for h, k, t in topology.graph.triples if k == 3}


def test_answers_may_read_more_examples_than_training_draws() -> None:
    topology, config = random_topology(6, triples=400), ModelConfig(prompt_examples=3, prompt_examples_asked=20)
    asked, drawn = (extract(topology, np.array([3]), config, rng) for rng in (None, np.random.default_rng(0)))
    assert [len(prompts.examples) for prompts in (asked, drawn)] == [20, 3]


def test_examples_cover_the_strata_of_degree() -> None:
    """A relation with 40 facts at one hub and 40 between leaves: both kinds are among the examples."""
    hub = np.stack([np.zeros(40), np.zeros(40), np.arange(1, 41)], 1)
    pairs = np.stack([np.arange(41, 81), np.zeros(40), np.arange(81, 121)], 1)
    prompts = extract(Topology(graph_of(np.concatenate([hub, pairs]), 121, 1)), np.array([0]))
    assert len(np.unique(prompts.examples, axis=0)) == 8
    assert (prompts.examples[:, 1] == 0).sum() == 4


def test_results_do_not_depend_on_the_batch() -> None:
    topology = random_topology(7)
    query, r = torch.tensor([3, 0, 6]), representations(3, 8)
    enhance = enhancer()
    together = enhance(topology, query, r)
    for i in range(3):
        torch.testing.assert_close(enhance(topology, query[i : i + 1], r[i : i + 1])[0], together[i], atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter_and_r() -> None:
    topology = random_topology(8)
    enhance = enhancer().double()
    query, r = torch.arange(8), representations(8, 8).double().requires_grad_()
    prompts = extract(topology, query.numpy())
    weight = torch.randn(8, 8, DIM, generator=torch.Generator().manual_seed(0)).double()

    def loss() -> Tensor:
        out: Tensor = (enhance(topology, query, r, prompts) * weight).sum()
        return out

    torch.autograd.backward(loss())
    for name, parameter in [*enhance.named_parameters(), ("r", r)]:
        assert parameter.grad is not None and parameter.grad.norm() > 1e-8, name
        place = tuple(int(i) for i in (parameter.grad.abs() == parameter.grad.abs().max()).nonzero()[0])
        with torch.no_grad():
            step = 1e-6
            parameter[place] += step
            above = loss()
            parameter[place] -= 2 * step
            below = loss()
            parameter[place] += step
        slope = float((above - below) / (2 * step))
        assert slope == pytest.approx(float(parameter.grad[place]), rel=1e-4), name  # ReLU's corners aside
