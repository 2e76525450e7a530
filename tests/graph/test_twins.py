"""Relations that say the same: found, and what follows for a fact that is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import PLAIN, Run, graph_of, random_graph, renamed, small_model
from trivium.calibration.collect import hide
from trivium.explanation.explain import explain_ids
from trivium.graph.graph import TWIN_PAIRS, TWIN_SHARE, Graph
from trivium.graph.hold_out import divided, hold_out
from trivium.graph.read import read_graph
from trivium.inference.answers import filtered_entities
from trivium.inference.ranker import Ranker

SMALL = replace(PLAIN, dim=32, layers=2, structure_steps=2)
N, R = 40, 5
LIKE, OTHER, SYMMETRIC, TURNED, SAME = range(R)


def family(seed: int, share: float = 1.0, facts: int = 60) -> Graph:
    """LIKE and OTHER at random; SYMMETRIC both ways round; TURNED is LIKE turned round, SAME is LIKE, each with so many
    of its facts, and as many of its own."""
    rng = np.random.default_rng(seed)
    like, other, both = (np.unique(rng.integers(0, N, (facts, 2)), axis=0) for _ in range(3))
    both = both[both[:, 0] != both[:, 1]]
    own = rng.integers(0, N, (2, len(like), 2))
    kept = rng.random((3, len(like))) < share
    parts = {
        LIKE: like,
        OTHER: other,
        SYMMETRIC: np.concatenate([both, both[: round(share * len(both)), ::-1]]),
        TURNED: np.concatenate([like[kept[0], ::-1], own[0][~kept[0]]]),
        SAME: np.concatenate([like[kept[1]], own[1][~kept[1]]]),
    }
    triples = [np.insert(pairs, 1, relation, axis=1) for relation, pairs in parts.items()]
    return graph_of(np.concatenate(triples), N, R)


def slow_twins(graph: Graph) -> list[int]:
    """By sets of pairs, all kinds against all."""
    count = graph.num_relations
    held: list[set[tuple[int, int]]] = [set() for _ in range(2 * count)]
    for h, r, t in graph.triples.tolist():
        if h != t:
            held[r].add((h, t))
            held[r + count].add((t, h))
    ends = [{e for h, q, t in graph.triples.tolist() if q == r for e in (h, t)} for r in range(count)] * 2
    group = list(range(2 * count))
    for a in range(2 * count):
        for b in range(2 * count):
            shared = held[a] & held[b]
            if a == b or len(shared) < TWIN_PAIRS * (2 if abs(a - b) == count else 1):
                continue
            share = len(shared) / max(len(held[a]), len(held[b]))
            chance = max(len(held[a]) / len(ends[a]) ** 2, len(held[b]) / len(ends[b]) ** 2)
            if share - chance >= TWIN_SHARE * (1 - chance):
                one, other = sorted((group[a], group[b]))
                group = [one if label == other else label for label in group]
    return group


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 1), st.integers(3, 80))
def test_twins_are_those_of_a_comparison_of_all_with_all(seed: int, share: float, facts: int) -> None:
    graph = family(seed, share, facts)
    assert graph.twins.tolist() == slow_twins(graph)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.7, 1))
def test_names_change_nothing(seed: int, share: float) -> None:
    graph, rng = family(seed, share), np.random.default_rng(seed)
    relations = rng.permutation(R)
    other = renamed(graph, rng.permutation(N), relations)
    place = np.concatenate([relations, relations + R])

    def alike(twins: NDArray[np.int64]) -> list[list[bool]]:
        return (twins[:, None] == twins).tolist()  # type: ignore[no-any-return]

    assert alike(other.twins[place]) == alike(graph.twins)


def test_the_three_kinds_of_twins_and_none_else() -> None:
    found = family(0).twins.tolist()
    assert found == [LIKE, OTHER, SYMMETRIC, TURNED, LIKE, TURNED, OTHER + R, SYMMETRIC, LIKE, TURNED]
    assert family(0, 0.9).twins.tolist() == found
    assert family(0, 0.4).twins.tolist() == list(range(2 * R))


def test_what_implies_is_no_twin_nor_what_fills_its_entities_nor_a_handful() -> None:
    rng = np.random.default_rng(0)
    wide = np.unique(rng.integers(0, N, (80, 2)), axis=0)
    full = np.array([(h, t) for h in range(6) for t in range(6) if h != t])
    pairs = {0: wide, 1: wide[::2], 2: full[rng.random(30) < 0.85], 3: wide[:4]}
    triples = np.concatenate([np.insert(some, 1, relation, axis=1) for relation, some in pairs.items()])
    graph = graph_of(triples, N, 4)
    assert graph.twins.tolist() == list(range(8))


def test_two_entities_that_many_relations_join_cost_nothing() -> None:
    one = np.array([[0, relation, 1] for relation in range(3000)])
    graph = graph_of(np.concatenate([one, np.insert(np.arange(80).reshape(40, 2) % 39 + 2, 1, 0, axis=1)]), 41, 3000)
    assert (graph.twins == np.arange(6000)).all()


def test_copies_are_what_says_the_same() -> None:
    graph = graph_of(np.concatenate([family(0).triples, [[3, LIKE, 3]]]), N, R)
    h, _, t = next(fact for fact in graph.triples.tolist() if fact[1] == LIKE and fact[0] != fact[2])
    copies = [[t, TURNED, h], [h, SAME, t]]
    places, found = graph.copies(np.array([[h, OTHER, t], [h, LIKE, t], [t, LIKE + R, h], [3, LIKE, 3]]))
    assert places.tolist() == [1, 1, 2, 2]
    assert sorted(found[:2].tolist()) == sorted(found[2:].tolist()) == sorted(copies)
    rest = graph.less(np.array([[h, LIKE, t]]))
    assert rest.num_triples == graph.num_triples - 3
    assert not rest.contains(np.array([[h, LIKE, t], *copies])).any()
    assert (rest.twins == graph.twins).all()
    alone = graph.without(np.array([[h, LIKE, t], copies[0]]))
    alone.twins = graph.twins
    assert alone.knows(np.array([[h, LIKE, t], [h, OTHER, t]])).tolist() == [True, False]
    assert t in alone.told(h, LIKE).tolist()
    assert t in filtered_entities(alone, h, LIKE).tolist()
    assert t not in alone.answers(h, LIKE).tolist()


@pytest.mark.parametrize("held", [[0], [1], [2], [0, 1, 2]], ids=["itself", "turned", "the same", "all"])
def test_a_fact_is_judged_alike_however_it_is_stored(held: list[int]) -> None:
    graph = family(1)
    h, t = 0, next(e for e in range(1, N) if e not in graph.told(0, LIKE))
    ways = np.array([[h, LIKE, t], [t, TURNED, h], [h, SAME, t]])
    model = small_model(SMALL)
    ranker = Ranker(model, graph.with_triples(ways[held].astype(np.int32)), texts=None)
    expected = Ranker(model, graph, texts=None).score_ids(ways[:1])
    found = ranker.score_ids(ways[:1])
    assert found["known"].to_list() == [True]
    assert found.drop("known").equals(expected.drop("known"))
    explained = explain_ids(ranker, h, LIKE, t)
    assert explained.known
    assert explained.rank == found["tail_rank"][0]


def test_held_out_facts_leave_with_their_copies_and_strand_nothing() -> None:
    graph = family(2)
    order = graph.triples[np.random.default_rng(0).permutation(graph.num_triples)]
    taken = hold_out(graph, order, 50)
    assert 50 <= len(taken) <= 52
    assert graph.contains(taken).all()
    rest = graph.less(taken)
    assert rest.num_triples == graph.num_triples - len(taken)
    assert not rest.knows(taken).any()
    assert ((np.diff(rest.offsets) > 0) == (np.diff(graph.offsets) > 0)).all()
    assert set(rest.triples[:, 1]) == set(graph.triples[:, 1])
    everything = hold_out(graph, order, 10**6)
    assert 100 < len(everything) < graph.num_triples
    assert (np.diff(graph.less(everything).offsets)[np.diff(graph.offsets) > 0] > 0).all()
    left, hidden = hide(graph, 0.1, 1000, 0)
    assert not left.knows(hidden.triples).any()
    plain = random_graph(0, 60, 4, 300)
    assert len(hold_out(plain, plain.triples, 30)) == 30


def test_info_shows_them(tmp_path: Path, command: Run) -> None:
    graph = family(0)
    graph.named(graph.triples).write_csv(tmp_path / "g.csv")
    status, out, _ = command("info", tmp_path / "g.csv")
    assert status == 0
    shown = [line.split() for line in out.split("\ntwins\n")[1].splitlines()[1:]]
    assert shown == [["0", "4"], ["0", "3", "yes"], ["2", "2", "yes"]]
    told = json.loads(command("info", tmp_path / "g.csv", "--json")[1])
    assert told["twins"] == [
        {"relation": "0", "twin": "4", "turned": False},
        {"relation": "0", "twin": "3", "turned": True},
        {"relation": "2", "twin": "2", "turned": True},
    ]
    assert told["graph"]["triples"] == graph.num_triples == sum(told["relations"].values())
    plain = random_graph(0)
    plain.named(plain.triples).write_csv(tmp_path / "p.csv")
    assert "twins" not in command("info", tmp_path / "p.csv")[1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 1))
def test_a_graph_is_divided_by_relation_and_copies_stay_together(seed: int, share: float) -> None:
    graph = family(seed, share, 100)
    train, test, valid = parts = divided(graph, [0.1, 0.05], seed)
    assert sorted(np.concatenate(parts).tolist()) == sorted(graph.triples.tolist())
    for part in parts:
        rest = graph.without(part)
        rest.twins = graph.twins
        assert not rest.knows(part).any()
        assert part.tolist() == sorted(part.tolist())
    held = graph.without(np.concatenate([test, valid]))
    assert sorted(held.triples.tolist()) == train.tolist()
    assert ((np.diff(held.offsets) > 0) == (np.diff(graph.offsets) > 0)).all()
    sizes = np.bincount(graph.triples[:, 1], minlength=R)
    assert (np.bincount(train[:, 1], minlength=R) > 0).all()
    for part, asked in ((test, 0.1), (valid, 0.05)):
        taken = np.bincount(part[:, 1], minlength=R)
        assert (abs(taken - asked * sizes)[[OTHER, SYMMETRIC]] < 2).all()  # a copy more, or what chance drew
        assert taken.sum() <= asked * sizes.sum() + 2 * R
    assert all((one == again).all() for one, again in zip(parts, divided(graph, [0.1, 0.05], seed), strict=True))
    assert divided(graph, [0.1], seed + 1)[1].tolist() != test.tolist()


def test_an_undirected_list_is_read_both_ways_and_what_it_holds_turned_round_is_marked(
    tmp_path: Path, command: Run
) -> None:
    pairs = {(f"e{h}", f"e{t}") for h, t in np.random.default_rng(0).integers(0, 12, (30, 2)).tolist() if h < t}
    path = tmp_path / "pairs.csv"
    path.write_text("source,type,target\n" + "".join(f"{h},knows,{t}\n" for h, t in sorted(pairs)) + "e0,likes,e1\n")
    (last,) = {t for _, t in pairs} & {"e11"}
    before = {h for h, t in pairs if t == last}
    directed = Ranker(small_model(SMALL), read_graph(path), texts=None)
    table = directed.rank(last, "knows", k=20)
    assert set(table.filter("reversed")["tail"]) == before
    assert not table["known"].any()
    turned = directed.rank(tail="e0", relation="knows", k=20)
    assert set(turned.filter("reversed")["head"]) == {t for h, t in pairs if h == "e0"}
    for reading in ({"undirected": True}, {"symmetric": ["knows"]}):
        graph = read_graph(path, **reading)  # type: ignore[arg-type]
        assert graph.num_triples == 2 * len(pairs) + 1 + ("undirected" in reading)
        assert graph.twins[0] == graph.twins[2] == 0
        ranker = Ranker(small_model(SMALL), graph, texts=None)
        assert not set(ranker.rank(last, "knows", k=20)["tail"]) & before
        table = ranker.rank(last, "knows", k=20, include_known=True)
        assert set(table.filter("known")["tail"]) == set(table.filter("reversed")["tail"]) == before
    status, _, err = command("info", path, "--symmetric", "knws")
    assert (status, "did you mean 'knows'" in err) == (2, True)
    asked = ("rank", path, "--head", last, "--relation", "knows", "-k", "20")
    assert ["reversed" in command(*asked, *words)[1] for words in ((), ("--undirected",))] == [True, False]
