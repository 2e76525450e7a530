"""What changing a graph costs: 1,000 facts of FB15k-237 more and less.

python benchmarks/review.py [--data-dir FOLDER]
"""

import argparse
import time
from pathlib import Path

import numpy as np

from trivium.datasets.registry import load_dataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, default=None)
    graph = load_dataset("FB15k237", parser.parse_args().data_dir).train
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


main()
