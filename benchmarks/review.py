"""What review costs on FB15k-237: 1,000 facts more and less, how soon the next link shows with its reasons, and what
a million suggestions cost.

python benchmarks/review.py [--data-dir FOLDER] [--links 100] [--seconds 2]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from trivium.cli.review import AHEAD, Reasons
from trivium.datasets.registry import load_dataset
from trivium.graph.formats import TRIPLE
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.model.trivium import Trivium
from trivium.review.decisions import RUN, Decisions
from trivium.review.links import suggestions
from trivium.review.queue import Choice, Queue


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--links", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a person looks at each")
    chosen = parser.parse_args()
    graph = load_dataset("FB15k237", chosen.data_dir).graph
    changes(graph)
    review(graph, chosen.links, chosen.seconds)
    million(graph)


def changes(graph: Graph) -> None:
    rng = np.random.default_rng(0)
    gone = graph.named(graph.triples[rng.choice(graph.num_triples, 500, replace=False)])
    heads, tails = (graph.entities.take(rng.integers(0, graph.num_entities, 500)) for _ in range(2))
    new = [(f"new {head}", relation, tail) for head, relation, tail in zip(heads, gone["relation"], tails, strict=True)]
    seconds, used = [], []
    for _ in range(10):
        started, before = time.perf_counter(), time.process_time()
        graph.with_changes(new, gone)
        seconds.append(time.perf_counter() - started)
        used.append(time.process_time() - before)
    figures = f"{1000 * np.median(seconds):.0f} ms, {1000 * np.median(used):.0f} ms of processor time"
    print(f"500 facts more and 500 less: {figures}")


def review(graph: Graph, count: int, seconds: float) -> None:
    """Decides the best new answer to random questions, each after some seconds."""
    ranker = Ranker(Trivium.load("trivium"), graph)
    rng = np.random.default_rng(0)
    asked = graph.triples[rng.choice(graph.num_triples, 2 * count, replace=False)].astype(np.int64)
    links = ranker.rank_ids(asked[:, 0], asked[:, 1], 1).unique(["head", "relation", "tail"], maintain_order=True)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "links.parquet")
        links.head(count).write_parquet(table)
        queue = Queue(suggestions(table), Decisions(Path(folder, "fb.decisions")), graph)
        reasons = Reasons(ranker)
        waited = []
        started = time.perf_counter()
        while waiting := queue.next(Choice(), AHEAD)[0]:
            reasons.begin(waiting)
            reasons.of(waiting[0].link)
            queue.like(waiting[0])
            waited.append(time.perf_counter() - started)
            time.sleep(seconds)
            started = time.perf_counter()
            queue.decide(waiting[0].link, "accepted", "me")
        reasons.close()
    waited = waited[1:]
    late = 1000 * np.array(waited)
    figures = f"median {np.median(late):.0f} ms, slowest {late.max():.0f} ms, {(late > 150).sum()} above 150 ms"
    print(f"the next of {count} links with its reasons, {seconds:g} s looked at each: {figures}")


def million(graph: Graph, count: int = 1_000_000) -> None:
    """Decides links of a table of random ones, without their reasons."""
    rng = np.random.default_rng(0)
    sizes = graph.num_entities, graph.num_relations, graph.num_entities
    ids = np.stack([rng.integers(0, size, count) for size in sizes], 1).astype(np.int32)
    run = {name: pl.lit("") for name in RUN}
    links = graph.named(ids).with_columns(pl.Series("confidence", rng.random(count)), **run)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        queue = Queue(links.unique(TRIPLE, keep="first", maintain_order=True), Decisions(Path(folder, "d")), graph)
        opened, waited = time.perf_counter() - started, []
        for _ in range(100):
            started = time.perf_counter()
            waiting = queue.next(Choice(), 4)[0]
            for one in waiting:
                queue.like(one)
            queue.waiting_by_relation()
            queue.decide(waiting[0].link, "rejected", "me")
            waited.append(time.perf_counter() - started)
    late = 1000 * np.array(waited)
    print(f"{count:,} suggestions: ready in {opened:.1f} s, then a decision and what is next takes ", end="")
    print(f"{np.median(late):.0f} ms in the median, {late.max():.0f} ms at most")


main()
