"""A large table, computed in parts that wait on disk: an interrupted call, made again, goes on where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path

import polars as pl

from trivium.errors import OutputError
from trivium.files import check_output, claimed, digest, sealed, table_writer, unsealed, write_whole
from trivium.inference.answers import Ids

log = logging.getLogger(__name__)


def write_in_parts(
    path: str | Path,
    force: bool,
    request: str,
    blocks: Sequence[Sequence[Ids]],
    compute: Callable[[Ids], pl.DataFrame],
    arrange: Callable[[pl.DataFrame], pl.DataFrame],
    progress: Callable[[int, int], None] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> int:
    """Writes a table, whole or not at all. Finished parts wait in a folder beside it, ``.NAME.parts``.

    A part is a Parquet file after its checksum, named by the digest of its request and its questions: whatever else
    lies in the folder, no part of another request is taken up, and one that is damaged is computed again. A kill at any
    moment leaves parts that the same call takes up. One process at a time may write a table.

    Args:
        request: a digest of all that the table's content depends on.
        blocks: the numbers of the questions. Each block's parts are joined and arranged in memory; the table holds one
            block after the other.
        compute: answers the questions of one part.
        arrange: puts a block's rows in order.
        progress: called with the questions done and in all.
        provenance: is kept with the table; see `trivium.files.table_writer`.

    Returns:
        How many rows the table has.

    Raises:
        OutputError: the output exists (without ``force``), cannot be written, or is being written by another process.
    """
    path = Path(path)
    check_output(path, force)
    folder = path.with_name(f".{path.name}.parts")
    files = [[folder / f"{digest(request, part)}.parquet" for part in block] for block in blocks]
    with claimed(folder, path):
        rows, done, total = 0, 0, sum(map(len, chain(*blocks)))
        for part, name in zip(chain(*blocks), chain(*files), strict=True):
            if unsealed(name) is None:
                compute(part).write_parquet(rows_of := BytesIO())
                try:
                    write_whole(sealed(rows_of.getvalue()), name, force=True)
                except OutputError as error:
                    raise OutputError(str(error).replace(str(name), str(path))) from error
            done += len(part)
            if progress is not None:
                progress(done, total)
        with table_writer(path, force, provenance) as write:
            for names in files:
                table = arrange(pl.concat([_read(name, path) for name in names]))
                write(table)
                rows += len(table)
        for name in set(chain(*files)):
            name.unlink()
    if folder.exists():
        log.warning("%s keeps parts of other requests: delete it, or repeat what was interrupted", folder)
    return rows


def _read(name: Path, path: Path) -> pl.DataFrame:
    """The rows of a part that this process has seen whole."""
    if (body := unsealed(name)) is None:
        raise OutputError(f"{path}: a part of it was damaged meanwhile: the same command computes it again")
    return pl.read_parquet(body)
