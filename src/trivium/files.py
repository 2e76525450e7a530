"""Results to files: whole or not at all, never over an existing one unless that is asked for."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trivium.errors import InputError, OutputError

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

FORMATS = {".tsv": "tsv", ".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def check_place(path: str | Path, force: bool = False, *endings: str) -> Path:
    """Checks that a file may be written there, before any work is done for it.

    Args:
        endings: those that it may have; any if none is given.

    Raises:
        OutputError: it exists and ``force`` is not set, it is no file or in no folder that can be written to, or its
            ending is another.
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
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written to: name a file in another")
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


@contextmanager
def claimed(folder: Path, what: str | Path) -> Iterator[None]:
    """Makes a folder and holds it for this process, by a lock that ends with it.

    What a killed process was writing there, or as ``what``, is removed; the folder too, at the end, if it is empty.

    Args:
        what: the path of what is written by who holds it.

    Raises:
        OutputError: another process holds it, or the system refuses.
    """
    from filelock import FileLock, Timeout

    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        make_folder(folder)
    except OutputError as reason:
        raise OutputError(str(reason).replace(str(folder), str(what))) from reason
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as reason:
        raise OutputError(f"another process is writing {what}: wait for it, or choose another name") from reason
    except OSError as reason:
        raise OutputError(f"{what} cannot be written: {reason.strerror}: choose another place") from reason
    try:
        _clear(folder, what)
        yield
    finally:
        _clear(folder, what)
        with suppress(OSError):  # Windows keeps a file that is open, and a folder that holds more stays
            (folder / "lock").unlink()
            for place in [folder, *new[1:]]:
                place.rmdir()
        lock.release()


def _clear(folder: Path, what: str | Path) -> None:
    """Removes what was being written in a folder, or as ``what``."""
    place = Path(what).resolve()
    for leftover in (*folder.glob("*.part"), *place.parent.glob(f".{_mark(place)}-*.part")):
        leftover.unlink()


def _mark(place: Path) -> str:
    """By which what is written as ``place`` is told from what others write beside it."""
    return hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]


def digest(*values: object) -> str:
    """SHA-256 of values, in their order: the bytes of arrays, and of others what ``repr`` says."""
    import numpy as np

    sha = hashlib.sha256()
    for value in values:
        content: Any = np.ravel(value).view(np.uint8) if isinstance(value, np.ndarray) else repr(value).encode()
        sha.update(len(content).to_bytes(8, "little"))
        sha.update(content)
    return sha.hexdigest()


def sealed(body: bytes) -> bytes:
    """A body with its SHA-256 before it, for `unsealed`."""
    return hashlib.sha256(body).digest() + body


def unsealed(path: Path) -> bytes | None:
    """The body of a `sealed` file; ``None`` where the file is missing, damaged or cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None


def check_tsv(names: pl.Series, path: str | Path) -> None:
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
    part = place.with_name(f".{_mark(place)}-{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not force:
            check_place(path)
            with suppress(OSError):  # a link replaces nothing, even what appeared just now; not every disk has links
                place.hardlink_to(part)
                return
            check_place(path)
        part.replace(place)
    except OSError as reason:
        raise OutputError(f"cannot write {path}: {reason.strerror or reason}") from reason
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder that takes its place at ``path``, where none is or an empty one, when the block ends well; else nothing
    is left.

    Raises:
        OutputError: something stands there, or the system refuses to write.
    """
    place = Path(path).resolve()
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise OutputError(f"{path} exists already: choose another name")
    part = place.with_name(f".{secrets.token_hex(8)}.part")
    make_folder(part)
    try:
        yield part
        part.replace(place)
    except OSError as reason:
        raise OutputError(f"cannot write {path}: {reason.strerror or reason}") from reason
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def table_writer(
    path: str | Path, force: bool = False, provenance: Mapping[str, str] | None = None
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A function that appends a batch to a table, in the format of the file's ending; see `check_output`.

    The file appears when the block ends well. Every batch has the columns of the first; memory is bounded by the
    largest. TSV has no quoting, so names that hold a tab or a line break are refused. CSV quotes where it must
    (RFC 4180). Missing values are empty fields, null in JSON lines.

    Args:
        provenance: is kept with the table: in Parquet as metadata named ``trivium``, else in a file beside it, with the
            SHA-256 of the table's bytes (in Parquet of the rows', and the columns' names); see `read_provenance`.

    Raises:
        OutputError: as `check_output` and `whole_file`, or a name cannot stand in a TSV.
    """
    import polars as pl

    form = check_output(path, force)
    with ExitStack() as stack:
        file = stack.enter_context(whole_file(path, force))
        parquet: Any = None

        def write(frame: pl.DataFrame) -> None:
            nonlocal parquet
            first = file.tell() == 0
            if form == "parquet":
                table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                if parquet is None:
                    from pyarrow.parquet import ParquetWriter

                    parquet = stack.enter_context(ParquetWriter(file, table.schema))
                parquet.write_table(table.cast(parquet.schema))
            elif form == "jsonl":
                frame.write_ndjson(file)
            elif form == "csv":
                frame.write_csv(file, include_header=first)
            else:
                for column in frame.select(pl.col(pl.String)):
                    check_tsv(column, path)
                frame.write_csv(file, separator="\t", include_header=first, quote_style="never")

        yield write
        if parquet is not None and provenance is not None:
            sha256 = _rows_sha256(file, file.tell(), parquet.schema.names)
            parquet.add_key_value_metadata({"trivium": json.dumps({"sha256": sha256, **provenance})})
        elif provenance is not None:
            file.seek(0)
            _describe(path, hashlib.file_digest(file, "sha256").hexdigest(), provenance)  # type: ignore[arg-type]


def _rows_sha256(file: IO[bytes], end: int, names: Sequence[str]) -> str:
    """Of a Parquet file's bytes before its footer, which begins at ``end``, and of the names there; goes to ``end``."""
    sha = hashlib.sha256(json.dumps(names).encode())
    file.seek(0)
    while part := file.read(min(1 << 20, end - file.tell())):
        sha.update(part)
    return sha.hexdigest()


def _beside(path: str | Path) -> Path:
    return Path(path).with_name(f"{Path(path).name}.provenance.json")


def _describe(path: str | Path, sha256: str, provenance: Mapping[str, str]) -> None:
    write_whole(f"{json.dumps({'sha256': sha256, **provenance}, indent=1)}\n".encode(), _beside(path), force=True)


def read_provenance(path: str | Path) -> dict[str, str]:
    """What a table carries of its provenance, see `table_writer`; nothing where it carries none.

    Raises:
        InputError: it cannot be read, or is not the table any more that it was.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow.parquet import read_metadata

            with path.open("rb") as file:
                held = read_metadata(file)
                said = json.loads((held.metadata or {}).get(b"trivium", b"{}"))
                if said and said.pop("sha256", "") != _rows_sha256(
                    file, file.seek(0, os.SEEK_END) - 8 - held.serialized_size, held.schema.names
                ):
                    raise InputError(f"{path} has changed since it was written: its provenance describes other rows")
        else:
            said = json.loads(_beside(path).read_bytes()) if _beside(path).exists() else {}
            with path.open("rb") as file:
                if said and said.pop("sha256", "") != hashlib.file_digest(file, "sha256").hexdigest():
                    raise InputError(
                        f"{path} has changed since it was written: {_beside(path)} describes another table"
                    )
        if said and not all(isinstance(value, str) for value in dict(said).values()):
            raise ValueError("it is another's")
    except (OSError, ValueError, TypeError) as reason:
        raise InputError(f"{path}: its provenance cannot be read: {reason}") from reason
    return dict(said)


def write_table(
    frame: pl.DataFrame, path: str | Path, force: bool = False, provenance: Mapping[str, str] | None = None
) -> None:
    """Writes a table in the format of the file's ending: .tsv, .csv, .parquet, .jsonl or .ndjson.

    Raises:
        OutputError: as `table_writer`.
    """
    with table_writer(path, force, provenance) as write:
        write(frame)


def write_whole(
    content: bytes, path: str | Path, force: bool = False, provenance: Mapping[str, str] | None = None
) -> None:
    """Writes a file, whole or not at all.

    Args:
        provenance: of a text file, kept beside it; see `table_writer`.

    Raises:
        OutputError: as `whole_file`.
    """
    with whole_file(path, force) as file:
        file.write(content)
        if provenance is not None:
            _describe(path, hashlib.sha256(content).hexdigest(), provenance)


def save_figure(figure: Figure, path: str | Path, force: bool = False) -> None:
    """Writes a figure as PNG, whole or not at all.

    Raises:
        OutputError: as `whole_file`.
    """
    with whole_file(path, force) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
        figure.savefig(file, format="png", dpi=120)
