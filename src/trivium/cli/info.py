"""What graphs and checkpoints hold; conversions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trivium.cli.opening import open_graph
from trivium.cli.options import Columns, Force, Required
from trivium.graph.read import column_names


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


def datasets() -> None:
    """Lists the data sets that are known by name."""
    from trivium import describe

    describe.list_datasets()


def index(
    graph: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    check: bool = False,
    columns: Columns = None,
    force: Force = False,
) -> None:
    """Saves a graph in a form that opens at once, memory-mapped, whatever its size.

    Parameters
    ----------
    graph
        The graph.
    output
        The .trivium file to write.
    check
        Write nothing: say whether GRAPH, a .trivium file, is whole.
    """
    from trivium.errors import InputError
    from trivium.files import check_place
    from trivium.graph.formats import INDEX
    from trivium.graph.index import open_index, save_index

    if check == (output is not None):
        raise InputError("give -o FILE, or --check and the .trivium file to look at")
    if output is None:
        print(f"{graph} is whole: {open_index(graph).num_triples:,} triples")
        return
    check_place(output, force, INDEX)
    save_index(open_graph(graph, columns), output, force)


def import_(file: Path, /, *, output: Required, force: Force = False) -> None:
    """Turns a public ULTRA checkpoint (.pth) into one of ours; only tensors are read from it.

    Parameters
    ----------
    file
        ultra_3g.pth, ultra_4g.pth or ultra_50g.pth.
    output
        The .safetensors file to write.
    """
    from trivium.files import check_place
    from trivium.model.checkpoint import ENDING
    from trivium.model.trivium import save_checkpoint
    from trivium.model.ultra import import_ultra

    check_place(output, force, ENDING)
    save_checkpoint(*import_ultra(file), output, force)
    print(f"{output}: imported; inverse queries are conditioned on the forward relation, as in the public code")
