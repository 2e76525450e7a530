"""What review costs on FB15k-237: 1,000 facts more and less, and how soon the next link shows with its reasons.

python benchmarks/review.py [--data-dir FOLDER] [--links 100] [--seconds 2]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from trivium.cli.review import Queue
from trivium.datasets.registry import load_dataset
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.model.trivium import Trivium
from trivium.review.decisions import Decisions
from trivium.review.links import suggestions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--links", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a person looks at each")
    chosen = parser.parse_args()
    graph = load_dataset("FB15k237", chosen.data_dir).graph
    changes(graph)
    review(graph, chosen.links, chosen.seconds)


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
        queue = Queue(ranker, Decisions(Path(folder, "fb.decisions")), suggestions(table))
        waited = []
        link = queue.next()
        while link is not None:
            queue.reasons(link)
            time.sleep(seconds)
            started = time.perf_counter()
            queue.decide(link, "accepted", "me")
            link = queue.next()
            if link is not None:
                queue.reasons(link)
                waited.append(time.perf_counter() - started)
        queue.close()
    late = 1000 * np.array(waited)
    figures = f"median {np.median(late):.0f} ms, slowest {late.max():.0f} ms, {(late > 150).sum()} above 150 ms"
    print(f"the next of {count} links with its reasons, {seconds:g} s looked at each: {figures}")


main()
