"""One client cannot stop the service: what hostile ones do to it, and what the others see meanwhile."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from tests.conftest import small_model
from tests.service.conftest import ODD, is_ready, make_app, serving, wait_until, write_graph
from tests.trust.clients import HOST, HOSTILE, MEGABYTES, get, post
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint
from trivium.service import jobs
from trivium.service.middleware import values
from trivium.service.server import SMALL, Seldom
from trivium.service.settings import Limits

LIMITS = Limits(max_arrival_seconds=1, max_seconds=4, max_connections=20)
TOKEN = "0123456789abcdef"
QUESTION = {"head": ODD[0], "relation": "likes", "k": 3}
SLACK = 4.0  # seconds that a busy machine may add, with a second between two looks at the connections

Connect = Callable[[], socket.socket]


def connecting(address: str) -> Connect:
    return lambda: socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), timeout=20)


@pytest.fixture(scope="module")
def connect(odd_graph: Path) -> Iterator[Connect]:
    """Connects to a service with small limits."""
    with serving(make_app(odd_graph, LIMITS), LIMITS) as address:
        yield connecting(address)


def ask(connect: Connect, request: bytes) -> bytes:
    """All that comes back until the service closes the connection."""
    with closing(connect()) as connection:
        connection.sendall(request)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    found = b""
    try:
        while part := connection.recv(1 << 16):
            found += part
    except ConnectionError:
        pass
    return found


CLOSE = b"Connection: close\r\n"


def healthy(connect: Connect) -> float:
    """The seconds that /health takes."""
    began = time.monotonic()
    assert ask(connect, get("/health", CLOSE)).startswith(b"HTTP/1.1 200")
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("begin", "drop", "reply"),
    [
        (b"", b"", b""),
        (b"GET /health HTTP/1.1\r\nHost: local", b"", b""),
        (b"GET /health HTTP/1.1\r\nX: ", b"x", b""),
        (get("/health"), b"", b"HTTP/1.1 200"),
        (get("/health") + b"GET /health HTTP/1.1\r\nX: ", b"x", b"HTTP/1.1 200"),
        (post("/api/rank", b"{" * 99)[:-99], b"", b"HTTP/1.1 408"),
        (post("/api/rank", b"{" * 99)[:-99], b" ", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "half a head", "a slow head", "a second head", "a slow second head", "no body", "a slow body"],
)
def test_what_does_not_arrive_is_dropped(connect: Connect, begin: bytes, drop: bytes, reply: bytes) -> None:
    with closing(connect()) as connection:
        began, ended = time.monotonic(), threading.Event()

        def trickle() -> None:
            while drop and not ended.wait(0.1):
                try:
                    connection.sendall(drop)
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        connection.sendall(begin)
        found = everything(connection)
        ended.set()
        thread.join()
    assert time.monotonic() - began < LIMITS.max_arrival_seconds + SLACK
    assert found.startswith(reply) and (found.count(b"HTTP/1.1") == bool(reply))


def test_a_reply_that_is_not_read_is_dropped(connect: Connect) -> None:
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with closing(connect()) as other:
            connection.connect(other.getpeername())
        connection.sendall(get("/page/cytoscape.esm.min.mjs") * 100)
        deadline = time.monotonic() + LIMITS.max_seconds + 2 * SLACK
        with pytest.raises(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.1)


def test_connections_are_bounded_and_those_that_wait_longest_make_room(connect: Connect) -> None:
    with ExitStack() as stack:
        kept = [stack.enter_context(closing(connect())) for _ in range(3 * LIMITS.max_connections)]
        assert healthy(connect) < LIMITS.max_arrival_seconds
        for connection in kept[: LIMITS.max_connections]:
            assert everything(connection) == b""


@pytest.mark.parametrize("name", MEGABYTES)
def test_an_allowed_megabyte_that_asks_for_too_much_is_refused(connect: Connect, name: str) -> None:
    path = "/api/score" if name == "objects" else "/api/rank" if name == "name" else "/api/batch/rank"
    reply = ask(connect, post(path, MEGABYTES[name], CLOSE))
    assert reply[9:12] in (b"422", b"404", b"400")
    assert len(reply) < 8000
    assert name in ("strings", "name", "field", "spaces", "digits") or b"at a time are allowed" in reply


def test_values_are_counted_before_they_are_parsed() -> None:
    assert values(b'{"head": "a, [b] \\" {c}, \\\\", "k": 3}', 1) == 2
    names = [{"head": ',{[\\"' * 50, "relation": "r", "tail": "t"}] * 100
    assert values(json.dumps({"triples": names}).encode(), 800) < 800
    for name in ("objects", "numbers", "lists", "questions", "fields", "nested"):
        assert values(MEGABYTES[name], 800) > 800


DOUBTFUL = [
    (b"1.1", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    (b"1.1", b"transfer-encoding: Chunked\r\ncontent-length: 0\r\n"),
    (b"1.0", b"Transfer-Encoding: chunked\r\n"),
]


@pytest.mark.parametrize(("version", "fields"), DOUBTFUL)
def test_a_body_whose_end_is_doubtful_is_refused_and_nothing_behind_it_is_read(
    connect: Connect, version: bytes, fields: bytes
) -> None:
    head = b"POST /api/rank HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n"
    reply = ask(connect, head + b"0\r\n\r\n" + get("/health"))
    assert reply.startswith(b"HTTP/1.1 400")
    assert reply.count(b"HTTP/1.1") == 1


def test_chunks_are_read_and_a_body_of_tiny_ones_is_refused(connect: Connect) -> None:
    head = post("/api/rank", b"", CLOSE).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    body = json.dumps(QUESTION).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    assert ask(connect, head + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert ask(connect, head + b"1\r\n \r\n" * (SMALL + 1)).startswith(b"HTTP/1.1 400")


def test_a_reply_does_not_wait_for_its_clients_word(connect: Connect) -> None:
    with closing(connect()) as connection:
        seconds = []
        for _ in range(12):
            began, found = time.monotonic(), b""
            connection.sendall(get("/health"))
            while not found.endswith(b"}"):
                found += connection.recv(1 << 16)
            seconds.append(time.monotonic() - began)
    assert min(seconds[6:]) < 0.03  # a held back acknowledgement takes 40 ms; not at first


class Held:
    """Jobs of one kind, counted, and stopped until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.go, self.begun = threading.Event(), 0
        job = getattr(jobs, name)

        def held(*given: Any) -> Any:
            self.begun += 1
            assert self.go.wait(20)
            return job(*given)

        monkeypatch.setattr(jobs, name, held)


@contextmanager
def left(app: FastAPI) -> Iterator[tuple[Connect, Callable[[], int]]]:
    """A service, and how many of its requests were answered to nobody."""
    with serving(app) as address:

        def count() -> int:
            lines = httpx2.get(f"{address}/metrics").text.splitlines()
            found = [line for line in lines if line.startswith("trivium_requests_total") and 'status="499"' in line]
            return round(sum(float(line.split()[-1]) for line in found))

        yield connecting(address), count


@pytest.mark.parametrize("behind", [b"", b"GET", get("/health") * 20], ids=["nothing", "half a head", "requests"])
def test_what_nobody_waits_for_is_not_computed(odd_graph: Path, monkeypatch: pytest.MonkeyPatch, behind: bytes) -> None:
    held = Held(monkeypatch, "rank")
    with left(make_app(odd_graph)) as (connect, count), closing(connect()) as first:
        first.sendall(post("/api/rank", json.dumps(QUESTION).encode(), CLOSE))
        wait_until(lambda: held.begun == 1)
        gone = [connect() for _ in range(12)]
        many = {"questions": [QUESTION] * 50}
        for number, connection in enumerate(gone):
            path, body = ("/api/batch/rank", many) if number % 2 else ("/api/rank", QUESTION)
            connection.sendall(post(path, json.dumps(body).encode()) + behind)
        time.sleep(0.3)
        for connection in gone:
            connection.close()
        wait_until(lambda: count() == len(gone))
        held.go.set()
        assert everything(first).startswith(b"HTTP/1.1 200")
        assert ask(connect, post("/api/rank", json.dumps(QUESTION).encode(), CLOSE)).startswith(b"HTTP/1.1 200")
    assert held.begun == 2


def test_an_explanation_ends_once_its_client_has_left(odd_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    explain_ids = jobs.explain_ids  # type: ignore[attr-defined]

    def explaining(*given: Any, **more: Any) -> Any:
        check = given[-1]
        try:
            while len(given) == 6:  # the service's; it is being prepared with fewer
                check()
                time.sleep(0.01)
            return explain_ids(*given, **more)
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    monkeypatch.setattr(jobs, "explain_ids", explaining)
    body = {"head": "Nepal", "relation": "borders <on>", "tail": "China"}
    with left(make_app(odd_graph)) as (connect, count):
        connection = connect()
        connection.sendall(post("/api/explain", json.dumps(body).encode()))
        time.sleep(0.3)
        connection.close()
        wait_until(lambda: count() == 1)
        wait_until(lambda: bool(ended))
    assert ended == ["CancelledError"]


def test_the_token_is_asked_for_before_a_body_is_read(odd_graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(make_app(odd_graph, LIMITS, token=TOKEN), LIMITS) as address:
        connect = connecting(address)
        head = post("/api/rank", b"{" * 99)[:-99]
        for given in (b"", f"Authorization: Bearer {TOKEN}x\r\n".encode()):
            began = time.monotonic()
            with closing(connect()) as connection:
                connection.sendall(head.replace(HOST, HOST + given))
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401")
            assert time.monotonic() - began < LIMITS.max_arrival_seconds
        right = f"Authorization: Bearer {TOKEN}\r\n".encode()
        body = json.dumps(QUESTION).encode()
        assert ask(connect, post("/api/rank", body, right + CLOSE)).startswith(b"HTTP/1.1 200")
        assert ask(connect, get(f"/api/info?token={TOKEN}", b"Host: x\r\n" + right)).startswith(b"HTTP/1.1 400")
    assert TOKEN not in caplog.text


def test_an_error_is_logged_once_a_minute(odd_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    log = logging.getLogger("uvicorn.error")

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with serving(make_app(odd_graph)) as address:
        log.addHandler(handler)
        monkeypatch.setattr(jobs, "rank", broken)
        body = json.dumps(QUESTION).encode()
        replies = {ask(connecting(address), post("/api/rank", body, CLOSE))[9:12] for _ in range(20)}
        log.removeHandler(handler)
    assert replies == {b"500"}
    assert len(records) == 1


def test_a_kind_is_a_first_line_and_an_exception() -> None:
    seldom = Seldom()

    def passes(text: str, error: Exception | None = None) -> bool:
        info = None if error is None else (type(error), error, None)
        return seldom.filter(logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, text, None, info))

    assert passes("out of files\nsocket 5")
    assert not passes("out of files\nsocket 6")
    assert passes("out of files\nsocket 6", OSError())
    assert not passes("out of files", OSError())
    assert passes("out of memory")
    seldom.until = dict.fromkeys(seldom.until, 0.0)
    assert passes("out of files")


@contextmanager
def process(folder: Path, files: int, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A service that may open few files, its address, and where its standard error goes."""
    command = f'ulimit -n {files}; exec "$0" -m trivium serve --port 0 "$@"'
    errors = folder / "stderr"
    with (
        errors.open("w") as stream,
        subprocess.Popen(
            ["sh", "-c", command, sys.executable, *words],
            stderr=stream,
            cwd=folder,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        ) as running,
    ):
        try:
            wait_until(lambda: errors.read_text().endswith("\n"))
            address = errors.read_text().split(" at ")[1].split()[0]
            wait_until(lambda: is_ready(address))
            yield running, address, errors
        finally:
            running.kill()


def test_honest_clients_are_served_beside_hostile_ones_with_few_files(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    triples = tmp_path / "g.tsv"
    write_graph(triples)
    save_checkpoint(small_model(), Provenance(), tmp_path / "m.safetensors")
    words = ["g.tsv", "--checkpoint", "m.safetensors", "--max-arrival-seconds", "1"]
    with process(tmp_path, 160, *words) as (_, address, errors):
        connect = connecting(address)
        with ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(closing(connect()))
            assert healthy(connect) < 2
        hostile = crowd(",".join(HOSTILE), address, 4, 24, triples)
        honest = crowd("honest,health", address, 4, 4, triples)
        found = json.loads(honest.communicate(timeout=60)[0])
        tried = json.loads(hostile.communicate(timeout=60)[0])
        assert healthy(connect) < 2
    assert found["wrong"] == {}
    assert tried["wrong"] == {}
    assert tried["tried"] > 50
    assert len(errors.read_text()) < 1000
    record_property("trust", f"{tried['tried'] + 300:,} hostile connections held by a service with 160 files")


def crowd(kinds: str, address: str, seconds: float, clients: int, triples: Path) -> subprocess.Popen[str]:
    """Clients in a process of their own; see `tests.trust.clients`."""
    words = [kinds, address.rsplit(":", 1)[1], str(seconds), str(clients), str(triples)]
    command = [sys.executable, "-m", "tests.trust.clients", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
