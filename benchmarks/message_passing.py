"""The message passing kernel beside plain torch, forwards and backwards, on random graphs of the shapes it meets.

python benchmarks/message_passing.py
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from trivium.graph.graph import Graph
from trivium.model.topology import Topology
from trivium.nn.propagate import propagate
from trivium.nn.reference import propagate_reference

SHAPES = {"FB15k-237": (14_541, 237, 272_115, 1), "a training subgraph": (3_000, 200, 15_000, 8)}


def milliseconds(run: Callable[[], object], repeats: int = 5) -> float:
    run()
    times = []
    for _ in range(repeats):
        started = time.monotonic()
        run()
        times.append(1000 * (time.monotonic() - started))
    return float(np.median(times))


def run(operator: Callable[..., torch.Tensor], inputs: tuple[object, ...], with_gradients: bool) -> None:
    out = operator(*inputs)
    if with_gradients:
        out.sum().backward()  # type: ignore[no-untyped-call]


def main() -> None:
    print("| shape | batch | ours, ms | plain torch, ms | ratio | ours with gradients | plain with gradients | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (entities, relations, triples, batch) in SHAPES.items():
        rng = np.random.default_rng(0)
        ids = ((rng.random(triples) ** 2 * count).astype(np.int32) for count in (entities, relations, entities))
        edges = Topology(Graph.from_ids(*ids, entities=entities, relation_names=relations)).edges
        state = torch.randn(batch, entities, 64, requires_grad=True)
        relation = torch.randn(batch, 2 * relations, 64, requires_grad=True)
        inputs = state, relation, edges
        figures = [
            milliseconds(partial(run, operator, inputs, both))
            for both in (False, True)
            for operator in (propagate, propagate_reference)
        ]
        a, b, c, d = figures
        print(f"| {name} | {batch} | {a:.1f} | {b:.1f} | {b / a:.1f} | {c:.1f} | {d:.1f} | {d / c:.1f} |")


main()
