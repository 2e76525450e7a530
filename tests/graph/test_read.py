import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from trivium.errors import GraphError
from trivium.graph import formats, tables
from trivium.graph.graph import Graph
from trivium.graph.read import read_graph, read_queries, read_triples

Triple = tuple[str, str, str]
TRIPLES = [("b", "r", "a"), ('"q', "s", "عربي"), ("é😀", "r", 'a"'), ("c\x01 \x7f|", "r", " b "), ("b", "r", "a")]


def named(graph: Graph) -> list[Triple]:
    h, r, t = graph.triples.T
    columns = (graph.entities.take(h), graph.relations.take(r), graph.entities.take(t))
    return sorted(zip(*(column.to_list() for column in columns), strict=True))


def rows(frame: pl.DataFrame) -> list[Triple]:
    return [(h, r, t) for h, r, t, _ in frame.select("head", "relation", "tail", "line").iter_rows()]


def safe(triple: Triple) -> Triple:
    """Addresses that hold these names."""
    h, r, t = (f"x:{part.encode().hex()}" for part in triple)
    return h, r, t


def write(path: Path, triples: list[Triple]) -> Path:
    """Writes triples in the format of the ending, in the plainest way there is."""
    frame = pl.DataFrame(triples, schema=["head", "relation", "tail"], orient="row")
    match formats.format_of(path):
        case "tsv":
            data = "".join(f"{h}\t{r}\t{t}\n" for h, r, t in triples).encode()
        case "csv":
            data = frame.select("tail", "relation", pl.lit("x,").alias("more"), "head").write_csv().encode()
        case "parquet":
            frame.write_parquet(path)
            return path
        case _:
            data = "".join(f"<{h}> <{r}> <{t}> .\n" for h, r, t in map(safe, triples)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


ENDINGS = [".tsv", ".txt.gz", ".csv", ".csv.gz", ".parquet", ".nt", ".ttl.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_triples_in_sorted_name_order(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"graph{ending}", TRIPLES)
    graph, frame = read_graph(path), read_triples(path)
    wanted = [safe(triple) for triple in TRIPLES] if ending.startswith((".nt", ".ttl")) else TRIPLES
    assert rows(frame) == wanted
    assert frame["line"].to_list() == [line + ("csv" in ending) for line in range(1, 6)]
    assert named(graph) == sorted(set(wanted))
    assert graph.entities.names.to_list() == sorted({x for h, _, t in wanted for x in (h, t)})
    assert graph.relations.names.to_list() == sorted({r for _, r, _ in wanted})
    assert graph.entities.labels is graph.relations.labels is None


def test_the_order_of_triples_and_the_size_of_blocks_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triples = [(f"e{i * 7 % 50}", f"r{i % 5}", f"e{i * i % 50}") for i in range(500)]
    graphs = [read_graph(write(tmp_path / "a.tsv", triples)), read_graph(write(tmp_path / "a.csv", triples))]
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 37)
    monkeypatch.setattr(tables, "_BATCH_ROWS", 7)
    for ending in (".tsv", ".csv", ".parquet"):
        path = write(tmp_path / f"b{ending}", triples[::-1] + triples[:20])
        graphs.append(read_graph(path))
        assert read_triples(path)["line"].to_list() == list(range(1 + (ending == ".csv"), 521 + (ending == ".csv")))
    for graph in graphs[1:]:
        assert graph.sha256 == graphs[0].sha256
        for part in ("sources", "edge_relations", "offsets"):
            np.testing.assert_array_equal(getattr(graph, part), getattr(graphs[0], part))


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffa\tr\tb\r\nb\tr\tc\r\n".encode(),
        b"a\tr\tb\n\nb\tr\tc\n\r\n\n",
        b"a\tr\tb\nb\tr\tc",
        b"b\tr\tc\r\na\tr\tb",
    ],
)
def test_line_ends_byte_order_marks_and_blank_lines_are_tolerated(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "g.tsv").write_bytes(data)
    mark, rows = data[: 3 * (data[0] == 0xEF)], data.removeprefix(b"\xef\xbb\xbf").replace(b"\t", b",")
    (tmp_path / "g.csv").write_bytes(mark + b"head,relation,tail\r\n" + rows)
    for name in ("g.tsv", "g.csv"):
        assert named(read_graph(tmp_path / name)) == [("a", "r", "b"), ("b", "r", "c")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    for name, text in {
        "g.tsv": "é\tr\tb\n",
        "g.csv": "head;relation;tail\né;r;b\n",
        "g.nt": "<é:> <r:> <b:> .",
        "g.jsonl": '["é","r","b"]',
    }.items():
        (tmp_path / name).write_text(text, encoding=encoding)
        assert [part.strip(":") for fact in named(read_graph(tmp_path / name)) for part in fact] == ["é", "r", "b"]


def test_names_that_differ_by_blanks_alone_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "g.tsv").write_text("Bergen\tin\tNorway\nBergen\tin \t Norway\n in it\tin\tNorway\n")
    assert read_graph(tmp_path / "g.tsv").num_entities == 4
    assert "' Norway' is another name without the blanks around it (1 such)" in caplog.text
    assert "'in ' is another name without the blanks around it (1 such)" in caplog.text


def test_columns_by_name(tmp_path: Path) -> None:
    frame = pl.DataFrame({"o": ["b\nc"], "n": [7], "s": ['a"'], "p": ["r,"]})
    frame.write_csv(tmp_path / "g.csv")
    frame.with_columns(pl.col("s").cast(pl.Categorical)).write_parquet(tmp_path / "g.parquet")
    for name in ("g.csv", "g.parquet"):
        assert named(read_graph(tmp_path / name, columns="s,p,o")) == [('a"', "r,", "b\nc")]
        assert named(read_graph(tmp_path / name, columns="s,p,n")) == [('a"', "r,", "7")]


def test_strings_of_parquet_in_any_type_of_arrow(tmp_path: Path) -> None:
    names = pa.array([*"abab"])
    kinds = pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int16(), pa.string())
    for kind in kinds:
        table = pa.table({"head": names.cast(kind), "relation": names, "tail": names})
        parquet.write_table(table, tmp_path / "g.parquet", row_group_size=3)
        assert named(read_graph(tmp_path / "g.parquet")) == [(*"aaa",), (*"bbb",)]


def test_rdf_labels_are_kept_apart_from_names(tmp_path: Path) -> None:
    (tmp_path / "g.ttl").write_text(
        "@prefix : <http://x/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        ':a :likes :b, "text", _:c . :b rdfs:label "Be"@de, "B"@en . :likes rdfs:label "likes", "m"@de .\n'
        ':nobody rdfs:label "N" .\n'
    )
    graph = read_graph(tmp_path / "g.ttl")
    assert named(graph) == [("http://x/a", "http://x/likes", "_:c"), ("http://x/a", "http://x/likes", "http://x/b")]
    assert graph.entities.shown(np.arange(3)).to_list() == ["_:c", "a", "B"]
    assert graph.relations.shown(np.arange(1)).to_list() == ["likes"]
    assert graph.entities.id("B", "entity") == 2


RDF = {
    "g.nq": '<x:a> <x:r> <x:b> <x:one> .\n<x:a> <x:r> <x:c> <x:two> .\n<x:a> <x:r> "text" .\n<x:b> <x:s> <x:a> .\n',
    "g.nt": "<x:a> <x:r> <x:b> <x:one> .\n<x:a> <x:r> <x:c> <x:two> .\n<x:b> <x:s> <x:a> .\n",
    "g.trig": "@prefix : <x:> .\n:one { :a :r :b } :two { :a :r :c }\n:b :s :a .\n",
    "g.jsonld": """[{"@id": "x:b", "x:s": {"@id": "x:a"}},
        {"@id": "x:one", "@graph": [{"@id": "x:a", "x:r": {"@id": "x:b"}}]},
        {"@id": "x:two", "@graph": {"@id": "x:a", "x:r": {"@id": "x:c"}}}]""",
}
XML = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:x="x:">
<rdf:Description rdf:about="x:a"><x:r rdf:resource="x:b"/><x:r rdf:resource="x:c"/></rdf:Description>
<rdf:Description rdf:about="x:b"><x:s rdf:resource="x:a"/></rdf:Description>
</rdf:RDF>"""


@pytest.mark.parametrize("name", [*RDF, "g.rdf", "g.owl", "g.xml"])
@pytest.mark.parametrize("form", ["", "BOM", ".gz"])
def test_every_form_of_rdf_is_read_with_all_its_graphs(tmp_path: Path, name: str, form: str) -> None:
    data = b"\xef\xbb\xbf" * (form == "BOM") + RDF.get(name, XML).encode()
    path = tmp_path / (name + form * (form == ".gz"))
    path.write_bytes(gzip.compress(data) if form == ".gz" else data)
    assert named(read_graph(path)) == [("x:a", "x:r", "x:b"), ("x:a", "x:r", "x:c"), ("x:b", "x:s", "x:a")]
    assert sorted(rows(read_triples(path))) == named(read_graph(path))


@pytest.mark.parametrize("name", RDF)
def test_a_named_graph_can_be_read_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(RDF[name])
    assert named(read_graph(tmp_path / name, named_graph="x:two")) == [("x:a", "x:r", "x:c")]
    assert named(read_graph(tmp_path / name, named_graph="x:one")) == [("x:a", "x:r", "x:b")]
    with pytest.raises(GraphError, match=r"has no graph 'x:none': it has .*<x:one>, <x:two>"):
        read_graph(tmp_path / name, named_graph="x:none")
    with pytest.raises(GraphError, match="only RDF has named graphs"):
        read_graph(tmp_path / "g.tsv", named_graph="x:one")


def test_nodes_without_a_name_are_called_the_same_at_each_reading(tmp_path: Path) -> None:
    (tmp_path / "g.ttl").write_text("<x:a> <x:r> [ <x:s> <x:b> ] , [ <x:s> _:c ] .")
    graph = read_graph(tmp_path / "g.ttl")
    assert graph.entities.names.to_list() == ["_:anonymous1", "_:anonymous2", "_:c", "x:a", "x:b"]
    assert read_graph(tmp_path / "g.ttl").sha256 == graph.sha256


def test_a_header_of_a_tsv_is_no_fact(tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text("Head\tRelation\tTail\na\tr\tb\n")
    assert named(read_graph(tmp_path / "g.tsv")) == [("a", "r", "b")]
    assert read_triples(tmp_path / "g.tsv")["line"].to_list() == [2]


def test_ntriples_lines_count_comments(tmp_path: Path) -> None:
    (tmp_path / "g.nt").write_text('# one\n\n<x:a> <x:r> "two" .\n <x:a> <x:r> <x:b> .\n')
    assert read_triples(tmp_path / "g.nt")["line"].to_list() == [4]


BAD = [
    ("short.tsv", b"a\tr\tb\nb\tr\n", "short.tsv line 2: 2 fields between tabs, not 3 as in line 1"),
    (
        "long.tsv",
        b"a\tr\tb\tx\n",
        "long.tsv line 1: 'a', 'r', 'b', 'x': no columns that are known for head, relation and tail: --columns",
    ),
    ("pairs.tsv", b"a\tb\n", "pairs.tsv line 1: 'a', 'b': pairs: --relation NAME says what joins them"),
    ("pairs.json", b'[["a", "b"]]', "pairs.json: 'head', 'tail': pairs: --relation NAME"),
    ("named.tsv", b"a\tr\tb\t1\n", "'a', 'r', 'b', '1': no columns that are known"),
    ("utf.tsv", b"a\tr\tb\na\tr\t\xff\xfe\n", "utf.tsv line 2: not UTF-8"),
    ("none.tsv", b"", "none.tsv holds no triple"),
    ("bom.tsv", b"\xef\xbb\xbf\n", "bom.tsv holds no triple"),
    ("none.csv", b"", "none.csv holds no triple"),
    ("only.csv", b"head,relation,tail\n", "only.csv holds no triple"),
    ("cols.csv", b"head,why,tail\n", "line 1: 'head', 'why', 'tail': no columns that are known"),
    ("twice.csv", b"head,head,relation,tail\n", "line 1: 'head', 'head', 'relation', 'tail': no columns"),
    ("short.csv", b'head,relation,tail\n"a\nb",r,c\na,r\n', "short.csv line 4: 2 fields"),
    ("open2.csv", b'head,relation,tail\na,r,"c\nb,r,c\n', "open2.csv line 2: not CSV"),
    ("quote.csv", b'head,relation,tail\n"a"b,r,c\n', "quote.csv line 2: not CSV"),
    ("open.csv", b'head,relation,tail\na,r,c\n"a,r,c\n', "open.csv line 3: not CSV"),
    ("utf.csv", b"head,relation,tail\na,r,\xff\n", "utf.csv line 2: not UTF-8"),
    ("not.parquet", b"PAR1 but not really", "not.parquet is not a Parquet file"),
    ("bad.nt", b"<x:a> <x:r> <x:b> .\n<x:a> .\n", "bad.nt line 2: "),
    ("open.nq", b"# one\n<x:a> <x:r> <x:b> .\n<x:a <x:r> <x:b> <x:g> .\n", "open.nq line 3: an IRI is not closed"),
    ("open.trig", b"<x:a> <x:r> <x:b\n> .\n", "open.trig statement 1: an IRI is not closed"),
    ("half.jsonl", b'["a", "r", "b"]\n["\\ud800", "r", "b"]\n', "half.jsonl line 2: half of a character"),
    ("half.json", b'[{"head": "a", "relation": "r", "tail": "\\udc00"}]', "half.json line 1: half of a character"),
    (
        "far.jsonld",
        b'{"@context": "http://x.org/", "@id": "x:a", "x:r": {"@id": "x:b"}}',
        "its @context stands at another",
    ),
    ("bad.ttl", b"<x:a> <x:r> \xff .\n", "bad.ttl line 1: "),
    ("long.nt", b"<x:" + b"a" * (1 << 24) + b"> <x:r> <x:b> .\n", "long.nt line 1: a name or text of more than 16 MiB"),
    ("bad.nq", b"<x:a> <x:r> <x:b> <x:g> <x:h> .\n", "bad.nq line 1: "),
    ("bad.trig", b"<x:g> { <x:a> }", "bad.trig line 1: "),
    ("bad.rdf", b"<rdf:RDF", "bad.rdf: "),
    ("bad.jsonld", b'{"@id": ', "bad.jsonld line 1: "),
    ("lit.nt", b'<x:a> <x:r> "b" .\n', "lit.nt holds no triple"),
    ("g.tsv.gz", b"a\tr\tb\n", "g.tsv.gz is not a whole .gz file"),
    ("cut.tsv.gz", gzip.compress(b"a\tr\tb\n" * 99)[:-9], "cut.tsv.gz is not a whole .gz file"),
    ("cut.nt.gz", gzip.compress(b"<x:a> <x:r> <x:b> .\n" * 99)[:-9], "cut.nt.gz is not a whole .gz file"),
    ("g.xlsx", b"", "its ending names no graph format"),
    ("packed.tsv", gzip.compress(b"a\tr\tb\n"), "packed.tsv is compressed: let its name end in .gz"),
    ("sheet.csv", b"PK\x03\x04...", "sheet.csv is a zip archive or a spreadsheet"),
    ("page.nt", b"<!DOCTYPE html>\n<html>", "page.nt is a web page, and no graph"),
    ("lfs.tsv", b"version https://git-lfs.github.com/spec/v1\n", "lfs.tsv is a pointer of Git LFS"),
    ("wide.csv", "head,relation,tail\n".encode("utf-16-le"), "wide.csv line 1: every second byte is zero"),
    ("odd.tsv", b"\xff\xfea", "odd.tsv begins as utf-16 and is none"),
    ("down.txt", b"| head | relation | tail |\n", "down.txt line 1: a table of Markdown"),
    ("twice.json", b'["a", "r", "b"] ["b", "r", "c"]\n', "twice.json line 1: not JSON: Extra data"),
    ("plain", b"", "its ending names no graph format"),
]


@pytest.mark.parametrize(("name", "data", "words"), BAD, ids=[name for name, _, _ in BAD])
def test_bad_input_is_one_line_with_file_and_line(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (read_graph, read_triples):
        with pytest.raises(GraphError) as caught:
            read(tmp_path / name)
        assert name in str(caught.value) and words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bad_parquet_and_what_is_no_file(tmp_path: Path) -> None:
    columns = {"head": ["a", "b", None], "relation": ["r", "", "r"], "tail": ["a", "b", "c"], "n": [1.0] * 3}
    pl.DataFrame(columns).write_parquet(tmp_path / "g.parquet")
    for chosen, words in [
        ("head,relation,n", "column 'n' holds double"),
        (
            "head,relation,x",
            "--columns head,relation,x: 'x' is not, or not once, among 'head', 'relation', 'tail', 'n'",
        ),
    ]:
        with pytest.raises(GraphError, match=words):
            read_graph(tmp_path / "g.parquet", columns=chosen)
    with pytest.raises(GraphError, match=r"missing\.tsv: no such file"):
        read_graph(tmp_path / "missing.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(GraphError, match=r"folder\.tsv is a folder: name the files in it"):
        read_graph(tmp_path / "folder.tsv")


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("q.tsv", "a\tr\nb\tr\n", [("a", "r", None, 1), ("b", "r", None, 2)]),
        ("q.tsv", "head\trelation\na\tr\n", [("a", "r", None, 2)]),
        ("q.tsv", "relation\ttail\r\nr\tb\r\n", [(None, "r", "b", 2)]),
        ("q.csv", 'tail,relation,why\n"b,",r,x\n', [(None, "r", "b,", 2)]),
        ("q.csv", "head,relation,tail\na,r,\n,r,b\n", [("a", "r", None, 2), (None, "r", "b", 3)]),
    ],
)
def test_questions(tmp_path: Path, name: str, text: str, wanted: list[tuple[object, ...]]) -> None:
    (tmp_path / name).write_text(text, newline="")
    assert read_queries(tmp_path / name).rows() == wanted


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("q.tsv", "", "q.tsv holds no question"),
        ("q.tsv", "a\tr\tb\n", "q.tsv line 1: 3 fields between tabs, not 2"),
        ("q.tsv", "a\tr\n\tr\n", "q.tsv line 2: give a head or a tail"),
        ("q.csv", "head,relation,tail\na,r,b\n", "q.csv line 2: give a head or a tail, one of the two"),
        ("q.csv", "head,relation\na,\n", "q.csv line 2: the relation is empty"),
        ("q.csv", "a,b\n", "q.csv line 1: a header must name"),
        ("q.nt", "", "questions are read from .tsv or .csv"),
    ],
)
def test_bad_questions(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(GraphError, match=words):
        read_queries(tmp_path / name)


NAME = st.text(st.characters(blacklist_characters="\t\r\n", codec="utf-8"), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAME, NAME, NAME), min_size=1, max_size=8))
def test_any_names_survive(tmp_path: Path, triples: list[Triple]) -> None:
    (head, relation, tail), *others = triples
    assume(formats.recognised([head, relation, tail]) is None)  # else the first line is a header
    unmarked = [(head.lstrip("\ufeff") or "x", relation, tail), *others]
    for ending in (".tsv", ".csv", ".parquet"):
        assert rows(read_triples(write(tmp_path / f"g{ending}", unmarked))) == unmarked
