"""Reviewing, telling and overlooking the graph on the page; and the whole loop, from suggestions home and again."""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyoxigraph
import pytest
import rdflib
from playwright.sync_api import Page, expect

from tests.conftest import Run, random_graph, small_model
from tests.service.browser import (
    MARKS,
    PHONE,
    WIDE,
    WORLD,
    Keep,
    Open,
    browser,
    keep,
    readable,
    settled,
    shown,
    view,
    visit,
)
from tests.service.conftest import ODD, is_ready, serving, source_of, wait_until, write_graph
from trivium.files import read_provenance
from trivium.graph.formats import TRIPLE
from trivium.graph.read import read_graph
from trivium.model.checkpoint import SHIPPED, Provenance
from trivium.model.trivium import save_checkpoint
from trivium.review.decisions import Decision, Decisions
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Source

__all__ = ["browser", "keep", "visit"]

pytestmark = MARKS

TOKEN = "0123456789abcdef"
REVIEW = view(tab="review")
PROV = rdflib.Namespace("http://www.w3.org/ns/prov#")
SUGGESTED = [
    ("Nepal", "borders", "Bhutan", 0.41),
    ("Nepal", "borders", "Bangladesh", 0.52),
    ("Nepal", "borders", "Pakistan", 0.07),
    ("Bhutan", "borders", "Bangladesh", 0.35),
    ("Niger River", "flows through", "Burkina Faso", 0.3),
    ("Niger River", "flows through", "Chad", 0.2),
    ("Switzerland", "language", "Dutch", 0.1),
    ("Belgium", "language", "Luxembourgish", 0.62),
    ("Nepal", "language", "Hindi", 0.48),
    ("Atlantis", "language", "Greek", 0.9),
]


@pytest.fixture(scope="module")
def reviewing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Decisions]]:
    """A service of the demo graph with a few suggestions, one of which names what the graph lacks."""
    if not (SHIPPED / "trivium.safetensors").exists():
        pytest.skip("this tree ships no default checkpoint")
    folder = tmp_path_factory.mktemp("reviewed")
    shutil.copy(WORLD, folder / "world.tsv")
    pl.DataFrame(SUGGESTED, [*TRIPLE, "confidence"], orient="row").write_csv(folder / "sure.csv")
    source = Source(folder / "world.tsv", "trivium", keeps=True, suggestions=folder / "sure.csv")
    with serving(create_app(Current(source), Limits(), TOKEN)) as address:
        yield address, source.decisions


@pytest.fixture
def reviewed(reviewing: tuple[str, Decisions]) -> Iterator[tuple[str, Decisions]]:
    """That service, and its log, in which nothing stands before or after."""
    yield reviewing
    for who in ("Ann", "Bob", "Eve"):
        while reviewing[1].undo(who):
            pass


def verdicts(log: Decisions) -> list[tuple[Any, ...]]:
    return log.state().select("head", "tail", "verdict", "reviewer", "note").rows()


def test_reviewing_by_key(visit: Open, reviewed: tuple[str, Decisions], keep: Keep) -> None:
    address, log = reviewed
    page = visit(address, REVIEW, token=TOKEN)
    title, said = page.locator("#link-title"), page.locator("#review-said")
    expect(page.locator("#progress-title")).to_have_text("0 of 9 links decided")
    expect(page.locator("#review-note")).to_contain_text("1 suggestion names what this graph lacks")
    expect(title).to_have_text("Nepal borders Bhutan")
    page.keyboard.press("a")
    expect(said).to_contain_text("who you are")
    expect(page.locator("#review-who")).to_be_focused()
    page.keyboard.type("Ann")  # of which no letter decides
    page.keyboard.press("Enter")
    expect(page.locator("#like-list")).to_contain_text("Bangladesh")
    expect(page.locator("#link-paths li").first).to_contain_text("Nepal")
    expect(page.locator("#link-drawing canvas").first).to_be_visible()
    expect(page.locator("#head-facts")).to_contain_text("Kathmandu")
    keep(page, "review")
    page.wait_for_load_state("networkidle")  # reasons are prepared ahead …
    page.route("**/api/explain", lambda route: route.abort())  # … so that none is asked for now
    page.keyboard.press("A")  # as with Caps Lock
    expect(said).to_have_text("Accepted: Nepal borders Bhutan")
    expect(title).to_have_text("Nepal borders Bangladesh")
    expect(page.locator("#link-paths:not(.waits) li").first).to_contain_text("Nepal")
    expect(page.locator("#like-list")).to_contain_text("Pakistan")
    page.unroute("**/api/explain")
    page.keyboard.press("n")
    page.keyboard.type("a reason")
    page.keyboard.press("Enter")
    page.keyboard.press("r")
    expect(title).to_have_text("Nepal borders Pakistan")
    page.get_by_role("button", name="know").click()
    expect(title).to_have_text("Bhutan borders Bangladesh")
    expect(page.locator("#like")).to_contain_text("rejected")  # what was said of one like it
    page.keyboard.press("u")
    expect(said).to_have_text("Taken back: Nepal borders Pakistan")
    expect(title).to_have_text("Nepal borders Pakistan")
    expect(page.locator("#progress-title")).to_have_text("2 of 9 links decided")
    assert verdicts(log) == [
        ("Nepal", "Bhutan", "accepted", "Ann", ""),
        ("Nepal", "Bangladesh", "rejected", "Ann", "a reason"),
    ]
    page.get_by_label("most doubtful first").check()
    expect(title).to_have_text("Nepal language Hindi")
    page.locator("#review-relation").select_option("language")
    page.locator("#review-least").select_option("0.5")
    expect(title).to_have_text("Belgium language Luxembourgish")
    page.keyboard.press("r")
    expect(page.locator("#done-title")).to_have_text("Nothing of your choice waits")
    page.reload()
    expect(page.locator("#done-note")).to_contain_text("6 other links wait")
    page.get_by_role("link", name="Show all of them").click()
    expect(title).to_have_text("Nepal borders Pakistan")


def test_what_is_decided_is_in_sight_and_keys_can_be_switched_off(visit: Open, reviewed: tuple[str, Decisions]) -> None:
    address, log = reviewed
    page = visit(address, REVIEW, PHONE, token=TOKEN, reviewer="Ann")
    title = page.locator("#link-title")
    expect(page.locator("#tail-facts dt").first).to_have_text(
        "… borders"
    )  # what is known of the same relation is first
    expect(page.locator("#tail-facts .hint").first).to_have_text(
        re.compile(r"^\+ \d+$")
    )  # and what is left out counted
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    expect(title).not_to_be_in_viewport()
    page.keyboard.press("d")
    expect(title).to_have_text("Nepal borders Bangladesh")
    expect(title).to_be_in_viewport()
    page.get_by_text("Which links").click()
    page.get_by_label("keys A R D U").uncheck()
    page.reload()
    expect(title).to_have_text("Nepal borders Bangladesh")
    page.keyboard.press("a")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#review-said")).to_have_text("Taken back: Nepal borders Bhutan")
    assert verdicts(log) == []


def test_two_tabs_and_one_that_was_left_open(visit: Open, reviewed: tuple[str, Decisions]) -> None:
    address, log = reviewed
    first = visit(address, REVIEW, token=TOKEN, reviewer="Ann")
    second = visit(address, REVIEW, PHONE, token=TOKEN, reviewer="Bob")
    for page in (first, second):
        expect(page.locator("#link-title")).to_have_text("Nepal borders Bhutan")
    first.keyboard.press("a")
    expect(first.locator("#link-title")).to_have_text("Nepal borders Bangladesh")
    second.get_by_role("button", name="Reject").click()
    expect(second.locator("#review-said")).to_have_text("Ann has decided it meanwhile: accepted")
    expect(second.locator("#link-title")).to_have_text("Nepal borders Bangladesh")
    second.get_by_role("button", name="Undo").click()
    expect(second.locator("#review-said")).to_contain_text("no decision left")
    assert verdicts(log) == [("Nepal", "Bhutan", "accepted", "Ann", "")]
    log.record(Decision("Nepal", "borders", "Bangladesh", "rejected", "Eve"))
    first.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")  # one comes back to a tab
    expect(first.locator("#link-title")).to_have_text("Nepal borders Pakistan")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_new_views_are_readable(
    visit: Open, reviewed: tuple[str, Decisions], keep: Keep, size: tuple[int, int], scheme: str
) -> None:
    address, _ = reviewed
    page = visit(address, REVIEW, size, scheme, token=TOKEN, reviewer="Ann")
    expect(page.locator("#link-paths:not(.waits) li").first).to_be_visible()
    readable(page)
    if size == PHONE:
        keep(page, "review-phone")
    page.goto(f"{address}/{view(tab='graph')}")
    settled(page)
    expect(page.locator("#held-rows")).to_contain_text("holds both ways")
    readable(page)
    if size == WIDE:
        keep(page, "graph")
    page.goto(f"{address}/{view(tab='graph', relation='borders')}")
    settled(page)
    expect(page.locator("#completed-rows tr")).to_have_count(10)
    readable(page)
    page.goto(f"{address}/{view(tab='add')}")
    settled(page)
    readable(page)


def test_what_the_graph_holds_and_a_relation_as_a_list(visit: Open, reviewed: tuple[str, Decisions]) -> None:
    page = visit(reviewed[0], token=TOKEN)
    page.get_by_role("link", name="Graph", exact=True).click()
    expect(page.locator("#held-rows tr")).to_have_count(12)
    page.get_by_label("Find a relation").fill("LANG")
    expect(page.locator("#held-rows tr")).to_have_count(1)
    expect(page.locator("#held-rows td").nth(1)).to_have_text("714")
    lacking = int(page.locator("#held-rows td").nth(2).inner_text())
    page.locator("#held-rows").get_by_role("link", name="language").click()
    settled(page)
    expect(page.locator("#completed-about")).to_contain_text(f"{lacking} entities lack an answer")
    expect(page.locator("#completed-rows .tag")).to_have_count(10 - lacking)  # the others have some
    page.locator("#more-completed").click()
    expect(page.locator("#completed-rows tr")).to_have_count(35)
    page.locator("#completed-rows tr").first.get_by_role("link").last.click()
    expect(page.get_by_role("heading", name="Why ")).to_be_visible()
    page.get_by_role("link", name="Ask", exact=True).click()
    expect(page.locator("#welcome")).to_be_visible()


def test_a_fact_by_hand(visit: Open, reviewed: tuple[str, Decisions]) -> None:
    address, log = reviewed
    page = visit(address, view(tab="add"), token=TOKEN)
    page.get_by_role("button", name="Add the fact").click()
    expect(page.locator("#add-said")).to_have_text("A fact needs a head, a relation and a tail.")
    page.locator("#add-head").press_sequentially("nepa")
    expect(page.locator("#add-head-options li").first).to_contain_text("Nepal")
    page.keyboard.press("Enter")
    expect(page.locator("#add-head-hint")).to_contain_text("known")
    page.locator("#add-relation").fill("borders")
    page.locator("#add-tail").fill("Tibet <b>")
    page.locator("#add-note").focus()
    expect(page.locator("#add-tail-hint")).to_contain_text("new")
    expect(page.locator("#add-relation-hint")).to_contain_text("known")
    page.locator("#add-who").fill("Ann")
    page.get_by_role("button", name="Add the fact").click()
    expect(page.locator("#add-said")).to_have_text("Kept: the graph holds it now.")
    assert verdicts(log) == [("Nepal", "Tibet <b>", "accepted", "Ann", "")]
    page.locator("#added").get_by_role("link", name="Tibet <b>").click()
    expect(page.locator("#fact-list")).to_contain_text("Nepal")
    page.go_back()
    page.get_by_role("button", name="Take the last one back").click()
    expect(page.locator("#add-said")).to_have_text("Taken back: Nepal borders Tibet <b>")
    expect(page.locator("#added li")).to_have_count(0)
    assert verdicts(log) == []
    page.goto(f"{address}/{view(entity='Tibet <b>')}")
    expect(page.get_by_role("alert")).to_contain_text("unknown entity")


def test_a_service_without_suggestions_has_no_such_tab(visit: Open, live: str) -> None:
    page = visit(live, REVIEW)
    expect(page.get_by_role("alert")).to_contain_text("nothing to review")
    expect(page.get_by_role("link", name="Review")).to_be_hidden()
    page.goto(f"{live}/{view(tab='add')}")
    expect(page.get_by_role("alert")).to_contain_text("takes no facts")
    page.goto(f"{live}/{view(tab='graph')}")
    expect(page.locator("#held-rows tr")).to_have_count(3)  # that one is everybody's


def test_odd_names_are_text_in_a_review_too(visit: Open, tmp_path: Path) -> None:
    write_graph(tmp_path / "odd.tsv")
    links = [(one, "likes", other) for one, other in zip(ODD, ODD[3:] + ODD[:3], strict=True)]
    pl.DataFrame(links, TRIPLE, orient="row").write_parquet(tmp_path / "links.parquet")
    held = source_of(tmp_path / "odd.tsv")
    source = Source(held.graph, held.checkpoint, keeps=True, suggestions=tmp_path / "links.parquet")
    with serving(create_app(Current(source), Limits(), TOKEN)) as address:
        page = visit(address, REVIEW, PHONE, token=TOKEN, reviewer=ODD[2])
        for head, _, tail in links:
            expect(page.locator("#link-title")).to_have_text(f"{shown(head)} likes {shown(tail)}")
            expect(page.locator("#link-paths:not(.waits)")).to_be_attached()
            expect(page.locator("main b, main script, main img")).to_have_count(0)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE[0]
            page.keyboard.press("d")
        expect(page.locator("#done-title")).to_have_text("Nothing waits any more")
    state = source.decisions.state()
    assert state.select(TRIPLE).rows() == links
    assert state["reviewer"].unique().to_list() == [ODD[2]]


# --- the whole loop ------------------------------------------------------------------------------------------------

MODEL = ["--checkpoint", "model.safetensors"]
ASK = ["complete", "g.tsv", "-k", "3", *MODEL]


@contextmanager
def served(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service of its own process that reviews, and its address."""
    words = [
        "serve",
        "g.tsv",
        "--review",
        "--suggestions",
        "sure.parquet",
        "--token-file",
        "token",
        "--port",
        str(port),
    ]
    process = subprocess.Popen([sys.executable, "-m", "trivium", *words, *MODEL], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        [address] = re.findall(r"http://\S+", process.stderr.readline())
        wait_until(lambda: is_ready(address))
        yield process, address
    finally:
        process.kill()
        process.communicate()


def through_the_page(page: Page, keys: str) -> None:
    """Decides by these keys, each when the one before is kept."""
    for key in keys:
        before = page.locator("#link-title").inner_text()
        page.keyboard.press(key)
        expect(page.locator("#link-title")).not_to_have_text(before)


def decided(verdict: str) -> set[tuple[str, ...]]:
    state = Decisions("g.decisions").state()
    return set(state.filter(pl.col("verdict") == verdict).select(TRIPLE).iter_rows())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")  # which it raises of itself
def test_the_whole_loop_killed_on_the_way(
    tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch, visit: Open
) -> None:
    monkeypatch.chdir(tmp_path)
    graph = random_graph(3, entities=40, triples=300)
    names = graph.named(graph.triples).with_columns(tail=pl.col("tail").replace("7", "<seven> 7 %"))
    names.write_csv("g.tsv", separator="\t", include_header=False)
    save_checkpoint(small_model(), Provenance(), "model.safetensors")
    Path("token").write_text(TOKEN)
    assert command("calibrate", "g.tsv", "-o", "c.json", "--share", "0.5", *MODEL)[0] == 0
    assert command(*ASK, "-o", "sure.parquet", "--calibration", "c.json")[0] == 0
    suggested = pl.read_parquet("sure.parquet")
    review = ["review", "g.tsv", "--suggestions", "sure.parquet", "--reviewer", "me", *MODEL]

    # In the terminal, which is killed while the fourth link shows.
    killed = subprocess.Popen(
        [sys.executable, "-m", "trivium", *review], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdin is not None
    assert killed.stdout is not None
    for key in ("a", "r", "d", ""):
        while not killed.stdout.readline().startswith("a accept"):
            pass
        killed.stdin.write(key)
        killed.stdin.flush()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert Decisions("g.decisions").state()["verdict"].to_list() == ["accepted", "rejected", "undecided"]

    # On the page, whose service is killed in the middle of a decision: it may or may not be kept, and the same key
    # makes it kept once.
    with served() as (process, address):
        page = visit(address, REVIEW, token=TOKEN, reviewer="Ann")
        through_the_page(page, "rra")
        last = page.locator("#link-title").inner_text()
        page.keyboard.press("r")
        time.sleep(0.005)
        process.kill()
        process.wait()
        page.keyboard.press("r")
        expect(page.get_by_role("alert")).to_contain_text("Is it still running?")
    with served(int(address.rsplit(":", 1)[1])):
        if page.locator("#link-title").inner_text() == last:
            page.keyboard.press("r")
            expect(page.locator("#link-title")).not_to_have_text(last)
        state = Decisions("g.decisions").state()
        assert state["verdict"].to_list()[3:] == ["rejected", "rejected", "accepted", "rejected"]
        assert " ".join(state.select(TRIPLE).row(6)) == last
        through_the_page(page, "arra")
    assert len(Decisions("g.decisions").state()) == 11

    # In the terminal again, to the end of the twenty.
    monkeypatch.setattr(sys, "stdin", io.StringIO("x?aruurdrarararar"))
    status, text, said = command(*review, "--doubtful-first")
    assert status == 0, said
    assert "Like it, " in text
    accepted, rejected, undecided = map(decided, ("accepted", "rejected", "undecided"))
    assert len(accepted | rejected | undecided) >= 20
    state = Decisions("g.decisions").state()
    assert state["checkpoint"].unique().to_list() == [read_provenance("sure.parquet")["checkpoint"]]
    assert state["confidence"].null_count() == 0
    shown_first = state.filter(pl.col("id") > 11).row(0, named=True)
    seen = state.filter(pl.col("id") <= 11)
    others = suggested.join(seen, on=TRIPLE, how="anti")["confidence"]
    assert abs(shown_first["confidence"] - 0.5) == (others - 0.5).abs().min()

    assert command("export", "g.tsv", "-o", "kept.nq")[0] == 0
    dataset, store = rdflib.Dataset(), pyoxigraph.Store()
    dataset.parse(data=Path("kept.nq").read_text("utf-8"), format="nquads")
    store.bulk_load(path="kept.nq")
    [run] = set(dataset.subjects(rdflib.RDF.type, PROV.Entity))
    assert len(store) == len(dataset)
    back = read_graph("kept.nq", named_graph=str(run))
    assert set(back.named(back.triples).iter_rows()) == accepted

    assert command(*ASK, "-o", "again.parquet", "--calibration", "c.json")[0] == 0
    again = set(pl.read_parquet("again.parquet").select(TRIPLE).iter_rows())
    assert not again & (accepted | rejected)
    assert undecided & again or not undecided & set(suggested.select(TRIPLE).iter_rows())
    assert command("verify", "again.parquet", "g.tsv", *MODEL)[0] == 0
    status, text, _ = command("verify", "sure.parquet", "g.tsv", *MODEL)
    assert status == 1
    assert "decisions       another" in text
