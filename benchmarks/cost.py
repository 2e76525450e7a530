"""What the fusion costs, everything on beside structure alone with the same weights, in turn in one run.

    python benchmarks/cost.py [CHECKPOINT] [--data-dir FOLDER] [--turns 3]

Evaluation of FB15k237Inductive:v4, the representations of all its relations, the first query of a new relation on
FB15k-237, and a training step. The least of the turns counts, of steps and first queries the median.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from trivium.datasets.leakage import training_graph
from trivium.datasets.registry import load_dataset
from trivium.evaluation.evaluate import evaluate
from trivium.inference.ranker import Ranker, model_texts
from trivium.model.trivium import load_checkpoint
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.pretrain import training_texts
from trivium.training.sampling import Batches
from trivium.training.trainer import Trainer

OFF = ("text", "similarity", "prompt")


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def show(name: str, times: Sequence[float], unit: str = "s") -> None:
    on, off = times
    print(f"| {name} | {on:.3g} {unit} | {off:.3g} {unit} | {on / off:.2f} | {on - off:+.3g} {unit} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", nargs="?", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    model, _ = load_checkpoint(chosen.checkpoint)
    print("| | everything on | structure only | ratio | difference |\n|---|---|---|---|---|")

    splits = load_dataset("FB15k237Inductive:v4", chosen.data_dir)
    texts = model_texts(model, splits.graph, splits.name, chosen.data_dir)
    everything = list(range(2 * splits.graph.num_relations))

    def prepare(disabled: Sequence[str]) -> None:
        ranker = Ranker(model, splits.graph, texts=texts, disabled=disabled)
        for _ in ranker.representations.each(everything):
            pass

    prepare(())  # compiles
    turns = [(timed(lambda: prepare(())), timed(lambda: prepare(OFF))) for _ in range(chosen.turns)]
    show("all relations of FB v4", np.min(turns, axis=0).tolist())

    def judge(disabled: Sequence[str]) -> float:
        return evaluate(model, splits, texts=texts, disabled=disabled).seconds

    turns = [(judge(()), judge(OFF)) for _ in range(chosen.turns)]
    show("evaluation of FB v4", np.min(turns, axis=0).tolist())

    splits = load_dataset("FB15k237", chosen.data_dir)
    texts = model_texts(model, splits.graph, splits.name, chosen.data_dir)
    rankers = [Ranker(model, splits.graph, texts=texts, disabled=disabled) for disabled in ((), OFF)]
    heads, first = np.array([0]), []
    for relation in range(21):
        asked = np.array([11 * relation])
        first.append([timed(lambda r=ranker, q=asked: r.scores(heads, q)) for ranker in rankers])  # type: ignore[misc]
    show("first query of a relation, FB15k-237", (1000 * np.median(first[1:], axis=0)).tolist(), "ms")

    names = ["FB15k237", "WN18RR", "CoDExMedium"]
    config = TrainingConfig(
        sources=tuple(SourceConfig(name) for name in names), model=model.config, graph_text_dropout=0.0
    )
    graphs = {name: training_graph(name, chosen.data_dir) for name in names}
    batches = Batches(config, graphs)
    examples = [batches.step(k) for k in range(24)]
    plain = replace(config.model, text_encoder="", use_similarity_enhancer=False, use_prompt_enhancer=False)
    trainers = [
        Trainer(config, training_texts(config, graphs, chosen.data_dir)),
        Trainer(replace(config, model=plain)),
    ]
    steps = []
    for k, example in enumerate(examples):
        steps.append([timed(lambda t=trainer, i=k, e=example: t.step(i, e)) for trainer in trainers])  # type: ignore[misc]
    show("training step", (1000 * np.median(steps[2:], axis=0)).tolist(), "ms")
    print(f"\nthreads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
