"""A large table, computed in parts that wait on disk: an interrupted call, made again, goes on where it stopped."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from trivium.errors import OutputError
from trivium.files import TableWriter, check_output, make_folder, whole_file
from trivium.inference.answers import Ids

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)


def digest(*values: object) -> str:
    """SHA-256 of values, in their order: the bytes of arrays, and of others what ``repr`` says."""
    sha = hashlib.sha256()
    for value in values:
        content = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        sha.update(len(content).to_bytes(8, "little") + content)
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
    lies in the folder, no part of another request is taken up. One process at a time may work there; the system's lock
    says so, and ends with the process. A kill at any moment leaves parts that the same call takes up.

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
    with _locked(folder, path):
        for leftover in [file for file in folder.iterdir() if file.suffix == ".part"]:
            leftover.unlink()  # of a process that was killed while it wrote
        files = [[folder / f"{digest(request, part)}.parquet" for part in block] for block in blocks]
        total, done = sum(len(part) for block in blocks for part in block), 0
        for block, names in zip(blocks, files, strict=True):
            for part, name in zip(block, names, strict=True):
                if not name.exists():
                    with whole_file(name) as file:
                        compute(part).write_parquet(file)
                done += len(part)
                if progress is not None:
                    progress(done, total)
        rows = 0
        with TableWriter(path, force) as writer:
            for names in files:
                table = arrange(pl.concat([pl.read_parquet(name, glob=False) for name in names]))
                writer.write(table)
                rows += len(table)
        for name in {name for names in files for name in names}:
            name.unlink()
        if any(file.suffix == ".parquet" for file in folder.iterdir()):
            log.warning("%s keeps parts of other requests: delete it, or repeat what was interrupted", folder)
    return rows


@contextmanager
def _locked(folder: Path, output: Path) -> Iterator[None]:
    """Holds the folder of parts for this process alone; an empty one is removed at the end."""
    place = folder / "lock"
    while True:
        make_folder(folder)
        try:
            file = place.open("ab")
        except FileNotFoundError:
            continue  # another process has just removed the folder
        with file:
            if not _lock(file):
                raise OutputError(f"another process is writing {output}: wait for it, or choose another name")
            if not _is_there(file, place):
                continue  # as above: what is locked is a file without a name
            try:
                yield
            finally:
                if all(path == place for path in folder.iterdir()):
                    with suppress(OSError):  # Windows keeps a file that is open
                        place.unlink()
                        folder.rmdir()
            return


def _is_there(file: IO[bytes], place: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), place.stat())
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes]) -> bool:
    """Locks an open file until it is closed or its process ends; whether nobody else holds it."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
