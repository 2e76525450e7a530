"""Tables as other tools write them: whatever stands for head, relation and tail, and whatever stands between."""

from __future__ import annotations

import bz2
import json
import logging
import lzma
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from tests.graph.test_read import Triple, named, rows
from trivium.errors import GraphError, InputError, PairsError
from trivium.graph.formats import Columns, recognised
from trivium.graph.graph import Graph
from trivium.graph.read import read_entities, read_graph, read_names, read_queries, read_triples

FACTS = [("Bergen", "lies in", "Norway"), ("Oslo", "capital of", "Norway")]

HEADERS = [
    "head relation tail",
    "Subject Object Predicate",
    "id node1 label node2",
    "source metaedge target",
    "?s ?p ?o",
    ":START_ID(City) since :END_ID(Country) :TYPE",
    "start type end",
    "head_id relation_name tail_id",
    "subject object predicate relation source",
    "from_node edge to_node weight",
    "h r t",
]


@pytest.mark.parametrize(
    ("header", "places"),
    [
        ("source_type source_id relation target_type target_id", (1, 2, 4)),
        ("subject_name subject_id predicate_id predicate_name object_type object_name", (1, 3, 5)),
        ("source target edge_id edge_type", (0, 3, 1)),
        ("head_type rel tail_type", (0, 1, 2)),
    ],
)
def test_of_several_columns_of_one_word_types_are_no_names(header: str, places: tuple[int, ...]) -> None:
    found = recognised(header.split())
    assert found is not None and found.places == places


def test_an_edge_s_own_id_is_no_relation() -> None:
    assert recognised(["source", "target", "edge_id"]) is None


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("form", ["tsv", "csv", "quoted.tsv", "semicolon.csv", "txt", "parquet", "jsonl", "json"])
def test_a_header_is_recognised_by_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: str, form: str
) -> None:
    caplog.set_level(logging.INFO)
    names, facts = header.split(), FACTS
    found = recognised(names)
    assert found is not None
    table = []
    for fact in FACTS:
        row = [f"x{place}" for place in range(len(names))]
        for place, name in zip(found.places, fact, strict=True):
            row[int(place)] = f"<{name}>" if header.startswith("?") and form in ("tsv", "txt", "quoted.tsv") else name
        table.append(row)
    if header.startswith(":START_ID("):
        facts = [(f"City/{head}", relation, f"Country/{tail}") for head, relation, tail in FACTS]
    path = tmp_path / f"g.{form}"
    between = {"tsv": "\t", "txt": "\t", "csv": ",", "quoted.tsv": '"\t"', "semicolon.csv": ";"}.get(form)
    quote = '"' if form == "quoted.tsv" else ""
    if between is not None:
        path.write_text("".join(f"{quote}{between.join(row)}{quote}\n" for row in [names, *table]))
        assert read_triples(path)["line"].to_list() == [2, 3]
    elif form == "parquet":
        pl.DataFrame(table, schema=names, orient="row").write_parquet(path)
    else:
        objects = [json.dumps(dict(zip(names, row, strict=True))) for row in table]
        path.write_text("\n".join(objects) if form == "jsonl" else f"[{','.join(objects)}]")
    assert named(read_graph(path)) == facts
    assert rows(read_triples(path)) == facts
    if between is not None and header != "head relation tail":
        assert f"g.{form} line 1 is a header, and no fact: " in caplog.text


@pytest.mark.parametrize("line", ["Q1\tP31\tQ5", "a\tr\tb", "head\tlabel\tx", "term\trelation\tterm2"])
def test_what_is_no_header_is_a_fact(tmp_path: Path, line: str) -> None:
    (tmp_path / "g.tsv").write_text(f"{line}\nb\trelation\tc\n")
    assert read_graph(tmp_path / "g.tsv").num_triples == 2


def test_a_line_that_looks_like_a_header_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "g.tsv").write_text("gene\trelation\tdisease\nTP53\tcauses\tcancer\n")
    assert read_graph(tmp_path / "g.tsv").num_triples == 2
    assert "g.tsv line 1 looks like a header and is read as a fact: if it is one, --columns gene,relation,disease" in (
        caplog.text
    )
    assert named(read_graph(tmp_path / "g.tsv", columns="gene,relation,disease")) == [("TP53", "causes", "cancer")]
    caplog.clear()
    read_graph(tmp_path / "g.tsv", columns="1,2,3")
    (tmp_path / "h.tsv").write_text("gene\trelation\tdisease\nTP53\trelation\tcancer\n")
    read_graph(tmp_path / "h.tsv")
    assert not caplog.text
    facts = "".join(f"{number};TP{number % 3};wirkt auf;C{number % 5}\n" for number in range(30))
    (tmp_path / "i.csv").write_text(f"Nr;Gen;Beziehung;Krankheit\n{facts}")
    read_graph(tmp_path / "i.csv", columns="2,3,4")
    assert (
        "i.csv line 1 looks like a header and is read as a fact: if it is one, --columns Gen,Beziehung,Krankheit"
        in (caplog.text)
    )
    caplog.clear()
    (tmp_path / "j.csv").write_text(f"0;TP0;heilt;C1\n{facts}")
    assert read_graph(tmp_path / "j.csv", columns="2,3,4").left_out == {"repeated facts": 15}
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.tsv", "x\tNorway\tlies in\tBergen\nx\tNorway\tcapital of\tOslo\n", "4,3,2"),
        ("a.csv", "x,Norway,lies in,Bergen\nx,Norway,capital of,Oslo\n", "4,3,2"),
        ("a.tsv", "n\tWhere\tHow\tWho\nx\tNorway\tlies in\tBergen\nx\tNorway\tcapital of\tOslo\n", "who,how,where"),
        ("a.csv", '"Who, now",How,Where\nBergen,lies in,Norway\nOslo,capital of,Norway\n', '"Who, now",How,3'),
        ("a.csv", "object, predicate, subject\nNorway, lies in, Bergen\nNorway, capital of, Oslo\n", "3,2,1"),
    ],
)
def test_columns_by_name_or_number_in_any_order(tmp_path: Path, name: str, text: str, columns: str) -> None:
    (tmp_path / name).write_text(text)
    assert named(read_graph(tmp_path / name, columns=columns)) == FACTS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "sep=;\nhead;relation;tail\nBergen;lies in;Norway\nOslo;capital of;Norway\n"),
        ("a.csv", "Head, Relation ,Tail\nBergen,lies in,Norway\nOslo,capital of,Norway\n"),
        ("a.csv", "head\trelation\ttail\nBergen\tlies in\tNorway\nOslo\tcapital of\tNorway\n"),
        ("a.txt", "# a comment\n#\nBergen,lies in,Norway\nOslo,capital of,Norway\n"),
        ("a.txt", 'Bergen   "lies in" Norway\n  Oslo "capital of"  Norway  \n'),
        ("a.tsv", "Bergen\tlies in\tNorway\rOslo\tcapital of\tNorway\r"),
        ("a.csv", "head,relation,tail\rBergen,lies in,Norway\rOslo,capital of,Norway\r"),
        ("a.tsv", "source\ttype\ttarget\rBergen\tlies in\tNorway\rOslo\tcapital of\tNorway"),
        ("a.json", '[["Bergen", "lies in", "Norway"], ["Oslo", "capital of", "Norway"]]'),
    ],
)
def test_what_stands_between_fields_and_lines(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert named(read_graph(tmp_path / name)) == FACTS
    assert rows(read_triples(tmp_path / name)) == FACTS


def test_pairs_get_a_relation(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("who,whom,weight\nAnn,Bob,2\nBob,Cem,1\n")
    (tmp_path / "p.txt").write_text("# Nodes: 3\n# FromNodeId\tToNodeId\n1\t2\n2\t3\n")
    (tmp_path / "q.csv").write_text("weight;target;source\n2;Bob;Ann\n1;Cem;Bob\n")
    (tmp_path / "p.json").write_text('[["Ann", "Bob"], ["Bob", "Cem"]]')
    pl.read_csv(tmp_path / "p.csv").write_parquet(tmp_path / "p.parquet")
    wanted = [("Ann", "knows", "Bob"), ("Bob", "knows", "Cem")]
    for name, columns in (("p.csv", "who,whom"), ("p.parquet", "who,whom"), ("q.csv", None), ("p.json", None)):
        assert named(read_graph(tmp_path / name, columns=columns, relation="knows")) == wanted
        assert rows(read_triples(tmp_path / name, columns=columns, relation="knows")) == wanted
        with pytest.raises(PairsError if name != "q.csv" else GraphError):
            read_graph(tmp_path / name, columns=columns)
    assert named(read_graph(tmp_path / "p.txt", relation="cites, says")) == [
        ("1", "cites, says", "2"),
        ("2", "cites, says", "3"),
    ]
    (tmp_path / "g.tsv").write_text("a\tr\tb\n")
    with pytest.raises(InputError, match=r"g\.tsv has relations of its own, and no 'knows': --relation NAME serves"):
        read_graph(tmp_path / "g.tsv", relation="knows")
    both = read_graph(tmp_path / "g.tsv", also=[tmp_path / "p.txt"], relation="knows")
    assert both.relations.names.to_list() == ["knows", "r"]


@pytest.mark.parametrize("columns", ["a", "a,b,c,d", "a, ,c", "", "a,,c"])
def test_bad_columns(tmp_path: Path, columns: str) -> None:
    (tmp_path / "g.csv").write_text("a,b,c\nx,y,z\n")
    with pytest.raises(InputError, match="--columns head,relation,Head names a column twice"):
        read_graph(tmp_path / "g.tsv", columns="head,relation,Head")
    with pytest.raises(InputError, match="--relation is empty"):
        read_graph(tmp_path / "g.tsv", relation="")
    with pytest.raises(InputError, match=r"--columns .*: name three"):
        read_graph(tmp_path / "g.csv", columns=columns)


@pytest.mark.parametrize("form", [".bz2", ".xz", ".zst"])
def test_other_compressions(tmp_path: Path, form: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
    for ending in ("tsv", "csv", "nt"):
        text = {"nt": "<x:a> <x:r> <x:b> .\n", "tsv": "x:a\tx:r\tx:b\n", "csv": "head,relation,tail\nx:a,x:r,x:b\n"}
        path = tmp_path / f"g.{ending}{form}"
        path.write_bytes(pack[form](text[ending].encode()))
        assert named(read_graph(path)) == [("x:a", "x:r", "x:b")]
        path.write_bytes(pack[form](text[ending].encode() * 9)[:-5])
        with pytest.raises(GraphError, match=rf"g\.{ending}\{form} is not a whole \{form} file"):
            read_graph(path)
        path.write_bytes(text[ending].encode())
        with pytest.raises(GraphError, match=rf"is not a whole \{form} file"):
            read_graph(path)


def zstd(data: bytes) -> bytes:
    with pa.CompressedOutputStream(sink := pa.BufferOutputStream(), "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def test_bad_lines_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {
        "g.tsv": b"a\tr\tb\nb\tr\n\xff\tr\tb\nb\tr\tr\tc\nb\tr\tc\n",
        "g.csv": b'head,relation,tail\na,r,b\nb,r\n\xff,r,c\n"b"c,r,d\nb,r,c\n',
        "g.nt": b'<a:a> <a:r> <a:b> .\n<a:a> <a:r> .\n<a:a> <a:r> x .\n<a:a> <a:r> "x\n<a:b> <a:r> <a:c>.\n',
        "g.ttl": b"@prefix a: <a:> .\na:a a:r a:b .\na:a b:r a:c .\na:a b:r a:d .\na:a a:r b:b .\na:b a:r a:c .\n",
        "g.jsonl": b'["a","r","b"]\n["a"]\n{"head":"b","relation":"r"}\n{"x"\n["b","r","c"]\n',
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        caplog.clear()
        graph = read_graph(tmp_path / name, skip_bad=True)
        assert [tail[-1:] for _, _, tail in named(graph)] == ["b", "c"], name
        assert graph.left_out == {"bad lines": 3}
        assert caplog.text.count(": skipped") == 3 and f"{name} line 3" in caplog.text
        with pytest.raises(GraphError, match=rf"{name} line \d: .*\(--skip-bad goes on"):
            read_graph(tmp_path / name)
    (tmp_path / "many.tsv").write_text("a\tr\tb\n" + "a\tr\n" * 50)
    assert read_graph(tmp_path / "many.tsv", skip_bad=True).left_out == {"bad lines": 50}
    assert "many.tsv: 50 bad lines are left out" in caplog.text and "line 9" not in caplog.text


def test_a_fault_that_nothing_is_read_behind_ends(tmp_path: Path) -> None:
    (tmp_path / "g.ttl").write_text('<x:a> <x:r> "x .\n<x:a> <x:r> <x:b> .\n')
    (tmp_path / "g.rdf").write_text("<rdf:RDF")
    (tmp_path / "g.jsonld").write_text('{"@id": ')
    for name in ("g.ttl", "g.rdf", "g.jsonld"):
        with pytest.raises(GraphError, match=name):
            read_graph(tmp_path / name, skip_bad=True)


def test_several_files_are_one_graph(tmp_path: Path) -> None:
    (tmp_path / "a.nt").write_text("<x:a> <x:r> _:n .\n")
    (tmp_path / "b.ttl").write_text("<x:b> <x:r> _:n .\n")
    (tmp_path / "c.csv").write_text("tail,relation,head\nx:c,x:r,x:b\n")
    graph = read_graph(tmp_path / "a.nt", also=[tmp_path / "b.ttl", tmp_path / "c.csv"])
    assert named(graph) == [("x:a", "x:r", "_:n"), ("x:b", "x:r", "_:file2-n"), ("x:b", "x:r", "x:c")]


def test_swapped_columns_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    facts = [(f"e{i}", f"e{i + 1}", f"r{i % 2}") for i in range(40)]
    for columns, order, said in (
        ((0, 1, 2), "1,3,2", "40 relations, 39 of them heads too, and 2 tails: are the columns in another order?"),
        ((2, 0, 1), "2,1,3", "40 relations, 39 of them tails too, and 2 heads: are the columns in another order?"),
    ):
        (tmp_path / "g.tsv").write_text("".join("\t".join(fact[place] for place in columns) + "\n" for fact in facts))
        read_graph(tmp_path / "g.tsv")
        assert f"{said} --columns {order}, say" in caplog.text
        caplog.clear()
        graph = read_graph(tmp_path / "g.tsv", columns=order)
        assert not caplog.text and graph.num_relations == 2


@pytest.mark.parametrize(
    "facts",
    [
        [(f"patient{i}", f"symptom{j}", "yes" if i < j else "no") for i in range(9) for j in range(60)],
        [("Nepal", f"indicator {j}", f"{j * j}") for j in range(60)],
        [(f"p{j}", "type", "Property") for j in range(60)] + [("a", f"p{j}", f"b{j}") for j in range(60)],
    ],
)
def test_many_relations_are_no_swap(tmp_path: Path, caplog: pytest.LogCaptureFixture, facts: list[Triple]) -> None:
    (tmp_path / "g.tsv").write_text("".join("\t".join(fact) + "\n" for fact in facts))
    assert read_graph(tmp_path / "g.tsv").num_relations >= 60 and not caplog.text


ADMIN = {
    "n.csv": "personId:ID,name,born:int,:LABEL\nk,Keanu,1964,Person;Actor\nc,Carrie,1967,Actor\n",
    "r.csv": ":START_ID,role,:END_ID,:TYPE\nk,Neo,c,KNOWS\n",
}
APOC = {
    "r.csv": '"_id","_labels","name","_start","_end","_type","since"\n"k",":Person:Actor","Keanu","","","",""\n'
    '"c",":Actor","Carrie","","","",""\n"","","","k","c","KNOWS","1999"\n',
}
APOC_JSON = {
    "r.jsonl": '{"type":"node","id":"k","labels":["Person","Actor"],"properties":{"name":"Keanu","born":1964}}\n'
    '{"type":"node","id":"c","labels":["Actor"],"properties":{"name":"Carrie"}}\n'
    '{"id":"0","type":"relationship","label":"KNOWS","properties":{"since":1999},'
    '"start":{"id":"k","labels":["Person","Actor"]},"end":{"id":"c","labels":["Actor"]}}\n'
}


APOC_TITLES = {
    "r.csv": "_id,_labels,title,name,_start,_end,_type\nk,:Person:Actor,,Keanu,,,\nc,:Actor,Carrie,,,,\n,,,,k,c,KNOWS\n"
}


@pytest.mark.parametrize("files", [ADMIN, APOC, APOC_TITLES, APOC_JSON])
def test_neo4j(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    first, *others = sorted((tmp_path / name for name in files), reverse=True)
    graph = read_graph(first, also=others)
    types = [("c", "type", "Actor"), ("k", "type", "Actor"), ("k", "type", "Person")]
    assert named(graph) == sorted([("k", "KNOWS", "c"), *types])
    assert [graph.entities.id(label, "entity") for label in ("Keanu", "Carrie")] == [
        graph.entities.id(name, "entity") for name in ("k", "c")
    ]
    assert not graph.left_out


def test_ids_of_neo4j_are_unique_in_their_space(tmp_path: Path) -> None:
    for name, text in {
        "people.csv": 'id:ID(Person){label:Person},"name",roles:string[],:LABEL\n1,"Reeves, ""Neo""",a;b,Person\n',
        "films.tsv": "movieId:ID(Movie)\ttitle\tyear:int\t:LABEL\n1\tThe Matrix\t1999\tMovie;SciFi\n",
        "acted.tsv": ":START_ID(Person)\t:END_ID(Movie)\t:TYPE\n1\t1\tACTED_IN\n",
        "knows.csv": ":START_ID(Person);since:int;:END_ID(Person);:TYPE\n1;1999;1;KNOWS\n",
    }.items():
        (tmp_path / name).write_text(text)
    first, *others = (tmp_path / name for name in ("acted.tsv", "knows.csv", "people.csv", "films.tsv"))
    graph = read_graph(first, also=others)
    assert named(graph) == [
        ("Movie/1", "type", "Movie"),
        ("Movie/1", "type", "SciFi"),
        ("Person/1", "ACTED_IN", "Movie/1"),
        ("Person/1", "KNOWS", "Person/1"),
        ("Person/1", "type", "Person"),
    ]
    assert graph.entities.id('Reeves, "Neo"', "entity") == graph.entities.id("Person/1", "entity")


KGX_TRIPLES = [
    ("D:1", "category", "biolink:Disease"),
    ("G:1", "category", "biolink:Entity"),
    ("G:1", "category", "biolink:Gene"),
    ("G:1", "causes", "D:1"),
]
KGX_NODES = [
    {"id": "G:1", "category": ["biolink:Gene", "biolink:Entity"], "name": "TP53"},
    {"id": "D:1", "category": ["biolink:Disease"], "name": None},
]
KGX_EDGES = [{"id": "e1", "subject": "G:1", "predicate": "causes", "object": "D:1", "publications": ["PMID:1"]}]


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json"])
def test_kgx_in_other_forms(tmp_path: Path, form: str) -> None:
    edges, nodes = tmp_path / f"edges.{form}", tmp_path / f"nodes.{form}"
    for path, items in ((edges, KGX_EDGES), (nodes, KGX_NODES)):
        if form == "parquet":
            pl.DataFrame(items).write_parquet(path)
        elif form == "jsonl":
            path.write_text("".join(f"{json.dumps(item)}\n" for item in items))
    if form == "json":
        edges.write_text(json.dumps({"nodes": KGX_NODES, "edges": KGX_EDGES}))
    graph = read_graph(edges, also=[] if form == "json" else [nodes])
    assert named(graph) == KGX_TRIPLES
    assert graph.entities.id("TP53", "entity") == graph.entities.id("G:1", "entity")


def test_kgx_nodes_bring_labels_and_categories(tmp_path: Path) -> None:
    (tmp_path / "nodes.tsv").write_text(
        "id\tcategory\tname\nG:1\tbiolink:Gene|biolink:Entity\tTP53\nD:1\tbiolink:Disease\t\n"
    )
    (tmp_path / "edges.tsv").write_text(
        "id\tsubject\tpredicate\tobject\tcategory\ne1\tG:1\tcauses\tD:1\tbiolink:Association\n"
    )
    graph = read_graph(tmp_path / "edges.tsv", also=[tmp_path / "nodes.tsv"])
    assert named(graph) == KGX_TRIPLES
    assert graph.entities.id("TP53", "entity") == graph.entities.id("G:1", "entity")
    alone = read_graph(tmp_path / "edges.tsv", labels=[tmp_path / "nodes.tsv"])
    assert alone.num_triples == 1 and alone.entities.id("TP53", "entity") == alone.entities.id("G:1", "entity")


def test_kgtk(tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text(
        "id\tnode1\tlabel\tnode2\tnode2;label\n"
        "1\tQ1\tP31\tQ5\thuman\n2\tQ1\tlabel\t'Ann'@en\t\n3\tQ1\tP569\t^1970-01-01T00:00:00Z/9\t\n4\tQ1\tP1\t\"x\"\t\n"
    )
    graph = read_graph(tmp_path / "g.tsv")
    assert named(graph) == [("Q1", "P31", "Q5")]
    assert graph.entities.labels is not None and graph.entities.labels.to_list() == ["Ann", "human"]
    assert graph.left_out == {"literals": 2}


SPARQL = [{"type": "uri", "value": value} for value in ("x:a", "x:r", "x:b")]
BINDINGS = [
    dict(zip("spo", SPARQL, strict=True)) | {"sLabel": {"type": "literal", "value": "A", "xml:lang": "en"}},
    {"s": SPARQL[0], "p": SPARQL[1], "o": {"type": "bnode", "value": "n"}},
    {"s": SPARQL[0], "p": SPARQL[1], "o": {"type": "literal", "value": "text"}},
]


@pytest.mark.parametrize(
    ("name", "text", "literals"),
    [
        ("g.csv", "s,p,o,sLabel\r\nx:a,x:r,x:b,A\r\nx:a,x:r,_:n,\r\n", 0),
        ("g.tsv", '?s\t?p\t?o\t?sLabel\n<x:a>\t<x:r>\t<x:b>\t"A"@en\n<x:a>\t<x:r>\t_:n\t\n<x:a>\t<x:r>\t12\t\n', 1),
        ("g.srj", json.dumps({"head": {"vars": ["s", "p", "o"]}, "results": {"bindings": BINDINGS}}), 1),
    ],
)
def test_sparql_results(tmp_path: Path, name: str, text: str, literals: int) -> None:
    (tmp_path / name).write_text(text)
    graph = read_graph(tmp_path / name)
    assert named(graph) == [("x:a", "x:r", "_:n"), ("x:a", "x:r", "x:b")]
    assert graph.entities.labels is not None and graph.entities.labels.to_list() == ["_:n", "A", "x:b"]
    assert graph.left_out == ({"literals": literals} if literals else {})


def test_a_graph_of_nodes_and_links_in_json(tmp_path: Path) -> None:
    whole = {
        "directed": True,
        "nodes": [{"id": "a", "name": "Ann"}, {"id": "b"}],
        "links": [{"source": "a", "target": "b", "type": "knows"}],
    }
    (tmp_path / "g.json").write_text(json.dumps(whole))
    graph = read_graph(tmp_path / "g.json")
    assert named(graph) == [("a", "knows", "b")] and graph.entities.id("Ann", "entity") == 0


def test_labels_may_stand_in_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text("?sLabel\t?s\t?p\t?o\nAnn\t<x:a>\t<x:r>\t<x:b>\n")
    (tmp_path / "h.tsv").write_text("head_label\thead\trelation\ttail\nAnn\tx:a\tx:r\tx:b\n")
    for name in ("g.tsv", "h.tsv"):
        assert read_graph(tmp_path / name).entities.id("Ann", "entity") == 0


def test_labels_from_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "g.tsv").write_text("Q1\tP1\tQ2\n")
    (tmp_path / "l.tsv").write_text("Q1\tAnn\nP1\tknows\nQ9\tNobody\n")
    (tmp_path / "l.csv").write_text('id,label\nQ2,"Bob, B."\n')
    (tmp_path / "l.nt").write_text('<x:a> <http://www.w3.org/2004/02/skos/core#prefLabel> "A" .\n')
    graph = read_graph(tmp_path / "g.tsv", labels=[tmp_path / "l.tsv", tmp_path / "l.csv"])
    assert graph.entities.id("Bob, B.", "entity") == 1 and graph.entities.id("Ann", "entity") == 0
    assert graph.relations.id("knows", "relation") == 0
    assert not caplog.text
    read_graph(tmp_path / "g.tsv", labels=[tmp_path / "l.nt"])
    assert "--labels: none of its 1 names is in the graph" in caplog.text


def test_labels_of_rdf_in_order_of_worth(tmp_path: Path) -> None:
    (tmp_path / "g.ttl").write_text(
        "@prefix : <x:> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix s: <http://schema.org/> .\n"
        "@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix foaf: <http://xmlns.com/foaf/0.1/> .\n"
        ':a :r :b, :c, :d . :a foaf:name "a4" ; s:name "a3" ; skos:prefLabel "a2"@de ; rdfs:label "a1"@fr .\n'
        ':b foaf:name "b2" ; skos:prefLabel "b1"@de, "b0"@en . :c s:name "c" . :d foaf:name "d" ; :age 7 .\n'
    )
    graph = read_graph(tmp_path / "g.ttl")
    assert graph.entities.labels is not None and graph.entities.labels.to_list() == ["a1", "b0", "c", "d"]
    assert graph.left_out == {"literals": 1}


def test_questions_and_names_with_columns(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("predicate;subject\nin;Bergen\n")
    (tmp_path / "who.csv").write_text("who,how\nBergen,in\n")
    for name, columns in (("q.csv", None), ("who.csv", "who,how,where")):
        asked = read_queries(tmp_path / name, columns=columns)
        assert asked.rows() == [("Bergen", "in", None, 2)]
    (tmp_path / "bad.tsv").write_text("a\tr\n\tr\nb\tr\tx\nb\tr\n")
    assert read_queries(tmp_path / "bad.tsv", skip_bad=True)["line"].to_list() == [1, 4]
    (tmp_path / "n.csv").write_text("id,name\nQ1,Ann\nQ2,Bob\n")
    (tmp_path / "n.txt").write_text("name\nAnn, B.\n\n")
    assert read_names(tmp_path / "n.csv").rows() == [("Q1", 2), ("Q2", 3)]
    assert read_names(tmp_path / "n.csv", "x,y,name")["name"].to_list() == ["Ann", "Bob"]
    assert read_names(tmp_path / "n.txt").rows() == [("name", 1), ("Ann, B.", 2)]
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(GraphError, match=r"none\.txt holds no name: give one a line"):
        read_names(tmp_path / "none.txt")


def test_names_with_blanks_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text("Target Corporation\nName Inc\n")
    assert read_names(tmp_path / "n.tsv")["name"].to_list() == ["Target Corporation", "Name Inc"]


def test_a_file_of_names_that_the_graph_lacks_names_its_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = Graph.from_triples([("a", "r", "b"), ("b", "r", "c")])
    (tmp_path / "n.txt").write_text("a\n\nd\nb\n")
    with pytest.raises(GraphError, match=r"n\.txt line 3: unknown entity 'd'"):
        read_entities(tmp_path / "n.txt", graph)
    assert graph.entities.take(read_entities(tmp_path / "n.txt", graph, skip_bad=True)).to_list() == ["a", "b"]
    assert "n.txt line 3: unknown entity 'd'" in caplog.text
    (tmp_path / "t.csv").write_text("relation,head,tail\nr,a,b\n")
    for heads, name in ((True, "a"), (False, "b")):
        assert graph.entities.take(read_entities(tmp_path / "t.csv", graph, heads=heads)).to_list() == [name]
    (tmp_path / "n.parquet").write_bytes(b"PAR1")
    with pytest.raises(GraphError, match=r"n\.parquet: names are read from text"):
        read_entities(tmp_path / "n.parquet", graph)


def test_columns_of_other_files_beside_rdf(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "g.nt").write_text("<x:a> <x:r> <x:b> .\n")
    assert read_graph(tmp_path / "g.nt", columns="s,p,o").num_triples == 1
    assert "g.nt has no columns: --columns serves other files" in caplog.text
    (tmp_path / "c.tsv").write_text("# one\n# two\na\tr\tb\n# c\tr\td\n")
    assert read_triples(tmp_path / "c.tsv")["line"].to_list() == [3, 4]
    assert "c.tsv: 2 lines of comments before line 3 are passed over" in caplog.text


def test_triples_take_the_columns_where_they_have_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("who,how,where\nBergen,lies in,Norway\n")
    (tmp_path / "b.tsv").write_text("head\trelation\ttail\trank\nBergen\tlies in\tNorway\t1\n")
    for name in ("a.csv", "b.tsv"):
        assert rows(read_triples(tmp_path / name, columns="who,how,where")) == FACTS[:1]
    with pytest.raises(GraphError, match="'who' is not, or not once, among 'head'"):
        read_graph(tmp_path / "b.tsv", columns="who,how,where")


def test_rows_without_an_edge_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "g.csv").write_text("head,relation,tail\na,r,b\n,,\n")
    assert read_graph(tmp_path / "g.csv").left_out == {"rows without an edge": 1} and not caplog.text
    (tmp_path / "g.tsv").write_text("a\tr\tb\n\n\nb\t\tc\r\nb\tr\t\r\n")
    (tmp_path / "h.csv").write_text("head,relation,tail\na,r,b\n\nb,,c\nb,r,\n")
    (tmp_path / "g.jsonl").write_text('["a","r","b"]\n\n\n["b",null,"c"]\n["b","r",""]\n')
    for name in ("g.tsv", "h.csv", "g.jsonl"):
        with pytest.raises(GraphError, match=f"{name} line 4: the relation is empty.*--skip-bad"):
            read_graph(tmp_path / name)
        graph = read_graph(tmp_path / name, skip_bad=True)
        assert named(graph) == [("a", "r", "b")] and graph.left_out == {"bad lines": 2}
        assert f"{name} line 4: the relation is empty: every field needs a name: skipped" in caplog.text
        assert f"{name} line 5: the tail is empty: every field needs a name: skipped" in caplog.text
    frame = pl.DataFrame({"head": ["a", None, "b"] * 3, "relation": ["r"] * 9, "tail": ["b", "x", ""] * 3})
    frame.write_parquet(tmp_path / "g.parquet")
    graph = read_graph(tmp_path / "g.parquet", skip_bad=True)
    assert named(graph) == [("a", "r", "b")] and graph.left_out == {"bad lines": 6, "repeated facts": 2}
    assert "g.parquet row 2: the head is empty: skipped" in caplog.text
    assert "g.parquet: 6 bad lines are left out" in caplog.text
    assert recognised(["a", "b", "c"]) is None and recognised(["id", "x"]) is None
    assert recognised(["id", "name"]) == Columns((), (), 0, (1,))


def test_numbers_beside_three_columns_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "scored.tsv").write_text("Bergen\tlies in\tNorway\t0.9\t{}\nOslo\tcapital of\tNorway\t0\t{}\n")
    assert named(read_graph(tmp_path / "scored.tsv")) == FACTS
    assert "scored.tsv has no header: Bergen, lies in, Norway are head, relation and tail" in caplog.text
    (tmp_path / "net.tsv").write_text('/a/[/r/In/,/c/en/b/,/c/en/n/]\t/r/In\t/c/en/b\t/c/en/n\t{"weight": 1.0}\n')
    assert named(read_graph(tmp_path / "net.tsv")) == [("/c/en/b", "/r/In", "/c/en/n")]
    for truth in ("1", "-1"):  # a triple that is true, or one that is not
        (tmp_path / "judged.tsv").write_text(f"Bergen\tlies in\tNorway\t{truth}\n")
        with pytest.raises(GraphError, match="no columns that are known"):
            read_graph(tmp_path / "judged.tsv")


def test_odd_iris_are_names_and_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = ["x:New York", "x:a#b#c", 'x:"quoted"', "relative", "x:%zz"]
    for name in ("g.nt", "g.ttl"):
        caplog.clear()
        (tmp_path / name).write_text("".join(f"<x:a> <x:r> <{iri}> .\n" for iri in [*odd, "x:é_(b)?c=d#e"]))
        assert [tail for _, _, tail in named(read_graph(tmp_path / name))] == sorted([*odd, "x:é_(b)?c=d#e"])
        assert f"{name}: 4 names are no valid IRIs, and are read as they stand: 'x:New York' …" in caplog.text
    (tmp_path / "g.ttl").write_text("<x:a> <x:r> <x:b>, <> .")
    graph = read_graph(tmp_path / "g.ttl")
    assert graph.num_triples == 1 and graph.left_out == {"statements with an empty IRI": 1}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "g.tsv",
            "1\t2\t0.5\n2\t3\t0.25\n",
            "every tail is a number, such as 0.25: if it weighs a pair, --columns HEAD,TAIL",
        ),
        ("g.txt", "ann bob 3\nbob cid 10\n", "every tail is a number, such as 10: if it weighs a pair"),
        (
            "g.csv",
            "Source,Target,Type\na,b,Undirected\nb,c,Directed\n",
            "'Directed' is how a pair is joined, not by what",
        ),
        ("g.tsv", "a\tage\t30\nb\tage\t41\na\tknows\tb\n", ""),
        ("g.tsv", "a\tage\t30\nb\tage\t41\n", ""),
        ("g.tsv", "1\t2\t3\n3\t2\t1\n", ""),
    ],
)
def test_pairs_with_a_weight_or_a_type_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    read_graph(tmp_path / name)
    assert said in caplog.text
    assert said or not caplog.text


def test_names_that_look_the_same_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "g.tsv").write_text("cafe\u0301\tin\tNi\u0302mes\ncaf\u00e9\tin\tMe\u0301ze\n")
    assert read_graph(tmp_path / "g.tsv").num_entities == 4
    assert (
        "'cafe\u0301' is another name in composed characters (Unicode NFC), which looks the same (1 such)"
        in caplog.text
    )


def test_blanks_around_a_delimiter_are_no_part_of_names(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("head ; relation ; tail\na ; r ; b\nb ; r ; a\n")
    assert named(read_graph(tmp_path / "g.csv")) == [("a", "r", "b"), ("b", "r", "a")]
    assert rows(read_triples(tmp_path / "g.csv")) == [("a", "r", "b"), ("b", "r", "a")]


def test_a_list_is_no_name(tmp_path: Path) -> None:
    lines = ['{"head": "a", "relation": "r", "tail": ["b"]}', '{"head": "a", "relation": "r", "tail": ["c", "d"]}']
    (tmp_path / "g.jsonl").write_text("\n".join(lines))
    with pytest.raises(GraphError, match=r"g\.jsonl line 2: the tail is a list: give each of its names a fact"):
        read_graph(tmp_path / "g.jsonl")
    graph = read_graph(tmp_path / "g.jsonl", skip_bad=True)
    assert (named(graph), graph.left_out) == ([("a", "r", "b")], {"bad lines": 1})


def test_numbers_of_columns_are_not_for_another_file_whose_header_says_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "g.tsv").write_text("r\ta\tb\nr\tb\tc\n")
    (tmp_path / "more.csv").write_text("head,relation,tail,rank\nc,r,d,1\n")
    graph = read_graph(tmp_path / "g.tsv", also=[tmp_path / "more.csv"], columns="2,1,3")
    assert named(graph) == [("a", "r", "b"), ("b", "r", "c"), ("c", "r", "d")]
    assert rows(read_triples(tmp_path / "more.csv", columns="2,1,3")) == [("c", "r", "d")]
    assert "more.csv: its header says which its columns are, and not --columns 2,1,3" in caplog.text
    assert rows(read_triples(tmp_path / "g.tsv", columns="2,1,3")) == [("a", "r", "b"), ("b", "r", "c")]
    assert named(read_graph(tmp_path / "more.csv", columns="3,2,1")) == [("d", "r", "c")]
