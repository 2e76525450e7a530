import hashlib
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import graph_of, random_graph, small_model
from trivium.errors import GraphError
from trivium.graph.graph import Graph, inverse, triples_sha256
from trivium.graph.names import Names
from trivium.inference.ranker import Ranker
from trivium.kernels.csr import incidence_rows, order_by, sorted_unique
from trivium.model.topology import Topology

N, R = 7, 3
Triple = tuple[int, int, int]
Row = tuple[str, str, str]
TRIPLE = st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1))
TRIPLES = st.lists(TRIPLE, min_size=1, max_size=40)
EDGE = st.tuples(st.integers(-1, N), st.integers(-1, 2 * R), st.integers(-1, N))
QUICK = settings(max_examples=60, deadline=None)


def build(triples: list[Triple]) -> Graph:
    return graph_of(triples, N, R)


def both_ways(triples: list[Triple]) -> set[Triple]:
    return {edge for h, r, t in triples for edge in ((h, r, t), (t, r + R, h))}


def same(one: Graph, other: Graph) -> bool:
    parts = ("sources", "edge_relations", "offsets", "triples")
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)


@QUICK
@given(TRIPLES, st.randoms())
def test_the_order_of_triples_and_repeats_change_nothing(triples: list[Triple], random: object) -> None:
    again = triples + triples[: len(triples) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert same(build(triples), build(again))
    assert build(triples).sha256 == build(again).sha256


@QUICK
@given(TRIPLES)
def test_edges_are_the_triples_and_their_inverses_in_order(triples: list[Triple]) -> None:
    graph = build(triples)
    edges = [
        (int(graph.sources[e]), int(graph.edge_relations[e]), t)
        for t in range(N)
        for e in range(graph.offsets[t], graph.offsets[t + 1])
    ]
    assert edges == sorted(both_ways(triples), key=lambda edge: (edge[2], edge[1], edge[0]))
    assert graph.triples.tolist() == [list(t) for t in sorted(set(triples), key=lambda t: (t[2], t[1], t[0]))]
    assert graph.num_triples == len(set(triples))
    assert graph.triples.dtype == graph.sources.dtype == graph.edge_relations.dtype == np.int32


@QUICK
@given(TRIPLES)
def test_answers_are_those_of_a_scan(triples: list[Triple]) -> None:
    graph, edges = build(triples), both_ways(triples)
    for head in range(N):
        for relation in range(2 * R):
            wanted = sorted(t for h, r, t in edges if (h, r) == (head, relation))
            assert graph.answers(head, relation).tolist() == wanted


@QUICK
@given(TRIPLES, st.lists(EDGE, max_size=30))
def test_contains_is_membership(triples: list[Triple], asked: list[Triple]) -> None:
    edges = both_ways(triples)
    found = build(triples).contains(np.array(triples + asked, np.int32))
    assert found.tolist() == [edge in edges for edge in triples + asked]


@QUICK
@given(TRIPLES, st.lists(EDGE, max_size=30), st.integers(0, 40))
def test_without_is_the_difference(triples: list[Triple], others: list[Triple], count: int) -> None:
    graph = build(triples)
    gone = others + triples[:count]
    removed = set(gone) | {(t, inverse(r, R), h) for h, r, t in gone if 0 <= r < 2 * R}
    rest = graph.without(np.array(gone, np.int32).reshape(-1, 3))
    left = [triple for triple in triples if triple not in removed]
    assert rest.entities is graph.entities
    assert same(graph.with_triples(graph.triples[:count]), graph)
    assert rest.num_triples == len(set(left))
    assert rest.offsets.dtype == np.int64
    if left:
        assert same(rest, build(left))
    else:
        assert rest.offsets.tolist() == [0] * (N + 1)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 5)), max_size=40))
def test_sorted_unique_is_a_sorted_set(edges: list[Triple]) -> None:
    s, r, t = np.array(edges, np.int32).reshape(-1, 3).T
    sources, relations, offsets = sorted_unique(s, r, t, 6, 3)
    wanted = sorted({(target, relation, source) for source, relation, target in edges})
    targets = np.repeat(np.arange(6), np.diff(offsets))
    assert np.stack([targets, relations, sources], axis=1).tolist() == [list(edge) for edge in wanted]


@QUICK
@given(st.lists(st.integers(0, 5), max_size=40))
def test_order_by_is_a_stable_sort(keys: list[int]) -> None:
    order, offsets = order_by(np.array(keys, np.int32), 6)
    assert order.tolist() == np.argsort(keys, kind="stable").tolist()
    assert offsets.tolist() == [sum(key < bound for key in keys) for bound in range(7)]


@QUICK
@given(TRIPLES)
def test_incidence_and_meetings_are_those_of_the_dense_matrix(triples: list[Triple]) -> None:
    graph, table = build(triples), np.zeros((N, 2 * R), np.int64)
    for head, relation, _ in both_ways(triples):
        table[head, relation] = 1
    rows, columns = incidence_rows(graph.offsets, graph.edge_relations, R)
    for entity in range(N):
        run = columns[rows[entity] : rows[entity + 1]].tolist()
        assert sorted(run) == np.flatnonzero(table[entity]).tolist()
    meetings = Topology(graph).relation_graph
    head_to_head = np.stack([meetings.targets, meetings.sources], axis=1)[meetings.relations == 0]
    assert head_to_head.tolist() == np.argwhere(table.T @ table).tolist()


NAMED = st.lists(st.tuples(*(st.sampled_from(names) for names in ("acegi", "pr", "acegi"))), min_size=1, max_size=20)
NEW = st.lists(st.tuples(*(st.sampled_from(names) for names in ("abcdz", "opqr", "abcdz"))), max_size=8)


@QUICK
@given(NAMED, NEW, st.data())
def test_a_changed_graph_is_the_graph_of_the_changed_list(
    facts: list[Row], new: list[Row], data: st.DataObject
) -> None:
    gone = data.draw(st.lists(st.sampled_from(facts), max_size=4))
    rest = [fact for fact in facts if fact not in gone] + new
    before = Graph.from_triples(facts)
    kept = Graph.from_triples(facts)
    if not rest:
        with pytest.raises(GraphError, match="no fact of the graph is left"):
            before.with_changes(new, gone)
        return
    changed, scratch = before.with_changes(new, gone), Graph.from_triples(rest)
    assert same(changed, scratch)
    assert changed.entities.names.equals(scratch.entities.names)
    assert changed.relations.names.equals(scratch.relations.names)
    assert same(before, kept), "the graph before is as it was"


def test_a_ranker_answers_on_a_changed_graph_as_on_a_new_one_to_the_bit() -> None:
    graph = random_graph(1)
    facts = graph.named(graph.triples).rows()
    new = [("e", "2", "7"), ("7", "s", "e"), ("11", "0", "7")]
    changed, scratch = graph.with_changes(new, facts[:5]), Graph.from_triples(facts[5:] + new)
    ranked = [Ranker(small_model(), one).rank(["7", "11"], "0", k=99, include_known=True) for one in (changed, scratch)]
    assert ranked[0].equals(ranked[1])


def test_changes_keep_labels_and_say_what_is_wrong() -> None:
    labels = {"q1": "Nepal", "q2": "India", "q3": "Lyon", "q4": "Lyon"}
    entities = Names(["q1", "q2", "q3", "q4"]).with_labels(labels)
    graph = graph_of([[0, 0, 1], [2, 0, 3]], entities, Names(["borders"], ["touches"]))
    changed = graph.with_changes([("India", "touches", "q0")], [("Nepal", "borders", "q2")])
    assert changed.named(changed.triples).rows() == [("q2", "borders", "q0"), ("q3", "borders", "q4")]
    assert changed.entities.called.to_list() == ["q0", "India", "Lyon", "Lyon"]
    for add, remove, words in (
        ((), [("q2", "borders", "q1")], "'q2 borders q1' is not in the graph, so it cannot be removed"),
        ([("Lyon", "borders", "q1")], (), "'Lyon' belongs to 2 names: give one of them (q3, q4)"),
        ([("q1", "borders")], (), "row 0 is ('q1', 'borders'): give a head, a relation and a tail, each a name"),
    ):
        with pytest.raises(GraphError, match=re.escape(words)):
            graph.with_changes(add, remove)


def test_a_notebook_shows_names_as_text() -> None:
    shown = Graph.from_triples([("a", "<b>bold</b>", "b"), ("a", "r", "b"), ("b", "r", "a")])._repr_html_()
    assert "3 facts, 2 entities, 2 relations" in shown
    assert "<tr><td>r</td><td>2</td></tr><tr><td>&lt;b&gt;bold&lt;/b&gt;</td><td>1</td></tr>" in shown


def test_the_inverse_of_the_inverse() -> None:
    ids = np.arange(2 * R)
    assert inverse(ids, R).tolist() == [3, 4, 5, 0, 1, 2]
    assert inverse(inverse(ids, R), R).tolist() == ids.tolist()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (([], [], []), "0 heads, 0 relations and 0 tails form no graph"),
        (([0], [0], [0, 1]), "1 heads, 1 relations and 2 tails form no graph"),
        (([N], [0], [0]), r"a head id lies outside \[0, 7\)"),
        (([0], [R], [0]), r"a relation id lies outside \[0, 3\)"),
        (([0], [0], [-1]), r"a tail id lies outside \[0, 7\)"),
    ],
)
def test_ids_that_form_no_graph_are_refused(columns: tuple[list[int], ...], words: str) -> None:
    heads, relations, tails = (np.array(column, np.int32) for column in columns)
    with pytest.raises(GraphError, match=words):
        Graph.from_ids(heads, relations, tails, entities=N, relation_names=R)


def test_the_hash_is_that_of_the_sorted_lines() -> None:
    wanted = hashlib.sha256("a\tr\tb\nb\tr\té\n".encode()).hexdigest()
    assert triples_sha256(pl.DataFrame({"head": ["b", "a", "b"], "relation": "r", "tail": ["é", "b", "é"]})) == wanted
    assert graph_of([[1, 0, 2], [0, 0, 1]], Names(["a", "b", "é"]), Names(["r"])).sha256 == wanted


def test_unknown_names_are_told_with_near_ones() -> None:
    names = Names(["likes", "knows", "x1", "x2"], ["Likes", "Knows", "same", "same"])
    assert names.id("likes", "relation") == 0
    assert names.id("Knows", "relation") == 1
    for name, words in (("lieks", "did you mean 'Likes'"), ("same", r"belongs to 2 names.*\(x1, x2\)")):
        with pytest.raises(GraphError, match=words):
            names.id(name, "relation")
    assert names.ids(["x2", "none", "likes", "same"]).tolist() == [3, -1, 0, -1]
    assert names.shown(np.arange(4)).to_list() == ["Likes", "Knows", "x1", "x2"]
