"""Many clients at once against `trivium serve`, beside the offline Ranker on the same stream of questions.

    python benchmarks/load.py [--dataset FB15k237] [--data-dir FOLDER] [--clients 64] [--seconds 300]

Everything on loopback, the clients in this process, the one that asks for /health in its own. Reports requests,
errors, percentiles, throughput against the Ranker's, memory of the service by minute, the time of GET /health
meanwhile, and how soon a killed service answers again from an index.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np

from trivium.datasets.registry import load_dataset
from trivium.graph.index import save_index
from trivium.inference.ranker import Ranker
from trivium.model.trivium import load_checkpoint

Questions = list[tuple[str, str]]


def start(index: Path, checkpoint: str) -> tuple[subprocess.Popen[str], str, float]:
    """A service, its address, and the seconds until it was ready."""
    began = time.monotonic()
    words = ["serve", str(index), "--checkpoint", checkpoint, "--port", "0"]
    process = subprocess.Popen([sys.executable, "-m", "trivium", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    address = process.stderr.readline().split(" at ")[1].strip()
    while True:
        try:
            if httpx2.get(f"{address}/ready").status_code == 200:
                return process, address, time.monotonic() - began
        except httpx2.TransportError:
            time.sleep(0.05)


def memory(process: int) -> float:
    """Resident MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch(address: str, process: int, seconds: float) -> dict[str, list[float]]:
    """Asks for /health in a process of its own, where no client's work delays the clock."""
    found: dict[str, list[float]] = {"health": [], "memory": []}
    deadline = time.monotonic() + seconds
    with httpx2.Client(base_url=address, timeout=60) as http:
        http.get("/health")
        while time.monotonic() < deadline:
            began = time.monotonic()
            http.get("/health")
            found["health"].append(time.monotonic() - began)
            found["memory"].append(memory(process))
            time.sleep(0.2)
    return found


async def load(address: str, questions: Questions, clients: int, seconds: float) -> dict[str, list[float]]:
    """Each client asks its next question as soon as it has an answer."""
    found: dict[str, list[float]] = {"latency": [], "failed": []}
    deadline = time.monotonic() + seconds
    ahead = iter(questions)

    async def client(http: httpx2.AsyncClient) -> None:
        while time.monotonic() < deadline:
            head, relation = next(ahead)
            began = time.monotonic()
            reply = await http.post("/api/rank", json={"head": head, "relation": relation})
            found["latency" if reply.status_code == 200 else "failed"].append(time.monotonic() - began)

    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=address, limits=limits, timeout=60) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return found


def offline(ranker: Ranker, heads: np.ndarray, relations: np.ndarray, clients: int, seconds: float) -> float:
    """Questions a second of the Ranker alone, in blocks as large as there are clients."""
    done, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        part = slice(done, done + clients)
        ranker.rank_ids(heads[part], relations[part])
        done += clients
    return done / (time.monotonic() - began)


def milliseconds(seconds: list[float]) -> str:
    return ", ".join(f"p{p} {1000 * np.percentile(seconds, p):.0f}" for p in (50, 95, 99)) + " ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="FB15k237")
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300.0)
    chosen = parser.parse_args()
    splits = load_dataset(chosen.dataset, chosen.data_dir)
    graph = splits.graph
    rng = np.random.default_rng(0)
    asked = splits.test[rng.integers(0, len(splits.test), 200_000)].astype(np.int64)
    names = list(zip(graph.entities.take(asked[:, 0]), graph.relations.take(asked[:, 1]), strict=True))
    print(f"{chosen.dataset}: {graph.num_entities:,} entities, {graph.num_triples:,} triples; {chosen.clients} clients")
    ranker = Ranker(load_checkpoint(chosen.checkpoint)[0], graph)
    for _ in ranker.representations.each(np.unique(asked[:, 1]).tolist()):
        pass
    ranker.rank_ids(asked[:4, 0], asked[:4, 1])
    turn = min(30.0, chosen.seconds / 4)
    alone = [offline(ranker, asked[:, 0], asked[:, 1], chosen.clients, turn)]
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "graph.trivium"
        save_index(graph, index)
        process, address, first = start(index, chosen.checkpoint)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process, address, again = start(index, chosen.checkpoint)
        print(f"ready after {first:.1f} s; killed with -9, ready again after {again:.1f} s", flush=True)
        try:
            asyncio.run(load(address, names, chosen.clients, turn))  # representations
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                watched = pool.apply_async(watch, (address, process.pid, chosen.seconds))
                found = asyncio.run(load(address, names, chosen.clients, chosen.seconds)) | watched.get()
        finally:
            process.terminate()
            process.wait()
    alone.append(offline(ranker, asked[:, 0], asked[:, 1], chosen.clients, turn))
    rate = len(found["latency"]) / chosen.seconds
    print(f"{len(found['latency'])} answers, {len(found['failed'])} failures; {milliseconds(found['latency'])}")
    health = found["health"]
    print(f"GET /health meanwhile, {len(health)} times: {milliseconds(health)}, at most {1000 * max(health):.0f} ms")
    minutes = [np.mean(part) for part in np.array_split(found["memory"], max(1, round(chosen.seconds / 60)))]
    print("memory by minute: " + ", ".join(f"{minute:.0f}" for minute in minutes) + " MiB")
    print(
        f"{rate:.1f} answers a second, the Ranker alone {alone[0]:.1f} before and {alone[1]:.1f} after: "
        f"{rate / np.mean(alone):.2f}"
    )


if __name__ == "__main__":
    main()
