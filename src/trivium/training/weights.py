"""What models rely on, over time and side by side: the fusion's weights, contributions and activities (F8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import polars as pl

from trivium.errors import InputError
from trivium.model.trivium import load_checkpoint
from trivium.settings import read_yaml
from trivium.training.run import CONFIG, RunFolder

QUANTITIES = ("weight", "contribution", "activity")
SCHEMA = {"run": pl.String, "data": pl.String, "step": pl.Int64, "branch": pl.String} | dict.fromkeys(
    QUANTITIES, pl.Float64
)


def fusion_course(runs: Sequence[str | Path]) -> pl.DataFrame:
    """The fusion logs of runs and checkpoints, in the order given.

    Args:
        runs: folders of runs; or checkpoints, each of which is one row without contribution and activity.

    Returns:
        Columns run, data (what it was trained on), step, branch (``r`` included), weight, contribution, activity.

    Raises:
        InputError: a folder holds no fusion log, or there is no such run or checkpoint.
    """
    names = _short([str(run) for run in runs])
    rows: list[list[Any]] = []
    for name, run in zip(names, runs, strict=True):
        if Path(run).is_dir():
            found = [row for row in RunFolder(run).metrics() if "fusion" in row]
            if not found:
                raise InputError(f"{run} holds no fusion log: name a run of a model with branches that made one")
            sources = read_yaml(Path(run) / CONFIG).get("sources", [])
            data = ", ".join(str(source["name"]) for source in sources)
            logged = [(row["step"], *each) for row in found for each in row["fusion"].items()]
            rows += [[name, data, step, branch, *(figures[q] for q in QUANTITIES)] for step, branch, figures in logged]
        else:
            model, provenance = load_checkpoint(run)
            data = ", ".join(provenance.training_data)
            rows += [[name, data, provenance.steps, *each, None, None] for each in model.fusion_weights().items()]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _short(paths: list[str]) -> list[str]:
    """Names that tell runs apart: the last parts of their paths, as many as that takes."""
    for parts in range(1, 1 + max(len(Path(path).parts) for path in paths)):
        names = ["/".join(Path(path).parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"{paths}: the same run is named twice")


def draw_fusion(course: pl.DataFrame) -> Any:
    """A matplotlib figure: a column of panels for each run, a row for each quantity, a line for each branch.

    Args:
        course: from `fusion_course`.
    """
    from matplotlib.figure import Figure

    runs = course.select("run", "data").unique(maintain_order=True).rows()
    figure = Figure(figsize=(1.5 + 3 * len(runs), 7), layout="constrained")
    panels = figure.subplots(len(QUANTITIES), len(runs), sharex="col", sharey="row", squeeze=False)
    branches = course["branch"].unique(maintain_order=True).to_list()
    for column, (run, data) in enumerate(runs):
        title = run if data in ("", run) else f"{run}\n{shorten(data, 36, placeholder='…')}"
        panels[0, column].set_title(title, fontsize=9)
        panels[-1, column].set_xlabel("step")
        for row, quantity in enumerate(QUANTITIES):
            panel = panels[row, column]
            for place, branch in enumerate(branches):
                line = course.filter((pl.col("run") == run) & (pl.col("branch") == branch)).drop_nulls(quantity)
                if len(line):
                    panel.plot(line["step"], line[quantity], label=branch, color=f"C{place}", marker="o", markersize=3)
            panel.grid(alpha=0.3)
    for row, quantity in enumerate(QUANTITIES):
        panels[row, 0].set(ylabel=quantity, ylim=(min([0.0, *course[quantity].drop_nulls()]), None))
    panels[0, 0].legend(fontsize=8)
    return figure
