"""Parts computed by other processes: the bytes are those of one process, whoever is killed or hangs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from distributed import LocalCluster
from tests.conftest import Run, random_graph, run_command, small_model, write_triples

from trivium.datasets.splits import Splits
from trivium.errors import TriviumError
from trivium.evaluation.evaluate import evaluate
from trivium.inference import cluster
from trivium.inference.answers import Ids
from trivium.inference.cluster import computing
from trivium.inference.parts import Compute, Each, here, parts_for, write_in_parts
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint

local: Any = LocalCluster
PARTS = [np.arange(begin, begin + 3) for begin in range(0, 24, 3)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A scheduler and two workers, which do not share a folder with this process."""
    node = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("node"))}
    words = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": 50, "dashboard_address": "127.0.0.1:0"}
    with local(n_workers=2, env=node, **words) as held:
        held.node = Path(node["XDG_CACHE_HOME"])
        yield held


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph's file; a checkpoint, questions and triples lie beside it."""
    known = random_graph(0, entities=40, relations=3, triples=200)
    facts = known.triples
    save_checkpoint(small_model(), Provenance(), tmp_path / "m.safetensors")
    write_triples(tmp_path / "facts.tsv", np.concatenate([facts[:5], facts[:20, [2, 1, 0]]]))
    (tmp_path / "questions.tsv").write_text("".join(f"e{h}\tr{r}\n" for h, r, _ in facts[:50].tolist()))
    sizes = {
        "cli.rank.PART_QUERIES": 12,
        "cli.complete.PART_QUERIES": 12,
        "cli.rank.PART_FACTS": 2,
        "calibration.collect.PART_QUERIES": 20,
    }
    for name, size in sizes.items():
        monkeypatch.setattr(f"trivium.{name}", size)
    return write_triples(tmp_path / "g.tsv", facts)


def test_every_verb_gives_the_bytes_of_one_process(graph: Path, two: Any) -> None:
    place = graph.parent
    for number, (verb, ending, *words) in enumerate(
        [
            ("complete", "parquet", "--both-directions", "--also-second"),
            ("rank", "jsonl", "--queries", place / "questions.tsv", "--include-known"),
            ("score", "csv", place / "facts.tsv"),
            ("calibrate", "json", "--share", "0.2"),
        ]
    ):
        outputs = [place / f"{number}{kind}.{ending}" for kind in ("alone", "shared")]
        for output, shared in zip(outputs, ([], ["--cluster", two.scheduler_address]), strict=True):
            given = [words[0]] if verb == "score" else words
            command = [verb, graph, *given, "-o", output, "--checkpoint", place / "m.safetensors", *shared]
            assert run_command(*command) == 0
        assert outputs[0].read_bytes() == outputs[1].read_bytes(), verb
    shown = urllib.request.urlopen(two.dashboard_link.replace("/status", "/metrics")).read().decode()
    assert 'task_prefix_name="links"' in shown
    packed = list((two.node / "trivium" / "packed").iterdir())
    assert packed
    assert {file.suffix for file in packed} == {""}
    assert {file.name for file in packed} == {file.name for file in (place / "cache" / "trivium" / "packed").iterdir()}


def test_evaluation_is_the_same(two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivium.evaluation.evaluate.PART_QUERIES", 10)
    graph = random_graph(1, triples=60)
    asked = random_graph(2, triples=40).triples
    splits = Splits("small", "own", graph, asked, asked, graph, asked[:0], graph, asked[:0])
    seen: list[tuple[int, int]] = []
    with computing(two.scheduler_address, 0, 60) as each, parts_for(tmp_path / "small.json", each) as parts:
        found = evaluate(small_model(), splits, progress=lambda *done: seen.append(done), parts=parts)
    assert replace(found, seconds=0) == replace(evaluate(small_model(), splits), seconds=0)
    assert seen[-1] == (2 * len(asked), 2 * len(asked))
    assert len(seen) == 1 + 2 * len(asked) // 10 - (2 * len(asked) % 10 == 0)


def squares(log: Path, fault: str = "", seconds: float = 0) -> Compute:
    """Squares of numbers, a line in a log for each part; the first worker that gets to the number 9 fails."""

    def compute(part: Ids) -> pl.DataFrame:
        with log.open("a") as file:
            print(part[0], os.getpid(), file=file, flush=True)
        if fault and part[0] == 9 and begun(log).count(9) == 1:
            if fault == "hangs":
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        return pl.DataFrame({"number": part, "square": part * part})

    return compute


def write(path: Path, compute: Compute, each: Each) -> bytes:
    write_in_parts(path, False, "squares", [PARTS[:4], PARTS[4:]], compute, lambda rows: rows, each=each)
    return path.read_bytes()


def begun(log: Path) -> list[int]:
    return sorted(int(line.split()[0]) for line in log.read_text().splitlines())


@pytest.mark.parametrize("fault", ["is killed", "hangs"])
def test_a_lost_worker_costs_its_part_alone(two: Any, tmp_path: Path, fault: str) -> None:
    whole = write(tmp_path / "whole.parquet", squares(tmp_path / "alone.log"), here)
    log = tmp_path / "shared.log"
    with computing(two.scheduler_address, 0, 6 if fault == "hangs" else 60) as each:
        assert write(tmp_path / "shared.parquet", squares(log, fault, 0.2), each) == whole
    assert begun(log).count(9) == 2


def test_what_began_alone_goes_on_with_workers(two: Any, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.parquet", squares(tmp_path / "alone.log"), here)

    def stops(part: Ids) -> pl.DataFrame:
        if part[0] == 9:
            raise KeyboardInterrupt
        return squares(tmp_path / "first.log")(part)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "t.parquet", stops, here)
    with computing(two.scheduler_address, 0, 60) as each:
        assert write(tmp_path / "t.parquet", squares(tmp_path / "rest.log"), each) == whole
    assert begun(tmp_path / "first.log") == [0, 3, 6]
    assert begun(tmp_path / "rest.log") == [9, 12, 15, 18, 21]


def test_a_killed_client_takes_its_workers_along_and_its_command_goes_on(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.inference.test_cluster import *\n"
        "if __name__ == '__main__':\n"
        " with computing(None, 2, 60) as each:\n"
        "  write(Path('t.parquet'), squares(Path('t.log').resolve(), '', float(sys.argv[1])), each)"
    )
    (tmp_path / "client.py").write_text(script)
    words = [sys.executable, "client.py"]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    how: dict[str, Any] = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": paths}}
    with subprocess.Popen([*words, "0.5"], **how) as client:
        while len(list((tmp_path / ".t.parquet.parts").glob("*.parquet"))) < 2:
            assert client.poll() is None
            time.sleep(0.05)
        client.kill()
    workers = {int(line.split()[1]) for line in (tmp_path / "t.log").read_text().splitlines()}
    assert len(workers) == 2
    ends = time.monotonic() + 30
    while any(running(worker) for worker in workers):
        assert time.monotonic() < ends
        time.sleep(0.05)
    kept = len(list((tmp_path / ".t.parquet.parts").glob("*.parquet")))
    before = len(begun(tmp_path / "t.log"))
    assert subprocess.run([*words, "0"], **how).returncode == 0
    assert len(begun(tmp_path / "t.log")) == before + len(PARTS) - kept
    whole = write(tmp_path / "whole.parquet", squares(tmp_path / "alone.log"), here)
    assert (tmp_path / "t.parquet").read_bytes() == whole


def test_a_killed_scheduler_is_said_and_the_same_command_goes_on(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "whole.parquet", squares(tmp_path / "alone.log"), here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    dask, held = [sys.executable, "-m", "dask"], tmp_path / "scheduler.json"
    file = "--scheduler-file", str(held)
    with ExitStack() as stack:

        def start(*words: str) -> subprocess.Popen[bytes]:
            started = subprocess.Popen([*dask, *words, *file, "--no-dashboard"], stderr=subprocess.DEVNULL)
            stack.callback(started.wait)
            stack.callback(started.kill)
            return started

        lost = start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not held.exists() or not held.read_text().endswith("}"):
            assert lost.poll() is None
            time.sleep(0.05)
        start("worker", "--nthreads", "1", "--no-nanny")
        process, first = lost.pid, squares(tmp_path / "first.log", "", 0.2)

        def kills(part: Ids) -> pl.DataFrame:
            if part[0] == 9:
                os.kill(process, signal.SIGKILL)
            return first(part)

        gone = pytest.raises(TriviumError, match="the scheduler is gone: start it again, and the same command goes on")
        with gone, computing(json.loads(held.read_text())["address"], 0, 60) as each:
            write(tmp_path / "t.parquet", kills, each)
    assert (kept := len(list((tmp_path / ".t.parquet.parts").glob("*.parquet"))))
    with computing(two.scheduler_address, 0, 60) as each:
        assert write(tmp_path / "t.parquet", squares(tmp_path / "rest.log"), each) == whole
    assert len(begun(tmp_path / "rest.log")) == len(PARTS) - kept


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"")])
def test_what_a_disk_loses_before_it_is_sent_is_packed_again(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    whole = write(tmp_path / "whole.parquet", squares(tmp_path / "alone.log"), here)
    packed, times = cluster.pack, 1

    def pack(*value: Any) -> str:
        nonlocal times
        name = packed(*value)
        if (times := times - 1) >= 0:
            damage(cluster.folder() / name)
        return name

    monkeypatch.setattr(cluster, "pack", pack)
    with computing(two.scheduler_address, 0, 60) as each:
        assert write(tmp_path / "t.parquet", squares(tmp_path / "shared.log"), each) == whole
        times = 10
        with pytest.raises(TriviumError, match="does not keep what is sent to workers: the same command goes on"):
            write(tmp_path / "u.parquet", squares(tmp_path / "more.log"), each)


def running(process: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    return False


def test_what_cannot_be_is_one_line(graph: Path, two: Any, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "complete", graph, "-o", graph.parent / "t.csv", "--checkpoint", graph.parent / "m.safetensors"
    own = cluster.about()
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "about", lambda: own | {"torch": "1.0"})
        status, _, said = command(*words, "--cluster", two.scheduler_address)
    assert status == 2
    assert f"has torch {own['torch']}, not 1.0: install the same there" in said.splitlines()[-1]
    with local(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as threads:
        status, _, said = command(*words, "--cluster", threads.scheduler_address)
    assert (status, said.splitlines()[-1].endswith("has 2 threads: start it with --nthreads 1")) == (2, True)
    monkeypatch.setattr(cluster, "CONNECTING", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (
            "tcp://127.0.0.1:9",
            f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            "tls://127.0.0.1:9",
            "ucx://x:1",
        ):
            status, _, said = command(*words, "--cluster", address)
            assert (status, said.count("\n")) == (2, 1)
            assert f"no Dask scheduler answers at {address}: start one with `dask scheduler`" in said
    assert "not both" in command(*words, "--cluster", "x", "--workers", 2)[2]
    assert "name it with --output" in command("rank", graph, "--queries", graph, "--workers", 2)[2]
    assert "for --cluster and --workers" in command("rank", graph, "--queries", graph, "--part-seconds", 2)[2]
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "trivium.inference.cluster")
    assert "pip install 'trivium[cluster]'" in command(*words, "--workers", 2)[2]
