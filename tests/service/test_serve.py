"""`trivium serve` as a process: what it refuses, how it stops, what is left when it is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.conftest import Run, small_model
from tests.service.conftest import is_ready, wait_until, write_graph
from trivium.graph.index import save_index
from trivium.graph.read import read_graph
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_graph(Path("g.tsv"))
    save_checkpoint(small_model(), Provenance(), "m.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--host 0.0.0.0", "--token-file"),
        ("--host ::", "--token-file"),
        ("--host graph.example", "--token-file"),
        ("--token-file missing", "missing cannot be read"),
        ("--token-file short", "16 characters"),
        ("--max-k 0", 'Invalid value "0" for --max-k. Input should be greater than or equal to 1.'),
        ("--max-seconds nan", 'Invalid value "nan" for --max-seconds. Input should be'),
        ("--port 99999", "65535"),
        ("--calibration missing.json --port 0", "missing.json"),
    ],
)
def test_what_it_refuses(folder: Path, command: Run, words: str, message: str) -> None:
    Path("short").write_text("secret\n")
    refused(command, words, message)


def test_a_taken_port_is_one_line(folder: Path, command: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(command, f"--port {port}", f"port {port}")


def refused(command: Run, words: str, message: str) -> None:
    status, _, err = command("serve", "g.tsv", "--checkpoint", "m.safetensors", *words.split())
    (line,) = err.splitlines()
    assert status == 2
    assert line.startswith("trivium: ") and message in line


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "trivium", "serve", *words, "--checkpoint", "m.safetensors", "--port", "0"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr
            line = process.stderr.readline()
            assert line.startswith("serving "), line
            address = line.split(" at ")[1].strip()
            wait_until(lambda: is_ready(address))
            yield process, address
        finally:
            process.kill()


def test_killed_and_started_again_from_an_index_it_answers_the_same(folder: Path) -> None:
    save_index(read_graph("g.tsv"), "g.trivium")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    question = {"head": "Nepal", "relation": "borders <on>", "k": 3}
    replies = []
    for stop in (signal.SIGKILL, signal.SIGTERM):
        with serving("g.trivium") as (process, address):
            replies.append(httpx2.post(f"{address}/api/rank", json=question).json())
            process.send_signal(stop)
            process.wait(20)
            assert process.returncode in (-stop, 0)
    assert replies[0] == replies[1]
    assert len(replies[0]["answers"]) == 3
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_hangup_replaces_the_graph(folder: Path) -> None:
    with serving("g.tsv") as (process, address):
        write_graph(Path("g.tsv"), "Tibet\tlikes\tNepal\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: httpx2.get(f"{address}/api/entity", params={"name": "Tibet"}).status_code == 200)
        assert process.poll() is None
