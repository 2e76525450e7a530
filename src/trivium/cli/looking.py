"""The verbs that describe and convert: info, datasets, index."""

from __future__ import annotations

from pathlib import Path

from trivium.cli.opening import column_names, open_graph
from trivium.cli.options import Columns, Force, Required, app


@app.command
def info(what: str | None = None, /, *, flags: Path | None = None, columns: Columns = None) -> None:
    """Describes a graph or a checkpoint, or what a flags.yaml yields.

    Parameters
    ----------
    what
        A graph file, a checkpoint file, or a shipped checkpoint's name.
    flags
        A flags.yaml of the public code.
    """
    from trivium import describe

    describe.describe(what, flags, column_names(columns))


@app.command
def datasets() -> None:
    """Lists the data sets that are known by name."""
    from trivium import describe

    describe.list_datasets()


@app.command
def index(graph: Path, /, *, output: Required, columns: Columns = None, force: Force = False) -> None:
    """Saves a graph in a form that opens at once, memory-mapped, whatever its size.

    Parameters
    ----------
    graph
        The graph.
    output
        The .trivium file to write.
    """
    from trivium.graph.formats import INDEX
    from trivium.graph.index import save_index
    from trivium.graph.output import check_place

    check_place(output, force, INDEX)
    save_index(open_graph(graph, columns), output, force)
