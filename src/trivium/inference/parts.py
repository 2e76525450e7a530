"""A large table, computed in parts that wait on disk: an interrupted call, made again, goes on where it stopped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock, Timeout

from trivium.errors import OutputError
from trivium.files import check_output, make_folder, table_writer, whole_file
from trivium.inference.answers import Ids

log = logging.getLogger(__name__)


def digest(*values: object) -> str:
    """SHA-256 of values, in their order: the bytes of arrays, and of others what ``repr`` says."""
    sha = hashlib.sha256()
    for value in values:
        content: Any = np.ravel(value).view(np.uint8) if isinstance(value, np.ndarray) else repr(value).encode()
        sha.update(len(content).to_bytes(8, "little"))
        sha.update(content)
    return sha.hexdigest()


def write_in_parts(
    path: str | Path,
    force: bool,
    request: str,
    blocks: Sequence[Sequence[Ids]],
    compute: Callable[[Ids], pl.DataFrame],
    arrange: Callable[[pl.DataFrame], pl.DataFrame],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes a table, whole or not at all. Finished parts wait in a folder beside it, ``.NAME.parts``.

    A part is a Parquet file, whole or not there, named by the digest of its request and its questions: whatever else
    lies in the folder, no part of another request is taken up. A kill at any moment leaves parts that the same call
    takes up. One process at a time may write a table.

    Args:
        request: a digest of all that the table's content depends on.
        blocks: the numbers of the questions. Each block's parts are joined and arranged in memory; the table holds one
            block after the other.
        compute: answers the questions of one part.
        arrange: puts a block's rows in order.
        progress: called with the questions done and in all.

    Returns:
        How many rows the table has.

    Raises:
        OutputError: the output exists (without ``force``), cannot be written, or is being written by another process.
    """
    path = Path(path)
    check_output(path, force)
    folder = path.with_name(f".{path.name}.parts")
    files = [[folder / f"{digest(request, part)}.parquet" for part in block] for block in blocks]
    with _claimed(folder, path):
        rows, done, total = 0, 0, sum(map(len, chain(*blocks)))
        for part, name in zip(chain(*blocks), chain(*files), strict=True):
            if not name.exists():
                with whole_file(name) as file:
                    compute(part).write_parquet(file)
            done += len(part)
            if progress is not None:
                progress(done, total)
        with table_writer(path, force) as write:
            for names in files:
                table = arrange(pl.concat([pl.read_parquet(name, glob=False) for name in names]))
                write(table)
                rows += len(table)
        for name in set(chain(*files)):
            name.unlink()
    if folder.exists():
        log.warning("%s keeps parts of other requests: delete it, or repeat what was interrupted", folder)
    return rows


@contextmanager
def _claimed(folder: Path, output: Path) -> Iterator[None]:
    """Holds the folder of parts for this process, by a lock that ends with it; an empty folder is removed at the end.

    The lock is a courtesy that saves work: parts of two processes would be the same.
    """
    make_folder(folder)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as reason:
        raise OutputError(f"another process is writing {output}: wait for it, or choose another name") from reason
    try:
        yield
    finally:
        for leftover in folder.glob("*.part"):  # of a process that was killed while it wrote
            leftover.unlink()
        if not any(folder.glob("*.parquet")):
            with suppress(OSError):  # Windows keeps a file that is open
                (folder / "lock").unlink()
                folder.rmdir()
        lock.release()
