"""One query on FB15k-237, relation representations cached: percentiles in milliseconds.

python benchmarks/latency.py [--checkpoint trivium] [--data-dir FOLDER] [--queries 200]
"""

import argparse
import os
import time

import numpy as np

from trivium.datasets.registry import load_dataset
from trivium.inference.ranker import Ranker
from trivium.model.trivium import load_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--queries", type=int, default=200)
    chosen = parser.parse_args()
    splits = load_dataset("FB15k237", chosen.data_dir)
    ranker = Ranker(load_checkpoint(chosen.checkpoint)[0], splits.graph)
    asked = splits.test[np.random.default_rng(0).permutation(len(splits.test))[: chosen.queries]].astype(np.int64)
    relations = np.unique(asked[:, 1])
    started = time.monotonic()
    for _ in ranker.representations.each(relations.tolist()):
        pass
    prepared = time.monotonic() - started
    ranker.scores(asked[:3, 0], asked[:3, 1])
    milliseconds = []
    for head, relation, _ in asked:
        started = time.monotonic()
        ranker.scores(np.array([head]), np.array([relation]))
        milliseconds.append(1000 * (time.monotonic() - started))
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    print(f"FB15k-237, {splits.graph.num_entities:,} entities, {2 * splits.graph.num_triples:,} edges")
    print(f"representations of {len(relations)} relations: {1000 * prepared / len(relations):.1f} ms each")
    print(f"one query: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms over {len(asked)} queries")


main()
