"""A GPU beside the CPU: the same answers, and how fast. One command, made to take less than six minutes.

python benchmarks/gpu.py [--device cuda] [--queries 2000] [--steps 40] [--data-dir FOLDER]

Without a GPU it says so. `--device cpu --queries 20 --steps 1` rehearses it.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trivium.datasets.registry import load_dataset
from trivium.evaluation.evaluate import evaluate
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker, model_texts
from trivium.kernels.csr import Edges
from trivium.kernels.threads import set_threads
from trivium.model.topology import Topology
from trivium.model.trivium import chosen_device, load_checkpoint
from trivium.nn.propagate import propagate, sums_on
from trivium.nn.reference import propagate_reference
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.sampling import Batches
from trivium.training.team import Team
from trivium.training.trainer import Trainer

SHAPES = {"FB15k-237": (14_541, 237, 272_115, 8), "a training subgraph": (3_000, 200, 15_000, 8)}
Operator = Callable[..., Tensor]


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """The median of some repeats; what the device still does is waited for."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def inputs(shape: tuple[int, int, int, int], device: torch.device) -> tuple[Edges, list[Tensor]]:
    entities, relations, triples, batch = shape
    rng = np.random.default_rng(0)
    ids = ((rng.random(triples) ** 2 * count).astype(np.int32) for count in (entities, relations, entities))
    edges = Topology(Graph.from_ids(*ids, entities=entities, relation_names=relations)).edges
    generator = torch.Generator().manual_seed(0)
    sizes = (batch, entities, 64), (batch, 2 * relations, 64), (len(edges.sources),)
    return edges, [torch.randn(size, generator=generator).to(device).requires_grad_() for size in sizes]


def both_ways(operator: Operator, edges: Edges, given: list[Tensor]) -> list[Tensor]:
    """The sum, and the gradients of its three inputs."""
    out = operator(given[0], given[1], edges, given[2])
    return [out.detach(), *torch.autograd.grad(out.square().mean(), given)]


@torch.no_grad()
def forward(operator: Operator, edges: Edges, given: list[Tensor]) -> Tensor:
    return operator(given[0], given[1], edges, given[2])


def operators(device: torch.device) -> None:
    print("| operator, batch 8 | forward, ms | plain torch | ratio | with gradients, ms | plain torch | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        edges, given = inputs(shape, device)
        _, on_cpu = inputs(shape, torch.device("cpu"))
        pairs = zip(both_ways(propagate, edges, given), both_ways(propagate, edges, on_cpu), strict=True)
        worst = max(float((a.cpu() - b).abs().max() / b.abs().max()) for a, b in pairs)
        assert worst < 1e-4, f"{name}: {worst:.1e} from the CPU"
        times = []
        for both in (False, True):
            for operator in (propagate, propagate_reference):
                work = partial(both_ways, operator, edges, given) if both else partial(forward, operator, edges, given)
                work()
                times.append(1000 * seconds(work, device, 20))
        a, b, c, d = times
        print(f"| {name} | {a:.2f} | {b:.2f} | {b / a:.1f} | {c:.2f} | {d:.2f} | {d / c:.1f} |", flush=True)


def answers(device: str, queries: int, data_dir: str | None) -> None:
    print(f"\n| {queries:,} questions | cpu, s | {device}, s | ratio | MRR | MRR there | furthest score |")
    print("|---|---|---|---|---|---|---|")
    for name in ("FB15k237Inductive:v4", "FB15k237"):
        splits = load_dataset(name, data_dir)
        figures, scores = [], []
        for place in ("cpu", device):
            model, _ = load_checkpoint("trivium", place)
            texts = model_texts(model, splits.graph)
            ranker = Ranker(model, splits.graph, texts=texts)
            scores.append(ranker.scores(np.arange(20), np.arange(20) % 40))
            figures.append(evaluate(model, splits, sample=queries, texts=texts))
        here, there = figures
        apart = float((scores[0] - scores[1]).abs().max())
        ratio = here.seconds / there.seconds
        mrr = f"{here.pessimistic.mrr:.4f} | {there.pessimistic.mrr:.4f}"
        print(f"| {name} | {here.seconds:.1f} | {there.seconds:.1f} | {ratio:.1f} | {mrr} | {apart:.1e} |", flush=True)
        assert apart < 1e-3, f"{name}: scores are {apart:.1e} apart"


def training(device: str, steps: int) -> None:
    rates = []
    for place in ("cpu", device):
        model, _ = load_checkpoint("trivium")
        config = TrainingConfig((SourceConfig("synthetic"),), model=model.config, start_from="trivium")
        trainer, batches = Trainer(config, team=Team(device=place)), Batches(config, {})
        drawn = [batches.step(step) for step in range(steps + 3)]  # the same for both, and not counted
        for step in range(3):
            trainer.step(step, drawn[step])
        began = time.perf_counter()
        for step in range(3, steps + 3):
            trainer.step(step, drawn[step])  # waits for its loss
        rates.append(steps / (time.perf_counter() - began))
    print(
        f"\ntraining: {rates[0]:.2f} steps a second on the cpu, {rates[1]:.2f} there, {rates[1] / rates[0]:.1f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    chosen = parser.parse_args()
    if chosen.device != "cpu" and not torch.cuda.is_available():
        print("no GPU: nothing was measured")
        return
    device = chosen_device(chosen.device)
    set_threads(2)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a rehearsal"
    sums = sums_on(device)
    print(
        f"{name}, torch {torch.__version__}, sums by {'plain torch' if sums is None else sums[0].__module__}; 2 cores\n"
    )
    operators(device)
    answers(chosen.device, chosen.queries, chosen.data_dir)
    training(chosen.device, chosen.steps)
    if device.type == "cuda":
        print(f"peak memory: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")


main()
