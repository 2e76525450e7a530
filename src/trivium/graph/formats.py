"""Files to Arrow tables of names: one function per format, and errors that name the file and the line.

A table's columns are dictionary-encoded: a name is kept once per batch and a row costs three int32, so that no
Python object per row outlives a batch.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, BytesIO, RawIOBase, TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet, types
from pyoxigraph import BlankNode, Literal, RdfFormat, Triple, parse

from trivium.errors import GraphError

RDF = {f".{ending}": RdfFormat.from_extension(ending) for ending in ("nq", "ttl", "trig", "rdf", "xml", "jsonld")}
RDF |= {".nt": RDF[".nq"], ".owl": RDF[".rdf"]}  # N-Quads hold N-Triples, and many a .nt has a fourth field
FORMATS = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".parquet": "parquet", **dict.fromkeys(RDF, "rdf")}
INDEX = ".trivium"
TRIPLE = ("head", "relation", "tail")

MAX_RATIO = 200  # of the bytes in a gzip file to its own; text comes to 20 at most, and gzip can do 1,030
_ANY_BYTES = 1 << 26  # of a gzip file, whatever its ratio
_READ_BYTES = 1 << 17
_BLOCK_BYTES = 1 << 25  # of a TSV: no line may be longer
_BATCH_ROWS = 1 << 16
_BOM = b"\xef\xbb\xbf"
_DRAWN = re.compile("[a-f][0-9a-f]{15,31}")  # as the parser calls an anonymous node
_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
_NAME = pa.dictionary(pa.int32(), pa.large_string())
_ROW = pa.schema([*((column, _NAME) for column in TRIPLE), ("line", pa.int64())])

Row = tuple[str, str, str, int]  # head, relation, tail, 1-based line (the statement's number in RDF)


def fail(path: Path, line: int | None, what: str, unit: str = "line") -> NoReturn:
    """Raises the error that every reader raises: file, 1-based line where it is known, what is wrong there."""
    where = f"{path} {unit} {line}" if line else str(path)
    raise GraphError(f"{where}: {' '.join(what.split())}")


def ending_of(path: Path) -> str:
    """The ending that names a graph's format, ``.gz`` aside.

    Raises:
        GraphError: it names none.
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending not in FORMATS:
        known = ", ".join([*FORMATS, INDEX])
        raise GraphError(f"{path}: its ending names no graph format: use one of {known} (.gz may follow)")
    return ending


def format_of(path: Path) -> str:
    """``tsv``, ``csv``, ``parquet`` or ``rdf``; see `ending_of`."""
    return FORMATS[ending_of(path)]


class _Unzipped(RawIOBase):
    """What a gzip file holds; a GraphError where it swells beyond what text does."""

    def __init__(self, path: Path) -> None:
        self.path, self.packed = path, path.open("rb")
        self.plain = gzip.GzipFile(fileobj=self.packed)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        count = self.plain.readinto(into)
        if self.plain.tell() > _ANY_BYTES + MAX_RATIO * self.packed.tell():
            raise GraphError(f"{self.path}: more than {MAX_RATIO} times its size unzipped: unzip it if it is no bomb")
        return count

    def close(self) -> None:
        self.packed.close()
        super().close()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped, after a byte order mark; what the system or gzip cannot read is a GraphError."""
    try:
        zipped = path.suffix.lower() == ".gz"
        with BufferedReader(_Unzipped(path), _READ_BYTES) if zipped else path.open("rb") as file:
            if file.peek(3).startswith(_BOM):
                file.read(3)
            yield cast(IO[bytes], file)
    except FileNotFoundError as reason:
        raise GraphError(f"{path}: no such file") from reason
    except (EOFError, zlib.error, gzip.BadGzipFile) as reason:
        raise GraphError(f"{path} is not a whole gzip file: {reason}") from reason
    except OSError as reason:
        raise GraphError(f"{path} cannot be read: {reason.strerror or reason}") from reason


def text_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a TSV or CSV, each with the line on which it begins; blank lines are skipped.

    Fields of a TSV stand between tabs, unquoted; a CSV is quoted as RFC 4180 says, and a field may hold line breaks.

    Raises:
        GraphError: the file cannot be read, or a line is not UTF-8 or no CSV.
    """
    with opened(path) as file:
        if format_of(path) == "tsv":
            for number, line in enumerate(_text_lines(file, path, None), 1):
                if line := line.removesuffix("\n"):
                    yield number, line.split("\t")
            return
        reader, begin = csv.reader(_text_lines(file, path, "\n"), strict=True), 1
        try:
            for row in reader:
                if row:
                    yield begin, row
                begin = reader.line_num + 1
        except csv.Error as reason:
            fail(path, begin, f"not CSV as RFC 4180 has it: {reason}")


def _text_lines(file: IO[bytes], path: Path, newline: str | None) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 come as surrogates, so that the error knows its line."""
    with TextIOWrapper(file, "utf-8", "surrogateescape", newline) as lines:
        for number, line in enumerate(lines, 1):
            if odd := re.search("[\udc80-\udcff]", line):
                fail(path, number, f"not UTF-8 (byte 0x{ord(odd[0]) - 0xDC00:02x}): save the file as UTF-8")
            yield line


def check_width(path: Path, line: int, row: Sequence[str], columns: Sequence[str]) -> None:
    """Checks that a row of a TSV or CSV has as many fields as there are columns."""
    if len(row) != len(columns):
        between = "tabs" if format_of(path) == "tsv" else "commas"
        fail(path, line, f"{len(row)} fields between {between}, not {len(columns)} ({', '.join(columns)})")


def text_triples(path: Path, columns: Sequence[str] = TRIPLE) -> Iterator[Row]:
    """The triples of a TSV or CSV, row by row.

    Args:
        columns: the names of a CSV's columns that hold head, relation and tail; others are skipped.

    Raises:
        GraphError: as `text_rows`, a row has another number of fields or an empty one, or a CSV lacks a column.
    """
    rows = text_rows(path)
    first, header = next(rows, (1, []))
    if format_of(path) == "tsv":
        if header and not _is_header(header):
            rows = chain([(first, header)], rows)
        header = list(columns)
    places = _places(path, 1, columns, header)
    for line, row in rows:
        check_width(path, line, row, header)
        head, relation, tail = (row[place] for place in places)
        if not (head and relation and tail):
            empty = columns[[head, relation, tail].index("")]
            fail(path, line, f"the {empty} is empty: every field needs a name")
        yield head, relation, tail, line


def _places(path: Path, line: int | None, columns: Sequence[str], header: Sequence[str]) -> list[int]:
    """Where the columns stand in a file's header, each once."""
    for column in columns:
        if header.count(column) != 1:
            problem = "has several columns" if column in header else "has no column"
            found = ", ".join(map(repr, header)) or "nothing"
            remedy = "of a graph, --columns HEAD,RELATION,TAIL names others"
            fail(path, line, f"{problem} {column!r}: its header names {found} ({remedy})")
    return [header.index(column) for column in columns]


def _is_header(fields: Sequence[str]) -> bool:
    return [field.lower() for field in fields] == list(TRIPLE)


def read_table(
    path: Path, columns: Sequence[str], labels: dict[str, str], named_graph: str | None = None, lines: bool = False
) -> Any:
    """The triples of a file: an Arrow table ``head``, ``relation``, ``tail`` of dictionary-encoded names, none empty.

    Args:
        columns: the names of the three columns, where a format names them.
        labels: filled with what an RDF file says of its names.
        named_graph: read only what an RDF file says in this graph.
        lines: also a column ``line``, 1-based (the row's number in Parquet, the statement's in RDF).

    Raises:
        GraphError: see `trivium.graph.read.read_graph`.
    """
    kind = format_of(path)
    if kind == "tsv" and not lines:
        return _tsv_table(path)
    if kind == "parquet":
        return pa.Table.from_batches(_parquet_batches(path, columns), _ROW)
    rows = _rdf_rows(path, labels, named_graph) if kind == "rdf" else text_triples(path, columns)
    return pa.Table.from_batches(_batches(rows), _ROW)


def _batches(rows: Iterator[Row]) -> Iterator[Any]:
    while part := list(islice(rows, _BATCH_ROWS)):
        *names, lines = zip(*part, strict=True)
        encoded = [pa.array(column, pa.large_string()).dictionary_encode() for column in names]
        yield pa.record_batch([*encoded, pa.array(lines, pa.int64())], schema=_ROW)


def _tsv_table(path: Path) -> Any:
    """A TSV, by Arrow; if that finds a fault, `text_triples` says where."""
    begin, first = next(text_rows(path), (0, []))
    header = begin if _is_header(first) else 0
    if path.suffix.lower() == ".gz":  # to its end first: an error in a thread of Arrow's can end or stop the process
        with opened(path) as file:
            while file.read(_READ_BYTES):
                pass
    try:
        with opened(path) as file:
            table = arrow_csv.read_csv(
                file,
                arrow_csv.ReadOptions(column_names=TRIPLE, block_size=_BLOCK_BYTES, skip_rows=header),
                arrow_csv.ParseOptions(delimiter="\t", quote_char=False),
                arrow_csv.ConvertOptions(column_types=dict.fromkeys(TRIPLE, _NAME), strings_can_be_null=False),
            )
        if not any(chunk.dictionary.index("").as_py() >= 0 for column in table.columns for chunk in column.chunks):
            return table
        reason = "a field is empty"
    except pa.ArrowInvalid as found:
        reason = str(found)
    if sum(1 for _ in text_triples(path)):  # which says where the fault is
        fail(path, None, f"cannot be read as TSV: {reason}")
    return _ROW.empty_table()


def _parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Three columns by name, of strings (plain or dictionary-encoded) or of integers."""
    with opened(path) as file:
        try:
            table = parquet.ParquetFile(BytesIO(file.read()) if path.suffix.lower() == ".gz" else file)
            schema = table.schema_arrow
            for column, place in zip(columns, _places(path, None, columns, schema.names), strict=True):
                kind = schema.types[place]
                kind = kind.value_type if types.is_dictionary(kind) else kind
                if not (types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind)):
                    raise GraphError(f"{path}: column {column!r} holds {kind}, not names: make it a string column")
            before = 0
            for rows in table.iter_batches(_BATCH_ROWS, columns=list(columns)):
                parts = [rows.column(column).cast(pa.large_string()) for column in columns]
                for column, part in zip(columns, parts, strict=True):
                    part.validate(full=True)
                    if (place := part.fill_null("").index("").as_py()) >= 0:
                        fail(path, before + place + 1, f"the {column} is empty", "row")
                numbers = pa.array(range(before + 1, before + len(rows) + 1), pa.int64())
                yield pa.record_batch([*(part.dictionary_encode() for part in parts), numbers], schema=_ROW)
                before += len(rows)
        except (pa.ArrowException, OSError, ValueError, LookupError) as reason:
            why = " ".join(str(reason).split())
            raise GraphError(f"{path} is not a Parquet file that can be read: {why}") from reason


def _rdf_rows(path: Path, labels: dict[str, str], named_graph: str | None) -> Iterator[Row]:
    """Triples of IRIs and blank nodes; ``rdfs:label`` goes to ``labels``, other literals are skipped.

    Of several labels the one without a language is taken, else the English one, else the first.
    """
    others: set[str] = set()
    found = named_graph is None
    best: dict[str, int] = {}
    form = RDF[ending_of(path)]
    anonymous: dict[str, str] = {}

    def name(node: Any) -> str:
        if not isinstance(node, BlankNode):
            return str(node.value)
        if form != RdfFormat.N_QUADS and _DRAWN.fullmatch(node.value):  # else each reading would name it anew
            return anonymous.setdefault(node.value, f"_:anonymous{len(anonymous) + 1}")
        return str(node)

    number = 0
    try:
        with opened(path) as file:
            for number, quad in enumerate(parse(file, format=form), 1):
                if named_graph is not None and (graph := str(quad.graph_name)) != f"<{named_graph}>":
                    others.add(graph)
                    continue
                found = True
                if isinstance(quad.subject, Triple) or isinstance(quad.object, Triple):
                    continue
                if not isinstance(quad.object, Literal):
                    yield name(quad.subject), quad.predicate.value, name(quad.object), number
                elif quad.predicate.value == _LABEL and quad.object.value:
                    worth = {None: 3, "en": 2}.get(quad.object.language, 1)
                    if worth > best.get(subject := name(quad.subject), 0):
                        best[subject] = worth
                        labels[subject] = quad.object.value
    except SyntaxError as reason:
        fail(path, reason.lineno, reason.msg)
    except MemoryError:
        place = (statement_lines(path)[number], "line") if form == RdfFormat.N_QUADS else (number + 1, "statement")
        fail(path, place[0], "a name or text of more than 16 MiB: shorten it", place[1])
    if not found:
        raise GraphError(f"{path} has no graph {named_graph!r}: it has {', '.join(sorted(others)[:5]) or 'none'}")


def statement_lines(path: Path) -> list[int]:
    """The line of each statement of N-Triples or N-Quads: one a line, blank lines and comments between."""
    with opened(path) as file:
        return [number for number, line in enumerate(file, 1) if line.strip() and line.lstrip()[:1] != b"#"]
