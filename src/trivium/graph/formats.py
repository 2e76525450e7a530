"""What a file is, by its ending; its bytes, unpacked; and how its faults are said."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import pyarrow as pa
from pyoxigraph import RdfFormat

from trivium.errors import GraphError

RDF = {f".{ending}": RdfFormat.from_extension(ending) for ending in ("nq", "ttl", "trig", "rdf", "xml", "jsonld")}
RDF |= {".nt": RDF[".nq"], ".owl": RDF[".rdf"]}  # N-Quads hold N-Triples, and many a .nt has a fourth field
_TABLES = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".parquet": "parquet"}
_TABLES |= dict.fromkeys((".jsonl", ".ndjson", ".json", ".srj"), "json")
FORMATS = {**_TABLES, **dict.fromkeys(RDF, "rdf")}
INDEX = ".trivium"
PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: pa.CompressedInputStream(pa.PythonFile(file), "zstd"),
}

MAX_RATIO = 200  # of the bytes in a packed file to its own; text comes to 20 or so, and gzip can do 1,030
READ_BYTES = 1 << 17
ANY_BYTES = 1 << 26  # of a packed file, whatever its ratio
_BOM = b"\xef\xbb\xbf"
REPORTED = 5  # bad lines of a file that are named

log = logging.getLogger(__name__)


@dataclass
class Pass:
    """One reading of a graph's files: how they are read, and what they hold beside triples.

    Attributes:
        columns, named_graph, skip_bad: see `trivium.graph.read.read_graph`.
        strict: whether a table must have the columns; else they serve where it has them.
        labels: by name.
        left_out: how many of each kind.
        number: of the file that is read; nodes without a name are its own.
    """

    columns: str | None = None
    named_graph: str | None = None
    skip_bad: bool = False
    strict: bool = True
    labels: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    number: int = 1

    def bad(self, path: Path, line: int | None, what: str, unit: str = "line") -> None:
        """A line that cannot be read: counted where such are skipped, and the first few named; else as `fail`."""
        if not self.skip_bad or line is None:
            fail(path, line, f"{what} (--skip-bad goes on past such lines)" if line is not None else what, unit)
        self.left_out["bad lines"] += 1
        if self.left_out["bad lines"] <= REPORTED:
            log.warning("%s %s %d: %s: skipped", path, unit, line, _short(what))


def fail(path: Path, line: int | None, what: str, unit: str = "line") -> NoReturn:
    """Raises the error that every reader raises: file, 1-based line where it is known, what is wrong there."""
    where = f"{path} {unit} {line}" if line else str(path)
    raise GraphError(f"{where}: {_short(what)}")


def _short(what: str) -> str:
    """One line that is not long: what a file holds may come back in it."""
    return " ".join((what if len(what) < 1000 else f"{what[:500]} … {what[-400:]}").split())


def is_packed(path: Path) -> bool:
    """Whether a file's ending says that it is compressed."""
    return path.suffix.lower() in PACKED


def ending_of(path: Path) -> str:
    """The ending that names a graph's format, that of a compressed file aside.

    Raises:
        GraphError: it names none.
    """
    ending = Path(path.stem if is_packed(path) else path.name).suffix.lower()
    if ending not in FORMATS:
        known = ", ".join([*FORMATS, INDEX])
        raise GraphError(
            f"{path}: its ending names no graph format: use one of {known} ({', '.join(PACKED)} may follow)"
        )
    return ending


def format_of(path: Path) -> str:
    """``tsv``, ``csv``, ``json``, ``parquet`` or ``rdf``; see `ending_of`."""
    return FORMATS[ending_of(path)]


class _Unpacked(RawIOBase):
    """What a compressed file holds; a GraphError where it swells beyond what text does."""

    def __init__(self, path: Path) -> None:
        self.path, self.packed = path, path.open("rb")
        self.plain = PACKED[path.suffix.lower()](self.packed)
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        part = self.plain.read(len(into))
        into[: len(part)] = part
        self.bytes += len(part)
        if self.bytes > ANY_BYTES + MAX_RATIO * self.packed.tell():
            raise GraphError(f"{self.path}: more than {MAX_RATIO} times its size unzipped: unzip it if it is no bomb")
        return len(part)

    def close(self) -> None:
        self.packed.close()
        super().close()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked, after a byte order mark; what cannot be read or unpacked is a GraphError."""
    packed = is_packed(path)
    try:
        with BufferedReader(_Unpacked(path), READ_BYTES) if packed else path.open("rb") as file:
            if file.peek(3).startswith(_BOM):
                file.read(3)
            yield cast(IO[bytes], file)
    except FileNotFoundError as reason:
        raise GraphError(f"{path}: no such file") from reason
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as reason:
        raise GraphError(f"{path} is not a whole {path.suffix} file: {reason}") from reason
    except OSError as reason:
        if packed and reason.errno is None:  # bzip2 and zstd
            raise GraphError(f"{path} is not a whole {path.suffix} file: {reason}") from reason
        raise GraphError(f"{path} cannot be read: {reason.strerror or reason}") from reason
