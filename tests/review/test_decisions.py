"""What was decided stays decided, whoever else decides, and whatever kills it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import random_graph, small_model

from trivium.calibration import Calibration
from trivium.errors import InputError
from trivium.graph.formats import TRIPLE, decisions_of
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.inference.relate import relate
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint
from trivium.review.decisions import RUN, VERDICTS, Decision, Decisions, decided
from trivium.review.queue import Choice, Queue

WRITER = """
import sys
from trivium.review.decisions import Decision, Decisions
log = Decisions(sys.argv[1])
for number in range(int(sys.argv[3])):
    log.record(Decision(f"e{number}", "r", sys.argv[2], "accepted", sys.argv[2]))
    print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, name, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_10_000_decisions_with_undo_are_what_their_log_replays_to(tmp_path: Path) -> None:
    rng, log = random.Random(0), Decisions(tmp_path / "g.decisions")
    graph = random_graph(0, entities=12, relations=3, triples=60)
    names, kinds = [*graph.entities.names, "new"], [*graph.relations.names, "other"]
    standing: list[tuple[int, Decision]] = []
    count = entries = 0
    while count < 10_000:
        if rng.random() < 0.4:
            who = rng.choice("ab")
            last = max((entry for entry in standing if entry[1].reviewer == who), default=None)
            assert log.undo(who) == (None if last is None else last[1])
            if last is not None:
                standing.remove(last)
                entries += 1
        else:
            links = ((rng.choice(names), rng.choice(kinds), rng.choice(names)) for _ in range(rng.randrange(1, 60)))
            new = [Decision(*link, rng.choice(VERDICTS), rng.choice("ab"), round(rng.random(), 3)) for link in links]
            log.record(*new)
            standing += enumerate(new, entries + 1)
            count, entries = count + len(new), entries + len(new)
    last_words = {(d.head, d.relation, d.tail): (number, d) for number, d in standing}
    expected = sorted(last_words.values(), key=lambda entry: entry[0])
    state = log.state()
    fields = [*Decision.__dataclass_fields__]
    assert state.select(fields).rows() == [tuple(vars(d).values()) for _, d in expected]
    assert state["id"].to_list() == [number for number, _ in expected]
    assert len(log.log()) == entries
    facts = dict.fromkeys(graph.named(graph.triples).rows(), True)
    facts |= {link: d.verdict == "accepted" for link, (_, d) in last_words.items() if d.verdict != "undecided"}
    changed, excluded = decided(graph, state)
    scratch = Graph.from_triples([fact for fact, true in facts.items() if true])
    assert changed.sha256 == scratch.sha256
    rejected = {link for link, (_, d) in last_words.items() if d.verdict == "rejected"}
    assert set(changed.named(excluded).rows()) <= rejected
    assert not changed.contains(excluded).any()


def test_two_at_once_lose_nothing_and_meet_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "g.decisions"
    writers = [writer(path, name, 250) for name in "ab"]
    assert [done.communicate()[1] for done in writers] == ["", ""]
    assert [done.returncode for done in writers] == [0, 0]
    assert sorted(Decisions(path).state().select("tail", "head").rows()) == sorted(
        (name, f"e{number}") for name in "ab" for number in range(250)
    )
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "g.decisions"
    for number, wait in enumerate((1, 7, 40)):
        killed = writer(path, f"w{number}", 100_000)
        assert killed.stdout is not None
        said = [int(killed.stdout.readline()) for _ in range(wait)]
        killed.send_signal(signal.SIGKILL)
        said += [int(line) for line in killed.stdout.read().split("\n")[:-1]]  # communicate passes over what waits
        killed.communicate()
        kept = Decisions(path).state().filter(pl.col("reviewer") == f"w{number}")["head"].to_list()
        assert kept[: len(said)] == [f"e{answer}" for answer in said]
        assert len(kept) <= len(said) + 1, "one may have been kept before it could say so"


def test_what_is_no_file_of_decisions_is_refused(tmp_path: Path) -> None:
    path, link = tmp_path / "x.decisions", Decision("a", "r", "b", "accepted", "me")
    path.write_text("head\trelation\ttail\n" * 99)
    with pytest.raises(InputError, match="cannot be used for decisions: file is not a database"):
        Decisions(path).state()
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE log (id)")
    for call in (Decisions(path).state, lambda: Decisions(path).record(link), lambda: Decisions(path).undo("me")):
        with pytest.raises(InputError, match="holds no decisions: name the file that `trivium review` made"):
            call()
    Decisions(tmp_path / "z.decisions").record(link)
    with closing(sqlite3.connect(tmp_path / "z.decisions")) as damaged:
        damaged.execute("UPDATE log SET head = x'ff00', confidence = 'much'")
        damaged.commit()
    with pytest.raises(InputError, match="holds what is no decision: it is damaged"):
        Decisions(tmp_path / "z.decisions").state()
    with pytest.raises(InputError, match=r"there is no folder .*: make it first"):
        Decisions(tmp_path / "none" / "x.decisions").record(link)
    with pytest.raises(InputError, match="CHECK constraint failed"):
        Decisions(tmp_path / "y.decisions").record(Decision("a", "r", "b", "perhaps", "me"))  # type: ignore[arg-type]
    assert Decisions(tmp_path / "y.decisions").state().is_empty()


def test_a_journal_without_its_file_is_not_taken_in(tmp_path: Path) -> None:
    path, journal = tmp_path / "g.decisions", tmp_path / "g.decisions-wal"
    log, link = Decisions(path), Decision("a", "r", "b", "accepted", "me")
    log.record(link)
    with closing(sqlite3.connect(path)) as held:
        held.execute("SELECT * FROM log").fetchall()  # who is connected keeps the journal there
        log.undo("me")
        journal.with_name("kept").write_bytes(journal.read_bytes())
    path.unlink()
    journal.with_name("kept").rename(journal)
    with pytest.raises(InputError, match=r"g.decisions is gone, but .*g.decisions-wal beside it holds decisions"):
        log.record(link)
    journal.unlink()
    log.record(link)
    assert len(log.log()) == 1


def test_decisions_are_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, link = Decisions(tmp_path / "g.decisions"), Decision("a", "r", "b", "accepted", "me")
    log.record(link)
    (tmp_path / "g.decisions-shm").mkdir()  # so that SQLite cannot make what it needs
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert len(log.state()) == len(log.log()) == 1
    with pytest.raises(InputError, match="cannot be used for decisions"):
        log.record(link)


def test_every_ranker_knows_what_was_decided(tmp_path: Path) -> None:
    graph = random_graph(3, entities=40, triples=300)
    path, checkpoint = tmp_path / "g.tsv.gz", tmp_path / "model.safetensors"
    plain = path.with_suffix("")
    graph.named(graph.triples).write_csv(plain, separator="\t", include_header=False)
    save_checkpoint(small_model(), Provenance(), checkpoint)
    before = Ranker.open(plain, checkpoint)
    first, second, third, fourth = before.rank("5", "1", k=4)["tail"]
    calibration = Calibration.fit(before, checkpoint, share=0.5)
    log = Decisions(decisions_of(path))
    assert log.path == tmp_path / "g.decisions"
    log.record(Decision("5", "1", first, "rejected", "me"), Decision("5", "1", third, "accepted", "me"))
    log.record(Decision("5", "1", fourth, "undecided", "me"), Decision("5", "new", "nobody", "accepted", "me"))
    after = Ranker.open(plain, checkpoint)
    table = after.rank("5", "1", k=40, include_known=True)
    assert first not in table["tail"]
    assert table.filter(pl.col("tail") == third)["known"].to_list() == [True]
    assert {second, fourth} <= set(table["tail"])
    assert after.rank("5", "new", k=1, include_known=True)["known"].to_list() == [True]
    assert "5" not in after.rank(tail=first, relation="1", k=40)["head"]
    assert "1" not in relate(after, "5", first, 9, include_known=True)["relation"]
    alone = Ranker.open(Graph.from_triples(after.graph.named(after.graph.triples)), checkpoint)
    assert after.sha256 != alone.sha256
    there = alone.rank("5", "1", k=40).filter(pl.col("tail") != first)
    ahead = after.rank("5", "1", k=40)
    assert ahead["tail"].to_list() == there["tail"].to_list()
    assert ahead["rank"][0] == 1, "what was rejected is nobody's rival"
    assert Calibration(calibration.record, after, checkpoint).record.graph == before.graph.sha256
    log.undo("me")
    log.undo("me")
    assert log.state().select(*TRIPLE, "verdict").rows() == [
        ("5", "1", first, "rejected"),
        ("5", "1", third, "accepted"),
    ]


def test_what_says_the_same_as_a_decided_link_is_not_suggested(tmp_path: Path) -> None:
    pairs = sorted({(a, b) for a, b in (random_graph(0, 14, 1, 60).triples[:, ::2] + 10).tolist() if a != b})
    facts = {(a, "beside", b) for a, b in pairs[:25]} | {(b, "beside", a) for a, b in pairs[:25]}
    facts |= {fact for a, b in pairs for fact in ((a, "above", b), (b, "below", a), (a, "over", b))}
    graph = Graph.from_triples(sorted(facts, key=str))
    log = Decisions(tmp_path / "d")
    for verdict, relation in ((verdict, relation) for verdict in VERDICTS[:2] for relation in ("beside", "below")):
        head = graph.entities.names[0]
        tail = Ranker(small_model(), graph).rank(head, relation, k=1)["tail"][0]
        log.record(Decision(head, relation, tail, verdict, "me"))
        changed, excluded = decided(graph, log.state())
        ranker = Ranker(small_model(), changed, excluded=excluded)
        ways = [(tail, "beside", head), (head, "beside", tail)]
        if relation == "below":
            ways = [(head, "below", tail), (tail, "above", head), (tail, "over", head)]
        for a, between, b in ways:
            assert b not in ranker.rank(a, between, k=99)["tail"]
            assert a not in ranker.rank(tail=b, relation=between, k=99)["head"]
            assert between not in relate(ranker, a, b, 9)["relation"]
        links = pl.DataFrame([*ways, (head, "above", head)], [*TRIPLE], orient="row")
        links = links.with_columns(confidence=None, **{name: pl.lit("") for name in RUN})
        queue = Queue(links, log, changed)
        assert queue.counts["waiting"] == 1
        assert queue.next(Choice(), 9, ways)[0][0].link == (head, "above", head)
        log.undo("me")
        assert Queue(links, log, graph).counts["waiting"] == 2, "of those that say the same one waits"


def test_telling_facts_does_not_take_more_steps_the_more_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Decisions(tmp_path / "d")
    log.record(*(Decision(f"e{number}", "r", "t", "accepted", "me") for number in range(20_000)))
    thousands: list[int] = []

    def connect(*words: Any, **how: Any) -> sqlite3.Connection:
        made = sqlite3.Connection(*words, **how)
        made.set_progress_handler(lambda: thousands.append(1), 1000)  # instructions of SQLite's machine
        return made

    monkeypatch.setattr("sqlite3.connect", connect)
    assert log.tell(*(Decision(f"n{number}", "r", "t", "accepted", "me") for number in range(100))) is None
    assert 0 < len(thousands) < 200, "looking through the log for each takes 14,000"


def test_decisions_about_another_graph_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph, log = random_graph(0), Decisions(tmp_path / "d")
    log.record(Decision("x", "0", "y", "accepted", "me"))
    decided(graph, log.state())
    assert "none of 1 accepted links names an entity that the graph holds" in caplog.text
    caplog.clear()
    log.record(Decision("x", "0", "1", "accepted", "me"))
    decided(graph, log.state())
    assert not caplog.text


def test_decisions_are_about_names_alone(tmp_path: Path) -> None:
    rows = [("x:Paris", "in", "x:France"), ("y:Paris", "in", "x:Texas"), ("x:Rome", "in", "x:Italy")]
    graph = Graph.from_triples([[f"http://{name[0]}/{name[2:]}" if ":" in name else name for name in r] for r in rows])
    log = Decisions(tmp_path / "d")
    log.record(Decision("Rome", "in", "Italy", "rejected", "me"), Decision("Paris", "in", "Rome", "accepted", "me"))
    changed, excluded = decided(graph, log.state())
    assert changed.num_triples == 4, "what is called Rome is not named Rome, and what two are called is a name"
    assert {"Paris", "Rome"} <= set(changed.entities.names)
    assert not len(excluded)


def test_a_file_of_decisions_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file of decisions"):
        Ranker.open(random_graph(0), decisions=tmp_path / "none.decisions")
