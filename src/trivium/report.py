"""What a person sees in a terminal: tables, progress, warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from trivium.evaluation.evaluate import Result


def warn(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr)


def printable(text: object) -> str:
    """A value with control characters made visible, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table on standard output; numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    numeric = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(columns))]
    for name, right in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else printable(value)


def show_frame(frame: pl.DataFrame) -> None:
    """A table with names."""
    show(frame.columns, frame.rows())


def show_results(results: Sequence[Result]) -> None:
    """Evaluation figures: a row per graph, then the means."""
    from trivium.evaluation.evaluate import means

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


@contextmanager
def progress(label: str) -> Iterator[Callable[..., None]]:
    """A bar on standard error, where that is a terminal. The callback takes the done and the total (and a figure)."""
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[figure]}"),
    )
    console = Console(stderr=True)
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, figure="")

        def update(done: int, total: int, loss: float | None = None) -> None:
            bar.update(task, completed=done, total=total, figure="" if loss is None else f"loss {loss:.3f}")

        yield update
