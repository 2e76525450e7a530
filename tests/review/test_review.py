"""From suggestions to what is taken home, and round again."""

from __future__ import annotations

import csv
import io
import json
import sys
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pyoxigraph
import pytest
import rdflib
from tests.conftest import Run, random_graph, small_model

from trivium.cli import review
from trivium.datasets.leakage import training_graph
from trivium.files import read_provenance
from trivium.graph.formats import TRIPLE
from trivium.graph.read import read_graph
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint
from trivium.review.decisions import Decision, Decisions
from trivium.service.snapshot import Source

PROV = rdflib.Namespace("http://www.w3.org/ns/prov#")
OURS = rdflib.Namespace("urn:trivium:")
MODEL = ["--checkpoint", "model.safetensors"]
ASK = ["complete", "g.tsv", "-k", "3", *MODEL]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a graph of odd names and a model, where commands run."""
    graph = random_graph(3, entities=40, triples=300)
    facts = graph.named(graph.triples).with_columns(
        head=pl.col("head").replace("5", "http://example.org/five"), tail=pl.col("tail").replace("7", "<seven> 7 %")
    )
    facts.write_csv(tmp_path / "g.tsv", separator="\t", include_header=False)
    save_checkpoint(small_model(), Provenance(), tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def press(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(keys))


def label(dataset: rdflib.Dataset, node: object) -> str:
    return str(next(dataset.objects(node, rdflib.RDFS.label), node))  # type: ignore[arg-type]


def recorded(*more: tuple[str, str, str]) -> None:
    """Two decisions of different runs, and an accepted link of a person's own."""
    log = Decisions("g.decisions")
    log.record(
        Decision(
            "http://example.org/five", "1", "<seven> 7 %", "accepted", "Ann B.", 0.75, "c", "g", "t", "s", 'so it "is"'
        ),
        Decision("1", "2", "3", "accepted", "me", 0.5, "c2", "g", "t", "s"),
        Decision("_:b1", "2", "new", "accepted", "me"),
        Decision("1", "2", "4", "rejected", "me"),
        *(Decision(*link, "accepted", "me") for link in more),
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
@pytest.mark.parametrize("ending", [".nq", ".trig", ".jsonld"])
def test_exported_rdf_says_where_each_link_comes_from(folder: Path, command: Run, ending: str) -> None:
    recorded()
    assert command("export", "g.tsv", "-o", f"kept{ending}")[2] == f"kept{ending}: 3 links\n"
    form = {".nq": "nquads", ".trig": "trig", ".jsonld": "json-ld"}[ending]
    held = rdflib.Dataset()
    held.parse(data=Path(f"kept{ending}").read_text("utf-8"), format=form)
    runs = set(held.subjects(rdflib.RDF.type, PROV.Entity))
    assert len(runs) == 3
    assert sorted(len(held.graph(str(run))) for run in runs) == [1, 1, 1]
    agent = next(held.subjects(rdflib.RDFS.label, rdflib.Literal("Ann B.")))
    [link] = held.subjects(PROV.wasAttributedTo, agent)
    assert held.value(link, OURS.confidence).toPython() == 0.75  # type: ignore[union-attr]
    assert str(held.value(link, rdflib.RDFS.comment)) == 'so it "is"'
    assert str(held.value(link, rdflib.RDF.subject)) == "http://example.org/five"
    assert label(held, held.value(link, rdflib.RDF.object)) == "<seven> 7 %"
    run = held.value(link, PROV.wasDerivedFrom)
    activity = held.value(run, PROV.wasGeneratedBy)
    assert {str(used) for used in held.objects(activity, PROV.used)} == {f"urn:trivium:sha256:{h}" for h in "cgs"}
    assert str(held.value(activity, PROV.wasAssociatedWith)) == "urn:trivium:version:t"


def test_annotations_are_triples_about_triples(folder: Path, command: Run) -> None:
    recorded()
    assert command("export", "g.tsv", "-o", "kept.trig", "--annotations")[0] == 0
    quads = list(pyoxigraph.parse(path="kept.trig"))
    reified = {str(quad.object) for quad in quads if str(quad.predicate).endswith("#reifies>")}
    graphs = {quad.triple for quad in quads if quad.graph_name != pyoxigraph.DefaultGraph()}
    assert reified == {str(triple) for triple in graphs}
    assert len(reified) == 3
    assert command("export", "g.tsv", "-o", "kept.jsonld", "--annotations")[2] == (
        "trivium: kept.jsonld: only .nq and .trig can hold annotations\n"
    )


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".parquet", ".jsonl", ".nq", ".trig", ".jsonld"])
def test_what_is_exported_is_read_as_a_graph(folder: Path, command: Run, ending: str) -> None:
    recorded(
        ("1", "0", "tab\tname") if ending != ".tsv" else ("1", "0", "x"),
        ("_:b1", "_:no IRI", "http://example.org/a b"),
        ("urn:trivium:name:a%20b", "_:r", "urn:trivium:link:x"),
    )
    more = ["--annotations"] if ending == ".trig" else []
    assert command("export", "g.tsv", "-o", f"all{ending}", "--whole", *more)[0] == 0
    state = Decisions("g.decisions").state()
    expected = read_graph("g.tsv").with_changes(state.filter(pl.col("verdict") == "accepted").select(TRIPLE))
    assert read_graph(f"all{ending}").sha256 == expected.sha256


def test_neo4j_takes_two_files_which_are_read_back(folder: Path, command: Run) -> None:
    recorded()
    assert command("export", "g.tsv", "-o", "kept.csv", "--neo4j")[0] == 0
    assert Path("kept.nodes.csv").read_text().splitlines()[0] == "name:ID,:LABEL"
    assert Path("kept.csv").read_text().splitlines()[0].startswith(":START_ID,:END_ID,:TYPE,confidence:double,at,")
    assert read_graph("kept.csv").num_triples == 3


def test_a_copy_of_a_rejected_link_is_not_exported(folder: Path, command: Run) -> None:
    Path("n.tsv").write_text("".join(f"{a}\tbeside\t{b}\n{b}\tbeside\t{a}\n" for a, b in pairwise("abcdefgh")))
    Path("s.tsv").write_text("head\trelation\ttail\na\tbeside\th\nh\tbeside\ta\nnew\tbeside\th\nb\tbeside\th\n")
    Decisions("n.decisions").record(Decision("a", "beside", "h", "rejected", "me"))
    assert command("export", "n.tsv", "-o", "kept.csv", "--suggestions", "s.tsv")[2] == "kept.csv: 2 links\n"
    assert pl.read_csv("kept.csv")["head"].to_list() == ["new", "b"]


def test_a_spreadsheet_decides(folder: Path, command: Run) -> None:
    recorded()
    assert command("review", "g.tsv", "--export", "d.tsv")[2] == "d.tsv: 4 decisions\n"
    assert command("review", "g.tsv", "--import", "d.tsv")[2] == "g.decisions: 0 decisions; 4 stood already\n"
    Path("more.csv").write_text(
        "tail,head,relation,verdict,confidence\n3,1,2,rejected,\n9,1,2,accepted,0.25\n8,1,2,,\n"
    )
    assert command("review", "g.tsv", "--import", "more.csv", "--reviewer", "Eve")[2].startswith("g.decisions: 2 dec")
    new = Decisions("g.decisions").log().filter(pl.col("reviewer") == "Eve")
    assert new.select(*TRIPLE, "verdict", "confidence").rows() == [
        ("1", "2", "3", "rejected", None),
        ("1", "2", "9", "accepted", 0.25),
    ]
    for text, words in (
        ("head,relation,tail\n1,2,3\n", "bad.csv has no column 'verdict'"),
        ("head,relation,tail,verdict\n1,2,3,accepted\n1,2,3,yes\n", "bad.csv row 3: the verdict 'yes' is none of"),
        ("head,relation,tail,verdict\n1,,3,accepted\n", "bad.csv row 2: a name is missing"),
        ("head,relation,verdict\n1,2,accepted\n", "bad.csv has no column 'tail'"),
        ("head,relation,tail,verdict\n1,2,3,accepted\n4,5,6,\n1,2,3,rejected\n", "row 4: '1 2 3' is rejected, and acc"),
        ("head,relation,tail,verdict,confidence\n1,2,3,accepted,2\n", "row 2: the confidence '2' is no number from 0"),
    ):
        Path("bad.csv").write_text(text)
        status, _, said = command("review", "g.tsv", "--import", "bad.csv")
        assert status == 2
        assert words in said
    Path("bad.jsonl").write_text('{"head": ["1"], "relation": "2", "tail": "3", "verdict": "accepted"}\n')
    assert "a head, relation or tail is no name" in command("review", "g.tsv", "--import", "bad.jsonl")[2]
    assert "none.tsv: no such file" in command("review", "none.tsv", "--import", "more.csv")[2]
    assert not Path("none.decisions").exists()


def test_an_import_says_what_it_changes_and_takes_labels_for_names(folder: Path, command: Run) -> None:
    recorded()
    Path("labels.csv").write_text("name,label\n1,One\n")
    Path("d.csv").write_text(
        "head,relation,tail,verdict\nOne,2,3,rejected\nOne,2,9,accepted\nnobody,2,3,accepted\nnew,2,3,rejected\n"
    )
    said = command("review", "g.tsv", "--import", "d.csv", "--labels", "labels.csv", "--reviewer", "Eve")[2]
    assert said.splitlines() == [
        "g.decisions: 4 decisions; 0 stood already",
        "1 of them take the place of another verdict",
        "1 accepted links name what the graph lacks, 'nobody 2 3' first: they join it as new",
    ]
    assert Decisions("g.decisions").log().filter(pl.col("reviewer") == "Eve")["head"].to_list()[:2] == ["1", "1"]


def test_a_file_of_decisions_that_is_named_counts_alone_and_must_be_there(folder: Path, command: Run) -> None:
    recorded()
    for words in (
        ("export", "g.tsv", "-o", "x.tsv"),
        ("review", "g.tsv", "--export", "x.tsv"),
        ("review", "g.tsv", "--agreement"),
        ("calibrate", "g.tsv", "-o", "x.json", *MODEL),
    ):
        said = command(*words, "--decisions", "none.decisions")[2]
        assert said == "trivium: none.decisions: no such file of decisions: `trivium review` makes one\n"
    held = Source(Path("g.tsv"), MODEL[1], reading={"decisions": Path("new.decisions")}, keeps=True).load()
    assert held.ranker.graph.num_triples == read_graph("g.tsv").num_triples, "not those beside the graph"


@pytest.mark.parametrize("form", ["excel.txt", "semicolons.csv", "quoted.csv"])
def test_a_table_is_read_as_spreadsheets_write_it(folder: Path, command: Run, form: str) -> None:
    """Windows line ends, other columns in another order, capitals, quotation marks, empty rows at the end; by label."""
    Path("n.tsv").write_text('Congo\tclimate\tQ1\nTogo\tclimate\tQ1\nQ1\tkind\tQ2\n"so"\tkind\tQ2\n')
    Path("labels.tsv").write_text('Q1\tTropical, "wet"\n')
    rows = [
        ["Note", "Tail", "Verdict", "Relation", "Head", "Confidence"],
        ["", 'Tropical, "wet"', "Rejected", "climate", "Togo", ""],
    ]
    rows += [
        ["a, b", 'Tropical, "wet"', " accepted", "climate", '"so"', "0,75"],
        ["", "Q2", "", "kind", "Togo", ""],
        [""] * 6,
    ]
    marks = {"excel.txt": "\t", "semicolons.csv": ";", "quoted.csv": ","}[form]
    text = io.StringIO()
    csv.writer(text, "excel", delimiter=marks, quoting=csv.QUOTE_ALL if form == "quoted.csv" else 0).writerows(rows)
    said = text.getvalue()
    if form == "excel.txt":
        said = said.replace('"a, b"', "a, b")  # a name's quotation marks are told by the graph, a note's by nothing
    Path(form).write_bytes(said.encode("utf-16" if form == "excel.txt" else "utf-8-sig"))
    assert command("review", "n.tsv", "--labels", "labels.tsv", "--import", form)[2] == (
        "n.decisions: 2 decisions; 0 stood already\n"
    )
    state = Decisions("n.decisions").state()
    assert state.select(*TRIPLE, "verdict", "note", "confidence").rows() == [
        ("Togo", "climate", "Q1", "rejected", "", None),
        ('"so"', "climate", "Q1", "accepted", "a, b", 0.75),
    ]


def test_the_terminal_speaks_in_labels_and_counts_what_stands(
    folder: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("n.tsv").write_text("Q1\tP1\tQ2\nQ2\tP1\tQ3\nQ2\tP0\tQ3\nQ4\tP0\tQ1\n")
    Path("labels.tsv").write_text("Q1\tOne\nQ2\tTwo\nQ3\tThree\nQ4\tFour\nP1\tfirst\nP0\tsecond\n")
    Path("s.tsv").write_text("head\trelation\ttail\nQ1\tP1\tQ3\nQ1\tP1\tQ4\nQ2\tP1\tQ4\n")
    asked = ["review", "n.tsv", "--labels", "labels.tsv", "--suggestions", "s.tsv", *MODEL]
    press(monkeypatch, "xAuDq")
    monkeypatch.setattr(review, "SHOWN_FACTS", 1)
    status, shown, said = command(*asked, "--reviewer", "Ann", "--relation", "first")
    assert (status, said) == (0, "n.decisions: 1 decisions, 2 links left\n")
    assert [name for name in ("Q1", "Q2", "Q3", "Q4", "P1") if name in shown] == []
    assert "Like it, One first …: Four (accepted)" not in shown
    assert "Like it, One first …: Four\n" in shown
    assert "undone: One first Three" in shown
    assert [line for line in shown.splitlines() if line[:1] == "["] == [
        "[1/3] 0 accepted, 0 rejected, 0 left open",
        "[2/3] 1 accepted, 0 rejected, 0 left open",
        "[1/3] 0 accepted, 0 rejected, 0 left open",
        "[2/3] 0 accepted, 0 rejected, 1 left open",
    ]
    assert "One (2 facts): · first Two\n" in shown, "what it has of the same relation comes first"
    assert "did you mean" in command(*asked, "--relation", "firs")[2]
    assert "--min-confidence is 2.0: give a number from 0 to 1" in command(*asked, "--min-confidence", "2")[2]


def test_agreement_is_the_share_accepted_by_confidence(folder: Path, command: Run) -> None:
    status, _, said = command("review", "g.tsv", "--agreement")
    assert (status, said) == (2, "trivium: g.decisions: no link that had a confidence was accepted or rejected yet\n")
    log = Decisions("g.decisions")
    log.record(*(Decision("1", "2", str(i), "accepted" if i % 5 else "rejected", "me", 0.75) for i in range(40)))
    log.record(Decision("1", "2", "x", "undecided", "me", 0.0))
    status, shown, _ = command("review", "g.tsv", "--agreement", "--png", "a.png")
    assert status == 0
    assert "They differ by 0.050 in the mean." in shown  # eight bins of ten have one of four wrong, two none
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_says_what_it_was_made_with(folder: Path, command: Run) -> None:
    assert command("rank", "g.tsv", "--head", "1", "--relation", "2", "-o", "a.csv", *MODEL)[0] == 0
    assert command("rank", "g.tsv", "--head", "1", "--relation", "2", "-o", "a.parquet", *MODEL)[0] == 0
    said = read_provenance("a.csv")
    assert said == read_provenance("a.parquet")
    Path("relations.tsv").write_text("2\tlikes\n")  # texts make no other graph
    assert command("rank", "g.tsv", "--head", "1", "--relation", "2", "-o", "b.parquet", *MODEL)[0] == 0
    assert read_provenance("b.parquet")["decided"] == said["graph"]
    Path("relations.tsv").unlink()
    assert said["graph"] == said["decided"] == read_graph("g.tsv").sha256
    assert set(json.loads(Path("a.csv.provenance.json").read_text())) == {*said, "sha256"}
    assert command("verify", "a.csv", "g.tsv", *MODEL)[0] == 0
    save_checkpoint(small_model(seed=1), Provenance(), folder / "other.safetensors")
    status, shown, _ = command("verify", "a.parquet", "g.tsv", "--checkpoint", "other.safetensors")
    assert status == 1
    assert "checkpoint      another" in shown
    assert "graph           as it was" in shown
    Path("a.csv").write_text(Path("a.csv").read_text().replace("1", "2", 1))
    held = bytearray(Path("a.parquet").read_bytes())
    held[60] ^= 1
    Path("a.parquet").write_bytes(held)
    assert "a.parquet has changed since it was written" in command("verify", "a.parquet", "g.tsv", *MODEL)[2]
    pyarrow.parquet.write_table(pyarrow.parquet.read_table("b.parquet").slice(1), "b.parquet")
    assert "b.parquet carries no provenance" in command("verify", "b.parquet", "g.tsv", *MODEL)[2]
    assert "a.csv has changed since it was written" in command("verify", "a.csv", "g.tsv", *MODEL)[2]
    assert "g.tsv carries no provenance" in command("verify", "g.tsv", "g.tsv", *MODEL)[2]
    Path("a.csv.provenance.json").write_text("[1]")
    assert "its provenance cannot be read" in command("verify", "a.csv", "g.tsv", *MODEL)[2]


def test_every_table_says_what_it_rests_on(folder: Path, command: Run) -> None:
    recorded(("1", "2", "5"))
    Decisions("g.decisions").record(Decision("9", "2", "1", "rejected", "me"))  # in another order than by id
    Decisions("g.decisions").record(Decision("0", "2", "2", "rejected", "me"))
    assert command("export", "g.tsv", "-o", "kept.csv")[0] == 0
    assert command("export", "g.tsv", "-o", "for.csv", "--neo4j")[0] == 0
    assert command("review", "g.tsv", "--export", "d.parquet")[0] == 0
    assert command("split", "g.tsv", "-o", "parts")[0] == 0
    assert command("synthesize", "-o", "s.tsv", "--entities", "30", "--seed", "3")[0] == 0
    assert command("synthesize", "-o", "s.parquet", "--entities", "30", "--seed", "3")[0] == 0
    for table, verb in {
        "kept.csv": "export",
        "for.csv": "export",
        "for.nodes.csv": "export",
        "d.parquet": "review",
        "parts/train.tsv": "split",
        "s.tsv": "synthesize",
        "s.parquet": "synthesize",
    }.items():
        status, shown, said = command("verify", table, "g.tsv", *MODEL)
        assert (status, said) == (0, ""), table
        words = " ".join(shown.split())
        assert f"written by {verb}" in words
        assert "checkpoint names none" in words
        assert ("graph names none" in words) == (verb in ("review", "synthesize"))
    shown = command("verify", "kept.csv", "g.tsv", *MODEL)[1]
    assert "links 4, of which the graph holds 4 now" in " ".join(shown.split())
    Decisions("g.decisions").record(Decision("1", "2", "6", "accepted", "me"))
    for table, status in {"kept.csv": 1, "parts/train.tsv": 1, "s.tsv": 0}.items():
        assert command("verify", table, "g.tsv", *MODEL)[0] == status, table
    Path("s.tsv").write_text("a\tb\tc\n")
    assert "s.tsv has changed since it was written" in command("verify", "s.tsv", "g.tsv", *MODEL)[2]


def test_info_and_training_know_what_was_decided(folder: Path, command: Run) -> None:
    before = json.loads(command("info", "g.tsv", "--json")[1])["graph"]
    held = read_graph("g.tsv")
    head, relation, tail = held.named(held.triples[:1]).row(0)
    Decisions("g.decisions").record(Decision(head, relation, tail, "rejected", "me"))
    recorded()
    after = json.loads(command("info", "g.tsv", "--json")[1])["graph"]
    assert (after["links accepted"], after["links rejected"]) == (3, 2)
    assert after["triples"] == before["triples"] + 3 - 1
    assert after["sha256"] == before["sha256"], "as calibrations name it"
    learnt = training_graph("./g.tsv")
    assert learnt.num_triples == after["triples"]
    assert not learnt.contains(learnt.ids([head], [relation], [tail])).any()
