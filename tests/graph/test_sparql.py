"""A SPARQL endpoint as a source, which fails as public ones do."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.graph.conftest import DATA, Server
from tests.graph.test_read import named
from trivium.errors import GraphError, OutputError
from trivium.graph import sparql
from trivium.graph.index import open_index
from trivium.graph.read import read_graph


@pytest.fixture
def server(
    endpoint: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Server:
    """An endpoint of which little is asked at a time."""
    monkeypatch.setattr(sparql, "WAIT", 0.001)
    monkeypatch.setattr(sparql, "PAGE", 8)
    monkeypatch.setattr(sparql, "SMALLEST", 2)
    monkeypatch.setattr(sparql, "NAMES", 7)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    return endpoint


def wanted(folder: Path) -> list[tuple[str, str, str]]:
    (folder / "all.ttl").write_text(DATA)
    return [fact for fact in named(read_graph(folder / "all.ttl")) if not any(name.startswith("_:") for name in fact)]


@pytest.mark.parametrize("cap", [10_000, 5])
def test_an_endpoint_gives_what_its_dump_gives(
    server: Server, command: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, cap: int
) -> None:
    server.cap = cap
    assert command("index", f"sparql:{server.url}", "-o", "kg.trivium")[0] == 0
    graph = open_index("kg.trivium")
    assert named(graph) == wanted(tmp_path)
    assert graph.entities.id('Zero "0"', "entity") == graph.entities.id("http://x/e0", "entity")
    assert graph.entities.id("One", "entity") == graph.entities.id("http://x/e1", "entity")
    assert graph.relations.id("is near", "relation") == graph.relations.id("http://x/r0", "relation")
    assert "2 literals are left out" in caplog.text
    assert "2 statements of nodes without a name are left out" in caplog.text
    assert "41 statements between IRIs, of 5 predicates" in caplog.text
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        len(said) == 2 and "pages.nt: 1 name is no valid IRI, and is read as it stands: 'http://x/odd (1)#é'" in said[0]
    )
    assert not (tmp_path / "kg.trivium.parts").exists() and server.most_at_once == 1


def test_a_graph_and_predicates_are_chosen(server: Server, command: Run, tmp_path: Path) -> None:
    where = "index", f"sparql:{server.url}", "-o"
    assert command(*where, "r1.trivium", "--predicate", "http://x/r1")[0] == 0
    assert named(open_index("r1.trivium")) == [fact for fact in wanted(tmp_path) if fact[1] == "http://x/r1"]
    assert command(*where, "g.trivium", "--graph", "http://x/graph")[0] == 0
    assert [head for head, *_ in named(open_index("g.trivium"))] == [f"http://x/g{i}" for i in range(5)]
    status, _, err = command(*where, "n.trivium", "--predicate", "http://x/none")
    assert status == 2 and "holds no such statement between IRIs; it has http://x/graph (--named-graph IRI)" in err
    (tmp_path / "g.nt").write_text(DATA.splitlines()[0])
    assert "--predicate serves endpoints" in command("index", "g.nt", "-o", "g2.trivium", "--predicate", "x:r")[2]
    assert "`trivium index sparql:URL -o FILE.trivium` reads an endpoint" in command("info", where[1])[2]


FAULTS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "busy": (503, {}, b""),
    "soon": (429, {"Retry-After": "0"}, b""),
    "date": (503, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}, b""),
    "breaks off": (200, {}, b'{"head": {"vars": ["s"]}, "results": {"bindings": [{"s": {"ty'),
    "cut": (200, {"Cut": "5"}, b'{"head": {"vars": []}, "results": {"bindings": []}}'),
    "in part": (200, {"X-SQL-State": "S1TAT"}, b'{"results": {"bindings": []}}'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_endpoint_that_fails_now_and_then_is_asked_again(
    server: Server, command: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    server.instead = lambda query: FAULTS[fault] if len(server.asked) % 3 == 0 and "COUNT" not in query else None
    assert command("index", f"sparql:{server.url}", "-o", "kg.trivium")[0] == 0
    assert named(open_index("kg.trivium")) == wanted(tmp_path) and ": again in 0 seconds" in caplog.text


def test_what_was_stopped_goes_on(server: Server, command: Run, tmp_path: Path) -> None:
    where = "index", f"sparql:{server.url}", "-o", "kg.trivium"
    command(*where)
    whole = len(server.asked)
    for stop in (3, 7, 10, whole - 1):
        Path("kg.trivium").unlink()
        server.asked.clear()
        server.instead = lambda query, stop=stop: (500, {}, b"") if len(server.asked) > stop else None  # type: ignore[misc]
        status, _, err = command(*where)
        assert status == 2 and "HTTP 500 Internal Server Error: the same command goes on later" in err
        assert not Path("kg.trivium").exists()
        with Path("kg.trivium.parts", "pages.nt").open("a") as file:
            file.write("<http://x/cut> <http://x/of")
        before, server.instead = len(set(server.asked)), lambda query: None
        server.asked.clear()
        assert command(*where)[0] == 0
        assert named(open_index("kg.trivium")) == wanted(tmp_path)
        assert len(server.asked) < whole and before + len(server.asked) >= whole


def test_pages_of_another_request_are_not_mixed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sparql.fetched(server.url, tmp_path / "a"):
        raise ZeroDivisionError
    other = sparql.fetched(server.url, tmp_path / "a", predicates=["http://x/r0"])
    with pytest.raises(OutputError, match=r"pages\.nt holds what came of another request: remove it"), other:
        pass
    with sparql.fetched(server.url, tmp_path / "a") as path:
        assert read_graph(path).num_triples == 41
    assert not (tmp_path / "a.parts").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, {}, b"no\nsuch  page"), "HTTP 404 Not Found: no such page"),
        ((400, {}, b"malformed"), "HTTP 400 Bad Request: malformed"),
        ((302, {"Location": "https://other/sparql"}, b""), "HTTP 302 Found, it is at https://other/sparql"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "answers with a page for people"),
        ((200, {"Content-Type": "text/turtle"}, b"x"), "answers with text/turtle, no SPARQL results in JSON"),
        ((503, {"Retry-After": "9000"}, b""), "asks to wait for 9,000 seconds: the same command goes on later"),
    ],
)
def test_what_is_no_answer_ends(server: Server, command: Run, answer: Any, words: str) -> None:
    server.instead = lambda query: answer
    status, _, err = command("index", f"sparql:{server.url}", "-o", "kg.trivium")
    assert status == 2 and words in err and len(err.splitlines()) == 1
    assert len(server.asked) == 1


def test_what_cannot_be_reached_or_lies_is_said(server: Server, command: Run, caplog: pytest.LogCaptureFixture) -> None:
    assert "cannot be reached" in command("index", "sparql:http://127.0.0.1:9/", "-o", "a.trivium")[2]
    assert "give the address of an endpoint" in command("index", "sparql:here", "-o", "a.trivium")[2]
    short = b'{"results": {"bindings": []}}'
    server.instead = lambda query: (200, {}, short) if 'STR(?s) > "' in query else None
    assert command("index", f"sparql:{server.url}", "-o", "kg.trivium")[0] == 0
    assert "8 statements of http://x/r0 came, and it counts 21" in caplog.text
    rows = json.dumps({"results": {"bindings": [{"p": {"type": "uri", "value": "http://x/r0"}}] * 8}}).encode()
    server.instead = lambda query: (200, {}, rows) if "DISTINCT ?p" in query else None  # the same, again and again
    with pytest.raises(GraphError, match="gives the same rows again"):
        list(sparql.Endpoint(server.url).pages("p", "?s ?p ?o", "true"))


def test_an_endpoint_that_cannot_count_is_read(
    server: Server, command: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.instead = lambda query: (500, {}, b"") if "COUNT" in query else None
    assert command("index", f"sparql:{server.url}", "-o", "kg.trivium")[0] == 0
    assert named(open_index("kg.trivium")) == wanted(tmp_path)
    assert "of http://x/r0 came, and it does not say how many there are" in caplog.text
