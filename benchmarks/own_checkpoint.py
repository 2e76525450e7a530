"""Checkpoints side by side, zero-shot, on ten graphs (and on the four that choices are made on).

    python benchmarks/own_checkpoint.py trivium ultra.safetensors [--data-dir FOLDER] [--sample 600]

Pessimistic MRR / Hits@10 on at most 600 queries a graph, the same for every checkpoint, conditioned on the relation
that is asked; ± is the standard error of the MRR, clustered by relation; leakage is the first checkpoint's.
The validation graphs are not among the ten.
"""

import argparse
import os
from dataclasses import replace

import numpy as np

from trivium.evaluation.evaluate import evaluate
from trivium.evaluation.leakage import leakage
from trivium.graph.datasets import Splits, load_dataset
from trivium.inference.texts import model_texts
from trivium.model.checkpoint import load_checkpoint

GRAPHS = [
    "NELLInductive:v1",
    "NELLInductive:v2",
    "NELLInductive:v4",
    "WikiTopicsMT4:health",
    "WikiTopicsMT3:art",
    "NLIngram:75",
    "WKIngram:25",
    "HM:1k",
    "Metafam",
    "UMLS",
]
VALIDATION = ["Kinship", "Nations", "NELLInductive:v1", "HM:1k"]


def validation(splits: Splits) -> Splits:
    """The data set's validation questions on the graph that they are asked on."""
    return replace(splits, graph=splits.valid_graph, test=splits.valid, known=splits.valid_known)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--sample", type=int, default=600)
    chosen = parser.parse_args()
    models = {name: load_checkpoint(name) for name in chosen.checkpoints}
    print("| graph | leakage | " + " | ".join(models) + " |")
    print("|---|---|" + "---|" * len(models))
    for title, names in (("validation", VALIDATION), ("test", GRAPHS)):
        figures = []
        for name in names:
            splits = load_dataset(name, chosen.data_dir)
            splits = validation(splits) if title == "validation" else splits
            row, cells = [], []
            share = leakage(next(iter(models.values()))[1].training_data, splits, chosen.data_dir)
            for model, _ in models.values():
                result = evaluate(
                    model,
                    splits,
                    conditioning="own",
                    sample=chosen.sample,
                    texts=model_texts(model, splits.graph, name, chosen.data_dir),
                )
                worst = result.metrics["pessimistic"]
                row.append((worst.mrr, worst.hits_at_10))
                cells.append(f"{worst.mrr:.3f} / {worst.hits_at_10:.3f} ± {result.mrr_error:.3f}")
            figures.append(row)
            shown = "" if share is None else f"{share:.3f}"
            print(f"| {name} ({title}, {result.queries} queries) | {shown} | " + " | ".join(cells) + " |", flush=True)
        means = np.mean(figures, axis=0)
        cells = [f"**{mrr:.3f} / {hits:.3f}**" for mrr, hits in means]
        print(f"| **mean of {len(names)}, {title}** | | " + " | ".join(cells) + " |", flush=True)


main()
