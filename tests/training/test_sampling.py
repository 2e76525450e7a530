"""Training examples: what they show, hide and mask; synthetic graphs; the loss by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import random_graph

from trivium.datasets.synthetic import synthesize
from trivium.graph.graph import inverse
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.loss import softmax_loss
from trivium.training.sampling import Batches, Example, example

SHAPE = TrainingConfig(
    (SourceConfig("g"),), min_entities=40, max_entities=60, work=1_000.0, min_questions=4, max_questions=8
)


def drawn(seed: int, relations: int = 5, unseen: bool = False, sparse: bool = False, **shape: Any) -> Example:
    graph = random_graph(0, entities=200, relations=relations, triples=1500)
    return example(graph, np.random.default_rng(seed), replace(SHAPE, **shape), unseen=unseen, sparse=sparse)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sparse", [False, True])
def test_the_questions_own_facts_are_hidden_and_their_answers_masked(seed: int, sparse: bool) -> None:
    e = drawn(seed, sparse=sparse, min_density=1.0, max_density=2.0)
    assert e.graph.num_entities <= 60 and (sparse or e.graph.num_entities >= 40)
    assert 4 <= len(e.head) <= 8
    for i, (h, q, a) in enumerate(zip(e.head.tolist(), e.query.tolist(), e.answer.tolist(), strict=True)):
        assert a not in e.graph.answers(h, q)
        assert h not in e.graph.answers(a, inverse(q, e.graph.num_relations))
        assert e.known[i, a]
        assert e.known[i, e.graph.answers(h, q)].all()  # what the graph still shows is no negative either


@pytest.mark.parametrize("seed", range(8))
def test_a_sparse_subgraph_has_the_density_asked_for_and_no_entity_without_a_fact(seed: int) -> None:
    e = drawn(seed, sparse=True, min_density=1.0, max_density=2.0)
    triples = e.graph.num_triples + len(e.head)
    assert triples <= 2 * 60 + 2
    touched = {int(i) for i in e.graph.triples[:, [0, 2]].ravel()} | set(e.head.tolist()) | set(e.answer.tolist())
    assert touched == set(range(e.graph.num_entities))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("others", [0.0, 0.9])
def test_of_an_unseen_relation_no_fact_is_shown(seed: int, others: float) -> None:
    e = drawn(seed, relations=20 if others else 5, unseen=True, unseen_others=others)
    asked = set((e.query % e.graph.num_relations).tolist())
    assert others or len(asked) == 1
    assert asked.isdisjoint(e.graph.triples[:, 1].tolist())
    assert len(e.graph.triples) > 0


@pytest.mark.parametrize("seed", range(8))
def test_answers_may_lose_their_other_facts_at_that_end(seed: int) -> None:
    lone, usual = (
        [len(e.graph.answers(a, inverse(q, 5))) for a, q in zip(e.answer.tolist(), e.query.tolist(), strict=True)]
        for e in (drawn(seed, half_share=share) for share in (1.0, 0.0))
    )
    assert not any(lone)
    assert any(usual)


def test_that_share_varies_from_subgraph_to_subgraph() -> None:
    examples = [drawn(seed, relations=20, unseen=True, unseen_others=0.9) for seed in range(20)]
    left = [len(np.unique(e.graph.triples[:, 1])) for e in examples]
    assert min(left) < 8 and max(left) > 16


def test_both_directions_are_asked() -> None:
    turned = [bool(q >= e.graph.num_relations) for e in map(drawn, range(8)) for q in e.query]
    assert 0.2 < np.mean(turned) < 0.8


def test_the_subgraph_is_connected_before_facts_are_hidden() -> None:
    graph = random_graph(0, entities=300, relations=2, triples=290)  # many components
    e = example(graph, np.random.default_rng(0), replace(SHAPE, min_questions=1, max_questions=1))
    reached, frontier = {0}, [0]
    edges = [(h, t) for h, _, t in e.graph.triples.tolist()] + [(int(e.head[0]), int(e.answer[0]))]
    while frontier:
        entity = frontier.pop()
        for h, t in edges:
            for a, b in ((h, t), (t, h)):
                if a == entity and b not in reached:
                    reached.add(b)
                    frontier.append(b)
    assert len(reached) == e.graph.num_entities


def test_a_batch_is_a_pure_function_of_seed_and_number() -> None:
    sources = (SourceConfig("a", 1.0), SourceConfig("synthetic", 1.0))
    config = TrainingConfig(sources, seed=3, min_entities=40, max_entities=60, max_questions=8)
    graphs = {"a": random_graph(0, entities=200, relations=5, triples=1500)}
    first = [Batches(config, graphs).subgraph(k) for k in range(6)]
    batches = Batches(config, graphs)
    for k in (5, 0, 3):  # in any order
        name, again = batches.subgraph(k)
        assert name == first[k][0]
        assert torch.equal(again.answer, first[k][1].answer)
        np.testing.assert_array_equal(again.graph.sources, first[k][1].graph.sources)
    assert {name for name, _ in first} == {"a", "synthetic"}
    assert not torch.equal(first[0][1].head, first[1][1].head)


def test_synthetic_graphs_hold_what_their_rules_say() -> None:
    graph = synthesize(7)
    again = synthesize(7)
    assert graph.sha256 == again.sha256 != synthesize(8).sha256
    asked = synthesize(1, entities=500, base_relations=20, rules=5, triples_per_relation=100)
    assert asked.num_entities == 500
    assert 20 <= asked.num_relations <= 25
    # rules leave their mark: some relation follows from others far above chance
    best = 0.0
    for seed in range(5):
        world = synthesize([9, seed])
        pairs: list[set[tuple[int, int]]] = [set() for _ in range(world.num_relations)]
        for h, r, t in world.triples.tolist():
            pairs[r].add((h, t))
        turned = [{(t, h) for h, t in p} for p in pairs]
        large = [p for p in pairs if len(p) > 20]
        best = max([best, *(len(p & q) / len(p) for p in large for q in (*pairs, *turned) if p is not q)])
    assert best > 0.4


def test_the_loss_by_hand() -> None:
    """Scores 1, 0, -1, 2: the answer is the first, the last is known too, so the negatives are 0 and -1."""
    scores = torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    known = torch.tensor([[True, False, False, True]])
    expected = -np.log(np.exp(1) / np.exp([1.0, 0.0, -1.0]).sum())
    assert softmax_loss(scores, torch.tensor([0]), known).item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_stands_a_question_that_everything_answers() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    loss = softmax_loss(scores, torch.tensor([0]), torch.ones(1, 3, dtype=torch.bool))
    loss.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
