"""Evaluation over several data sets, as the command line shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trivium.datasets.leakage import leakage, overlap
from trivium.datasets.registry import load_dataset
from trivium.errors import ConfigError
from trivium.evaluation.evaluate import Result, evaluate, means, write_json
from trivium.files import check_place
from trivium.inference.ranker import model_texts
from trivium.model.checkpoint import Provenance, load_checkpoint
from trivium.model.trivium import Trivium
from trivium.report import progress, show
from trivium.settings import check_range


def show_results(results: Sequence[Result]) -> None:
    """Evaluation figures: a row per graph, then the means."""
    rows: list[list[Any]] = []
    for r in results:
        worst = r.metrics["pessimistic"]
        best, middle = r.metrics["optimistic"].mrr, r.metrics["realistic"].mrr
        seconds = round(r.seconds, 1)
        row = [r.dataset, r.queries, worst.mrr, r.mrr_error, worst.hits_at_10, middle, best, r.leakage, seconds]
        rows.append([f"{v:.3f}" if isinstance(v, float) and i != 8 else v for i, v in enumerate(row)])
    for name, mean in means(results).items():
        label = f"mean over {name} {mean['graphs']:.0f}"
        rows.append([label, None, f"{mean['mrr']:.3f}", None, f"{mean['hits_at_10']:.3f}", None, None, None, None])
    columns = ["data set", "queries", "MRR", "±", "Hits@10", "realistic", "optimistic", "leakage", "seconds"]
    show(columns, rows, "pessimistic MRR and Hits@10; ± is the standard error, clustered by relation")
    for r in results:
        for kind, groups in r.groups.items():
            columns = [kind, "MRR", "Hits@1", "Hits@3", "Hits@10"]
            figures = [[n, m.mrr, m.hits_at_1, m.hits_at_3, m.hits_at_10] for n, m in groups.items()]
            show(columns, figures, f"\n{r.dataset}")


def evaluate_all(
    checkpoint: str,
    datasets: list[str],
    data_dir: Path | None,
    conditioning: str | None,
    sample: int | None,
    seed: int,
    groups: bool,
    disabled: Sequence[str],
    json: Path | None,
    force: bool,
) -> list[Result]:
    """Evaluates, shows a table, and writes the JSON file."""
    if json is not None:
        check_place(json, force, ".json")
    model, provenance = load_checkpoint(checkpoint)
    check_asked(model, sample, seed, disabled)
    results = []
    for name in dict.fromkeys(datasets):
        with progress(name) as update:
            results.append(
                evaluate_dataset(
                    model,
                    provenance,
                    name,
                    data_dir,
                    conditioning=conditioning,
                    sample=sample,
                    seed=seed,
                    groups=groups,
                    disabled=disabled,
                    progress=update,
                )
            )
    show_results(results)
    if json is not None:
        write_json(results, json, force)
    return results


def check_asked(model: Trivium, sample: int | None, seed: int, disabled: Sequence[str]) -> None:
    """Refuses what cannot be asked, before any work is done for it.

    Raises:
        ConfigError: a sample without a query in each direction, a negative seed, or a part that the model lacks.
    """
    check_range(2, sample=sample)
    check_range(0, seed=seed)
    parts = {*model.branches, *(["text"] if model.semantics is not None else [])}
    for part in disabled:
        if part not in parts:
            raise ConfigError(f"--disable {part}: this checkpoint has {', '.join(sorted(parts)) or 'no such part'}")


def evaluate_dataset(
    model: Trivium,
    provenance: Provenance,
    name: str,
    data_dir: Path | None,
    *,
    valid: bool = False,
    **choices: Any,
) -> Result:
    """Loads a data set, its relation texts and its leakage, and evaluates; the choices are those of `evaluate`.

    Args:
        valid: ask the validation questions instead of the test's.
    """
    splits = load_dataset(name, data_dir)
    if valid:
        splits = splits.validation()
    texts = model_texts(model, splits.graph, name, data_dir)
    excluded = (provenance.settings.get(key, ()) for key in ("exclude", "exclude_graphs"))
    share = leakage(provenance.training_data, splits, data_dir, *excluded)
    return evaluate(model, splits, leakage=share, texts=texts, **choices)


def show_overlap(a: str, b: str, data_dir: Path | None) -> None:
    """Shows how much of B the training triples of A hold."""
    rows = [[name, f"{share:.4f}"] for name, share in overlap(a, b, data_dir).items()]
    show(["part", "share"], rows, f"share of {b} in {a}'s training triples")
