"""The page in a real browser: by mouse, by keyboard, on a phone, in the dark, with the oddest names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

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
from tests.service.conftest import ODD, PLAIN, make_app, serving, source_of
from trivium.calibration import Calibration
from trivium.graph.read import read_graph
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import SHIPPED
from trivium.model.trivium import Trivium
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Source

__all__ = ["browser", "keep", "visit"]

pytestmark = MARKS


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo graph with confidences; for the docs they are those of the tutorial, else of fewer hidden facts."""
    if not (SHIPPED / "trivium.safetensors").exists():
        pytest.skip("this tree ships no default checkpoint")
    ranker = Ranker(Trivium.load("trivium"), read_graph(WORLD))
    count = 5000 if request.config.getoption("--screenshots") else 60
    file = tmp_path_factory.mktemp("world") / "world.calibration.json"
    Calibration.fit(ranker, "trivium", max_hidden=count).save(file)
    with serving(create_app(Current(Source(WORLD, "trivium", file)), Limits())) as address:
        yield address


WHY = view(entity="Niger River", relation="flows through", answer="Benin")


def test_by_mouse_from_a_name_to_the_reasons(visit: Open, world: str, keep: Keep) -> None:
    page = visit(world)
    expect(page.get_by_role("heading", name="What does the graph not say yet?")).to_be_visible()
    page.get_by_role("combobox", name="Entity").click()
    page.keyboard.type("niger r")
    page.get_by_role("option", name="Niger River").click()
    expect(page.get_by_role("heading", name="What the graph says of Niger River")).to_be_visible()
    page.get_by_role("combobox", name="Question").click()
    expect(page.get_by_role("option").first).to_be_visible()
    keep(page, "ask")
    page.get_by_role("option", name="Niger River flows through ?").click()
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(10)
    page.get_by_role("button", name="Show more").first.click()
    expect(rows).to_have_count(30)
    page.locator("#rows").get_by_role("link", name="Benin", exact=True).click()
    expect(page.get_by_role("heading", name="Why Benin?")).to_be_visible()
    settled(page)
    expect(page.locator("#paths li").first).to_contain_text("Niger River")
    expect(page.locator("#drawing canvas").first).to_be_visible()
    page.get_by_role("link", name="Close").click()
    expect(page.locator("#why")).to_be_hidden()
    page.get_by_label("known ones too").check()
    expect(page.locator("#rows .tag").first).to_have_text("known")
    expect(page.locator("#rows meter").first).to_be_visible()  # a confidence, where the answer is not known


def test_by_keyboard_alone(visit: Open, world: str) -> None:
    page = visit(world)
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "entity":
            break
    page.keyboard.type("nepa")
    options = page.locator("#entity-options li")
    expect(options.first).to_have_text(re.compile("^Nepal"))
    expect(page.get_by_role("combobox", name="Entity")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#entity-options")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(options.first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name="Question")).to_be_focused()
    settled(page)
    page.keyboard.type("borders")
    expect(page.locator("#relation-options li").first).to_contain_text("borders")
    while "Nepal borders ?" not in page.locator("#relation-options [aria-selected=true]").inner_text():
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#rows tr")).to_have_count(10)
    settled(page)
    link = page.locator("#rows a").first
    while not link.evaluate("(link) => link === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#why")).to_be_visible()
    settled(page)
    expect(link).to_be_focused()  # opening reasons does not lose the place in the list
    expect(link).to_have_attribute("aria-current", "true")


def test_a_link_is_a_view_and_back_goes_back(visit: Open, world: str, keep: Keep) -> None:
    page = visit(world, WHY)
    expect(page.get_by_role("heading", name="Why Benin?")).to_be_visible()
    expect(page.get_by_role("combobox", name="Entity")).to_have_value("Niger River")
    keep(page, "reasons")
    page.get_by_role("link", name="Nigeria").last.click()
    expect(page.locator("#facts-title")).to_contain_text("Nigeria")
    expect(page.locator("#answers")).to_be_hidden()
    assert "entity=Nigeria" in page.url
    page.locator("#fact-list dt").get_by_role("link", name="language").click()
    expect(page.locator("#answers-title")).to_contain_text("Nigeria language")
    page.go_back()
    page.go_back()  # at once: what was on its way is given up
    expect(page.get_by_role("heading", name="Why Benin?")).to_be_visible()
    expect(page.locator("#rows tr.open")).to_contain_text("Benin")


def test_questions_for_heads(visit: Open, world: str) -> None:
    page = visit(world, view(entity="French", relation="language", inverse="1"))
    expect(page.locator("#answers-title")).to_have_text("…? language French")
    expect(page.get_by_role("combobox", name="Question")).to_have_value("? language French")
    page.locator("#rows a").first.click()
    expect(page.locator("#why")).to_be_visible()


def test_answers_of_what_was_seen_there(visit: Open, world: str) -> None:
    page = visit(world, view(entity="Nepal", relation="subregion"))
    page.get_by_label("answers of").select_option("seen")
    expect(page).to_have_url(re.compile("range=seen"))
    settled(page)
    page.get_by_role("button", name="Show more").first.click()
    expect(page.locator("#rows tr")).to_have_count(21)  # of 22 subregions Nepal has one
    expect(page.locator("#rows")).to_contain_text("Eastern Asia")


def test_what_has_labels_is_shown_by_them(visit: Open, tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text("Q1\tP9001\tQ2\nQ2\tP9002\tQ3\nQ3\tP9001\tQ4\n")
    (tmp_path / "labels.tsv").write_text("Q2\tSun\nQ3\tMilky Way\nQ4\tSpace\nP9001\tmoves round\n")
    source = replace(source_of(tmp_path / "g.tsv"), reading={"labels": [tmp_path / "labels.tsv"]})
    with serving(create_app(Current(source), Limits())) as address:
        page = visit(address)
        page.locator("#examples a", has_text="Milky Way moves round …?").click()
        expect(page.locator("#answers-title")).to_have_text("Milky Way moves round …?")
        page.goto(f"{address}/{view(entity='Q2', relation='P9001')}")
        expect(page.locator("#answers-title")).to_have_text("Sun moves round …?")
        expect(page.get_by_role("combobox", name="Question")).to_have_value("Sun moves round ?")
        expect(page).to_have_title("Sun moves round · Trivium")
        expect(page.locator("#rows")).to_contain_text("Space")
        expect(page.locator("#fact-list")).to_contain_text("Milky Way")


def test_an_unknown_name_is_told_and_the_page_goes_on(visit: Open, world: str) -> None:
    page = visit(world)
    page.get_by_role("combobox", name="Entity").click()
    page.keyboard.type("qqqqqq")
    expect(page.get_by_text("Nothing is called like that")).to_be_visible()
    page.goto(f"{world}/{view(entity='Nepal')}")
    expect(page.locator("#facts-title")).to_contain_text("Nepal")
    page.goto(f"{world}/{view(entity='Nepaal')}")
    expect(page.get_by_role("alert")).to_contain_text("unknown entity 'Nepaal': did you mean 'Nepal'")
    expect(page.locator("#facts")).to_be_hidden()
    page.goto(f"{world}/{view(entity='Nepal')}")
    expect(page.locator("#facts-title")).to_contain_text("Nepal")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_readable_everywhere_and_axe_finds_nothing_serious(
    visit: Open, world: str, keep: Keep, size: tuple[int, int], scheme: str
) -> None:
    for place in ("", view(entity="Nepal"), WHY):
        page = visit(world, place, size, scheme)
        readable(page)
    if size == PHONE:
        page.locator("#why").evaluate("(why) => why.scrollIntoView()")
    if (size == PHONE) == (scheme == "light"):
        keep(page, "phone" if size == PHONE else "dark")
    page.get_by_role("combobox", name="Question").click()
    expect(page.get_by_role("option").first).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("place", range(len(ODD)))
def test_names_are_text(visit: Open, live: str, place: int) -> None:
    odd, following, other = ODD[place], ODD[(place + 1) % len(ODD)], ODD[(place + 3) % len(ODD)]
    page = visit(live, view(entity=odd, relation="likes", answer=other), PHONE)
    expect(page.locator("#facts-title bdi")).to_have_text(shown(odd))
    expect(page.locator("#fact-list")).to_contain_text(shown(following))
    expect(page.locator("#why-title")).to_contain_text(shown(other))
    assert set(page.locator("#rows bdi").all_inner_texts()) <= {shown(name) for name in (*ODD, *PLAIN)}
    expect(page.locator("main b, main script, main img")).to_have_count(0)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE[0]
    page.locator("#fact-list").get_by_role("link", name=shown(following), exact=True).click()
    expect(page.locator("#facts-title bdi")).to_have_text(shown(following))


def test_a_service_with_a_token_asks_for_it(visit: Open, odd_graph: Path) -> None:
    with serving(make_app(odd_graph, token="0123456789abcdef")) as address:
        page = visit(address, view(entity="Nepal"), locked=True)
        for word in ("wrong", "0123456789abcdef"):
            expect(page.get_by_label("Token")).to_be_visible()
            page.get_by_label("Token").fill(word)
            page.keyboard.press("Enter")
        expect(page.locator("#facts-title")).to_contain_text("Nepal")
        page.reload()
        expect(page.locator("#facts-title")).to_contain_text("Nepal")  # asked once a session
