"""Which questions complete a graph: where a link is missing, and no seconds where one answer is all."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from tests.conftest import graph_of, random_graph, small_model

from trivium import Graph, read_graph
from trivium.cli.demo import WORLD
from trivium.errors import InputError
from trivium.graph.names import Names
from trivium.inference import ranker as ranking
from trivium.inference.answers import Ids
from trivium.inference.complete import Appearance, Questions, estimate_seconds, open_questions
from trivium.inference.engine import Engine
from trivium.inference.ranker import Ranker

PEOPLE = 30


def countries() -> Graph:
    """Thirty countries with a continent, a capital and some neighbours; the last has no continent; cities lie about."""
    names = [f"{kind}{i}" for kind in ("country", "city") for i in range(PEOPLE)] + ["here", "there"]
    continent = [(i, 0, 2 * PEOPLE + i % 2) for i in range(PEOPLE - 1)]
    capital = [(i, 1, PEOPLE + i) for i in range(PEOPLE)]
    borders = [(i, 2, j) for i in range(PEOPLE) for j in ((i + 1) % PEOPLE, (i + 7) % PEOPLE)]
    return graph_of(continent + capital + borders, Names(names), Names(["continent", "capital", "borders"]))


def asked(questions: Questions) -> set[tuple[int, int]]:
    return set(zip(questions.heads.tolist(), questions.relations.tolist(), strict=True))


def test_what_is_missing_is_asked_and_no_seconds() -> None:
    graph = countries()
    found = open_questions(graph)
    assert asked(found) == {(PEOPLE - 1, 0)} | {(i, 2) for i in range(PEOPLE)}
    assert found.single.tolist() == [0, 1]
    assert found.held[found.relations == 0].tolist() == [0]
    seconds = open_questions(graph, also_second=True)
    assert asked(seconds) >= {(i, r) for i in range(PEOPLE) for r in (0, 1, 2)}
    assert seconds.heads[0] == PEOPLE - 1  # without an answer, so first
    with pytest.raises(InputError, match="nothing to ask"):
        open_questions(graph, ["capital"])


def test_heads_that_are_named_are_the_only_ones() -> None:
    graph = countries()
    city = np.array([PEOPLE, PEOPLE - 1])
    assert asked(open_questions(graph, heads=city)) == {(PEOPLE - 1, 0), (PEOPLE - 1, 2)}
    assert asked(open_questions(graph, ["continent"], city)) == {(PEOPLE - 1, 0), (PEOPLE, 0)}  # like or not
    both = open_questions(graph, ["capital", "borders"], both_directions=True)
    assert set(both.relations.tolist()) >= {2, 5}
    assert not asked(both) & {(i, r) for i in range(PEOPLE) for r in (1, 4)}  # no country is a capital


def test_what_holds_both_ways_is_asked_once() -> None:
    graph = countries()
    both = graph.both_ways(np.array([2]))
    found = open_questions(both, ["borders", "continent"], both_directions=True)
    assert set(found.relations.tolist()) == {0, 2, 3}
    assert asked(found) >= {(i, 2) for i in range(PEOPLE)}


def test_a_relation_of_few_facts_may_have_seconds() -> None:
    graph = countries()
    few = graph.without(graph.triples[(graph.triples[:, 1] == 1) & (graph.triples[:, 0] >= 10)])
    assert open_questions(few, ["capital"]).single.tolist() == []  # ten heads with one each prove little


@pytest.mark.parametrize("seed", range(4))
def test_questions_reach_what_the_demo_graph_lacks(seed: int) -> None:
    full = read_graph(WORLD)
    hidden = full.triples[np.random.default_rng(seed).choice(full.num_triples, 198, replace=False)]
    rest = full.without(hidden)
    found = asked(open_questions(rest))
    reached = np.array([(head, relation) in found for head, relation, _ in hidden.tolist()])
    assert reached.mean() >= 0.95
    for name in ("continent", "capital", "currency"):
        assert reached[hidden[:, 1] == full.relations.id(name, "relation")].all()
    assert len(found) <= len(np.unique(rest.triples[:, :2], axis=0))  # no more than the heads that have each relation


def slow_odds(graph: Graph, relation: int) -> NDArray[np.float64]:
    """Naive Bayes as its formula says, entity by entity."""
    has = graph.outgoing(np.arange(graph.num_entities))
    own = has[:, relation]
    odds = np.full(graph.num_entities, np.log((own.sum() + 1) / ((~own).sum() + 1)))
    for other in set(range(2 * graph.num_relations)) - {relation}:
        yes = (has[own, other].sum() + 1) / (own.sum() + 2)
        no = (has[~own, other].sum() + 1) / ((~own).sum() + 2)
        odds += np.where(has[:, other], np.log(yes / no), np.log((1 - yes) / (1 - no)))
    return odds


def test_likeness_equals_the_slow_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(1, 40, 4, 90)
    monkeypatch.setattr("trivium.inference.complete.CELLS", 3 * graph.num_entities)  # more blocks than one
    found = open_questions(graph, both_directions=True)
    for relation in range(2 * graph.num_relations):
        own, odds = graph.outgoing(np.arange(graph.num_entities))[:, relation], slow_odds(graph, relation)
        likely = [entity for entity in np.argsort(-odds, kind="stable").tolist() if odds[entity] >= 0]
        without = [entity for entity in likely if not own[entity]]
        here = found.heads[(found.relations == relation) & (found.held == 0)].tolist()
        assert here == without[: own.sum()]


def test_what_comes_up_for_most_questions() -> None:
    rows = [("a", "r", "x"), ("a", "r", "y"), ("b", "r", "x"), ("x", "r", "c"), ("x", "s", "c")]
    table = pl.DataFrame(rows, ["head", "relation", "tail"], orient="row")
    table = table.with_columns(asked=pl.Series(["tail", "tail", "tail", "head", "tail"]))
    found = Appearance.of(table)
    assert found.questions == 4  # (a, r, ?), (b, r, ?), (?, r, c), (x, s, ?)
    assert found.shares == {"x": 0.75, "c": 0.25, "y": 0.25}
    assert found.entropy == pytest.approx(-(0.6 * np.log2(0.6) + 2 * 0.2 * np.log2(0.2)))
    forward = Appearance.of(table[:3].drop("asked"))
    assert (forward.questions, forward.shares) == (2, {"x": 1.0, "y": 0.5})
    assert Appearance.of(table.clear()) == Appearance(0, {}, 0.0)


def test_what_a_large_graph_costs_is_known_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = Ranker(small_model(), random_graph(1, entities=50, relations=3, triples=200))
    assert isinstance(ranker.engine, Engine)
    assert 0 < ranker.engine.layer_seconds() < 1
    assert ranker.expected_seconds(3, 2) == 0  # a small graph
    monkeypatch.setattr(ranking, "FEW", 0)
    monkeypatch.setattr(Engine, "layer_seconds", lambda _: 2.0)
    monkeypatch.setattr(Ranker, "rank_ids", None)  # nothing is asked
    layers = len(ranker.engine.layers)
    assert ranker.expected_seconds(3, 2) == 2 * (20 + 5 * 2 + layers * 3)
    assert estimate_seconds(ranker, np.arange(3), np.zeros(3, np.int64)) == ranker.expected_seconds(3, 1)
    assert estimate_seconds(ranker, np.arange(40), np.arange(40) % 4) == ranker.expected_seconds(40, 4)
    assert ranker.within(10).expected_seconds(3, 2) == 2 * (20 + 5 * 2)


def test_a_relations_first_question_does_not_stand_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = Ranker(small_model(), random_graph(1, entities=50, relations=3, triples=200))
    clock = 0.0

    def rank_ids(_: Ranker, heads: Ids, relations: Ids, k: int) -> None:
        nonlocal clock
        clock += 3 * len(np.unique(relations)) + len(heads)

    monkeypatch.setattr(Ranker, "rank_ids", rank_ids)
    monkeypatch.setattr("trivium.inference.complete.time.monotonic", lambda: clock)
    for relations in (np.arange(400) % 7, np.zeros(400, np.int64), np.arange(400), np.arange(21)):
        expected = 3 * len(np.unique(relations)) + len(relations)
        assert estimate_seconds(ranker, np.zeros(len(relations), np.int64), relations) == expected


def test_a_part_has_fewer_questions_where_each_reaches_a_large_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = graph_of([(i, 0, (i + 1) % 400) for i in range(400)], 400, 1)  # three steps reach 7
    dense, heads = random_graph(1, entities=50, relations=3, triples=200), np.arange(50)
    for graph, edges, expected in ((dense, 100, 100), (dense, 1, 10), (dense, 500, 500), (ring, 20, 20 * 400 // 7**2)):
        monkeypatch.setattr(ranking, "PART_EDGES", edges * len(graph.sources))
        assert Ranker(small_model(), graph).part_size(heads, 500) == expected
    ranker = Ranker(small_model(), dense)
    monkeypatch.setattr(ranking, "PART_EDGES", 1)
    assert ranker.within(9).part_size(heads, 500) == ranker.part_size(heads[:0], 500) == 500
