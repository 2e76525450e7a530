"""Whatever is sent: no 500, no traceback, replies as the description says them."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.conftest import run_command
from tests.service.conftest import ODD, PLAIN, asking, source_of
from tests.trust.test_mutated import samples
from trivium.graph.formats import TRIPLE
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Source

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed, which makes the requests")


def steady(examples: int) -> settings:
    """The same examples every time, however slow the machine."""
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


@pytest.fixture(scope="session")
def schema(live: str) -> Any:
    """The API's own description of itself."""
    return schemathesis.openapi.from_url(f"{live}/openapi.json")


OPERATIONS = [
    *(("POST", f"/api/{path}") for path in ("rank", "batch/rank", "score", "relate", "explain", "complete")),
    *(("GET", f"/api/{path}") for path in ("search", "entity", "info", "relations")),
    *(("GET", f"/{path}") for path in ("health", "ready", "metrics")),
]


def test_every_operation_is_tried(schema: Any) -> None:
    described = {(operation.ok().method.upper(), operation.ok().path) for operation in schema.get_all_operations()}
    assert described == set(OPERATIONS)


TAKING_NOTHING = ("/api/info", "/health", "/ready", "/metrics")
TRIED = [(*operation, "positive") for operation in OPERATIONS]
TRIED += [(*operation, "negative") for operation in OPERATIONS if operation[1] not in TAKING_NOTHING]


@pytest.mark.parametrize(("method", "path", "mode"), TRIED)
def test_the_api_answers_as_it_says(schema: Any, method: str, path: str, mode: str) -> None:
    cases = schema[path][method].as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @steady(20)
    @given(cases)
    def call(case: Any) -> None:
        case.call_and_validate(timeout=60)

    call()


NAMES = st.sampled_from(ODD + PLAIN) | st.text(max_size=20)
RELATIONS = st.sampled_from(["likes", "knows", "borders <on>"]) | st.text(max_size=5)
NUMBERS = st.integers(1, 6) | st.integers()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
QUESTIONS = st.fixed_dictionaries({"head": NAMES, "relation": RELATIONS}, optional={"k": NUMBERS}) | st.dictionaries(
    st.sampled_from(["head", "relation", "tail", "k", "include_known", "x"]), NAMES | ANYTHING, max_size=5
)
TRIPLES = st.fixed_dictionaries({"head": NAMES, "relation": RELATIONS, "tail": NAMES})
BODIES = {
    "/api/rank": QUESTIONS,
    "/api/batch/rank": st.fixed_dictionaries({"questions": st.lists(QUESTIONS, max_size=6) | ANYTHING}),
    "/api/score": st.fixed_dictionaries({"triples": st.lists(TRIPLES, max_size=6) | ANYTHING}),
}


@pytest.mark.parametrize("path", BODIES)
def test_known_and_unknown_names_mixed_with_anything(client: TestClient, path: str) -> None:
    @steady(60)
    @given(BODIES[path] | ANYTHING)
    def ask(body: Any) -> None:
        try:
            reply = client.post(path, json=body)
        except (ValueError, UnicodeEncodeError):  # no JSON: NaN, half a surrogate pair
            return
        assert reply.status_code in (200, 404, 422)
        if reply.status_code != 200:
            assert reply.json()["detail"].isprintable()

    ask()


def test_a_review_takes_anything_and_keeps_what_it_offers(odd_graph: Path, tmp_path: Path) -> None:
    links = [(head, "likes", tail) for head, tail in zip(ODD, PLAIN, strict=False)]
    pl.DataFrame(links, TRIPLE, orient="row").write_parquet(tmp_path / "links.parquet")
    held, reading = source_of(odd_graph), {"decisions": tmp_path / "d.decisions"}
    source = Source(held.graph, held.checkpoint, None, reading, keeps=True, suggestions=tmp_path / "links.parquet")
    word = st.text(max_size=9)
    link = st.fixed_dictionaries({"head": NAMES, "relation": RELATIONS, "tail": NAMES})
    offered = st.sampled_from([dict(zip(TRIPLE, link, strict=True)) for link in links])
    bodies = st.fixed_dictionaries(
        {"link": offered | link | ANYTHING, "verdict": st.sampled_from(["accepted", "rejected", "undecided"]) | word},
        optional={"reviewer": word | ANYTHING, "note": word | ANYTHING, "choice": ANYTHING, "x": ANYTHING},
    )
    with asking(create_app(Current(source, seconds=60), Limits(), "a-token-of-20-letters")) as client:
        client.headers["authorization"] = "Bearer a-token-of-20-letters"

        @steady(150)
        @given(st.sampled_from(["decide", "undo"]), bodies, st.dictionaries(word, word, max_size=2))
        def ask(path: str, body: Any, more: dict[str, str]) -> None:
            assert client.get("/api/review", params=more).status_code in (200, 422)
            try:
                reply = client.post(f"/api/review/{path}", json=body)
            except (ValueError, UnicodeEncodeError):
                return
            assert reply.status_code in (200, 409, 422)
            if reply.status_code != 200:
                assert reply.json()["detail"].isprintable()

        ask()
        found = client.get("/api/review").json()
    assert set(source.decisions.state().select(TRIPLE).iter_rows()) <= set(links)
    assert found["counts"]["waiting"] + len(source.decisions.state()) == len(links)


@steady(60)
@given(q=st.text(max_size=250), name=NAMES, numbers=st.tuples(NUMBERS, NUMBERS))
def test_browsing(client: TestClient, q: str, name: str, numbers: tuple[int, int]) -> None:
    found = client.get("/api/search", params={"q": q, "limit": numbers[0]})
    assert found.status_code in (200, 422)
    found = client.get("/api/entity", params={"name": name, "offset": numbers[0], "limit": numbers[1]})
    assert found.status_code in (200, 404, 422)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def valid(folder: Path) -> dict[str, bytes]:
    return samples(folder)


VERBS = [*"rank score complete info index import evaluate overlap datasets synthesize -h".split(), ""]
FLAGS = ["--head", "--relation", "--tail", "-k", "--queries", "-o", "--checkpoint", "--columns", "--candidates"]
FLAGS += ["--strict", "--include-known", "--force", "--flags", "--sample", "--json", "--yes", "--no-yes", "--", "-z"]
VALUES = ["g.tsv", "g.csv", "g.trivium", "m.safetensors", "f.yaml", "missing.tsv", ".", "0", "-1", "2", "1e9", "nan"]
VALUES += ["out.tsv", "out.parquet", "nowhere/out.tsv", "a,b,c", ",,", "likes", "UMLS2", "\u202ex", "a\x00b", "", *ODD]


@pytest.mark.usefixtures("valid")
def test_the_command_line_answers_or_refuses_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flagged = st.tuples(st.sampled_from(FLAGS), st.sampled_from(VALUES)).map(list)
    words = st.lists(flagged | st.sampled_from(VALUES).map(lambda value: [value]), max_size=5)

    @steady(150)
    @given(st.sampled_from(VERBS), words)
    @example("rank", [["g.tsv"], ["--head", "Nepal"], ["--relation", "knows"], ["--checkpoint", "m.safetensors"]])
    @example("info", [["a\x00b"]])
    def command(verb: str, rest: list[list[str]]) -> None:
        given_words = [*verb.split(), *(word for part in rest for word in part)]
        if verb in ("rank", "score", "complete", "evaluate") and "--checkpoint" not in given_words:
            given_words += ["--checkpoint", "m.safetensors"]
        with chdir(folder):
            status = run_command(*given_words)
        err = capsys.readouterr().err
        assert status in (0, 2), given_words
        assert "Traceback" not in err
        if status == 2:
            assert err.splitlines()[-1].startswith("trivium: "), given_words
        for made in ("out.tsv", "out.parquet"):
            (folder / made).unlink(missing_ok=True)

    command()
