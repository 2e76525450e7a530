"""Large work, computed in parts that wait on disk: an interrupted call, made again, goes on where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import chain, islice
from pathlib import Path

import polars as pl

from trivium.errors import OutputError
from trivium.files import check_output, claimed, digest, sealed, table_writer, unsealed, write_whole
from trivium.inference.answers import Ids

Compute = Callable[[Ids], pl.DataFrame]
"""Answers the questions of one part, given by their numbers."""
Each = Callable[[Compute, Sequence[Ids]], Iterable[tuple[int, pl.DataFrame]]]
"""Computes parts, and gives the place and the rows of each, in whatever order they are done."""
Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)


def here(compute: Compute, parts: Sequence[Ids]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Computes parts in this process, one after the other."""
    return ((place, compute(part)) for place, part in enumerate(parts))


class Parts:
    """Computes parts, and keeps those that are done.

    A kept part is a Parquet file after its checksum, named by the digest of its request and its questions: whatever
    else lies in the folder, no part of another request is taken up, and one that is damaged is computed again.

    Args:
        path: what the parts are made for; they wait in a folder beside it, ``.NAME.parts``, or in memory if there is
            none. See `parts_for`.
        each: computes them, in this process by default.
    """

    def __init__(self, path: Path | None = None, each: Each = here) -> None:
        self.path = path
        self.folder = None if path is None else folder_for(path)
        self.each = each
        self.used: set[Path] = set()

    @property
    def exact(self) -> bool:
        """Whether a ranker must `reproduce`, since parts may be computed elsewhere or at another time."""
        return self.folder is not None or self.each is not here

    def run(
        self,
        request: Callable[[], str],
        parts: Sequence[Ids],
        compute: Compute,
        progress: Progress | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Computes what is missing, then gives the rows of every part, in the order of the parts.

        Args:
            request: gives a digest of all that the rows depend on, where parts are kept on disk.
            parts: the numbers of the questions.
            progress: called with the questions done and in all.

        Raises:
            OutputError: a part cannot be written.
        """
        held: dict[int, pl.DataFrame] = {}
        files: list[Path] = []
        if self.folder is not None:
            names = request()
            files = [self.folder / f"{digest(names, part)}.parquet" for part in parts]
            self.used.update(files)
        missing = [place for place in range(len(parts)) if not files or unsealed(files[place]) is None]
        total = sum(map(len, parts))
        done = total - sum(len(parts[place]) for place in missing)
        for number, rows in self.each(compute, [parts[place] for place in missing]):
            place = missing[number]
            if files:
                self._keep(rows, files[place])
            else:
                held[place] = rows
            done += len(parts[place])
            if progress is not None:
                progress(done, total)
        return (self._read(files[place]) if files else held.pop(place) for place in range(len(parts)))

    def _keep(self, rows: pl.DataFrame, name: Path) -> None:
        rows.write_parquet(content := BytesIO())
        try:
            write_whole(sealed(content.getvalue()), name, force=True)
        except OutputError as error:
            raise OutputError(str(error).replace(str(name), str(self.path))) from error

    def _read(self, name: Path) -> pl.DataFrame:
        """The rows of a part that this process has seen whole."""
        if (body := unsealed(name)) is None:
            raise OutputError(f"{self.path}: a part of it was damaged meanwhile: the same command computes it again")
        return pl.read_parquet(body)


def folder_for(path: Path) -> Path:
    """Where the parts of a file wait."""
    return path.with_name(f".{path.name}.parts")


def drop_parts(path: Path) -> None:
    """Removes what a kill left of the parts of a file that was written."""
    if (folder := folder_for(path)).exists():
        with parts_for(path) as parts:
            parts.used.update(folder.glob("*.parquet"))


@contextmanager
def parts_for(path: str | Path | None, each: Each = here) -> Iterator[Parts]:
    """The parts of what the block writes at ``path``. They are removed when it ends well: a kill at any moment leaves
    parts that the same call takes up. One process at a time may write there.

    Raises:
        OutputError: another process is writing, or the system refuses.
    """
    if path is None:
        yield Parts(None, each)
        return
    parts = Parts(Path(path), each)
    assert parts.folder is not None
    with claimed(parts.folder, path):
        yield parts
        for name in parts.used:
            name.unlink()
    if parts.folder.exists():
        log.warning("%s keeps parts of other requests: delete it, or repeat what was interrupted", parts.folder)


def write_in_parts(
    path: str | Path,
    force: bool,
    request: str,
    blocks: Sequence[Sequence[Ids]],
    compute: Compute,
    arrange: Callable[[pl.DataFrame], pl.DataFrame],
    progress: Progress | None = None,
    provenance: Mapping[str, str] | None = None,
    each: Each = here,
) -> int:
    """Writes a table, whole or not at all; see `Parts`.

    Args:
        request: a digest of all that the table's content depends on.
        blocks: the numbers of the questions. Each block's parts are joined and arranged in memory; the table holds one
            block after the other.
        arrange: puts a block's rows in order.
        progress: called with the questions done and in all.
        provenance: is kept with the table; see `trivium.files.table_writer`.

    Returns:
        How many rows the table has.

    Raises:
        OutputError: the output exists (without ``force``), cannot be written, or is being written by another process.
    """
    check_output(path, force)
    count = 0
    with parts_for(path, each) as parts:
        tables = parts.run(lambda: request, [*chain(*blocks)], compute, progress)
        with table_writer(path, force, provenance) as write:
            for block in blocks:
                table = arrange(pl.concat(islice(tables, len(block))))
                write(table)
                count += len(table)
    return count
