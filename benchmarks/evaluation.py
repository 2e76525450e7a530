"""How fast evaluation is: seconds beside a plain torch implementation, and each exact shortcut on and off.

    python benchmarks/evaluation.py [--checkpoint ultra.safetensors] [--data-dir FOLDER] [DATA SET …]

The plain implementation is the model's own forward pass, one batch at a time, as a first version would be written: no
sharing between queries, every message materialised (`trivium.nn.reference`).
"""

import argparse
import os
import resource
import time

import numpy as np
import torch

from trivium.datasets.registry import load_dataset
from trivium.evaluation.evaluate import evaluate
from trivium.graph.graph import inverse
from trivium.inference.ranker import Ranker
from trivium.kernels import csr
from trivium.model import encoders
from trivium.model.topology import Topology
from trivium.model.trivium import load_checkpoint
from trivium.nn.propagate import propagate
from trivium.nn.reference import propagate_reference

GRAPHS = [f"{name}:{version}" for name, version in (("FB15k237Inductive", "v1"), ("FB15k237Inductive", "v2"))]
GRAPHS += ["NELLInductive:v2", "FB15k237Inductive:v4", "WN18RRInductive:v1", "WikiTopicsMT4:health", "HM:1k"]
TURNS = 4


@torch.no_grad()
def plain_seconds(
    model: torch.nn.Module, graph_name: str, data_dir: str | None, queries: int = 64, batch: int = 8
) -> float:
    """Seconds a query of the plain implementation, over a sample."""
    splits = load_dataset(graph_name, data_dir)
    topology = Topology(splits.graph)
    chosen = splits.test[np.random.default_rng(0).permutation(len(splits.test))[: queries // 2]].astype(np.int64)
    turned = inverse(chosen[:, 1], splits.graph.num_relations)
    head = torch.from_numpy(np.concatenate([chosen[:, 0], chosen[:, 2]]))
    query = torch.from_numpy(np.concatenate([chosen[:, 1], turned]))
    setattr(encoders, "propagate", propagate_reference)  # noqa: B010
    try:
        model(topology, head[:batch], query[:batch])
        started = time.monotonic()
        for begin in range(0, len(head), batch):
            model(topology, head[begin : begin + batch], query[begin : begin + batch])
        return (time.monotonic() - started) / len(head)
    finally:
        setattr(encoders, "propagate", propagate)  # noqa: B010


def shortcut_ratio(
    model: torch.nn.Module, graph_name: str, data_dir: str | None, shortcut: str, queries: int = 1000
) -> float:
    """Processor seconds without the base trajectory, or with every twin for itself, over those with it: the least."""
    splits = load_dataset(graph_name, data_dir)
    chosen, merged = splits.test[:queries].astype(np.int64), csr.MERGED_ROWS
    rankers, seconds = {}, {True: np.inf, False: np.inf}
    for on in seconds:
        csr.MERGED_ROWS = merged if on or shortcut != "twins" else 0
        rankers[on] = Ranker(model, splits.graph, base_trajectory=on or shortcut != "base")  # type: ignore[arg-type]
        for _ in rankers[on].blocks(chosen[:, 0], chosen[:, 1]):
            pass  # compiles, and makes what is made once
    csr.MERGED_ROWS = merged
    for _ in range(TURNS):
        for on, ranker in rankers.items():
            started = time.process_time()
            for _ in ranker.blocks(chosen[:, 0], chosen[:, 1]):
                pass
            seconds[on] = min(seconds[on], time.process_time() - started)
    return seconds[False] / seconds[True]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graphs", nargs="*", default=GRAPHS)
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    chosen = parser.parse_args()
    model, _ = load_checkpoint(chosen.checkpoint)
    columns = ["graph", "queries", "seconds", "ms a query", "plain torch, ms a query", "ratio"]
    columns += ["base trajectory off / on", "twins off / on"]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for name in chosen.graphs:
        splits = load_dataset(name, chosen.data_dir)
        evaluate(model, splits, sample=40)  # compiles
        result = evaluate(model, splits)
        each = 1000 * result.seconds / result.queries
        plain = 1000 * plain_seconds(model, name, chosen.data_dir)
        ratios = [shortcut_ratio(model, name, chosen.data_dir, shortcut) for shortcut in ("base", "twins")]
        row = (
            name,
            result.queries,
            f"{result.seconds:.2f}",
            f"{each:.2f}",
            f"{plain:.1f}",
            f"{plain / each:.1f}",
            *(f"{ratio:.2f}" for ratio in ratios),
        )
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of the whole run: {peak:.0f} MiB; threads: {torch.get_num_threads()}")


main()
