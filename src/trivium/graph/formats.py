"""What a file is: by its ending, and a table's columns by the words of its header or as somebody chose.

Here too: its bytes, unpacked, and how its faults are said.

A word counts without capitals, blanks, marks (``?s``, ``_start``, ``#node1``) and without an ending that only says
that names follow (``subject_id``, ``head entity``). Neo4j's ``:START_ID(Person)`` is its ``start``, ``born:int``
is ``born``.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import logging
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import pyarrow as pa
from pyoxigraph import RdfFormat

from trivium.errors import GraphError, InputError

RDF = {f".{ending}": RdfFormat.from_extension(ending) for ending in ("nq", "ttl", "trig", "rdf", "xml", "jsonld")}
RDF |= {".nt": RDF[".nq"], ".owl": RDF[".rdf"]}  # N-Quads hold N-Triples, and many a .nt has a fourth field
_TABLES = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".parquet": "parquet"}
_TABLES |= dict.fromkeys((".jsonl", ".ndjson", ".json", ".srj"), "json")
FORMATS = {**_TABLES, **dict.fromkeys(RDF, "rdf")}
INDEX = ".trivium"
ENDPOINT = "sparql:"  # before its address
PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: pa.CompressedInputStream(pa.PythonFile(file), "zstd"),
}

MAX_RATIO = 200  # of the bytes in a packed file to its own; text comes to 20 or so, and gzip can do 1,030
READ_BYTES = 1 << 17
ANY_BYTES = 1 << 26  # of a packed file, whatever its ratio
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {  # what a file is that begins so
    b"\x1f\x8b": "compressed: let its name end in .gz",
    b"pk\x03\x04": "a zip archive or a spreadsheet: unpack it, or save it as .csv",
    b"%pdf": "a PDF, and no table: export the table",
    b"<!doctype html": "a web page, and no graph: look at what the download says",
    b"<html": "a web page, and no graph: look at what the download says",
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the file",
}
FOLDER = "{} is a folder: name the files in it (--also adds one)"
REPORTED = 5  # bad lines of a file that are named
BAD = "bad lines"
COLUMNS = "name three, HEAD,RELATION,TAIL, or their numbers (two, HEAD,TAIL, of pairs, with --relation NAME)"

TRIPLE = ("head", "relation", "tail")

_FAMILIES = {  # of head and tail; beside them a relation has one of these words, else one of `_RELATIONS`
    ("head", "tail"): "relation",
    ("subject", "object"): "predicate property",
    ("node1", "node2"): "relation label",
    ("start", "end"): "label type",
    ("source", "target"): "metaedge interaction relation",
    ("src", "dst"): "relation",
    ("from", "to"): "relation",
    ("h", "t"): "r",
    ("s", "o"): "p",
}
_RELATIONS = "relation predicate property relationship metaedge edge rel interaction type label kind r p".split()
_NODE_NAMES = "name label title preflabel".split()
_NODE_TYPES = {"category": "category", "categories": "category", "kind": "kind", "labels": "type", "type": "type"}
_NEO4J = {"START_ID": "start", "END_ID": "end", "TYPE": "type", "ID": "id", "LABEL": "labels"}
_SPACE = re.compile(r":(START_ID|END_ID|ID)\(([^()]+)\)")
_LONGEST = 100  # characters of a header's field
# what may end a column's word; of several columns of one word the names come first, their types last
_ENDS = ("id", "iri", "uri", "entity", "node", "name", "type")
_ENDING = re.compile(f"(?<=.)({'|'.join(_ENDS)})+$")
_NUMBERED = "edge", "interaction", "relationship"  # an id of one is the edge's own
_ENDS_OF = {"head": ("head", "subject", "source"), "tail": ("tail", "object", "target")}  # in a table of entities
_LABELS = ("label", "name")  # after a column's word: Wikidata's `sLabel`, KGTK's `node1;label`

log = logging.getLogger(__name__)


@dataclass
class Pass:
    """One reading of a graph's files: how they are read, and what they hold beside triples.

    Attributes:
        columns, relation, named_graph, skip_bad: see `trivium.graph.read.read_graph`.
        strict: whether a table must have the columns; else they serve where it has them.
        paired: whether a table of pairs took the relation.
        labels: by name.
        left_out: how many of each kind.
        number: of the file that is read; nodes without a name are its own.
    """

    columns: str | None = None
    relation: str | None = None
    named_graph: str | None = None
    skip_bad: bool = False
    strict: bool = True
    paired: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    number: int = 1

    def bad(self, path: Path, line: int | None, what: str, unit: str = "line") -> None:
        """A line that cannot be read: counted where such are skipped, and the first few named; else as `fail`."""
        if not self.skip_bad or line is None:
            fail(path, line, f"{what} (--skip-bad goes on past such lines)" if line is not None else what, unit)
        self.left_out[BAD] += 1
        if self.left_out[BAD] <= REPORTED:
            log.warning("%s %s %s: %s: skipped", path, unit, line, _short(what))


def fail(path: Path, line: int | None, what: str, unit: str = "line", error: type[GraphError] = GraphError) -> NoReturn:
    """Raises the error that every reader raises: file, 1-based line where it is known, what is wrong there."""
    where = f"{path} {unit} {line}" if line else str(path)
    raise error(f"{where}: {_short(what)}")


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
    if path.is_dir():
        raise GraphError(FOLDER.format(path))
    if ending not in FORMATS:
        known = ", ".join([*FORMATS, INDEX])
        raise GraphError(
            f"{path}: its ending names no graph format: use one of {known} ({', '.join(PACKED)} may follow)"
        )
    return ending


def decisions_of(path: str | Path) -> Path:
    """Where decisions about a graph's file are kept unless another place is named: beside it, without its endings."""
    path = Path(path)
    return (path.with_suffix("") if is_packed(path) else path).with_suffix(".decisions")


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
    """The file's bytes, unpacked, as UTF-8 if a byte order mark says what they are, and without it.

    Raises:
        GraphError: the file cannot be read or unpacked, or it begins as what is no graph.
    """
    packed = is_packed(path)
    try:
        with BufferedReader(_Unpacked(path), READ_BYTES) if packed else path.open("rb") as file:
            begin = file.peek(32)[:32]
            if what := next((what for start, what in _FOREIGN.items() if begin.lower().startswith(start)), None):
                raise GraphError(f"{path} is {what}")
            if encoding := next((_MARKS[mark] for mark in _MARKS if begin.startswith(mark)), None):
                yield BytesIO(_decoded(path, file.read(), encoding).encode())
            else:
                file.read(len(_BOM) if begin.startswith(_BOM) else 0)
                yield cast(IO[bytes], file)
    except FileNotFoundError as reason:
        raise GraphError(f"{path}: no such file") from reason
    except IsADirectoryError as reason:
        raise GraphError(FOLDER.format(path)) from reason
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as reason:
        raise GraphError(f"{path} is not a whole {path.suffix} file: {reason}") from reason
    except OSError as reason:
        if packed and reason.errno is None:  # bzip2 and zstd
            raise GraphError(f"{path} is not a whole {path.suffix} file: {reason}") from reason
        raise GraphError(f"{path} cannot be read: {reason.strerror or reason}") from reason


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as reason:
        raise GraphError(f"{path} begins as {encoding} and is none: save it as UTF-8") from reason


@dataclass(frozen=True)
class Columns:
    """Where a table's columns stand.

    Attributes:
        places: of head, relation and tail; instead of the relation's a name for all rows; empty in a table of nodes.
        labels: the places of labels of these three, where it has them.
        node, label, kind: in a table of nodes, or a row that is no edge: its name, label (the first of these that is
            not empty) and types.
        kind_name: what the relation between a node and a type is called.
        spaces: what Neo4j calls the sets in which ids of heads, tails and nodes are unique; they go before the ids.
    """

    places: tuple[int, int | str, int] | tuple[()]
    labels: tuple[int | None, ...] = ()
    node: int | None = None
    label: tuple[int, ...] = ()
    kind: int | None = None
    kind_name: str = "type"
    spaces: tuple[str, str, str] = ("", "", "")

    @property
    def bare(self) -> bool:
        """Whether a row is three names as they stand, and nothing else."""
        return self.node is None and set(self.labels) <= {None} and not any(self.spaces)


def recognised(fields: Sequence[str], relation: str | None = None) -> Columns | None:
    """The columns that a header's words name; ``None`` of a line that is no header.

    Args:
        relation: of all rows, where no column is one of relations.
    """
    words = [_word(field) for field in fields]
    node, kind = (next((words.index(word) for word in known if word in words), None) for known in (["id"], _NODE_TYPES))
    label = tuple(words.index(word) for word in _NODE_NAMES if word in words)
    nodes = Columns((), (), node, label, kind, "type" if kind is None else _NODE_TYPES[words[kind]], _spaces(fields))
    found = _places(words)
    head, kinds, tail = (found.get(column) for column in TRIPLE)
    between = relation if kinds is None else kinds
    if head is not None and between is not None and tail is not None:
        labels = tuple(None if place is None else _label(words, place) for place in (head, kinds, tail))
        whole = nodes if "labels" in words else Columns((), spaces=nodes.spaces)  # Neo4j's nodes and edges in one
        return replace(whole, places=(head, between, tail), labels=labels)
    return None if node is None or (not label and kind is None) else nodes


def _spaces(fields: Sequence[str]) -> tuple[str, str, str]:
    found = {match[1]: f"{match[2]}/" for field in fields if (match := _SPACE.search(field))}
    return found.get("START_ID", ""), found.get("END_ID", ""), found.get("ID", "")


def chosen(columns: str, fields: Sequence[str], relation: str | None = None) -> tuple[Columns | None, bool]:
    """The columns that somebody chose, ``None`` where the line has them not, and whether it is a header then.

    Args:
        columns: see `chosen_names`.
        relation: of all rows, where no column is one of relations.

    Raises:
        InputError: as `chosen_names`.
    """
    names = chosen_names(columns)
    head, kinds, tail = (find_column(fields, names[what]) if what in names else None for what in TRIPLE)
    between = relation if "relation" not in names else kinds
    if head is None or between is None or tail is None:
        return None, False
    named = any(_plain(name) in map(_plain, fields) and not name.isdecimal() for name in names.values())
    return Columns((head, between, tail)), named or recognised(fields, relation) is not None


def find_column(fields: Sequence[str], name: str) -> int | None:
    """Where a column stands that somebody names, or gives the number of; ``None`` if it is not there.

    Capitals and blanks around names do not matter.
    """
    if name.isdecimal():
        return int(name) - 1 if 0 < int(name) <= len(fields) else None
    plain = [_plain(field) for field in fields]
    return plain.index(_plain(name)) if plain.count(_plain(name)) == 1 else None


def chosen_names(columns: str | None) -> dict[str, str]:
    """What ``--columns`` calls the head, the relation and the tail: names, which are quoted as in a CSV, or numbers.

    Raises:
        InputError: they are not three, nor two, of heads and tails, or one is there twice.
    """
    if columns is None:
        return {}
    names = next(csv.reader([columns]), [])
    wanted = TRIPLE[::2] if len(names) == 2 else TRIPLE
    if len(names) != len(wanted) or not all(name.strip() for name in names):
        raise InputError(f"--columns {columns}: {COLUMNS}")
    if len(set(map(_plain, names))) < len(names):
        raise InputError(f"--columns {columns} names a column twice: {COLUMNS}")
    return dict(zip(wanted, names, strict=True))


def asked(fields: Sequence[str], columns: str | None = None) -> dict[str, int]:
    """Which of head, relation and tail a header of questions names, and where they stand; see `chosen_names`."""
    plain = [_plain(field) for field in fields]
    names = {what: _plain(name) for what, name in chosen_names(columns).items()}
    found = {what: plain.index(name) for what, name in names.items() if plain.count(name) == 1}
    return found if len(found) > 1 else _places([_word(field) for field in fields])


def names_column(fields: Sequence[str], columns: str | None = None, heads: bool = False) -> int | None:
    """Where a header of a table of entities has their names; ``None`` of a line that is a name itself.

    Args:
        heads: whether those of heads are wanted, of a table that has both ends.
    """
    plain = [_plain(field) for field in fields]
    first, last = ("head", "tail") if heads else ("tail", "head")
    names = [_plain(chosen_names(columns)[what]) for what in (first, last) if columns]
    places = [plain.index(name) for name in names if plain.count(name) == 1]
    words = [_word(field) for field in fields] if len(fields) > 1 else []
    known = [*_ENDS_OF[first], "id", "name", "entity", *_ENDS_OF[last]]
    places += [words.index(word) for word in known if word in words]
    return next(iter(places), None)


def ends_columns(fields: Sequence[str], columns: str | None = None) -> dict[str, int]:
    """Where a header of a table of relations and entities at their ends has them; empty of a line that is none."""
    found = asked(fields, columns)
    if "relation" not in found and "relation" in (words := [_word(field) for field in fields]):
        entity = names_column(fields)
        found = {"relation": words.index("relation")} | ({} if entity is None else {"tail": entity})
    return found if "relation" in found and len(found) > 1 else {}


def kinds_column(fields: Sequence[str]) -> int | None:
    """Where a header of a table of entities has their kinds; ``None`` where it has none."""
    words = [_word(field) for field in fields]
    return next((words.index(word) for word in _NODE_TYPES if word in words), None)


def looks_like_one(fields: Sequence[str]) -> bool:
    """Whether some field is a word that headers are made of."""
    words = {word for family in _FAMILIES for word in family} | {*_RELATIONS, *_NODE_NAMES, "id"}
    return any(_word(field) in words for field in fields if len(_word(field)) > 1)


def _places(words: Sequence[str]) -> dict[str, int]:
    """Where head, relation and tail stand, as many of them as a family of words has, at least two."""
    best: dict[str, int] = {}
    for (head, tail), relations in _FAMILIES.items():
        ends = {"head": _find(words, head), "tail": _find(words, tail)}
        more = [] if len(head) == 1 else _RELATIONS
        kinds = (_find(words, word, _ENDS[::-1]) for word in [*relations.split(), *more])
        relation = next((place for place in kinds if place is not None), None)
        found = {what: place for what, place in (ends | {"relation": relation}).items() if place is not None}
        if len(found) > max(len(best), 1) and len(set(found.values())) == len(found):
            best = found
    return best


def _find(words: Sequence[str], wanted: str, ends: Sequence[str] = _ENDS) -> int | None:
    """Where a word stands that is there once, as it is, or else before an ending, of several the first."""
    if wanted in words:
        return words.index(wanted) if words.count(wanted) == 1 else None
    found = {place: word for place, word in enumerate(words) if _ENDING.sub("", word) == wanted}
    numbers = [place for place, word in found.items() if wanted in _NUMBERED and word == f"{wanted}id"]
    places = [place for end in ends for place, word in found.items() if word.endswith(end) and place not in numbers]
    return next(iter(places), None)


def _label(words: Sequence[str], place: int) -> int | None:
    """Where labels of a column stand."""
    stems = words[place], _ENDING.sub("", words[place])
    return next((words.index(stem + end) for stem in stems for end in _LABELS if stem + end in words), None)


def _plain(field: str) -> str:
    return field.strip().casefold()


def _word(field: str) -> str:
    """A header's field as a word of small letters and digits; a long one is no word."""
    if len(field) > _LONGEST:
        return ""
    before, _, after = re.sub(r"\{.*\}$", "", field).rpartition(":")
    after = re.sub(r"\(.*\)$", "", after)
    if after in _NEO4J:
        return _NEO4J[after]
    return re.sub(r"[\W_]", "", before or after).lower()
