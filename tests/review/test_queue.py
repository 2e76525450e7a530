"""Which suggested links wait, in what order, and what two reviewers at once do to each other."""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import Run, random_graph
from tests.service.conftest import asking, source_of

from trivium.errors import InputError
from trivium.graph.formats import TRIPLE
from trivium.graph.graph import Graph
from trivium.graph.read import read_graph
from trivium.review.decisions import RUN, VERDICTS, Decision, Decisions
from trivium.review.links import of_another, suggestions
from trivium.review.queue import Choice, Link, Queue
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Source

ALL = Choice()


def suggested(graph: Graph, count: int, seed: int = 0, sure: bool = True) -> pl.DataFrame:
    """New links between a graph's names, as `trivium.review.links.suggestions` reads them."""
    rng = np.random.default_rng(seed)
    shape = graph.num_entities, graph.num_relations, graph.num_entities
    every = np.stack(np.unravel_index(rng.permutation(np.prod(shape)), shape), 1).astype(np.int32)
    links = graph.named(every[~graph.contains(every)][:count])
    confidence = pl.Series("confidence", rng.random(count) if sure else [None] * count, dtype=pl.Float64)
    return links.with_columns(confidence, **{name: pl.lit("") for name in RUN})


def links_of(queue: Queue, choice: Choice) -> list[Link]:
    return [one.link for one in queue.next(choice, 10**6)[0]]


def test_like_links_come_together_as_early_as_the_first_of_them(tmp_path: Path) -> None:
    graph = random_graph(1, entities=12, relations=3, triples=60)
    links = suggested(graph, 120)
    queue = Queue(links, Decisions(tmp_path / "d"), graph)
    order = links_of(queue, ALL)
    rows = links.select(TRIPLE).rows()
    assert sorted(order) == sorted(rows)
    by_head = pl.len().over("relation", "head") > 1
    end = pl.when(by_head).then("head").otherwise("tail")
    groups_of = links.select(pl.format("{} {} {}", "relation", by_head, end)).to_series()
    group = dict(zip(rows, groups_of, strict=True))
    groups = [[*part] for _, part in groupby(order, lambda link: group[link])]
    assert len(groups) == groups_of.n_unique(), "each group is in one piece"
    assert all(part == sorted(part, key=rows.index) for part in groups)
    firsts = [rows.index(part[0]) for part in groups]
    assert firsts == sorted(firsts)
    sure = {row[:3]: row[3] for row in links.select(*TRIPLE, "confidence").iter_rows()}
    doubts = [abs(sure[link] - 0.5) for link in links_of(queue, Choice(doubtful_first=True))]
    assert doubts[0] == min(doubts)
    bands = [int(doubt / 0.1) for doubt in doubts]
    assert bands == sorted(bands)
    some = links_of(queue, Choice(("1",), 0.5))
    assert set(some) == {link for link in rows if link[1] == "1" and sure[link] >= 0.5}
    like = [one.link for one in queue.like(queue.next(ALL, 1)[0][0])]
    head, relation, tail = order[0]
    assert like
    assert all(r == relation and (h == head or t == tail) for h, r, t in like)


def test_the_queue_is_what_the_log_says_whoever_wrote_it(tmp_path: Path) -> None:
    graph = random_graph(1, entities=12, relations=3, triples=60)
    log, links = Decisions(tmp_path / "d"), suggested(graph, 40)
    queue, other = Queue(links, log, graph), Queue(links, log, graph)
    rng, who = np.random.default_rng(0), ("a", "b")
    for _ in range(60):
        mine = queue if rng.random() < 0.5 else other
        if rng.random() < 0.3:
            log.undo(who[rng.integers(2)])
        elif waiting := mine.next(ALL, 3)[0]:
            mine.decide(waiting[rng.integers(len(waiting))].link, VERDICTS[rng.integers(3)], who[rng.integers(2)])
        state = {row[:3]: row[3] for row in log.state().select(*TRIPLE, "verdict").iter_rows()}
        fresh = Queue(links, log, graph)
        for one in (queue, other, fresh):
            assert one.counts == {"waiting": 40 - len(state)} | {
                verdict: [*state.values()].count(verdict) for verdict in VERDICTS
            }
            assert set(links_of(one, ALL)) == set(links.select(TRIPLE).iter_rows()) - state.keys()
    assert sum(queue.waiting_by_relation().values()) == queue.counts["waiting"]
    undone = log.undo("a")
    assert undone is not None
    first = undone.head, undone.relation, undone.tail
    assert queue.next(Choice(("none",)), 5, [first])[0][0].link == first


def test_the_first_verdict_stands_and_dont_know_gives_way(tmp_path: Path) -> None:
    log = Decisions(tmp_path / "d")
    link = "h", "r", "t"
    assert log.decide(Decision(*link, "undecided", "a")) is None
    assert log.decide(Decision(*link, "accepted", "b")) is None
    assert log.decide(Decision(*link, "accepted", "b")) is None, "asked again: it stands already"
    assert log.log().height == 2
    for verdict in VERDICTS[1:]:
        stands = log.decide(Decision(*link, verdict, "a"))
        assert stands is not None
        assert (stands.verdict, stands.reviewer) == ("accepted", "b")
    log.undo("b")
    assert log.decide(Decision(*link, "rejected", "a")) is None
    assert log.state()["verdict"].to_list() == ["rejected"]


def test_tables_of_another_graph_and_empty_ones(tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = random_graph(1, entities=12, relations=3, triples=60)
    graph.named(graph.triples).write_csv("g.tsv", separator="\t", include_header=False)
    model = ["--checkpoint", source_of(tmp_path / "g.tsv").checkpoint]
    review = ["review", "g.tsv", *model, "--suggestions"]
    Path("empty.tsv").write_text("head\trelation\ttail\n")
    assert command(*review, "empty.tsv")[2] == "g.decisions: 0 decisions, 0 links left\n"
    Path("none.tsv").write_text("")
    assert "none.tsv is empty: links need head, relation, tail" in command(*review, "none.tsv")[2]
    Path("strange.tsv").write_text("head\trelation\ttail\nx\x1b[31m\ty\tz\n")
    status, _, said = command(*review, "strange.tsv")
    assert (status, said.count("\n")) == (2, 1)
    assert "no suggested link names what the graph holds" in said
    assert "\x1b" not in said
    with pytest.raises(InputError, match="no suggested link names"):
        Current(Source(Path("g.tsv"), model[1], keeps=True, suggestions=Path("strange.tsv")))
    suggested(graph, 4).write_parquet("some.parquet")
    assert command("complete", "g.tsv", "-o", "sure.parquet", "-k", "1", *model)[0] == 0
    assert not of_another(suggestions("some.parquet"), graph), "it says nothing of where it is from"
    assert not of_another(suggestions("sure.parquet"), read_graph("g.tsv"))
    assert of_another(suggestions("sure.parquet"), random_graph(2))
    source = Source(Path("g.tsv"), model[1], keeps=True, suggestions=Path("empty.tsv"))
    with asking(create_app(Current(source), Limits(), "0123456789abcdef")) as client:
        asked = {"headers": {"authorization": "Bearer 0123456789abcdef"}}
        assert client.get("/api/review").status_code == 401
        assert client.get("/api/review", **asked).json()["links"] == []  # type: ignore[arg-type]
        body = {"link": {"head": "1", "relation": "2", "tail": "3"}, "verdict": "accepted", "reviewer": "me"}
        assert client.post("/api/review/decide", json=body).status_code == 401
        refused = client.post("/api/review/decide", json=body, **asked)  # type: ignore[arg-type]
        assert (refused.status_code, "is no suggested link" in refused.json()["detail"]) == (422, True)


def test_terminal_and_page_at_once_decide_each_link_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = random_graph(1, entities=30, relations=3, triples=90)
    graph.named(graph.triples).write_csv("g.tsv", separator="\t", include_header=False)
    suggested(graph, 80).write_parquet("links.parquet")
    held = source_of(tmp_path / "g.tsv")
    words = ["review", "g.tsv", "--suggestions", "links.parquet", "--reviewer", "terminal"]
    words = [sys.executable, "-m", "trivium", *words, "--checkpoint", held.checkpoint]
    pipe = subprocess.PIPE
    terminal = subprocess.Popen(words, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True)
    assert terminal.stdin is not None
    terminal.stdin.write("ar" * 80)
    terminal.stdin.close()
    source = Source(held.graph, held.checkpoint, keeps=True, suggestions=Path("links.parquet"))
    mine = 0
    with asking(create_app(Current(source, seconds=0.05), Limits(), "0123456789abcdef")) as client:
        client.headers["authorization"] = "Bearer 0123456789abcdef"
        reply = client.get("/api/review").json()
        while reply["links"]:
            link = {end: reply["links"][0][end]["name"] for end in TRIPLE}
            said = client.post(
                "/api/review/decide", json={"link": link, "verdict": VERDICTS[mine % 3], "reviewer": "page"}
            )
            assert said.status_code in (200, 409), said.text
            mine += said.status_code == 200
            reply = said.json() if said.status_code == 200 else client.get("/api/review").json()
    assert terminal.stderr is not None
    with terminal.stderr:
        assert "links left" in terminal.stderr.read()
    assert terminal.wait() == 0
    entries = Decisions("g.decisions").log()
    assert entries.filter(pl.col("reviewer") == "page").height == mine, "nothing is lost"
    each = entries.group_by(TRIPLE).agg("verdict")["verdict"].to_list()
    assert len(each) == 80
    assert all(verdict == "undecided" for verdicts in each for verdict in verdicts[:-1]), "who decided first stands"
