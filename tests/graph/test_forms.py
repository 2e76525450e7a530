"""Ten kinds of file, each after the public description of its form, go through the verbs without a word of help."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import Run, small_model
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint

PEOPLE, CITIES = [f"Person{i}" for i in range(160)], [f"City{i}" for i in range(10)]
FACTS = [
    *((person, "lives_in", CITIES[i % 10]) for i, person in enumerate(PEOPLE)),
    *((person, "knows", PEOPLE[(i + 10) % 160]) for i, person in enumerate(PEOPLE)),
    *((city, "twin_of", CITIES[(i + 1) % 10]) for i, city in enumerate(CITIES)),
]


def table(header: str, row: Callable[[str, str, str], str]) -> str:
    return "\n".join([*([header] if header else []), *(row(*fact) for fact in FACTS), ""])


def iri(name: str) -> str:
    return f"http://example.org/{name}"


def parquet(path: Path) -> None:
    pl.DataFrame(FACTS, schema=["subject", "predicate", "object"], orient="row").write_parquet(path)


def sparql(path: Path) -> None:
    rows = [dict(zip("spo", ({"type": "uri", "value": iri(n)} for n in fact), strict=True)) for fact in FACTS]
    path.write_text(json.dumps({"head": {"vars": list("spo")}, "results": {"bindings": rows}}))


END = "</rdf:Description>"
TURTLE = "@prefix : <http://example.org/> .\n@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
XML = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:x="http://example.org/">\n'
FORMS: dict[str, str | Callable[[Path], None]] = {
    "bare.tsv": table("", lambda h, r, t: f"{h}\t{r}\t{t}"),
    "excel.csv": "sep=;\r\n" + table("Subject;Predicate;Object", lambda h, r, t: f"{h};{r};{t}").replace("\n", "\r\n"),
    "neo4j.csv": table(":START_ID,since:int,:END_ID,:TYPE", lambda h, r, t: f"{h},1999,{t},{r}"),
    "kgtk.tsv": table("id\tnode1\tlabel\tnode2", lambda h, r, t: f"{h}-{r}-{t}\t{h}\t{r}\t{t}"),
    "kgx.jsonl": table("", lambda h, r, t: json.dumps({"id": h + r + t, "subject": h, "predicate": r, "object": t})),
    "hetionet.tsv": table("source\tmetaedge\ttarget", lambda h, r, t: f"{h}\t{r}\t{t}"),
    "columns.parquet": parquet,
    "query.srj": sparql,
    "labels.ttl": TURTLE
    + table("", lambda h, r, t: f":{h} :{r} :{t} .")
    + table("", lambda h, r, t: f':{h} rdfs:label "{h}"@en .'),
    "onto.owl": XML
    + table("", lambda h, r, t: f'<rdf:Description rdf:about="{iri(h)}"><x:{r} rdf:resource="{iri(t)}"/>{END}')
    + "</rdf:RDF>",
    "dump.nq": table("", lambda h, r, t: f"<{iri(h)}> <{iri(r)}> <{iri(t)}> <{iri('graph')}> ."),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(small_model(), Provenance(), path)
    return str(path)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_needs_no_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Run, checkpoint: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made = FORMS[name]
    if callable(made):
        made(Path(name))
    else:
        Path(name).write_text(made, newline="")
    model = "--checkpoint", checkpoint
    status, out, err = command("info", name)
    assert status == 0 and f"triples              {len(FACTS)}" in out, err
    status, out, err = command("rank", name, "--head", "Person3", "--relation", "knows", "-k", "3", *model)
    assert status == 0 and out.count("\nPerson3  knows") == 3, err
    assert command("complete", name, "-o", "missing.csv", "--relation", "twin_of", "-k", "1", *model)[0] == 0
    status, _, err = command("calibrate", name, "-o", "held.json", *model)
    assert status == 0 and Path("missing.csv").exists() and Path("held.json").exists(), err
