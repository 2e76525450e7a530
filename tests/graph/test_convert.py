"""Graphs of other libraries: networkx itself, and what has the attributes of the others' graphs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx
import numpy as np
import polars as pl
import pytest
import torch

from tests.graph.test_read import named
from trivium import Graph, from_networkx, from_pyg, from_pykeen, from_rdflib
from trivium.errors import GraphError
from trivium.graph.read import read_graph

ROWS = [("a", "r", "b"), ("b", "s", "c")]


class Hetero(dict[tuple[str, str, str], Any]):
    edge_types = property(list)


class Rdf:
    """Writes N-Triples where it is told to, as `rdflib.Graph.serialize` does."""

    def serialize(self, path: Path, format: str, encoding: str) -> None:
        assert (format, encoding) == ("nt", "utf-8")
        path.write_text('<x:a> <x:r> <x:b> .\n<x:a> <http://www.w3.org/2000/01/rdf-schema#label> "A" .\n', encoding)


@pytest.mark.parametrize(
    ("triples", "columns"),
    [
        (ROWS, None),
        (iter([list(row) for row in ROWS]), None),
        (np.array(ROWS), None),
        (pl.DataFrame(ROWS, ["subject", "predicate", "object"], orient="row"), None),
        (pl.DataFrame(ROWS, ["x", "y", "z"], orient="row"), "x,y,z"),
        (pl.DataFrame({"z": ["b", "c"], "y": ["r", "s"], "x": ["a", "b"]}), "3,2,1"),
    ],
)
def test_a_graph_from_triples_is_that_of_their_file(tmp_path: Path, triples: Any, columns: str | None) -> None:
    (tmp_path / "g.tsv").write_text("".join("\t".join(row) + "\n" for row in ROWS))
    graph, read = Graph.from_triples(triples, columns), read_graph(tmp_path / "g.tsv")
    assert graph.sha256 == read.sha256
    assert graph.entities.names.to_list() == read.entities.names.to_list()
    assert np.array_equal(graph.triples, read.triples)


def test_numbers_are_names_and_one_relation_may_serve_all() -> None:
    assert named(Graph.from_triples([(1, 0, 2)])) == [("1", "0", "2")]
    pairs = pl.DataFrame({"who": [1, 2], "whom": [2, 3]})
    assert named(Graph.from_triples(pairs, "who,whom", "knows")) == [("1", "knows", "2"), ("2", "knows", "3")]
    assert named(Graph.from_triples([("a", "b"), ("b", "s", "c")], relation="r")) == [("a", "r", "b"), ("b", "s", "c")]
    graph = Graph.from_ids([0], [0], [1], entities=["a", "b"], relation_names=["r"])  # type: ignore[arg-type]
    assert named(graph) == [("a", "r", "b")] and graph.entities.ids(["a", "zz"]).tolist() == [0, -1]
    assert Graph.from_triples([(1, 0, 2)]).entities.ids([2]).tolist() == [1]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Graph.from_triples([("a", "r")]), r"row 0 is \('a', 'r'\): give a head"),
        (lambda: Graph.from_triples([("a", "r", "b"), ("a", "", "b")]), "row 1 is"),
        (lambda: Graph.from_triples([("a", None, "b")]), "row 0 is"),
        (lambda: Graph.from_triples(["abc"]), r"row 0 is \('abc',\): give a head"),
        (lambda: Graph.from_triples([5]), r"row 0 is \(5,\)"),
        (lambda: Graph.from_triples([{"head": "a"}]), r"row 0 is \(\{'head': 'a'\},\)"),
        (lambda: Graph.from_triples([("a\udc80", "r", "b")]), r"'a.udc80' is no text that UTF-8 can hold"),
        (lambda: Graph.from_triples([]), "form no graph"),
        (lambda: Graph.from_triples(pl.DataFrame({"x": ["a"]})), "no columns that are head, relation and tail in 'x'"),
        (lambda: Graph.from_triples(pl.DataFrame({"x": ["a"]}), "x,y,z"), "no columns that are"),
        (lambda: Graph.from_ids([0], [0], [1], entities=["a", "a"], relation_names=1), "'a' is there twice"),  # type: ignore[arg-type]
        (lambda: Graph.from_ids([0], [0], [1], entities=["a", 1.5], relation_names=1), "1.5 is no name"),  # type: ignore[arg-type, list-item]
        (lambda: Graph.from_triples(ROWS).entities.ids([None]), "None is no name"),  # type: ignore[list-item]
        (lambda: from_networkx(networkx.Graph([("a", "b")])), "the edge from 'a' to 'b' has no relation, predicate"),
        (lambda: from_pyg(SimpleNamespace(edge_index=torch.zeros(2, 1))), "no edge_index with an edge_type"),
    ],
)
def test_what_is_no_graph_is_said_where_it_is_made(make: Any, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        make()


def test_networkx_and_back() -> None:
    graph = Graph.from_triples([*ROWS, ("a", "s", "b")])
    there = networkx.MultiDiGraph()
    there.add_edges_from((head, tail, relation) for head, relation, tail in graph.named(graph.triples).iter_rows())
    assert from_networkx(there).sha256 == graph.sha256
    plain = networkx.Graph()
    plain.add_edge("a", "b", type="r", how="q")
    assert named(from_networkx(plain)) == [("a", "r", "b")]
    assert named(from_networkx(plain, "how")) == [("a", "q", "b")]
    assert named(from_networkx(plain, relation="knows")) == [("a", "knows", "b")]


def test_pyg() -> None:
    edges = torch.tensor([[0, 1], [1, 2]])
    data = SimpleNamespace(edge_index=edges, edge_type=torch.tensor([0, 1]), num_nodes=4)
    assert named(from_pyg(data)) == [("0", "0", "1"), ("1", "1", "2")]
    assert from_pyg(data).num_entities == 4
    assert named(from_pyg(data, ["a", "b", "c", "d"], ["r", "s"])) == ROWS
    several = Hetero({("p", "likes", "q"): SimpleNamespace(edge_index=edges)})
    assert named(from_pyg(several)) == [("p/0", "likes", "q/1"), ("p/1", "likes", "q/2")]


def test_pykeen() -> None:
    factory = SimpleNamespace(mapped_triples=torch.tensor([[0, 0, 1], [1, 1, 2]]), num_entities=3, num_relations=2)
    assert named(from_pykeen(factory)) == [("0", "0", "1"), ("1", "1", "2")]
    factory.entity_id_to_label, factory.relation_id_to_label = {2: "c", 0: "a", 1: "b"}, {0: "r", 1: "s"}
    assert named(from_pykeen(factory)) == ROWS


def test_rdflib() -> None:
    graph = from_rdflib(Rdf())
    assert named(graph) == [("x:a", "x:r", "x:b")] and graph.entities.id("A", "entity") == 0
