"""The one rule for ties, ranks, margins and filters, against a slow statement of it and through every verb."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.conftest import graph_of, random_graph, small_model
from tests.reference import answers as slow
from torch import Tensor

from trivium.calibration.collect import ask
from trivium.explanation.explain import explain_ids
from trivium.inference.answers import (
    Answerable,
    Beyond,
    Ids,
    Reached,
    best_answers,
    both_directions,
    filtered_entities,
    ranks_and_margins,
    sharing,
)
from trivium.inference.ranker import Ranker

STEPS = [0.0, 2e-6, 0.5e-5, 0.8e-5, 0.99e-5, 1.0e-5, 1.01e-5, 3e-5, 1.0, 150.0]
"""From a score to the next: chains in which neighbours tie and their neighbours do not."""


@st.composite
def questions(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[int], list[int]]:
    """Scores in any order, filtered entities, and candidates."""
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=12))
    chain = draw(st.permutations((draw(st.sampled_from([-1.0, 0.0, 1.0])) - np.cumsum(steps)).tolist()))
    entities = st.lists(st.integers(0, len(chain) - 1), unique=True)
    return np.array(chain, np.float32), draw(entities), sorted(draw(entities))


@given(questions(), st.integers(1, 14))
def test_answers_equal_the_slow_statement(question: tuple[NDArray[np.float32], list[int], list[int]], k: int) -> None:
    scores, left_out, chosen = question
    check_answers(scores, scores, left_out, chosen, k)


@given(questions(), st.integers(1, 14), st.sets(st.integers(0, 11)), st.sampled_from([-2.0, 0.5e-5, 2.0]))
def test_answers_of_what_is_reached_are_those_of_all(
    question: tuple[NDArray[np.float32], list[int], list[int]], k: int, beyond: set[int], shift: float
) -> None:
    scores, left_out, chosen = question
    held = np.isin(np.arange(len(scores)), list(beyond), invert=True)
    held[0] = True
    ids = np.flatnonzero(held)
    reached = Reached(ids, scores[ids], Beyond(np.where(held, scores + np.float32(shift), scores)))
    np.testing.assert_array_equal(reached.every(), scores)
    check_answers(reached, scores, left_out, chosen, k)


def check_answers(
    given: Answerable, scores: NDArray[np.float32], left_out: list[int], chosen: list[int], k: int
) -> None:
    filtered, everybody = np.array(left_out, np.int64), range(len(scores))
    ranks, margins = ranks_and_margins(given, filtered, np.array(everybody))
    answers = set(everybody) - set(left_out)
    assert ranks.tolist() == [slow.rank(scores, answers, entity) for entity in everybody]
    np.testing.assert_array_equal(margins, [slow.margin(scores, answers, entity) for entity in everybody])
    for candidates in (None, np.array(chosen, np.int64)):
        among = answers if candidates is None else answers & set(chosen)
        for entity in everybody:
            every = [slow.rank(scores, among | {entity}, other) for other in among | {entity}]
            own = slow.rank(scores, among | {entity}, entity)
            assert sharing(given, filtered, entity, candidates) == every.count(own)
        ids, ranks, margins, tied = best_answers(given, k, filtered, candidates)
        everyone = [slow.rank(scores, among, entity) for entity in among]
        assert tied.tolist() == [everyone.count(rank) for rank in ranks.tolist()]
        assert ids.tolist() == slow.best(scores, among, k)
        assert ranks.tolist() == [slow.rank(scores, among, entity) for entity in ids.tolist()]
        np.testing.assert_array_equal(margins, [slow.margin(scores, among, entity) for entity in ids.tolist()])


def test_a_chain_by_hand() -> None:
    scores = np.array([1 - 1.6e-5, 1, 1 - 0.8e-5], np.float32)
    ids, ranks, margins, tied = best_answers(scores, 3, np.array([], np.int64))
    assert (ids.tolist(), ranks.tolist(), tied.tolist()) == ([1, 2, 0], [1, 1, 2], [2, 2, 1])
    np.testing.assert_allclose(margins, [0.8e-5, -0.8e-5, -1.6e-5], atol=1e-7)  # a float32's step at 1 is 6e-8
    assert best_answers(scores, 1, np.array([1]), np.array([0, 1]))[0].tolist() == [0]
    assert not len(best_answers(scores, 3, np.arange(3))[0])


def test_the_head_is_no_answer_unless_the_relation_has_loops() -> None:
    graph = graph_of([[0, 0, 1], [1, 1, 1], [0, 1, 2]], 3, 2)
    assert filtered_entities(graph, 0, 0).tolist() == [1, 0]
    assert filtered_entities(graph, 0, 1).tolist() == [2]
    assert filtered_entities(graph, 2, 3).tolist() == [0]
    more = graph_of([[0, 0, 2], [0, 0, 0]], 3, 2)
    assert set(filtered_entities(graph, 0, 0, more).tolist()) == {0, 1, 2}


def test_triples_are_asked_in_both_directions() -> None:
    heads, relations, answers = both_directions(np.array([[1, 0, 2], [3, 1, 4]], np.int32), 5)
    assert [heads.tolist(), relations.tolist(), answers.tolist()] == [[1, 3, 2, 4], [0, 1, 5, 6], [2, 4, 1, 3]]


class ChainRanker(Ranker):
    """Gives entity ``i`` the score ``1 - .8e-5 · i``, whatever is asked: neighbours tie, their neighbours do not."""

    def blocks(self, heads: Ids, relations: Ids, batch_size: int | None = None) -> Iterator[tuple[Ids, Ids, Tensor]]:
        for places, rows, scores in super().blocks(heads, relations, batch_size):
            chain = 1 - 0.8e-5 * torch.arange(scores.shape[1])
            yield places, rows, chain.expand(len(scores), -1).contiguous()


@pytest.fixture
def ranker() -> ChainRanker:
    return ChainRanker(small_model(), random_graph(0, entities=40, relations=3, triples=150))


def test_every_verb_gives_an_answer_the_same_rank(ranker: ChainRanker) -> None:
    fact = ranker.graph.triples[40]
    head, relation = fact[:2].tolist()
    rest = ChainRanker(ranker.model, ranker.graph.without(fact[None]))
    table = rest.rank(str(head), str(relation), k=40)
    ranked = {int(tail): rank for tail, rank in table["tail", "rank"].rows()}
    assert 1 < len(set(ranked.values())) < len(ranked)  # some tie
    scored = rest.score([(str(head), str(relation), str(tail)) for tail in ranked])
    assert scored["tail_rank"].to_list() == list(ranked.values())
    assert scored["tail_tied"].to_list() == table["tied"].to_list()
    asked = ask(rest, graph_of(fact[None], 40, 3))
    mine = asked.relations == relation
    entities = np.round((1 - asked.scores[mine]) / 0.8e-5).astype(int).tolist()
    assert asked.ranks[mine].tolist() == [ranked[entity] for entity in entities]
    for tail in list(ranked)[:4]:
        assert explain_ids(rest, head, relation, tail, 1).rank == ranked[tail]
