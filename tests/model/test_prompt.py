"""The prompt enhancer: bounded, blind to names, and moved by what surrounds its examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.kernels.neighbourhoods import EXPANDED_DEGREE, FAR
from trivium.model.config import ModelConfig
from trivium.model.prompt import PromptEnhancer
from trivium.model.prompt_graph import ALONE, Prompts, extract
from trivium.model.topology import Topology
from trivium.nn.edges import Edges

Triples = NDArray[np.int32]
DIM = 32


def graph_of(triples: Triples, entities: int, relations: int) -> Graph:
    names = Names([f"e{i:05}" for i in range(entities)])
    return Graph.from_ids(*triples.T, entities=names, relation_names=relations)


def random_triples(seed: int, entities: int = 40, relations: int = 4, count: int = 120) -> Triples:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, n, count) for n in (entities, relations, entities)]
    return np.stack(columns, 1).astype(np.int32)


def few_facts(seed: int) -> Triples:
    """Relation 0 has six facts, so that all are examples; the neighbourhoods stay below the limits."""
    triples = random_triples(seed, entities=30, count=40)
    triples[:, 1] = np.where(np.arange(40) < 6, 0, 1 + np.arange(40) % 3)
    return triples


def enhancer() -> PromptEnhancer:
    torch.manual_seed(0)
    return PromptEnhancer(ModelConfig(dim=DIM, prompt_dim=8, prompt_layers=2))


def representations(batch: int, relations: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, relations, DIM, generator=torch.Generator().manual_seed(seed))


def all_relations(graph: Graph) -> NDArray[np.int64]:
    return np.arange(2 * graph.num_relations, dtype=np.int64)


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
    triples = np.array([[0, 0, 1], [0, 1, 2], [2, 2, 1], [2, 1, 3]], np.int32)
    prompts = extract(Topology(graph_of(triples, 5, 3)), np.array([0]))
    assert prompts.examples.tolist() == [[0, 0, 1]]
    distances = {
        int(e): divmod(int(label), FAR + 1) for e, label in zip(prompts.entities, prompts.labels, strict=False)
    }
    assert distances == {0: (0, 2), 1: (2, 0), 2: (1, 1), 3: (2, 2)}
    edges = {(s, k, t) for _, _, _, s, k, t, _ in as_sets(prompts)}
    assert edges == {(0, 1, 2), (2, 4, 0), (2, 2, 1), (1, 5, 2), (2, 1, 3), (3, 4, 2)}
    assert not prompts.marks.any()


def test_the_asked_relation_and_its_inverse_are_marked() -> None:
    triples = np.array([[0, 0, 1], [1, 0, 2], [1, 1, 3]], np.int32)
    for query, twin in ((0, 2), (2, 0)):
        prompts = extract(Topology(graph_of(triples, 4, 2)), np.array([query]))
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
    triples = np.concatenate([[[0, 0, 1]], *spokes, others]).astype(np.int32)
    topology = Topology(graph_of(triples, 2002, 6))
    config = ModelConfig(prompt_hops=hops)
    query = all_relations(topology.graph)
    prompts = extract(topology, query, config, np.random.default_rng(1) if training else None)
    assert sizes(prompts) == (64, 256)
    assert np.bincount(prompts.examples[:, 0]).tolist() == [8] * 12
    small = extract(
        topology, query, ModelConfig(prompt_examples=3, prompt_hops=hops, prompt_entities=10, prompt_edges=20)
    )
    assert sizes(small) == (10, 20)
    assert len(small.examples) == 36
    steps = np.minimum(*divmod(prompts.labels[: len(prompts.entities)], FAR + 1))
    assert (steps <= hops).mean() > 0.9  # edges that were cut are counted in distances too
    assert EXPANDED_DEGREE < 2000


def test_star_reaches_no_further_than_its_hub() -> None:
    star = np.stack([np.zeros(900), np.arange(900) % 3, np.arange(1, 901)], 1).astype(np.int32)
    prompts = extract(Topology(graph_of(star, 901, 3)), np.array([1, 4]))
    assert len(prompts.examples) == 16
    assert sizes(prompts)[0] <= 64
    assert sizes(prompts)[1] <= 256


def test_two_hops_see_what_one_does_not() -> None:
    chain = np.array([[0, 0, 1], [1, 1, 2], [2, 1, 3], [3, 1, 4]], np.int32)
    topology = Topology(graph_of(chain, 5, 2))
    reached = [set(extract(topology, np.array([0]), ModelConfig(prompt_hops=h)).entities.tolist()) for h in (1, 2)]
    assert reached == [{0, 1, 2}, {0, 1, 2, 3}]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_triple_order_and_repetition_never_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    triples = random_triples(seed, entities=60, count=400)
    shuffled = np.concatenate([triples, triples[:50]])[rng.permutation(450)]
    ids = rng.permutation(60)  # as a file in another order would number its entities
    names = Names([f"e{i:05}" for i in np.argsort(ids)])
    moved = np.stack([ids[shuffled[:, 0]], shuffled[:, 1], ids[shuffled[:, 2]]], 1).astype(np.int32)
    first = Topology(graph_of(triples, 60, 4))
    second = Topology(Graph.from_ids(*moved.T, entities=names, relation_names=4))
    config = ModelConfig(prompt_examples=4, prompt_entities=12, prompt_edges=20)
    one, two = (extract(topology, all_relations(topology.graph), config) for topology in (first, second))
    assert sizes(one) == (12, 20)
    back = np.argsort(ids).astype(np.int32)
    named = replace(two, examples=two.examples.copy(), entities=back[two.entities])
    named.examples[:, 1:] = back[two.examples[:, 1:]]
    assert as_sets(one) == as_sets(named)


@pytest.mark.parametrize("seed", range(3))
def test_renaming_entities_changes_nothing(seed: int) -> None:
    triples = few_facts(seed)
    ids = np.random.default_rng(seed).permutation(30)
    renamed = np.stack([ids[triples[:, 0]], triples[:, 1], ids[triples[:, 2]]], 1).astype(np.int32)
    query, r = torch.tensor([0, 4]), representations(2, 8)
    enhance = enhancer()
    one, two = (enhance(Topology(graph_of(t, 30, 4)), query, r) for t in (triples, renamed))
    assert one.abs().max() > 1e-3
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)  # sums in another order


@pytest.mark.parametrize("seed", range(3))
def test_renaming_relations_permutes_rows(seed: int) -> None:
    triples = random_triples(seed)
    order = np.random.default_rng(seed).permutation(4)
    renamed = triples.copy()
    renamed[:, 1] = order[triples[:, 1]]
    both = torch.from_numpy(np.concatenate([order, order + 4]))
    query, r = torch.arange(8), representations(8, 8)
    moved = torch.empty_like(r)
    moved[:, both] = r
    enhance = enhancer()
    one = enhance(Topology(graph_of(triples, 40, 4)), query, r)
    two = enhance(Topology(graph_of(renamed, 40, 4)), both[query], moved)
    assert one.abs().max() > 1e-3
    torch.testing.assert_close(two[:, both], one, rtol=0, atol=1e-5)  # sums in another order


def emptied(prompts: Prompts) -> Prompts:
    """The same examples with nothing around them."""
    apart = prompts.ends[:, 0] != prompts.ends[:, 1]
    kept = np.unique(prompts.ends)
    ends = np.searchsorted(kept, prompts.ends).astype(np.int32)
    labels = np.zeros(len(kept), np.int32)
    labels[ends[apart]] = ALONE[:2]
    labels = np.concatenate([labels, ALONE])
    return replace(
        prompts,
        ends=ends,
        entities=prompts.entities[kept],
        node_examples=prompts.node_examples[kept],
        labels=labels,
        edges=Edges(np.zeros(len(labels) + 1, np.int64), labels[:0], labels[:0], len(labels), 0),
        pairs=prompts.pairs[:0],
        marks=prompts.marks[:0],
    )


def rewired(prompts: Prompts) -> Prompts:
    """The same with the sources of each example's edges in another order."""
    example = prompts.node_examples[prompts.edges.targets]
    sources = np.empty_like(prompts.edges.sources)
    shuffled = np.lexsort((np.random.default_rng(0).random(len(example)), example))
    sources[np.argsort(example, kind="stable")] = prompts.edges.sources[shuffled]
    return replace(prompts, edges=replace(prompts.edges, sources=sources))


def test_rewired_and_emptied_neighbourhoods_change_the_result() -> None:
    topology = Topology(graph_of(random_triples(1), 40, 4))
    query, r = torch.arange(8), representations(8, 8)
    enhance = enhancer()
    prompts = extract(topology, query.numpy())
    delta = enhance(topology, query, r, prompts)
    assert (enhance(topology, query, r, rewired(prompts)) - delta).norm() > 0.2 * delta.norm()
    assert (enhance(topology, query, r, emptied(prompts)) == 0).all()


def test_rewiring_the_graph_itself_changes_the_result() -> None:
    triples = random_triples(2)
    turned = triples.copy()
    others = turned[:, 1] != 0
    turned[others, 2] = np.random.default_rng(0).permutation(turned[others, 2])
    query, r = torch.tensor([0]), representations(1, 8)
    examples = np.unique(triples[triples[:, 1] == 0][:8, [1, 0, 2]], axis=0)
    deltas = []
    for t in (triples, turned):
        topology = Topology(graph_of(t, 40, 4))
        deltas.append(enhancer()(topology, query, r, extract(topology, query.numpy(), examples=examples)))
    assert (deltas[0] - deltas[1]).norm() > 0.1 * deltas[0].norm()  # two graphs of the same statistics


def test_relations_that_change_are_those_that_occur() -> None:
    topology = Topology(graph_of(random_triples(3), 40, 4))
    query, r = torch.tensor([1, 6]), representations(2, 8)
    changed = (enhancer()(topology, query, r) != 0).any(-1)
    pairs = extract(topology, query.numpy()).pairs
    assert {tuple(row) for row in changed.nonzero().tolist()} == {*map(tuple, pairs.tolist()), (0, 1), (1, 6)}


def test_a_relation_and_its_inverse_get_different_rows() -> None:
    topology = Topology(graph_of(random_triples(3), 40, 4))
    delta = enhancer()(topology, torch.tensor([0]), representations(1, 8))[0]
    assert (delta[1] - delta[5]).norm() > 0.05 * delta[1].norm()


def test_exactly_zero_without_examples() -> None:
    triples = random_triples(0)
    topology = Topology(graph_of(triples[triples[:, 1] != 2], 40, 4))
    query, r = torch.tensor([2, 6, 0]), representations(3, 8)
    delta = enhancer()(topology, query, r)
    assert (delta[:2] == 0).all()
    assert (delta[2] != 0).any()
    assert (enhancer()(topology, query[:2], r[:2]) == 0).all()
    loop = Topology(graph_of(np.array([[0, 0, 1], [2, 0, 2]], np.int32), 3, 1))
    assert (enhancer()(loop, torch.tensor([0, 1]), representations(2, 2)) == 0).all()


def test_facts_that_are_taken_out_are_in_no_prompt() -> None:
    full = graph_of(random_triples(4), 40, 4)
    left = full.without(full.triples[::7])
    asked = all_relations(left)
    prompts = extract(Topology(left), asked, rng=np.random.default_rng(0))
    query = asked[prompts.examples[:, 0]]
    assert left.contains(np.stack([prompts.examples[:, 1], query, prompts.examples[:, 2]], 1)).all()
    facts = {tuple(row) for row in left.triples.tolist()}
    forward = {(s, k, t) for _, _, _, s, k, t, _ in as_sets(prompts) if k < 4}
    assert forward <= facts


def test_an_example_is_absent_from_its_own_neighbourhood() -> None:
    prompts = extract(Topology(graph_of(random_triples(5), 40, 4)), np.arange(8))
    for place, a, b, s, k, t, _ in as_sets(prompts):
        assert not (k == place and (s, t) == (a, b))
        assert not (k == (place + 4) % 8 and (s, t) == (b, a))


def test_training_draws_are_seeded_and_fresh() -> None:
    topology = Topology(graph_of(random_triples(6, count=400), 40, 4))
    query, r = torch.arange(8), representations(8, 8)
    enhance = enhancer()
    draws = [enhance(topology, query, r, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    rng = np.random.default_rng(0)
    seen = {
        tuple(row) for _ in range(200) for row in extract(topology, np.array([3]), rng=rng).examples[:, 1:].tolist()
    }
    facts = topology.graph.triples
    assert seen == {(int(h), int(t)) for h, k, t in facts if k == 3}
    for _ in range(3):
        drawn = extract(topology, np.array([3]), rng=rng).examples
        assert len(np.unique(drawn, axis=0)) == 8


def test_examples_cover_the_strata_of_degree() -> None:
    """A relation with 40 facts at one hub and 40 between leaves: both kinds are among the examples."""
    hub = np.stack([np.zeros(40), np.zeros(40), np.arange(1, 41)], 1)
    pairs = np.stack([np.arange(41, 81), np.zeros(40), np.arange(81, 121)], 1)
    prompts = extract(Topology(graph_of(np.concatenate([hub, pairs]).astype(np.int32), 121, 1)), np.array([0]))
    assert len(np.unique(prompts.examples, axis=0)) == 8
    assert (prompts.examples[:, 1] == 0).sum() == 4


def test_results_do_not_depend_on_the_batch() -> None:
    topology = Topology(graph_of(random_triples(7), 40, 4))
    query, r = torch.tensor([3, 0, 6]), representations(3, 8)
    enhance = enhancer()
    together = enhance(topology, query, r)
    for i in range(3):
        torch.testing.assert_close(enhance(topology, query[i : i + 1], r[i : i + 1])[0], together[i], atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter_and_r() -> None:
    topology = Topology(graph_of(random_triples(8), 40, 4))
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
