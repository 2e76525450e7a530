"""Checkpoints over lists of graphs, beside published figures: resumable graph by graph."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trivium.datasets.registry import datasets, is_dataset
from trivium.errors import InputError
from trivium.evaluation.evaluate import CLEAN, Result
from trivium.evaluation.tables import check_asked, evaluate_dataset
from trivium.files import make_folder, whole_file
from trivium.model.checkpoint import checkpoint_sha256, load_checkpoint
from trivium.report import progress, show, warn

PUBLISHED = Path(__file__).with_name("published.csv")
MODELS = ("ULTRA", "SEMMA", "ARE", "TRIX", "KG-ICL")

SUITES = {
    "clean": (
        "NELLInductive:v1 NELLInductive:v2 NELLInductive:v4 NLIngram:0 NLIngram:25 NLIngram:75 NLIngram:100 "
        "WikiTopicsMT3:art WikiTopicsMT3:infra WikiTopicsMT4:health WikiTopicsMT4:sci HM:1k HM:3k HM:5k Metafam"
    ).split(),
    "grail": [f"{name}Inductive:{v}" for name in ("FB15k237", "WN18RR", "NELL") for v in ("v1", "v2", "v4")],
    "ingram": [
        *(f"FBIngram:{share}" for share in (25, 75, 100)),
        *(f"NLIngram:{share}" for share in (0, 25, 75, 100)),
        *(f"WKIngram:{share}" for share in (25, 75, 100)),
    ],
    "transductive": ("CoDExSmall WDsinger NELL23k FB15k237_10 FB15k237_20 FB15k237_50 NELL995 ConceptNet100k").split(),
    "validation": (
        "Kinship Nations UMLS NELLInductive:v1 NELLInductive:v2 NLIngram:0 NLIngram:25 NLIngram:75 NLIngram:100 "
        "WKIngram:25 WKIngram:75 HM:1k"
    ).split(),
}
"""Lists of graphs by name. ``validation``: those whose validation questions choices are made on. ``clean``: under 2.5 %
of their test triples are in FB15k-237, WN18RR and CoDEx-M."""
TEST_SUITES = ("clean", "grail", "ingram", "transductive")


def graphs_of(names: Sequence[str], data_dir: Path | None = None) -> list[str]:
    """The data sets that names of suites and of data sets stand for, each once, in order.

    Args:
        data_dir: may hold further ones.

    Raises:
        InputError: a name is neither; the message lists the suites.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in SUITES and not is_dataset(name, data_dir):
            raise InputError(f"{name!r} is no suite ({', '.join(SUITES)}) and no data set: see trivium datasets")
        found |= dict.fromkeys(SUITES.get(name, [name]))
    return list(found)


@lru_cache(maxsize=1)
def published() -> dict[tuple[str, str], tuple[float, float]]:
    """Published zero-shot MRR and Hits@10 by (data set, model); the file names the source of each."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return {(r["dataset"], r["model"]): (float(r["mrr"]), float(r["hits_at_10"])) for r in csv.DictReader(file)}


def benchmark(
    checkpoints: Sequence[str],
    names: Sequence[str],
    folder: Path,
    data_dir: Path | None,
    conditioning: str | None,
    sample: int | None,
    seed: int,
    disabled: Sequence[str],
    valid: bool = False,
) -> None:
    """Evaluates what is not evaluated yet, one file a result, and writes ``table.md`` beside the results.

    A result belongs to the bytes of the checkpoint and to what was asked; another checkpoint under the same name is
    evaluated afresh.
    """
    graphs = graphs_of(names, data_dir)
    models = {checkpoint: load_checkpoint(checkpoint) for checkpoint in checkpoints}
    for model, _ in models.values():
        check_asked(model, sample, seed, disabled)
    table: dict[str, dict[str, Result]] = {}
    for checkpoint, (model, provenance) in models.items():
        digest = checkpoint_sha256(checkpoint)
        asked: dict[str, Any] = {"checkpoint": digest, "conditioning": conditioning, "sample": sample, "seed": seed}
        asked |= {"disabled": sorted(disabled)} if disabled else {}
        asked |= {"valid": True} if valid else {}
        short = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
        place = make_folder(folder / f"{Path(checkpoint).stem}-{short}")
        results = table.setdefault(checkpoint, {})
        for number, name in enumerate(graphs):
            file = place / f"{name.replace(':', '-')}.json"
            if file.exists():
                results[name] = Result.from_dict(json.loads(file.read_text("utf-8"))["result"])
                continue
            with progress(f"{Path(checkpoint).stem} {number + 1}/{len(graphs)} {name}") as update:
                result = evaluate_dataset(
                    model,
                    provenance,
                    name,
                    data_dir,
                    conditioning=conditioning,
                    sample=sample,
                    seed=seed,
                    disabled=disabled,
                    valid=valid,
                    progress=update,
                )
            with whole_file(file, force=True) as out:
                out.write(json.dumps({"asked": asked, "result": result.as_dict()}, indent=1).encode())
            worst = result.metrics["pessimistic"]
            warn(f"{Path(checkpoint).stem} {name}: {worst.mrr:.3f} / {worst.hits_at_10:.3f}, {result.seconds:.0f} s")
            results[name] = result
    columns, rows = tabulate(table, graphs, () if valid else MODELS)
    show(columns, rows, f"pessimistic MRR / Hits@10, zero-shot, {'validation' if valid else 'test'} questions")
    with whole_file(folder / "table.md", force=True) as out:
        out.write(markdown(columns, rows).encode())
    warn(f"{folder / 'table.md'}: written")


def tabulate(
    table: dict[str, dict[str, Result]], graphs: Sequence[str], models: Sequence[str] = MODELS
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row per graph, then the means, beside the published figures.

    Means are over suites all of whose graphs are there, over all graphs, and over those that are clean for every
    checkpoint; a model without a figure for each of them has none.
    """
    first = next(iter(table.values()))
    columns = ["graph", "family", "queries"]
    for name in table:
        stem = Path(name).stem
        columns += [stem, f"{stem} ±", f"{stem} realistic", f"{stem} optimistic", f"{stem} leakage"]
    columns += models
    rows = []
    for graph in graphs:
        one = first[graph]
        row = [graph, datasets()[graph].family if graph in datasets() else "", f"{one.queries:,}"]
        for results in table.values():
            m, leakage = results[graph].metrics, results[graph].leakage
            row += [
                _pair(m["pessimistic"].mrr, m["pessimistic"].hits_at_10),
                f"{results[graph].mrr_error:.3f}",
                f"{m['realistic'].mrr:.3f}",
                f"{m['optimistic'].mrr:.3f}",
                "-" if leakage is None else f"{leakage:.3f}",
            ]
        rows.append([*row, *(_pair(*published().get((graph, model), (None, None))) for model in models)])
    groups = {f"mean of {name} {len(s)}": list(s) for name, s in SUITES.items() if set(s) <= set(graphs)}
    groups[f"mean of all {len(graphs)}"] = list(graphs)
    leaks = {g: [results[g].leakage for results in table.values()] for g in graphs}
    clean = [g for g in graphs if all(leak is not None and leak < CLEAN for leak in leaks[g])]
    if clean:
        groups[f"mean of leakage under {CLEAN:.1%}: {len(clean)}"] = clean
    for label, chosen in groups.items():
        row = [f"**{label}**", "", f"{sum(first[g].queries for g in chosen):,}"]
        for results in table.values():
            mean = {
                policy: np.mean([results[g].metrics[policy].mrr for g in chosen])
                for policy in ("pessimistic", "realistic", "optimistic")
            }
            hits = np.mean([results[g].metrics["pessimistic"].hits_at_10 for g in chosen])
            row += [
                _pair(float(mean["pessimistic"]), float(hits)),
                "",
                f"{mean['realistic']:.3f}",
                f"{mean['optimistic']:.3f}",
                "",
            ]
        for model in models:
            known = [published()[g, model] for g in chosen if (g, model) in published()]
            row.append(_pair(*np.mean(known, axis=0)) if len(known) == len(chosen) else "-")
        rows.append(row)
    return columns, rows


def _pair(mrr: float | None, hits: float | None) -> str:
    return "-" if mrr is None or hits is None else f"{mrr:.3f} / {hits:.3f}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
