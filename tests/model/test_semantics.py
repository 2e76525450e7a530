"""The textual stream: against its formula, its invariances, and exactly nothing where there is no text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import random_graph, small_model
from torch import Tensor

from trivium.model.config import ModelConfig
from trivium.model.semantics import Combiner, SemanticEncoder, Semantics, kept_texts, text_nearest
from trivium.model.topology import Topology
from trivium.text.graph import TextGraph

RELATIONS, TEXT, DIM = 7, 12, 6


def text_graph(seed: int = 0, silent: tuple[int, ...] = (), threshold: float = 0.5) -> TextGraph:
    """Random texts; the relations named in ``silent`` have none, and neither have their inverses."""
    vectors = np.random.default_rng(seed).normal(size=(2 * RELATIONS, TEXT)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[node for relation in silent for node in (relation, relation + RELATIONS)]] = 0
    return TextGraph.from_vectors(vectors, threshold, nearest=3)


def trained(seed: int = 0) -> Semantics:
    """As training might leave it: nothing is zero any more."""
    torch.manual_seed(seed)
    semantics = Semantics(TEXT, DIM)
    for parameter in semantics.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return semantics


def all_but(*nodes: int) -> Tensor:
    mask = torch.ones(2 * RELATIONS, dtype=torch.bool)
    mask[list(nodes)] = False
    return mask


def structure(seed: int = 1, batch: int = 3) -> Tensor:
    return torch.randn(batch, 2 * RELATIONS, DIM, generator=torch.Generator().manual_seed(seed))


def written_out(encoder: SemanticEncoder, graph: TextGraph, known: list[bool]) -> Tensor:
    """The encoder's formula, one node at a time."""
    state = [
        encoder.start(encoder.project(vector)) if has else torch.zeros(DIM)
        for vector, has in zip(graph.vectors, known, strict=True)
    ]
    for linear, norm in zip(encoder.linear, encoder.norm, strict=True):
        after = []
        for i, own in enumerate(state):
            run = range(int(graph.edges.offsets[i]), int(graph.edges.offsets[i + 1]))
            ends = [(float(graph.weight[e]), int(graph.edges.sources[e])) for e in run]
            near = [(weight, j) for weight, j in ends if known[j]]
            total = sum(weight for weight, _ in near)
            mean = sum((weight * state[j] for weight, j in near), torch.zeros(DIM)) / max(total, 1e-6)
            inverse = state[(i + RELATIONS) % (2 * RELATIONS)]
            after.append(own + torch.relu(norm(linear(torch.cat([own, mean, inverse])))) if known[i] else own)
        state = after
    return torch.stack(state)[None]


@pytest.mark.parametrize("dropped", [(), (2, 9, 4)])
def test_encoder_is_its_formula(dropped: tuple[int, ...]) -> None:
    graph, encoder = text_graph(silent=(5,)), trained().encoder
    kept = all_but(*dropped)
    found = encoder(graph, kept)
    expected = written_out(encoder, graph, (kept & graph.has_text).tolist())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_an_untrained_combiner_is_the_structural_model_bit_for_bit() -> None:
    torch.manual_seed(0)
    r = structure()
    assert torch.equal(Semantics(TEXT, DIM)(r, text_graph()), r)


def test_relations_without_text_keep_their_row_bit_for_bit() -> None:
    r = structure()
    found = trained()(r, text_graph(silent=(1, 5)))
    others = all_but(1, 5, 1 + RELATIONS, 5 + RELATIONS)
    assert torch.equal(found[:, ~others], r[:, ~others])
    assert ((found - r)[:, others].abs().amax(-1) > 1e-3).all()


def test_a_graph_without_text_keeps_every_row_bit_for_bit() -> None:
    r, semantics = structure(), trained()
    mute = text_graph(silent=tuple(range(RELATIONS)))
    for found in (semantics(r, None), semantics(r, mute), semantics(r, text_graph(), ~all_but())):
        assert torch.equal(found, r)


def test_a_dropped_text_reaches_nobody() -> None:
    """What a dropped text said makes no difference, and infinity times zero is not let in."""
    graph, semantics = text_graph(), trained()
    kept = all_but(3, 3 + RELATIONS)
    other = graph.vectors.clone()
    other[[3, 3 + RELATIONS]] = torch.nan
    changed = replace(graph, vectors=other)
    first, second = (semantics(structure(), g, kept) for g in (graph, changed))
    assert torch.equal(first, second)


def test_numbering_the_relations_otherwise_changes_nothing() -> None:
    graph, semantics, r = text_graph(silent=(6,)), trained(), structure()
    order = np.random.default_rng(3).permutation(RELATIONS)
    nodes = np.concatenate([order, order + RELATIONS])
    renamed = TextGraph.from_vectors(graph.vectors.numpy()[nodes], graph.threshold, nearest=3)
    assert len(renamed.weight) == len(graph.weight)
    found = semantics(r[:, nodes], renamed)
    expected = semantics(r, graph)[:, nodes]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_one_pass_serves_every_query() -> None:
    texts, semantics, r = text_graph(), trained(), structure()
    held = semantics.encoder(texts)
    assert held.shape == (1, 2 * RELATIONS, DIM)
    assert torch.equal(semantics(r, texts, text=held), semantics(r, texts))
    one_by_one = torch.cat([semantics(r[i : i + 1], texts) for i in range(len(r))])
    torch.testing.assert_close(semantics(r, texts), one_by_one, rtol=1e-5, atol=1e-6)  # another matrix shape


def test_combiner_is_its_formula() -> None:
    torch.manual_seed(0)
    combiner, r, text = trained().combiner, structure(), torch.randn(1, 2 * RELATIONS, DIM)
    found = combiner(r, text, all_but())
    both = torch.cat([r, text.expand_as(r)], -1)
    torch.testing.assert_close(found, r + combiner.gate * combiner.linear(both), rtol=1e-5, atol=1e-5)


def test_gradients_of_the_combiner() -> None:
    torch.manual_seed(0)
    combiner = Combiner(2).double()
    torch.nn.init.normal_(combiner.linear.weight)
    known = torch.tensor([True, False])
    inputs = [torch.randn(b, 2, 2, dtype=torch.float64, requires_grad=True) for b in (2, 1)]
    assert torch.autograd.gradcheck(lambda r, text: combiner(r, text, known), inputs)


def test_gradients_reach_every_part_after_one_step() -> None:
    """The zero start holds back the encoder and the gate for one step, not longer."""
    torch.manual_seed(0)
    semantics, texts, r = Semantics(TEXT, DIM), text_graph(), structure()
    goal = structure(seed=9)
    optimizer = torch.optim.SGD(semantics.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        ((semantics(r, texts) - goal) ** 2).sum().backward()
        optimizer.step()
    still = [name for name, p in semantics.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def test_text_dropout_takes_pairs_or_all() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [kept_texts(20, 0.25, 0.3, generator) for _ in range(400)]
    assert all(torch.equal(kept[:20], kept[20:]) for kept in drawn)
    mute = sum(not kept.any() for kept in drawn) / len(drawn)
    assert 0.2 < mute < 0.4  # 0.3 ± 4 standard errors
    shares = torch.stack([kept for kept in drawn if kept.any()]).float().mean()
    assert 0.72 < float(shares) < 0.78
    assert kept_texts(5, 0.0, 0.0, generator).all()
    again = kept_texts(20, 0.25, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(again, drawn[0])


def test_the_nearest_by_text_that_have_edges_stand_for_one_without() -> None:
    texts = text_graph(silent=(3,))
    has_edges = all_but(1, 1 + RELATIONS, 3, 3 + RELATIONS)  # 3 has no text either
    query = torch.tensor([0, 1, 3])
    weights = text_nearest(texts, query, has_edges)
    assert weights is not None
    assert not weights[[0, 2]].any()  # one has edges, the other nothing at all
    cosine = texts.vectors[1] @ texts.vectors.T
    expected = sorted((i for i in range(2 * RELATIONS) if has_edges[i]), key=lambda i: -float(cosine[i]))[:5]
    assert sorted(weights[1].nonzero()[:, 0].tolist()) == sorted(expected)
    by_hand = torch.softmax(cosine[expected] / 0.1, 0)
    assert torch.allclose(weights[1, expected], by_hand, atol=1e-6)
    assert text_nearest(texts, query, has_edges, all_but(1)) is None  # its text was dropped
    assert text_nearest(texts, torch.tensor([0]), has_edges) is None


def test_what_a_relation_leads_to_counts_for_half() -> None:
    texts = text_graph()
    has_edges = all_but(1, 1 + RELATIONS)
    ends = torch.zeros_like(texts.ends)
    ends[[1, 4], 0] = 1  # only the fourth leads to the same as the first
    weights = text_nearest(replace(texts, ends=ends), torch.tensor([1]), has_edges)
    assert weights is not None
    cosine = texts.vectors[1] @ texts.vectors.T
    other = int(next(i for i in weights[0].nonzero()[:, 0] if i != 4))
    ratio = ((cosine[4] - cosine[other] + 1) / 2 / 0.1).exp()
    assert torch.isclose(weights[0, 4] / weights[0, other], ratio)
    # where it is not known what they lead to, what they come from counts
    turned = text_nearest(replace(texts, ends=ends.roll(RELATIONS, 0)), torch.tensor([1]), has_edges)
    assert turned is not None and torch.allclose(turned, weights)


def test_a_relation_without_edges_is_seen_through_its_text_nearest() -> None:
    model = small_model(ModelConfig(dim=32, layers=2, structure_dim=16, text_encoder="any", text_dim=TEXT))
    graph = random_graph(0, entities=40, relations=RELATIONS, triples=120)
    graph = graph.without(graph.triples[graph.triples[:, 1] == 1])
    topology = Topology(graph, text_graph())
    query = torch.tensor([0, 1, 1 + RELATIONS])
    assert topology.texts is not None
    weights = text_nearest(topology.texts, query, topology.has_edges)
    assert weights is not None and not weights[0].any()
    with torch.no_grad():
        seen = model.relation_representations(topology, query)
        every = model.relation_representations(topology, torch.arange(2 * RELATIONS)[topology.has_edges])
        alone = model.relation_representations(topology, query[:1])
    full = torch.zeros(2 * RELATIONS, *every.shape[1:])
    full[topology.has_edges] = every
    for row in (1, 2):
        mixed = sum(weight * full[node] for node, weight in enumerate(weights[row]))
        assert isinstance(mixed, Tensor)
        mixed[query[row]] = sum(weight * full[node, node] for node, weight in enumerate(weights[row]))
        assert torch.allclose(seen[row], mixed, atol=1e-5)
    assert torch.allclose(seen[0], alone[0], atol=1e-6)
