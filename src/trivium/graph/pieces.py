"""Triples by name to a graph, in pieces on the disk, where they are too many for memory.

Names come to ids, and edges to their order, as they do in memory, a piece at a time: edges are dealt out by target into
files of as many as are sorted at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import feather

from trivium.errors import OutputError
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.kernels.csr import IntArray, block_bounds, order_by, sorted_unique

Ids = tuple[IntArray, IntArray, IntArray]  # of heads, relations and tails


def put_away(table: Any, folder: Path, number: int) -> Path:
    """Writes an Arrow table of triples; the file.

    Raises:
        OutputError: the folder cannot be written to.
    """
    path = folder / f"names{number}.part"
    with _writing(folder):
        feather.write_feather(table, str(path), chunksize=len(table))  # each chunk has all names
    return path


def graph_of(
    pieces: Sequence[Path],
    last: Any,
    ids: Callable[[Any], Ids],
    folder: Path,
    progress: Callable[[int, int | None], None],
    entities: Names,
    relations: Names,
) -> Graph:
    """The graph of tables that were `put_away`, and a last one; its edges are files in the folder.

    The ids of each piece are found, and the edges of each target counted; the edges are dealt out by block; each block
    is sorted.

    Args:
        ids: of a table's triples.
        progress: is called with the steps that are done, and the total.

    Raises:
        OutputError: the folder cannot be written to.

    Cost: O(triples + entities · pieces) time; memory of a piece, a block, and some numbers for each entity.
    """
    with _writing(folder):
        known = [folder / f"ids{number}.part" for number in range(len(pieces) + 1)]
        counts = np.zeros(len(entities), np.int64)
        for number, path in enumerate(known):
            progress(number, 3 * len(known))
            piece = last if number == len(pieces) else feather.read_table(pieces[number], memory_map=False)
            heads, kinds, tails = ids(piece)
            with path.open("wb") as file:
                np.save(file, np.stack([heads, kinds, tails]))
            counts += np.bincount(np.concatenate([heads, tails]), minlength=len(entities))
            if number < len(pieces):
                pieces[number].unlink()
        bounds = block_bounds(np.concatenate([[0], np.cumsum(counts)]))
        blocks = [folder / f"block{number}.part" for number in range(len(bounds) - 1)]
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in blocks]
            for number, path in enumerate(known, len(known)):
                progress(number, 3 * len(known))
                heads, kinds, tails = np.load(path)
                path.unlink()
                for edges in ((heads, kinds, tails), (tails, kinds + np.int32(len(relations)), heads)):
                    block = (np.searchsorted(bounds, edges[2], "right") - 1).astype(np.int32)
                    order, runs = order_by(block, len(files))
                    rows = np.stack(edges, 1)[order]
                    for file, begin, end in zip(files, runs, runs[1:], strict=False):
                        rows[begin:end].tofile(file)
        offsets = np.zeros(len(entities) + 1, np.int64)
        places = [folder / "sources.part", folder / "relations.part"]
        with places[0].open("wb") as all_sources, places[1].open("wb") as all_kinds:
            for number, path in enumerate(blocks):
                progress(2 * len(blocks) + number, 3 * len(blocks))
                heads, kinds, tails = np.fromfile(path, np.int32).reshape(-1, 3).T
                path.unlink()
                sources, kinds, ends = sorted_unique(heads, kinds, tails, len(entities), 2 * len(relations))
                sources.tofile(all_sources)
                kinds.tofile(all_kinds)
                offsets[1:] += np.diff(ends)
        np.cumsum(offsets, out=offsets)
        sources, kinds = (np.asarray(np.memmap(path, np.int32, "c")) for path in places)
        return Graph(sources, kinds, offsets, entities, relations)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """An OutputError where the system refuses to write (a full disk, say)."""
    try:
        yield
    except OSError as reason:
        raise OutputError(f"cannot write in {folder}: {reason.strerror or reason}") from reason
