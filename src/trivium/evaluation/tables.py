"""Evaluation over several data sets, as the command line shows it."""

from __future__ import annotations

from pathlib import Path

from trivium.errors import ConfigError
from trivium.evaluation.evaluate import Result, evaluate, write_json
from trivium.evaluation.leakage import leakage, overlap
from trivium.graph.datasets import load_dataset
from trivium.graph.output import check_place
from trivium.inference.texts import model_texts
from trivium.model.checkpoint import load_checkpoint
from trivium.report import progress, show, show_results


def evaluate_all(
    checkpoint: str,
    datasets: list[str],
    data_dir: Path | None,
    conditioning: str | None,
    sample: int | None,
    seed: int,
    groups: bool,
    json: Path | None,
    force: bool,
) -> list[Result]:
    """Evaluates, shows a table, and writes the JSON file."""
    if json is not None:
        check_place(json, force)
    if sample is not None and sample < 2:
        raise ConfigError(f"sample is {sample}: ask for at least 2 queries, one in each direction")
    model, provenance = load_checkpoint(checkpoint)
    results = []
    for name in datasets:
        splits = load_dataset(name, data_dir)
        texts = model_texts(model, splits.graph, name, data_dir)
        share = leakage(provenance.training_data, splits, data_dir)
        with progress(name) as update:
            results.append(
                evaluate(
                    model,
                    splits,
                    conditioning=conditioning,
                    sample=sample,
                    seed=seed,
                    leakage=share,
                    groups=groups,
                    texts=texts,
                    progress=update,
                )
            )
    show_results(results)
    if json is not None:
        write_json(results, json, force)
    return results


def show_overlap(a: str, b: str, data_dir: Path | None) -> None:
    """Shows how much of B the training triples of A hold."""
    rows = [[name, f"{share:.4f}"] for name, share in overlap(a, b, data_dir).items()]
    show(["part", "share"], rows, f"share of {b} in {a}'s training triples")
