"""The HTTP interface from outside."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.conftest import small_model
from tests.service.conftest import ODD, PLAIN, asking, make_app, serving, source_of, wait_until, write_graph
from trivium.calibration import Calibration
from trivium.calibration.collect import Answers
from trivium.calibration.fit import fit
from trivium.errors import InputError
from trivium.graph.read import read_graph
from trivium.inference.kinds import Range
from trivium.inference.ranker import Ranker
from trivium.inference.relate import relate
from trivium.model.checkpoint import checkpoint_sha256
from trivium.service import jobs
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current


def rank(client: TestClient, **body: Any) -> Any:
    return client.post("/api/rank", json=body)


def close(found: list[float], expected: Any) -> None:
    """Relations that are encoded beside others move a score in its last bits."""
    np.testing.assert_allclose(found, expected.to_list(), rtol=0, atol=1e-5)


def test_rank_gives_what_the_ranker_gives(client: TestClient, odd_graph: Path) -> None:
    ranker = Ranker(small_model(), read_graph(odd_graph))
    for asked in ({"head": "Nepal"}, {"tail": "Ganges"}):
        for known in (False, True):
            reply = rank(client, relation="borders <on>", k=7, include_known=known, **asked)
            assert reply.status_code == 200
            expected = ranker.rank(**asked, relation="borders <on>", k=7, include_known=known)  # type: ignore[arg-type]
            column = "tail" if "head" in asked else "head"
            answers = reply.json()["answers"]
            assert [answer["name"] for answer in answers] == expected[column].to_list()
            for mark in ("known", "reversed"):
                assert [answer[mark] for answer in answers] == expected[mark].to_list()
            assert [answer["rank"] for answer in answers] == expected["rank"].to_list()
            close([answer["score"] for answer in answers], expected["score"])
            assert all(answer["confidence"] is None for answer in answers)


def test_a_batch_keeps_its_order_and_names_come_back_as_they_are(client: TestClient) -> None:
    questions = [{"head": name, "relation": "likes", "k": 3} for name in ODD[:4]]
    questions.append({"tail": "Nepal", "relation": "knows", "k": 2})
    reply = client.post("/api/batch/rank", json={"questions": questions})
    assert reply.status_code == 200
    alone = [rank(client, **question).json() for question in questions]
    together = reply.json()
    for answers in (*together, *alone):
        for answer in answers["answers"]:
            answer["score"] = pytest.approx(answer["score"], abs=1e-5)
    assert together == alone
    assert [answers["head"] for answers in alone] == [*ODD[:4], None]


def test_score_judges_known_facts_without_themselves(client: TestClient, odd_graph: Path) -> None:
    triples = [("Nepal", "borders <on>", "India"), (ODD[1], "likes", ODD[5])]
    body = {"triples": [dict(zip(("head", "relation", "tail"), triple, strict=True)) for triple in triples]}
    scored = client.post("/api/score", json=body).json()
    expected = Ranker(small_model(), read_graph(odd_graph)).score(triples)
    assert [row["known"] for row in scored] == [True, False]
    assert [row["tail_rank"] for row in scored] == expected["tail_rank"].to_list()
    close([row["score"] for row in scored], expected["score"])


def test_search_and_facts(client: TestClient) -> None:
    found = client.get("/api/search", params={"q": "gang"}).json()["results"]
    assert [row["name"] for row in found[:3]] == ["Gange", "Ganges", "Ganga"]
    found = client.get("/api/search", params={"q": "bord", "kind": "relation"}).json()["results"]
    assert found[0] == {"name": "borders <on>", "label": "borders <on>", "facts": 5}
    entity = client.get("/api/entity", params={"name": "India"}).json()
    assert entity["total"] == 2
    facts = {(fact["relation"], fact["inverse"], fact["other"]["name"]) for fact in entity["facts"]}
    assert facts == {("borders <on>", True, "Nepal"), ("borders <on>", False, "China")}
    assert {(row["relation"], row["inverse"], row["facts"]) for row in entity["relations"]} == {
        ("borders <on>", True, 1),
        ("borders <on>", False, 1),
    }
    pages = [
        client.get("/api/entity", params={"name": "India", "offset": i, "limit": 1}).json()["facts"] for i in range(3)
    ]
    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] + pages[1] == entity["facts"]


def test_labels_are_shown_and_asked_and_one_of_several_names_them(tmp_path: Path) -> None:
    """Of a table of labels and of RDF alike: answers, facts, search, explanations, examples."""
    mercury = [("Q1", "P9001", "Q2"), ("Q3", "P9001", "Q4"), ("Q2", "P9002", "Q4"), ("Q4", "P9001", "Q5")]
    said = {"Q1": "Mercury", "Q2": "Sun", "Q3": "Mercury", "Q4": "Milky Way", "Q5": "Space", "P9001": "moves round"}
    (tmp_path / "g.tsv").write_text("".join("\t".join(fact) + "\n" for fact in mercury))
    (tmp_path / "labels.tsv").write_text("".join(f"{name}\t{label}\n" for name, label in said.items()))
    iri, rdfs = "<http://ex.org/{}>".format, "<http://www.w3.org/2000/01/rdf-schema#label>"
    lines = [" ".join(map(iri, fact)) for fact in mercury] + [f'{iri(n)} {rdfs} "{label}"' for n, label in said.items()]
    (tmp_path / "g.nt").write_text("".join(f"{line} .\n" for line in lines))
    for file, begin in (("g.tsv", ""), ("g.nt", "http://ex.org/")):
        source = replace(source_of(tmp_path / file), reading={"labels": [tmp_path / "labels.tsv"]} if not begin else {})
        with asking(create_app(Current(source), Limits())) as client:
            reply = rank(client, head="Sun", relation="moves round", k=9).json()
            assert reply["relation_label"] == "moves round"
            shown = {one["name"]: one["label"] for one in reply["answers"]}
            called = {
                f"{begin}Q1": f"{begin}Q1",
                f"{begin}Q3": f"{begin}Q3",
                f"{begin}Q4": "Milky Way",
                f"{begin}Q5": "Space",
            }
            assert shown == called
            again = rank(client, head=f"{begin}Q2", relation=f"{begin}P9001", k=9).json()
            assert again["answers"] == reply["answers"]
            [found] = client.get("/api/search", params={"q": "milk", "limit": 1}).json()["results"]
            assert found == {"name": f"{begin}Q4", "label": "Milky Way", "facts": 3}
            entity = client.get("/api/entity", params={"name": "Milky Way"}).json()
            assert entity["name"] == f"{begin}Q4"
            assert {(one["relation"], one["label"]) for one in entity["relations"]} == {
                (f"{begin}P9001", "moves round"),
                (f"{begin}P9002", "P9002"),
            }
            assert {one["other"]["label"] for one in entity["facts"]} == {"Sun", "Space", f"{begin}Q3"}
            why = client.post("/api/explain", json={"head": "Sun", "relation": "moves round", "tail": "Space"}).json()
            assert why["words"][0].startswith("Sun moves round Space: ")
            assert {"head": "Milky Way", "relation": "moves round", "tail": "Space"} in why["leaned_on"]["examples"]
            assert {"head": "Milky Way", "relation": "moves round"} in client.get("/api/info").json()["examples"]
            refused = rank(client, head="Mercury", relation="moves round")
            candidates = f"'Mercury' belongs to 2 names: give one of them ({begin}Q1, {begin}Q3)"
            assert (refused.status_code, refused.json()["detail"]) == (404, candidates)


def test_the_service_tells_of_itself(client: TestClient) -> None:
    about = client.get("/api/info").json()
    assert about["graph"]["entities"] == len(ODD) + len(PLAIN)
    assert about["limits"]["max_k"] == 50
    assert 0 < about["question_seconds"] < 30
    assert {"head": "China", "relation": "borders <on>"} in about["examples"]
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").status_code == 200
    rank(client, head="Nepal", relation="knows")
    text = client.get("/metrics").text
    assert 'trivium_requests_total{method="POST",path="/api/rank",status="200"}' in text
    assert "# HELP trivium_waiting" in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("rank", {"head": "Nepla", "relation": "likes"}, 404, "unknown entity 'Nepla': did you mean 'Nepal'"),
        ("rank", {"head": "Nepal", "relation": "bordres <on>"}, 404, "did you mean 'borders <on>'"),
        ("rank", {"head": "\x1b[31m\u202e", "relation": "likes"}, 404, r"\\u202e"),
        ("rank", {"tail": "Nepal"}, 422, "relation: Field required"),
        ("rank", {"tail": "Nepal", "relation": "likes", "k": 0}, 422, "k: Input should be greater"),
        ("rank", {"relation": "likes"}, 422, "a head or a tail, one of the two"),
        ("rank", {"head": "Nepal", "tail": "India", "relation": "likes"}, 422, "a head or a tail, one of the two"),
        ("rank", {"head": 5, "relation": "likes"}, 422, "head"),
        ("rank", {"head": "", "relation": "likes"}, 422, "head"),
        ("rank", {"head": "Nepal", "relation": "likes", "k": 51}, 422, "k: Input should be less than or equal to 50"),
        ("rank", {"head": "Nepal", "relation": "likes", "kk": 1}, 422, "kk"),
        ("rank", [], 422, "body"),
        ("batch/rank", {"questions": []}, 422, "questions"),
        ("batch/rank", {"questions": [0] * 6}, 422, "body.questions: List should have at most 5 items"),
        ("score", {"triples": [0] * 6}, 422, "body.triples: List should have at most 5 items"),  # items stay unread
        ("score", {"triples": [{"head": "Nepal", "relation": "likes", "tail": "nowhere"}]}, 404, "nowhere"),
        ("explain", {"head": "Nepal", "relation": "likes", "tail": "India", "paths": 7}, 422, "paths: Input should"),
        ("explain", {"head": "Nepal", "relation": "likes", "tail": "nowhere"}, 404, "nowhere"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(
    client: TestClient, path: str, body: Any, status: int, reason: str
) -> None:
    reply = client.post(f"/api/{path}", json=body)
    assert reply.status_code == status
    assert reason in reply.text
    detail = reply.json()["detail"]
    assert "\n" not in detail
    assert detail.isprintable()


def test_a_body_that_is_not_marked_as_json_is_told_so(client: TestClient) -> None:
    reply = client.post("/api/rank", content=b'{"head": "Nepal", "relation": "likes"}')
    assert (reply.status_code, "application/json" in reply.json()["detail"]) == (422, True)


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b'"\\ud800"', b'{"head": "\\ud800", "relation": "likes"}'])
def test_broken_bodies(client: TestClient, body: bytes) -> None:
    reply = client.post("/api/rank", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["detail"].isprintable()


def test_a_deep_or_large_body_is_refused(client: TestClient) -> None:
    json_type = {"content-type": "application/json"}
    assert client.post("/api/rank", content=b"[" * 19_000, headers=json_type).status_code == 422
    for size in (20_001, 1_000_000):
        reply = client.post("/api/rank", content=b"x" * size, headers=json_type)
        assert reply.status_code == 413
        assert "20,000 bytes" in reply.json()["detail"]
    chunks = client.post("/api/rank", content=iter([b"x" * 15_000] * 3), headers=json_type)
    assert chunks.status_code == 413


def test_a_body_that_does_not_arrive_is_given_up(odd_graph: Path) -> None:
    head = "POST /api/rank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
    with serving(make_app(odd_graph, Limits(max_arrival_seconds=0.5))) as address:
        port = int(address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"{head}{{".encode())
            reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert reply.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 0.5 seconds" in reply


def test_every_reply_forbids_markup_from_elsewhere(client: TestClient) -> None:
    for reply in (client.get("/"), client.get("/api/info"), client.get("/nowhere"), rank(client, head=5)):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_only_loopback_names_reach_a_service_without_a_token(client: TestClient) -> None:
    for host in ("localhost:80", "127.0.0.1", "[::1]:1"):
        assert client.get("/api/info", headers={"host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "["):
        assert client.get("/api/info", headers={"host": host}).status_code == 400


def test_a_token_guards_what_the_graph_says(odd_graph: Path) -> None:
    with TestClient(make_app(odd_graph, token="0123456789abcdef"), "http://graph.example") as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "0123456789abcdef"}):
            for path in ("/api/info", "/metrics", "/api/search"):
                reply = client.get(path, headers=headers)
                assert reply.status_code == 401
                assert reply.headers["www-authenticate"] == "Bearer"
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200
        for kind in ("Bearer", "bearer"):
            assert client.get("/api/info", headers={"authorization": f"{kind} 0123456789abcdef"}).status_code == 200


class Held:
    """Ranking, stopped until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.entered = threading.Event(), threading.Event()
        rank = jobs.rank

        def held(*asked: Any) -> Any:
            self.entered.set()
            assert self.go.wait(20)
            return rank(*asked)

        monkeypatch.setattr(jobs, "rank", held)


def test_a_full_queue_and_a_slow_answer_are_503_while_health_answers(
    odd_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    with asking(make_app(odd_graph, Limits(max_waiting=1, max_seconds=0.5))) as client:
        replies: list[Any] = []

        def ask(head: str) -> threading.Thread:
            thread = threading.Thread(target=lambda: replies.append(rank(client, head=head, relation="likes", k=2)))
            thread.start()
            return thread

        threads = [ask(ODD[0])]
        assert held.entered.wait(10)
        threads.append(ask(ODD[1]))
        wait_until(lambda: "trivium_waiting 1.0" in client.get("/metrics").text)
        full = rank(client, head=ODD[2], relation="likes", k=2)
        assert full.status_code == 503
        assert "wait already" in full.json()["detail"]
        assert full.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        for thread in threads:
            thread.join(10)
        assert [reply.status_code for reply in replies] == [503, 503]
        assert all("no answer within 0.5 seconds" in reply.json()["detail"] for reply in replies)
        held.go.set()
        wait_until(lambda: rank(client, head=ODD[2], relation="likes", k=2).status_code == 200)


def test_a_full_collection_hardly_stops_a_service(odd_graph: Path) -> None:
    """Else it stops every request, /health too, for as long as it walks the graph and all modules."""

    def collection() -> float:
        began = time.perf_counter()
        gc.collect()
        return time.perf_counter() - began

    with asking(make_app(odd_graph)):
        meanwhile = min(collection() for _ in range(5))
    assert meanwhile < min(collection() for _ in range(5)) / 2


def test_a_changed_file_replaces_the_graph_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "g.tsv"
    write_graph(path)
    with asking(make_app(path)) as client:

        def asked() -> int:
            return int(rank(client, head="Tibet", relation="likes").status_code)

        assert asked() == 404
        write_graph(path, "Tibet\tlikes\tNepal\n")
        wait_until(lambda: asked() == 200)
        path.write_text("broken\n")
        wait_until(lambda: "trivium_graph_failed_total 1.0" in client.get("/metrics").text)
        assert asked() == 200
        assert "the one before serves on" in caplog.text


def test_explain_names_paths_and_says_when_none_reaches(client: TestClient) -> None:
    body = {"head": "Nepal", "relation": "borders <on>", "tail": "China", "paths": 2}
    reasons = client.post("/api/explain", json=body).json()
    assert (reasons["head"], reasons["tail"], reasons["asked"]) == ("Nepal", "China", "tail")
    assert reasons["reached"]
    for path in reasons["paths"]:
        here = "Nepal"
        for step in path["steps"]:
            start, here = (step["tail"], step["head"]) if step["inverse"] else (step["head"], step["tail"])
            assert {start, here} <= {*PLAIN, *ODD}
        assert here == "China"
    far = client.post("/api/explain", json=body | {"tail": "Ganga"}).json()
    assert not far["reached"]
    assert far["paths"] == []
    turned = client.post("/api/explain", json=body | {"inverse": True}).json()
    assert (turned["head"], turned["tail"], turned["asked"]) == ("Nepal", "China", "head")
    assert client.post("/api/explain", json=body | {"tail": ODD[2]}).status_code == 200


@pytest.mark.parametrize("known", [False, True])
def test_relate_answers_as_the_library_does(client: TestClient, odd_graph: Path, known: bool) -> None:
    body = {"head": "Nepal", "tail": "India", "k": 3, "include_known": known}
    reply = client.post("/api/relate", json=body).json()
    wanted = relate(Ranker(small_model(), read_graph(odd_graph)), "Nepal", "India", 3, include_known=known)
    assert (reply["head"], reply["tail"]) == ("Nepal", "India")
    assert [found["name"] for found in reply["relations"]] == wanted["relation"].to_list()
    for column in ("rank", "tied", "known"):
        assert [found[column] for found in reply["relations"]] == wanted[column].to_list()
    assert [found["score"] for found in reply["relations"]] == pytest.approx(wanted["score"].to_list(), abs=1e-4)
    assert any(found["known"] for found in reply["relations"]) == known
    assert client.post("/api/relate", json=body | {"tail": "Indai"}).status_code == 404
    assert client.post("/api/relate", json=body | {"k": 51}).status_code == 422


def test_answers_of_a_range_and_without_what_is_wrong(odd_graph: Path, tmp_path: Path) -> None:
    plain = Ranker(small_model(), read_graph(odd_graph))
    borders = "borders <on>"
    nepal, ganga = plain.graph.entities.each(["Nepal", "Ganga"], "entity").tolist()
    wrong = np.array([[nepal, plain.graph.relations.id(borders, "relation"), ganga]])
    seen = plain.excluding(wrong).narrowed(Range(plain.graph, "seen"))
    expected = seen.rank("Nepal", borders, k=2)["tail", "rank"].rows()
    source = replace(source_of(odd_graph), answering=lambda ranker: ranker.excluding(wrong))
    with asking(create_app(Current(source), Limits())) as client:
        found = rank(client, head="Nepal", relation=borders, k=2, range="seen").json()
        assert [(answer["name"], answer["rank"]) for answer in found["answers"]] == expected
        names = [one["name"] for one in rank(client, head="Nepal", relation=borders, k=50).json()["answers"]]
        assert "Ganga" not in names and set(names) >= set(ODD)  # of every kind
        triple = {"head": "Nepal", "relation": borders, "tail": expected[1][0], "range": "seen"}
        scored = client.post("/api/score", json={"triples": [triple]}).json()[0]
        assert scored["tail_rank"] == client.post("/api/explain", json=triple).json()["rank"] == expected[1][1]
        refused = rank(client, head="Nepal", relation=borders, range="type")
        assert (refused.status_code, "what kind an entity is" in refused.json()["detail"]) == (422, True)
        about = client.get("/api/info").json()
        assert (about["range"], about["ranges"]) == ("", ["all", "seen"])


def test_a_cut_through_a_tie_is_told(tmp_path: Path) -> None:
    graph = tmp_path / "g.tsv"
    graph.write_text("".join(f"item{i}\tis\tThing\n" for i in range(9)) + "a\tnear\tb\nc\tnear\td\n")
    with asking(make_app(graph)) as client:
        found = rank(client, head="item0", relation="near", k=1, range="seen").json()
        assert [(one["rank"], one["tied"]) for one in found["answers"]] == [(1, 2)]
        assert found["cut"] == 1
        assert rank(client, head="item0", relation="near", k=2, range="seen").json()["cut"] == 0


def test_a_calibration_gives_the_confidences_of_the_command_line(odd_graph: Path, tmp_path: Path) -> None:
    ranker, checkpoint = Ranker(small_model(), read_graph(odd_graph)), source_of(odd_graph).checkpoint
    numbers, rng = np.arange(60), np.random.default_rng(0)
    scores, margins = rng.normal(size=(2, 60))
    judged = Answers(numbers, numbers % 3, scores, margins, 1 + numbers % 5, rng.random(60) < 0.4)
    record = fit(judged, ranker.graph, ranker.graph, checkpoint_sha256(checkpoint), "", 0.1, 0)
    calibration = Calibration(record, ranker, checkpoint)
    calibration.save(tmp_path / "c.json")
    head = ranker.graph.entities.id(ODD[0], "entity")
    likes = ranker.graph.relations.id("likes", "relation")
    expected = ranker.rank_ids(np.array([head]), np.array([likes]), 5, confidence=calibration.confidence)
    with asking(make_app(odd_graph, calibration=tmp_path / "c.json")) as client:
        answers = rank(client, head=ODD[0], relation="likes", k=5).json()["answers"]
        assert client.get("/api/info").json()["calibrated"]
        tail = expected["tail"][0]
        scored = client.post("/api/score", json={"triples": [{"head": ODD[0], "relation": "likes", "tail": tail}]})
        close([scored.json()[0]["confidence"]], expected["confidence"][:1])
    close([answer["confidence"] for answer in answers], expected["confidence"])
    assert all(0 < answer["confidence"] < 1 for answer in answers)
    for made_for in ("type", "seen"):
        of_range = asdict(replace(record, range=made_for))
        (tmp_path / f"{made_for}.json").write_text(json.dumps(of_range))
    sources = [
        replace(
            source_of(odd_graph, tmp_path / f"{made_for}.json"),
            answering=lambda it: it.narrowed(Range(it.graph, "seen")),
        )
        for made_for in ("type", "seen")
    ]
    with pytest.raises(InputError, match="of the range type"):
        Current(sources[0])
    with asking(create_app(Current(sources[1]), Limits())) as client:
        for more, sure in (({}, True), ({"range": "all"}, False)):
            answers = rank(client, head=ODD[0], relation="likes", k=5, **more).json()["answers"]
            assert all((answer["confidence"] is not None) == sure for answer in answers)
