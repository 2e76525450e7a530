"""A real browser for tests of the page, which asks nothing of anyone but the service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it drives the browser")
from playwright.sync_api import Browser, Page, expect  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WORLD = Path(__file__).parents[2] / "src" / "trivium" / "demo" / "world.tsv"
WIDE, PHONE = (1280, 860), (360, 740)
SECONDS = 60_000.0  # milliseconds: on a busy machine a kernel may have to be compiled
Open = Callable[..., Page]
Keep = Callable[[Page, str], None]

MARKS = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens a page, and in the end holds that it asked nothing of anyone else and broke no rule of its own."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(
        address: str,
        view: str = "",
        size: tuple[int, int] = WIDE,
        scheme: str = "light",
        *,
        locked: bool = False,
        token: str = "",
        reviewer: str = "",
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(SECONDS)
        kept = {"sessionStorage": ("trivium-token", token), "localStorage": ("trivium-reviewer", reviewer)}
        for storage, (key, value) in kept.items():
            if value:
                context.add_init_script(f"{storage}.getItem({key!r}) ?? {storage}.setItem({key!r}, {value!r})")
        page = context.new_page()

        def heard(message: Any) -> None:
            if message.type == "error" and not re.search(
                "status of (404|401|409)|ERR_CONNECTION|ERR_FAILED", message.text
            ):
                complaints.append(message.text)

        page.on("console", heard)

        def asked(request: Any) -> None:
            if not request.url.startswith((address, "data:")):
                complaints.append(request.url)

        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("request", asked)
        page.goto(f"{address}/{view}")
        if not locked:
            settled(page)
        return page

    expect.set_options(timeout=SECONDS)
    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def settled(page: Page) -> None:
    page.wait_for_selector("main[aria-busy=false]")


def view(**parts: str) -> str:
    return f"#{urlencode(parts)}"


@pytest.fixture
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Keep:
    """Makes a screenshot for the docs, in the folder that --screenshots names."""
    folder = request.config.getoption("--screenshots") or tmp_path

    def shoot(page: Page, name: str) -> None:
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000

    return shoot


def readable(page: Page) -> None:
    """Nothing is wider than the window, and axe finds nothing serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    width = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1]
    found = axe.Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")] == []


def shown(text: str) -> str:
    """A name as the page shows it."""
    return re.sub("[\x00-\x1f\x7f\u202e]", lambda mark: f"\\u{ord(mark[0]):04x}", text)
