"""A service over a small graph whose names are as odd as names get."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.conftest import small_model
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint
from trivium.service.app import create_app
from trivium.service.server import create_server
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Source

ODD = [
    "<b>bold</b>",
    "\"quoted\" & 'single'",
    "<script>alert(1)</script>",
    "مرحبا",
    "\u202egnp.exe",
    "🧑‍🚀",
    "bell\x07 and escape\x1b[31m",
    "../../etc/passwd",
    "' OR 1=1 --",
    "日本",
]
PLAIN = ["Nepal", "India", "China", "Ganges", "Gange", "Ganga"]


def write_graph(path: Path, more: str = "") -> None:
    """Each odd name likes the next, each plain one borders the next, and the first of each know each other."""
    rows = [(a, "likes", b) for a, b in zip(ODD, ODD[1:] + ODD[:1], strict=True)]
    rows += [(a, "borders <on>", b) for a, b in pairwise(PLAIN)]
    rows += [(ODD[0], "knows", PLAIN[0])]
    part = path.with_suffix(".part")
    part.write_text("".join("\t".join(row) + "\n" for row in rows) + more, "utf-8")
    part.replace(path)


def source_of(graph: Path, calibration: Path | None = None) -> Source:
    """A graph's file, with a small model in a file beside it."""
    model = graph.with_name("model.safetensors")
    if not model.exists():
        save_checkpoint(small_model(), Provenance(), model)
    return Source(graph, str(model), calibration)


def make_app(
    graph: Path, limits: Limits | None = None, token: str | None = None, calibration: Path | None = None
) -> FastAPI:
    return create_app(Current(source_of(graph, calibration), seconds=0.05), limits or Limits(), token)


def wait_until(happened: Callable[[], bool], seconds: float = 240.0) -> None:
    """Kernels may have to be compiled first."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def asking(app: FastAPI) -> Iterator[TestClient]:
    """A client of an application that is ready."""
    with TestClient(app, "http://localhost") as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        yield client


@pytest.fixture(scope="session")
def odd_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("service") / "odd.tsv"
    write_graph(path)
    return path


@pytest.fixture(scope="session")
def app(odd_graph: Path) -> FastAPI:
    return make_app(odd_graph, Limits(max_body_bytes=20_000, max_k=50, max_queries=5, max_paths=6))


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    with asking(app) as client:
        yield client


@pytest.fixture(scope="session")
def live(odd_graph: Path) -> Iterator[str]:
    """The address of a service on a socket of its own."""
    with serving(make_app(odd_graph)) as address:
        yield address


@contextmanager
def serving(app: FastAPI, limits: Limits | None = None) -> Iterator[str]:
    """Runs an application on a free port of loopback while the block lasts."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, limits or Limits())
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        wait_until(lambda: is_ready(address))
        yield address
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/ready").status_code == 200
    except httpx2.TransportError:
        return False
