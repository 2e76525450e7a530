"""What a person sees in a terminal: tables, progress, warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import progress as rich
from rich.console import Console
from rich.table import Table
from rich.text import Text


def warn(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in words."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def warn_of_duration(seconds: float) -> None:
    """Says how long something will take, if that is over a minute."""
    if seconds > 60:
        warn(f"this takes about {duration(seconds)}")


def printable(text: object) -> str:
    """A value with control characters made visible, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table on standard output; numbers stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(columns))]
    for name, right in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 10_000
    if title is not None:
        console.print(Text(title, style="italic"))
    with console.capture() as text:
        console.print(table)
    for line in text.get().splitlines():
        print(line.rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}".removesuffix(".0")
    return printable(value)


@contextmanager
def progress(label: str) -> Iterator[Callable[..., None]]:
    """A bar on standard error, where that is a terminal. The callback takes the done and the total (and a figure)."""
    console = Console(stderr=True)
    times = rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeElapsedColumn(), rich.TimeRemainingColumn()
    columns = "{task.description}", *times, "{task.fields[figure]}"
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, figure="")

        def update(done: int, total: int, loss: float | None = None) -> None:
            bar.update(task, completed=done, total=total, figure="" if loss is None else f"loss {loss:.3f}")

        yield update
