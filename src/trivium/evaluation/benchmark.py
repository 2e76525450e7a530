"""Suites of graphs, published figures, kept results, and the table that sets them side by side."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from string import digits
from typing import Any

import numpy as np
import polars as pl

from trivium.datasets.registry import own_folder
from trivium.datasets.table import datasets
from trivium.errors import ConfigError, InputError
from trivium.evaluation.evaluate import Result
from trivium.files import make_folder, write_whole
from trivium.model.checkpoint import checkpoint_sha256
from trivium.settings import build, read_json

CLEAN = 0.025  # share of test triples in the training data under which a graph counts as clean
MODELS = ("ULTRA", "SEMMA", "ARE", "TRIX", "KG-ICL")

SUITES = {name: graphs.split() for name, graphs in pl.read_csv(Path(__file__).with_name("suites.csv")).iter_rows()}
"""Lists of graphs by name. ``validation``: those whose validation questions choices are made on. ``clean``: under 2.5 %
of their test triples are in FB15k-237, WN18RR and CoDEx-M; ``clean15`` has Metafam too, which is one graph and moves
the mean by .03."""


def graphs_of(names: Sequence[str], data_dir: Path | None = None) -> list[str]:
    """The data sets that names of suites, of data sets and of folders stand for, each once, in order.

    Args:
        data_dir: may hold further ones.

    Raises:
        InputError: a name is none of these; the message lists the suites.
    """
    found: dict[str, None] = {}
    for name in names:
        known = name in SUITES or name in datasets() or own_folder(name, data_dir) is not None
        if not known and Path(name).is_file():
            raise InputError(f"{name} is a graph, and asks nothing: trivium split {name} -o FOLDER makes what does")
        if not known:
            these = f"no suite ({', '.join(SUITES)}), no data set (see trivium datasets) and no folder"
            raise InputError(f"{name!r} is {these} of yours with train.txt and test.txt (or .tsv, .csv, .nt, …)")
        found |= dict.fromkeys(SUITES.get(name, [name]))
    return list(found)


@cache
def published() -> dict[tuple[str, str], tuple[float, float]]:
    """Published zero-shot MRR and Hits@10 by (data set, model); the file names the source of each."""
    rows = pl.read_csv(Path(__file__).with_name("published.csv")).iter_rows()
    return {(dataset, model): (mrr, hits_at_10) for dataset, model, mrr, hits_at_10, _ in rows}


class Results:
    """Finished results in a folder, a file each. They belong to the bytes of the checkpoint and to what was asked:
    another checkpoint under the same name has none.

    Args:
        asked: the choices that a result depends on.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, checkpoint: str, **asked: Any) -> None:
        self.asked = {"checkpoint": checkpoint_sha256(checkpoint), **asked}
        self.folder = make_folder(folder / f"{Path(checkpoint).stem}-{_sha256(self.asked)[:12]}")

    def load(self, dataset: str, files: str = "") -> Result | None:
        """The result on a data set, if it is there and whole; an earlier version's carries no checksum.

        Args:
            files: a digest of a data set's own files, to which the result belongs.
        """
        file = self.file(dataset)
        try:
            held = read_json(file)
            whole = held.get("sha256") in (None, _sha256(held["result"])) and held.get("files", "") == files
            return build(Result, held["result"], file) if whole else None
        except (ConfigError, OSError, LookupError, AttributeError):
            return None

    def save(self, result: Result, files: str = "") -> None:
        """Keeps a result, for `load`."""
        plain = json.loads(json.dumps(asdict(result)))
        content = json.dumps({"asked": self.asked, "result": plain, "files": files, "sha256": _sha256(plain)}, indent=1)
        write_whole(content.encode(), self.file(result.dataset), force=True)

    def file(self, dataset: str) -> Path:
        """Where the result on a data set is kept."""
        return self.folder / f"{re.sub('[:/]', '-', dataset)}.json"


def _sha256(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def tabulate(
    table: Mapping[str, Mapping[str, Result]], graphs: Sequence[str], models: Sequence[str] = MODELS
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row per graph, then the means, beside the published figures.

    Means are over suites all of whose graphs are there, over all graphs, and over those that are clean for every
    checkpoint; a model without a figure for each of them has none.

    Args:
        table: the results by checkpoint and graph.
        models: whose published figures are shown.
    """
    first = next(iter(table.values()))
    columns = ["graph", "queries"]
    for checkpoint in table:
        stem = f"{Path(checkpoint).stem} " if len(table) > 1 else ""
        columns += [stem + name for name in ("MRR / Hits@10", "±", "realistic", "optimistic", "leakage", "seconds")]
    columns += ["in graph", "twins", "unseen"]

    def row(label: str, chosen: Sequence[str]) -> list[str]:
        cells = [label, f"{sum(first[graph].queries for graph in chosen):,}"]
        for results in table.values():
            found = [results[graph] for graph in chosen]
            error, leakage = (found[0].mrr_error, found[0].leakage) if len(found) == 1 else (None, None)
            cells += [
                _pair([(r.pessimistic.mrr, r.pessimistic.hits_at_10) for r in found]),
                "" if error is None else f"{error:.3f}",
                f"{np.mean([r.realistic.mrr for r in found]):.3f}",
                f"{np.mean([r.optimistic.mrr for r in found]):.3f}",
                "-" if leakage is None else f"{leakage:.3f}",
                f"{sum(r.seconds for r in found):.1f}",
            ]
        shares = np.mean([(first[graph].in_graph, first[graph].twins, first[graph].unseen) for graph in chosen], axis=0)
        cells += [f"{share:.3f}" if share else "-" for share in shares]
        for model in models:
            known = [published()[graph, model] for graph in chosen if (graph, model) in published()]
            cells.append(_pair(known) if len(known) == len(chosen) else "-")
        return cells

    means = {
        f"mean of {name.rstrip(digits)} {len(suite)}": suite
        for name, suite in SUITES.items()
        if set(suite) <= set(graphs)
    }
    means[f"mean of all {len(graphs)}"] = list(graphs)
    leaks = {graph: [results[graph].leakage for results in table.values()] for graph in graphs}
    clean = [graph for graph in graphs if all(leak is not None and leak < CLEAN for leak in leaks[graph])]
    means[f"mean of leakage under {CLEAN:.1%}: {len(clean)}"] = clean
    rows = [row(graph, [graph]) for graph in graphs]
    rows += [row(f"**{label}**", chosen) for label, chosen in means.items() if len(chosen) > 1]
    return [*columns, *models], rows


def _pair(figures: Sequence[tuple[float, float]]) -> str:
    """The means of MRR and Hits@10."""
    mrr, hits = np.mean(figures, axis=0)
    return f"{mrr:.3f} / {hits:.3f}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
