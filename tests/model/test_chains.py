"""Chains beside a slow statement: what joins the facts, what it leads to, how often that is right."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from tests.conftest import SMALL, graph_of, random_graph, renamed, small_model

from trivium.explanation.explain import explain_ids
from trivium.graph.graph import Graph, inverse
from trivium.inference.ranker import Ranker
from trivium.model.chains import PRIOR
from trivium.model.topology import Topology

WITH = replace(SMALL, use_chains=True)


def edges_of(graph: Graph) -> set[tuple[int, int, int]]:
    facts = graph.triples.tolist()
    return {(h, r, t) for h, r, t in facts} | {(t, inverse(r, graph.num_relations), h) for h, r, t in facts}


def ends(edges: set[tuple[int, int, int]], start: int, chain: tuple[int, ...]) -> set[int]:
    reached = {start}
    for relation in chain:
        reached = {t for h, r, t in edges if r == relation and h in reached}
    return reached


def slow_chains(graph: Graph, query: int, length: int) -> dict[tuple[int, ...], float]:
    """Each chain that joins the ends of a fact through others than these, and the share of its ends that are right."""
    edges, count = edges_of(graph), 2 * graph.num_relations
    joined: Counter[tuple[int, ...]] = Counter()
    for a, r, b in edges:
        if r != query:
            continue
        found: set[tuple[int, ...]] = {(x,) for h, x, t in edges if (h, t) == (a, b) and x != query}
        if length > 1:
            steps = [(x, m) for h, x, m in edges if h == a and m not in (a, b)]
            found |= {(x, y) for x, m in steps for h, y, t in edges if (h, t) == (m, b)}
            if length > 2:
                found |= {
                    (x, y, z)
                    for (x, m), (h, y, w), (v, z, t) in product(steps, edges, edges)
                    if h == m and v == w and t == b and w not in (a, b, m)
                }
        joined.update(found)
    out = {}
    for chain in joined:
        pairs = {(h, e) for h, r, _ in edges if r == chain[0] for e in ends(edges, h, chain) if e != h}
        right = sum((h, query, e) in edges for h, e in pairs)
        if right:
            out[chain] = right / (len(pairs) + PRIOR)
    assert all(0 <= r < count for chain in out for r in chain)
    return out


def spelt(code: int, count: int) -> tuple[int, ...]:
    digits = [code // (count + 1) ** place % (count + 1) for place in (2, 1, 0)]
    return tuple(digit - 1 for digit in digits if digit)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_chains_and_confidences_are_those_of_the_slow_statement(length: int) -> None:
    graph = random_graph(2, entities=9, relations=2, triples=16)
    index = Topology(graph).chain_index
    for query in range(4):
        codes, confidences = index.mined(query, length)
        found = {spelt(code, 4): c for code, c in zip(codes.tolist(), confidences.tolist(), strict=True)}
        assert found == pytest.approx(slow_chains(graph, query, length))
        assert (np.diff(confidences) <= 0).all()


def test_evidence_is_the_chance_that_not_every_chain_is_wrong() -> None:
    graph = random_graph(2, entities=9, relations=2, triples=16)
    index, edges = Topology(graph).chain_index, edges_of(graph)
    chains = slow_chains(graph, 1, 3)
    wanted = np.zeros((9, 9))
    for head in range(9):
        for chain, confidence in chains.items():
            reached = sorted(ends(edges, head, chain))
            wanted[head, reached] = 1 - (1 - wanted[head, reached]) * (1 - confidence * (1 if len(chain) == 1 else 0.1))
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(index.evidence(np.arange(9), 1, 3), wanted, atol=1e-6)


def test_renaming_changes_no_chain() -> None:
    graph = random_graph(4, entities=300, relations=3, triples=900)
    rng = np.random.default_rng(0)
    entities, relations = rng.permutation(300), np.array([2, 0, 1])
    names = graph.entities.names.gather(np.argsort(entities)).to_list()
    other = renamed(graph, entities, relations)
    other = graph_of(other.triples, type(graph.entities)(names), 3)  # the same names at other ids
    heads = np.arange(300)
    one = Topology(graph).chain_index.evidence(heads, 0, 3)
    two = Topology(other).chain_index.evidence(entities[heads], 2, 3)
    np.testing.assert_allclose(two[:, entities], one, atol=1e-6)


def test_the_engine_adds_what_the_model_adds_and_disabling_takes_it_away() -> None:
    graph = random_graph(1)
    model = small_model(WITH)
    with torch.no_grad():
        assert model.chains is not None
        model.chains.log_gain.fill_(0.3)
    ranker = Ranker(model, graph, texts=None)
    heads, relations = np.arange(12), np.arange(12) % 8
    with torch.no_grad():
        slow = model(ranker.topology, torch.from_numpy(heads), torch.from_numpy(relations))
    np.testing.assert_allclose(ranker.scores(heads, relations), slow, atol=1e-5)
    assert torch.equal(ranker.scores(heads, relations, batch_size=1), ranker.scores(heads, relations, batch_size=12))
    plain = small_model()
    plain.load_state_dict(model.state_dict(), strict=False)
    without = Ranker(model, graph, texts=None, disabled=["chains"]).scores(heads, relations)
    assert torch.equal(without, Ranker(plain, graph, texts=None).scores(heads, relations))
    assert not torch.allclose(without, slow, atol=0.1)


def test_a_relation_without_facts_has_no_chains() -> None:
    graph = random_graph(1).with_relation("new")
    index = Topology(graph).chain_index
    assert not index.evidence(np.arange(5), graph.num_relations - 1, 3).any()


def test_the_gain_and_the_scale_learn() -> None:
    graph, model = random_graph(1), small_model(WITH)
    model(Topology(graph), torch.tensor([0, 1]), torch.tensor([0, 5])).square().sum().backward()
    assert model.chains is not None
    for parameter in model.chains.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


def test_an_explanation_names_the_chains_that_lead_there() -> None:
    graph = random_graph(1)
    ranker = Ranker(small_model(WITH), graph, texts=None)
    plain = Ranker(ranker.model, graph, texts=None, disabled=["chains"])
    index = ranker.topology.chain_index
    tail = int(index.evidence(np.array([0]), 1, 3)[0].argmax())
    found = explain_ids(ranker, 0, 1, tail).leaned_on
    assert len(found["chains"]) <= 5
    chain = tuple(int(n.split()[0]) + 4 * n.endswith("(inverse)") for n in found["chains"][0]["relations"])
    assert tail in ends(edges_of(graph), 0, chain)
    assert found["chains"][0]["confidence"] == pytest.approx(slow_chains(graph, 1, 3)[chain])
    gained = ranker.scores(np.array([0]), np.array([1])) - plain.scores(np.array([0]), np.array([1]))
    assert found["raised"] == pytest.approx(float(gained[0, tail]), abs=1e-5)
    assert "Chains that lead there" in explain_ids(ranker, 0, 1, tail).words[-1]
    assert "chains" not in explain_ids(plain, 0, 1, tail).leaned_on
