"""Results to files: whole or not at all, never over an existing one unless that is asked for."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from trivium.errors import OutputError

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

FORMATS = {".tsv": "tsv", ".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def check_place(path: str | Path, force: bool = False, *endings: str) -> Path:
    """Checks that a file may be written there, before any work is done for it.

    Args:
        endings: those that it may have; any if none is given.

    Raises:
        OutputError: it exists and ``force`` is not set, it is no file or in no folder, or its ending is another.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a device or a pipe, and results appear whole: name a file")
    if endings and path.suffix.lower() not in endings:
        raise OutputError(f"{path}: its ending must be {' or '.join(endings)}, not {path.suffix!r}")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}: make it first")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already: choose another name, or overwrite it with --force")
    return path


def check_output(path: str | Path, force: bool = False) -> str:
    """Checks that a table may be written there, before any work is done for it.

    Returns:
        The format that the ending asks for: ``tsv``, ``csv``, ``parquet`` or ``jsonl``.

    Raises:
        OutputError: as `check_place`; the ending must be one of these.
    """
    return FORMATS[check_place(path, force, *FORMATS).suffix.lower()]


def make_folder(path: Path) -> Path:
    """Makes a folder for results, and those that it is in.

    Raises:
        OutputError: the system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise OutputError(f"cannot make the folder {path}: {reason.strerror}: choose another") from reason
    return path


def check_tsv(names: pl.Series, path: Path) -> None:
    """Checks that names can stand in a TSV, which has no quoting.

    Raises:
        OutputError: one holds a tab or a line break.
    """
    if len(odd := names.filter(names.str.contains("[\t\r\n]"))):
        raise OutputError(f"{path}: {odd[0]!r} cannot stand in a TSV: write .csv or .parquet")


@contextmanager
def whole_file(path: str | Path, force: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that takes its place at ``path`` when the block ends well; else nothing is left.

    Raises:
        OutputError: as `check_place`, or the system refuses to write (a full disk, say).
    """
    place = check_place(path, force).resolve()  # through a link, to what it names
    part = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        check_place(path, force)
        part.replace(place)
    except OSError as reason:
        raise OutputError(f"cannot write {path}: {reason.strerror or reason}") from reason
    finally:
        part.unlink(missing_ok=True)


class TableWriter:
    """Writes a table batch by batch; memory is bounded by the largest batch.

    The file appears when the ``with`` block ends well, if at least one batch (it may be empty) was written.
    TSV has no quoting, so names that hold a tab or a line break are refused.
    CSV quotes where it must (RFC 4180). Missing values are empty fields, null in JSON lines.
    """

    def __init__(self, path: str | Path, force: bool = False) -> None:
        """
        Raises:
            OutputError: as `check_output`.
        """
        self.path = Path(path)
        self.format = check_output(path, force)
        self._force = force
        self._columns: list[str] | None = None
        self._parquet: Any = None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(whole_file(self.path, self._force))
        self._stack.push(self._require_batch)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)

    def _require_batch(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None and self._columns is None:
            raise OutputError(f"{self.path}: no batch was written, so there is no table")

    def write(self, frame: pl.DataFrame) -> None:
        """Appends a batch; every batch has the columns of the first.

        Raises:
            OutputError: a name cannot stand in a TSV, or the columns differ.
        """
        import polars as pl

        first = self._columns is None
        if first:
            self._columns = frame.columns
        elif frame.columns != self._columns:
            raise OutputError(f"{self.path}: columns {frame.columns} after {self._columns}: they must agree")
        if self.format == "tsv":
            for column in frame.select(pl.col(pl.String)):
                check_tsv(column, self.path)
            frame.write_csv(self._file, separator="\t", include_header=first, quote_style="never")
        elif self.format == "csv":
            frame.write_csv(self._file, include_header=first)
        elif self.format == "jsonl":
            frame.write_ndjson(self._file)
        else:
            self._write_parquet(frame)

    def _write_parquet(self, frame: pl.DataFrame) -> None:
        import polars as pl
        from pyarrow import parquet

        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._parquet is None:
            self._parquet = parquet.ParquetWriter(self._file, table.schema)
            self._stack.callback(self._parquet.close)
        self._parquet.write_table(table.cast(self._parquet.schema))


def write_table(frame: pl.DataFrame, path: str | Path, force: bool = False) -> None:
    """Writes a table in the format of the file's ending: .tsv, .csv, .parquet, .jsonl or .ndjson.

    Raises:
        OutputError: as `check_output` and `TableWriter.write`.
    """
    with TableWriter(path, force) as writer:
        writer.write(frame)


def save_figure(figure: Figure, path: str | Path, force: bool = False) -> None:
    """Writes a figure as PNG, whole or not at all.

    Raises:
        OutputError: as `whole_file`.
    """
    with whole_file(path, force) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
        figure.savefig(file, format="png", dpi=120)
