"""Files to batches of rows: one generator per format, and errors that name the file and the line.

A batch keeps each name once and its rows as int32 codes, so that no Python object per row outlives a batch.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from trivium.errors import GraphError

FORMATS = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".parquet": "parquet", ".nt": "nt", ".ttl": "ttl"}
INDEX = ".trivium"
TRIPLE = ("head", "relation", "tail")
RENAME = " (of a graph, --columns HEAD,RELATION,TAIL names others)"

_BLOCK_BYTES = 1 << 26
_BATCH_ROWS = 1 << 16
_BOM = b"\xef\xbb\xbf"
_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"


@dataclass(frozen=True)
class Batch:
    """Some rows of a file.

    Attributes:
        codes: ``[rows, columns]``, places in ``names``.
        names: an Arrow string array without repeats.
        lines: ``[rows]``, 1-based (the row's number in Parquet, the statement's in Turtle).
    """

    codes: NDArray[np.int32]
    names: Any
    lines: NDArray[np.int64]

    @classmethod
    def of(cls, fields: Any, lines: Any, *, by_column: bool) -> Batch:
        """From an Arrow array of all fields, column after column or row after row."""
        encoded = fields.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
        lines = np.asarray(lines, np.int64)
        codes = codes.reshape(-1, len(lines)).T if by_column else codes.reshape(len(lines), -1)
        return cls(codes, encoded.dictionary, lines)


def fail(path: Path, line: int, what: str, unit: str = "line") -> NoReturn:
    """Raises the error that every reader raises: file, 1-based line, what is wrong there."""
    raise GraphError(f"{path} {unit} {line}: {what}")


def format_of(path: Path) -> str:
    """The format that a file's ending names, ``.gz`` aside.

    Raises:
        GraphError: it names none.
    """
    endings = [ending.lower() for ending in path.suffixes]
    plain = endings[:-1] if endings[-1:] == [".gz"] else endings
    if not plain or plain[-1] not in FORMATS:
        known = ", ".join([*FORMATS, INDEX])
        raise GraphError(f"{path}: its ending names no graph format: use one of {known} (.gz may follow)")
    return FORMATS[plain[-1]]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped; what the system or gzip cannot read is a GraphError."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast(IO[bytes], file)
    except FileNotFoundError as reason:
        raise GraphError(f"{path}: no such file") from reason
    except (EOFError, zlib.error, gzip.BadGzipFile) as reason:
        raise GraphError(f"{path} is not a whole gzip file: {reason}") from reason
    except OSError as reason:
        raise GraphError(f"{path} cannot be read: {reason.strerror or reason}") from reason


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines, each with its end, without a byte order mark."""
    rest: list[bytes] = []
    block = file.read(_BLOCK_BYTES).removeprefix(_BOM)
    while block:
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, block[:cut]])
            rest = []
        rest.append(block[cut:])
        block = file.read(_BLOCK_BYTES)
    if any(rest):
        yield b"".join([*rest, b"\n"])


def tsv_batches(
    file: IO[bytes], path: Path, columns: Sequence[str], *, header: bool = False, empty: bool = False
) -> Iterator[Batch]:
    """Lines of fields between tabs; nothing is quoted, blank lines are passed over, CRLF ends a line too.

    Args:
        columns: what the fields are, in order.
        header: whether the first line names them, to be passed over.
        empty: whether fields may be empty.
    """
    import pyarrow as pa

    before, width = 0, len(columns)
    for block in _blocks(file):
        try:
            block.decode()
        except UnicodeDecodeError as reason:
            line = before + block.count(b"\n", 0, reason.start) + 1
            fail(path, line, f"not UTF-8 (byte 0x{block[reason.start]:02x}): save the file as UTF-8")
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1])
        tabs = np.flatnonzero(data == ord("\t"))
        returned = data[ends - 1] == ord("\r")
        keep = np.ones(len(data), np.bool_)
        for dropped in (ends, ends[returned] - 1, tabs):
            keep[dropped] = False
        ends = ends - returned
        filled = np.flatnonzero(ends > starts)
        found = np.diff(np.searchsorted(tabs, np.append(starts, len(data))))[filled] + 1
        if (found != width).any():
            at = int((found != width).argmax())
            wanted = ", ".join(columns)
            fail(path, before + int(filled[at]) + 1, f"{found[at]} fields between tabs, not {width} ({wanted})")
        bounds = np.empty((len(filled), width + 1), np.int64)
        bounds[:, 0] = starts[filled] - 1
        bounds[:, 1:-1] = tabs.reshape(-1, width - 1)
        bounds[:, -1] = ends[filled]
        lengths = np.diff(bounds, axis=1) - 1
        if not empty and (lengths == 0).any():
            row, column = (int(place[0]) for place in np.nonzero(lengths == 0))
            fail(
                path,
                before + int(filled[row]) + 1,
                f"the {columns[column]} is empty: every field needs a name",
            )
        offsets = np.concatenate([[0], np.cumsum(lengths.ravel())])
        buffers = pa.py_buffer(offsets), pa.py_buffer(data[keep])
        fields = pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers)
        drop = int(header and before == 0)
        if len(filled) > drop:
            yield Batch.of(fields[drop * width :], before + 1 + filled[drop:], by_column=False)
        before += len(starts)


def _text_lines(file: IO[bytes], path: Path) -> Iterator[str]:
    """Decoded lines, their ends kept, so that an error knows its line."""
    for number, line in enumerate(file, 1):
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as reason:
            fail(path, number, f"not UTF-8 (byte 0x{line[reason.start]:02x}): save the file as UTF-8")


def csv_batches(file: IO[bytes], path: Path, columns: Sequence[str], *, empty: bool = False) -> Iterator[Batch]:
    """Rows under a header, quoted as RFC 4180 says; a field may hold line breaks.

    Args:
        columns: the names of the wanted columns; others are passed over.
        empty: whether fields may be empty.
    """
    reader = csv.reader(_text_lines(file, path), strict=True)
    rows = _csv_rows(reader, path)
    _, header = next(rows, (0, []))
    places = []
    for column in columns:
        if header.count(column) != 1:
            problem = "has several columns" if column in header else "has no column"
            fail(path, 1, f"{problem} {column!r}: its header names {', '.join(map(repr, header)) or 'nothing'}{RENAME}")
        places.append(header.index(column))
    fields: tuple[list[str], ...] = tuple([] for _ in columns)
    lines: list[int] = []
    for line, row in rows:
        if len(row) != len(header):
            fail(path, line, f"{len(row)} fields between commas, but the header names {len(header)}")
        picked = [row[place] for place in places]
        if not empty and "" in picked:
            fail(path, line, f"the {columns[picked.index('')]} is empty: every field needs a name")
        for values, field in zip(fields, picked, strict=True):
            values.append(field)
        lines.append(line)
        if len(lines) == _BATCH_ROWS:
            yield _string_batch(fields, lines)
            fields, lines = tuple([] for _ in columns), []
    if lines:
        yield _string_batch(fields, lines)


def _csv_rows(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line on which each begins."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as reason:
            fail(path, line, f"not CSV as RFC 4180 has it: {reason}")
        if row:
            yield line, row


def _string_batch(columns: Sequence[list[str]], lines: list[int]) -> Batch:
    import pyarrow as pa

    return Batch.of(pa.array(chain(*columns), pa.large_string()), lines, by_column=True)


def parquet_batches(file: IO[bytes], path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    """Rows of three columns by name, of strings (plain or dictionary-encoded) or of integers."""
    import pyarrow as pa
    from pyarrow import parquet, types

    try:
        table = parquet.ParquetFile(file if path.suffix.lower() != ".gz" else BytesIO(file.read()))
        schema = table.schema_arrow
        for column in columns:
            if schema.names.count(column) != 1:
                raise GraphError(
                    f"{path}: no one column {column!r}: it has {', '.join(map(repr, schema.names))}{RENAME}"
                )
            kind = schema.field(column).type
            kind = kind.value_type if types.is_dictionary(kind) else kind
            if not (types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind)):
                raise GraphError(f"{path}: column {column!r} holds {kind}, not names: make it a string column")
        before = 0
        for rows in table.iter_batches(_BATCH_ROWS, columns=list(columns)):
            parts = [rows.column(column).cast(pa.large_string()) for column in columns]
            for column, part in zip(columns, parts, strict=True):
                part.validate(full=True)
                bad = pa.compute.fill_null(pa.compute.equal(part, ""), True)
                if pa.compute.any(bad).as_py():
                    fail(path, before + bad.index(True).as_py() + 1, f"the {column} is empty", "row")
            lines = np.arange(before + 1, before + len(rows) + 1)
            yield Batch.of(pa.concat_arrays(parts), lines, by_column=True)
            before += len(rows)
    except (pa.ArrowException, OSError, ValueError, LookupError) as reason:
        raise GraphError(f"{path} is not a Parquet file that can be read: {_one_line(reason)}") from reason


def rdf_batches(file: IO[bytes], path: Path, kind: str, labels: dict[str, str]) -> Iterator[Batch]:
    """Triples of IRIs and blank nodes; ``rdfs:label`` goes to ``labels``, other literals are passed over.

    Of several labels the one without a language is taken, else the English one, else the first.
    """
    import pyoxigraph as ox

    form = ox.RdfFormat.N_TRIPLES if kind == "nt" else ox.RdfFormat.TURTLE
    best: dict[str, int] = {}
    triples: tuple[list[str], ...] = ([], [], [])
    lines: list[int] = []
    try:
        for number, triple in enumerate(ox.parse(cast(Any, file), format=form), 1):
            nodes = (triple.subject, triple.predicate, triple.object)
            if isinstance(nodes[2], ox.Literal):
                if nodes[1].value == _LABEL and nodes[2].value and not isinstance(nodes[0], ox.Triple):
                    worth = {None: 3, "en": 2}.get(nodes[2].language, 1)
                    if worth > best.get(_name(nodes[0]), 0):
                        best[_name(nodes[0])] = worth
                        labels[_name(nodes[0])] = nodes[2].value
                continue
            if isinstance(nodes[0], ox.Triple) or isinstance(nodes[2], ox.Triple):
                continue
            for column, node in zip(triples, nodes, strict=True):
                column.append(_name(node))
            lines.append(number)
            if len(lines) == _BATCH_ROWS:
                yield _string_batch(triples, lines)
                triples, lines = ([], [], []), []
    except SyntaxError as reason:
        fail(path, reason.lineno or 1, _one_line(reason.msg))
    if lines:
        yield _string_batch(triples, lines)


def _name(node: Any) -> str:
    return str(node) if type(node).__name__ == "BlankNode" else str(node.value)


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())


def first_fields(path: Path) -> list[str]:
    """The fields of a TSV's or CSV's first line, to see whether it is a header."""
    with opened(path) as file:
        line = file.readline().removeprefix(_BOM).decode(errors="replace").rstrip("\r\n")
    if format_of(path) == "tsv":
        return line.split("\t")
    try:
        return next(csv.reader([line]), [])
    except csv.Error as reason:
        fail(path, 1, f"not CSV as RFC 4180 has it: {reason}")


def statement_lines(file: Iterable[bytes]) -> NDArray[np.int64]:
    """The line of each statement of N-Triples, which has one a line, blank lines and comments between."""
    filled = (number for number, line in enumerate(file, 1) if line.strip() and line.lstrip()[:1] != b"#")
    return np.fromiter(filled, np.int64)
