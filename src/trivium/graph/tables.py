"""Tables to triples of names: text between tabs, commas, semicolons or blanks, JSON, Parquet.

What is read is an Arrow table whose columns are dictionary-encoded: a name is kept once per batch and a row costs three
int32, so that no Python object per row outlives a batch.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet, types
from pyarrow import csv as arrow_csv

from trivium.errors import GraphError, PairsError
from trivium.graph.formats import (
    ANY_BYTES,
    MAX_RATIO,
    READ_BYTES,
    TRIPLE,
    Columns,
    Pass,
    asked,
    chosen,
    chosen_names,
    ending_of,
    fail,
    find_column,
    format_of,
    is_packed,
    looks_like_one,
    opened,
    recognised,
)
from trivium.graph.rdf import LABELS, checked, rdf_triples

_BLOCK_BYTES = 1 << 25  # of a TSV: no line may be longer
_BATCH_ROWS = 1 << 16
MANY_ROWS = 20  # of which it is odd that the first one's names are in no other
_ROW_BYTES = 100  # of memory for a row of Parquet, about
_NAME = pa.dictionary(pa.int32(), pa.large_string())
_ROW = pa.schema([*((column, _NAME) for column in TRIPLE), ("line", pa.int64())])
_OF_NAMES = types.is_string, types.is_large_string, types.is_string_view, types.is_integer
_BLANKS = " "  # as a delimiter: a run of them
_BESIDE = re.compile(r"-?\d+(\.\d*)?([eE]-?\d+)?|[{\[].*[}\]]|")  # no name: a number, JSON, nothing
_DELIMITERS = {"tsv": ("\t", ",", ";", "|", _BLANKS), "csv": (",", ";", "\t", "|")}

log = logging.getLogger(__name__)

Row = tuple[str, str, str, int]  # head, relation, tail, 1-based line (the statement's number in RDF, the row's in JSON)


class Text(str):
    """A value of a table that says of itself that it is a text or a number, and no name."""

    __slots__ = ()


class Several(Text):
    """Several values, which are no one's name."""

    __slots__ = ()


@dataclass(frozen=True)
class Layout:
    """How a text is divided into fields, and its first row.

    Attributes:
        delimiter: stands between fields.
        quoted: fields may stand in quotation marks, as RFC 4180 has it.
        spaced: blanks around a delimiter say nothing.
        line: the first row's.
        first: its fields.
        comments: lines before it.
    """

    delimiter: str
    quoted: bool
    spaced: bool
    line: int
    first: list[str]
    comments: int = 0


TABS = Layout("\t", quoted=False, spaced=False, line=1, first=[])
"""Of a text that can be nothing else."""


def read_table(path: Path, run: Pass, lines: bool = False) -> Any:
    """The triples of a file, as `read_batches` gives them, in one Arrow table."""
    schema = _ROW if lines else pa.schema([_ROW.field(column) for column in TRIPLE])
    return pa.Table.from_batches([batch.select(schema.names) for batch in read_batches(path, run, lines)], schema)


def read_batches(path: Path, run: Pass, lines: bool = False) -> Iterator[Any]:
    """The triples of a file: Arrow batches ``head``, ``relation``, ``tail`` of dictionary-encoded names, none empty.

    Args:
        run: says how, and takes up what the file holds beside triples.
        lines: also a column ``line``, 1-based (the row's number in Parquet, the statement's in RDF).

    Raises:
        GraphError: see `trivium.graph.read.read_graph`.
    """
    kind = format_of(path)
    if kind == "parquet":
        yield from _parquet_batches(path, run)
    elif kind == "rdf":
        table = pa.Table.from_batches(_batches(rdf_triples(path, run)), _ROW)
        yield from (checked(path, table, run) if len(table) else table).to_batches()
    elif kind == "json":
        yield from _batches(_triples(path, _json_rows(path, run), run))
    elif (form := layout(path, run)) is not None:
        columns, header = _columns(path, form.line, form.first, run, kind == "tsv")
        if form.comments:
            log.info("%s: %d lines of comments before line %d are passed over", path, form.comments, form.line)
        if header and not run.columns and [field.lower() for field in form.first] != list(TRIPLE):
            log.info("%s line %d is a header, and no fact: %s", path, form.line, ", ".join(form.first))
        first: list[str] = []
        count, same = 0, np.zeros(len(TRIPLE), np.int64)  # rows, and those that have the first one's name there
        for batch in _text_batches(path, form, columns, header, run, lines):
            first = first or [batch[column][0].as_py() for column in TRIPLE]
            places = [batch[column].dictionary.index(name).as_py() for column, name in zip(TRIPLE, first, strict=True)]
            found = zip(TRIPLE, places, strict=True)
            same += [np.count_nonzero(batch[column].indices.to_numpy() == place) for column, place in found]
            count += len(batch)
            yield batch
        alone = same.max() == 1 and count >= MANY_ROWS
        once = same[TRIPLE.index("relation")] == 1
        known = header or run.columns == "1,2,3"  # that is: it has none
        if not known and once and (alone or looks_like_one(form.first)):
            names = ",".join(form.first[place] for place in columns.places if isinstance(place, int))
            said = "%s line %d looks like a header and is read as a fact: if it is one, --columns %s"
            log.warning(said, path, form.line, names)


def _text_batches(path: Path, form: Layout, columns: Columns, header: bool, run: Pass, lines: bool) -> Iterator[Any]:
    """The triples of a text: by Arrow where that can be, up to a fault; reading on row by row then says where it is."""
    done = 0
    plain = form.delimiter == "\t" and columns.bare and _decoder(form) is None
    if plain and not (form.quoted or lines or run.skip_bad):
        try:
            for batch in _tsv_batches(path, form, columns, header):
                yield batch
                done += len(batch)
            return
        except pa.ArrowInvalid:
            pass
    rows = text_rows(path, form, run)
    if header:
        next(rows)
    triples = _triples(path, _divided(path, rows, form, columns, run), run)
    yield from _batches(islice(triples, done, None))


def _columns(
    path: Path, line: int | None, fields: Sequence[str], run: Pass, unnamed: bool = False
) -> tuple[Columns, bool]:
    """The columns of a table, and whether its first row, which has these fields, is a header.

    Args:
        unnamed: columns without a header are head, relation and tail, or head and tail of pairs.
    """
    found, header = chosen(run.columns, fields, run.relation) if run.columns else (None, False)
    if run.columns and not run.strict and all(name.isdecimal() for name in chosen_names(run.columns).values()):
        said = recognised(fields, run.relation)
        if found is not None and said is not None and said.places and said.places != found.places:
            log.warning("%s: its header says which its columns are, and not --columns %s", path, run.columns)
            found = None
    if found is None and not (run.columns and run.strict):
        found, header = recognised(fields, run.relation), True
        if found is None and unnamed:
            found, header = _unnamed(path, fields, run.relation), False
    if found is None:
        has = ", ".join(map(repr, fields[:12]))
        if run.columns and run.strict:
            missing = [name for name in chosen_names(run.columns).values() if find_column(fields, name) is None]
            fail(path, line, f"--columns {run.columns}: {missing[0]!r} is not, or not once, among {has}")
        advice = "--columns HEAD,RELATION,TAIL says which they are, by name or by number (1,2,3)"
        if len(fields) == 2 and run.relation is None and "relation" not in asked(fields):
            fail(path, line, f"{has}: pairs: --relation NAME says what joins them", error=PairsError)
        if len(fields) == 2:
            advice = "--columns HEAD,TAIL says which they are, by name or by number (1,2)"
        fail(path, line, f"{has}: no columns that are known for head, relation and tail: {advice}")
    run.paired |= run.relation in found.places
    return found, header


def _unnamed(path: Path, fields: Sequence[str], relation: str | None) -> Columns | None:
    """The columns of a table without a header: three, or two of pairs; beside three, numbers and JSON are left out.

    A number that may say whether a triple is true (1, 0, -1) is a question that nobody but its owner can answer.
    ConceptNet's dump begins with the names of an edge and its relation.
    """
    if len(fields) == 2 and relation is not None:
        return Columns((0, relation, 1))
    if [field[:3] for field in fields[:4]] == ["/a/", "/r/", "/c/", "/c/"]:
        return Columns((2, 1, 3))
    names = [place for place, field in enumerate(fields) if not _BESIDE.fullmatch(field)]
    if len(names) != len(TRIPLE) or any(field in ("1", "0", "-1") for field in fields):
        return Columns((0, 1, 2)) if len(fields) == len(TRIPLE) else None
    if len(fields) > len(TRIPLE):
        said = ", ".join(fields[place] for place in names)
        log.info("%s has no header: %s are head, relation and tail, the columns beside them are left out", path, said)
    return Columns((names[0], names[1], names[2]))


def layout(path: Path, run: Pass, known: Callable[[Sequence[str]], object] = recognised) -> Layout | None:
    """How a text is divided, which its ending and its first line say; ``None`` of an empty file.

    Excel's line ``sep=;`` and comments before the first row are passed over.

    Args:
        known: whether fields are those of a header; of several ways to divide a line, the one in which they are.
    """
    given: tuple[str, ...] = _DELIMITERS[format_of(path)]
    comments = 0
    with opened(path) as file:
        for number, line in enumerate(text_lines(file, path, run), 1):
            text = line.rstrip("\r\n")
            if number == 1 and (said := re.fullmatch("sep=(.)", text)):
                given = (said[1],)
            elif re.match("[#%]( |$)", text) and text.count("\t") != 2:
                comments += 1
            elif text.strip(" "):
                break
        else:
            return None
    if len(text) > 8 and {"\0"} in (set(text[::2]), set(text[1::2])):
        fail(path, number, "every second byte is zero: it is UTF-16, perhaps: save the file as UTF-8")
    if re.fullmatch(r"\|[^\t]+\|[^\t]+\|", text):
        fail(path, number, "a table of Markdown: save it as CSV")
    ways = {delimiter: _split(text, delimiter) for delimiter in given if delimiter in text} or {given[0]: [text]}
    best = max(ways, key=lambda way: (len(ways[way]) == 3, len(ways[way])))
    usual = "\t" if "\t" in ways and given[0] == "\t" else best
    heads = [
        way
        for way, fields in ways.items()
        if known(fields) or (run.columns and chosen(run.columns, fields, run.relation)[0])
    ]
    delimiter = heads[0] if heads else usual
    fields = ways[delimiter]
    quoted = given[0] != "\t" or delimiter != "\t" or all(re.fullmatch('".*"', field) for field in text.split("\t"))
    if not quoted:
        fields = text.split("\t")
    spaced = delimiter == _BLANKS or (delimiter != "\t" and len(fields) > 1 and all(f[:1] == " " for f in fields[1:]))
    fields = [field.strip() for field in fields] if spaced else fields
    return Layout(delimiter, quoted, spaced, number, fields, comments)


def _split(text: str, delimiter: str) -> list[str]:
    """The fields of a first line."""
    try:
        return next(
            csv.reader([text.strip(" ")], delimiter=delimiter, strict=True, skipinitialspace=delimiter == _BLANKS)
        )
    except csv.Error:  # a field of several lines, or a quotation mark in a name
        return text.split(delimiter)


def text_rows(path: Path, form: Layout | None = None, run: Pass | None = None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text, each with the line on which it begins; blank lines are skipped.

    Raises:
        GraphError: the file cannot be read, or a line is not UTF-8 or not quoted as RFC 4180 says.
    """
    run = run or Pass()
    form = form or layout(path, run)
    if form is None:
        return
    with opened(path) as file:
        lines: Iterator[str] = islice(text_lines(file, path, run), form.line - 1, None)
        if not form.quoted:
            for number, line in enumerate(lines, form.line):
                if line := line.rstrip("\r\n"):
                    yield number, line.split(form.delimiter)
            return
        if form.delimiter == _BLANKS:
            lines = (line.strip() + "\n" for line in lines)
        reader = csv.reader(lines, delimiter=form.delimiter, skipinitialspace=form.spaced, strict=True)
        begin = form.line
        while True:
            try:
                for row in reader:
                    if row:
                        yield begin, [field.strip() for field in row] if form.spaced else row
                    begin = form.line + reader.line_num
                return
            except csv.Error as reason:
                run.bad(path, begin, f"not CSV as RFC 4180 has it: {reason}")
                begin = form.line + reader.line_num


def text_lines(file: IO[bytes], path: Path, run: Pass) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 come as surrogates, so that the error knows its line."""
    with TextIOWrapper(file, "utf-8", "surrogateescape", "") as lines:
        for number, line in enumerate(lines, 1):
            if odd := re.search("[\udc80-\udcff]", line):
                run.bad(path, number, f"not UTF-8 (byte 0x{ord(odd[0]) - 0xDC00:02x}): save the file as UTF-8")
                line = "\n"
            yield line


def check_width(path: Path, line: int, row: Sequence[str], form: Layout, run: Pass) -> bool:
    """Whether a row has as many fields as the first; see `Pass.bad`."""
    if len(row) == len(form.first):
        return True
    between = {"\t": "tabs", _BLANKS: "blanks", ",": "commas"}.get(form.delimiter, repr(form.delimiter))
    fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
    run.bad(path, line, f"{fields} between {between}, not {len(form.first)} as in line {form.line}")
    return False


def read_labels(path: Path, run: Pass) -> None:
    """Adds to the labels of a pass: those of RDF or of a table of nodes, or of names and labels in two columns.

    Raises:
        GraphError: as `read_table`.
    """
    form = layout(path, run) if format_of(path) in ("tsv", "csv") else None
    if form is None:
        read_table(path, run)
        return
    found = recognised(form.first)
    header = found is not None or all(looks_like_one([name]) for name in form.first)
    if found is None and len(form.first) < 2:
        fail(path, form.line, "one field: give a name and its label")
    columns = Columns((), node=0, label=(1,)) if found is None else found
    for _ in _triples(path, islice(_divided(path, text_rows(path, form), form, columns, run), header, None), run):
        pass


def _divided(
    path: Path, rows: Iterable[tuple[int, list[str]]], form: Layout, columns: Columns, run: Pass
) -> Iterator[tuple[int, Columns, list[str]]]:
    """The rows of a text, of the right width, with their columns."""
    decode = _decoder(form)
    for line, row in rows:
        if check_width(path, line, row, form, run):
            yield line, columns, row if decode is None else list(map(decode, row))


def _decoder(form: Layout) -> Callable[[str], str] | None:
    """What the fields of a table mean, where they are not plain names: in SPARQL's TSV and in KGTK."""
    if form.delimiter == "\t" and all(field.startswith("?") for field in form.first):
        return _from_sparql
    return _from_kgtk if {"node1", "label", "node2"} <= set(form.first) else None


def _from_sparql(field: str) -> str:
    if field[:1] == "<" and field[-1:] == ">":
        return field[1:-1]
    return field if not field or field.startswith("_:") else Text(re.sub('^"(.*)"(@[\\w-]+|\\^\\^.*)?$', r"\1", field))


def _from_kgtk(field: str) -> str:
    said = re.fullmatch(r'"(?P<text>.*)"|\'(?P<said>.*)\'@[\w-]+|\^\d.*|@[\d.+-]+/.*', field)
    return field if said is None else Text(said["text"] or said["said"] or field)


def _triples(path: Path, rows: Iterable[tuple[int, Columns, list[str]]], run: Pass) -> Iterator[Row]:
    """The triples of rows; labels and what is no triple go to the pass, types of nodes are triples too."""
    for line, columns, row in rows:
        triple = [place if isinstance(place, str) else row[place] for place in columns.places]
        if triple and all(triple):
            head, relation, tail = triple
            if any(columns.spaces):
                head, tail = columns.spaces[0] + head, columns.spaces[1] + tail
                triple = [head, relation, tail]
            for name, place in zip(triple, columns.labels, strict=False):
                if place is not None and row[place]:
                    run.labels.setdefault(name, row[place])
            if not any(isinstance(name, Text) for name in triple):
                yield head, relation, tail, line
            elif some := [what for what, name in zip(TRIPLE, triple, strict=True) if isinstance(name, Several)]:
                run.bad(path, line, f"the {some[0]} is a list: give each of its names a fact of its own")
            elif isinstance(tail, Text) and (relation == "label" or relation in LABELS):
                run.labels.setdefault(head, str(tail))
            else:
                run.left_out["literals"] += 1
        elif any(row[place] for place in columns.places if isinstance(place, int)):
            empty = TRIPLE[[bool(name) for name in triple].index(False)]
            run.bad(path, line, f"the {empty} is empty: every field needs a name")
        elif columns.node is not None and row[columns.node]:
            node = columns.spaces[2] + row[columns.node]
            if label := next((row[place] for place in columns.label if row[place]), ""):
                run.labels.setdefault(node, label)
            for kind in kinds_in(row[columns.kind]) if columns.kind is not None else ():
                yield node, columns.kind_name, kind, line
        else:
            run.left_out["rows without an edge"] += 1


def kinds_in(field: str) -> list[str]:
    """The kinds that a field names, as KGX and Neo4j divide them."""
    return [kind for kind in (field[1:].split(":") if field.startswith(":") else re.split("[;|]", field)) if kind]


def _batches(rows: Iterator[Row]) -> Iterator[Any]:
    while part := list(islice(rows, _BATCH_ROWS)):
        *names, lines = zip(*part, strict=True)
        encoded = [pa.array(column, pa.large_string()).dictionary_encode() for column in names]
        yield pa.record_batch([*encoded, pa.array(lines, pa.int64())], schema=_ROW)


def _tsv_batches(path: Path, form: Layout, columns: Columns, header: bool) -> Iterator[Any]:
    """A TSV, by Arrow.

    Raises:
        ArrowInvalid: there is a fault behind the batches that came.
    """
    if is_packed(path):  # to its end first: an error in a thread of Arrow's can end or stop the process
        with opened(path) as file:
            while file.read(READ_BYTES):
                pass
    names = [str(place) for place in range(len(form.first))]
    wanted = list(dict.fromkeys(names[place] for place in columns.places if isinstance(place, int)))
    with opened(path) as file:
        reader = arrow_csv.open_csv(
            file,
            arrow_csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES, skip_rows=form.line - (not header)),
            arrow_csv.ParseOptions(delimiter="\t", quote_char=False),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, _NAME), strings_can_be_null=False, include_columns=wanted
            ),
        )
        for batch in reader:
            if any(column.dictionary.index("").as_py() >= 0 for column in batch.columns):
                raise pa.ArrowInvalid("a name is empty")
            parts = [
                _repeated(place, len(batch)) if isinstance(place, str) else batch[names[place]]
                for place in columns.places
            ]
            yield pa.record_batch(parts, list(TRIPLE))


def _repeated(name: str, count: int) -> Any:
    """A column of one name."""
    return pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([name], pa.large_string())
    )


def _json_rows(path: Path, run: Pass) -> Iterator[tuple[int, Columns, list[str]]]:
    """Objects with names under known keys, or lists of three names; one a line, or all in one list.

    An object's keys are a header of its own, so that nodes and edges may follow each other.
    """
    held: dict[tuple[str, ...], Columns] = {}
    for number, item in _json_items(path, run):
        if isinstance(item, dict):
            flat = dict(_flat(item))
            keys, row = tuple(flat), list(flat.values())
        else:
            row = [_name(value) for value in item] if isinstance(item, list) else []
            keys = TRIPLE[::2] if len(row) == 2 else TRIPLE
        try:
            "".join((*keys, *row)).encode()
        except UnicodeEncodeError:
            run.bad(path, number, "half of a character, \\ud800 to \\udfff: no text in UTF-8 holds it")
            continue
        if len(keys) != len(row):
            run.bad(path, number, "no object, and no list of a head, a relation and a tail")
            continue
        if keys not in held:
            try:
                held[keys] = (
                    Columns(()) if recognised(keys) is None and "id" in keys else _columns(path, None, keys, run)[0]
                )
            except GraphError as reason:
                if not held and isinstance(reason, PairsError):
                    raise
                run.bad(path, number, str(reason).removeprefix(f"{path}: "))
                continue
        yield number, held[keys], row


def _json_items(path: Path, run: Pass) -> Iterator[tuple[int, Any]]:
    """What a JSON file lists, numbered: the lines of JSON lines, SPARQL's bindings, else the items of its lists."""
    lines = ending_of(path) in (".jsonl", ".ndjson")
    try:
        with opened(path) as file:
            whole = None if lines else json.load(file)
    except (ValueError, RecursionError) as reason:
        lines = "Extra data" in str(reason)  # JSON lines, as Neo4j calls them .json
        if not lines:
            fail(path, getattr(reason, "lineno", None), f"not JSON in UTF-8: {reason}")
    if lines:
        with opened(path) as file:
            for number, line in enumerate(text_lines(file, path, run), 1):
                try:
                    if line.strip():
                        yield number, json.loads(line)
                except (ValueError, RecursionError) as reason:
                    run.bad(path, number, f"not JSON: {reason}")
        return
    results = whole.get("results") if isinstance(whole, dict) else None
    parts = (results if isinstance(results, dict) else whole).values() if isinstance(whole, dict) else [whole]
    yield from enumerate(chain.from_iterable(part for part in parts if isinstance(part, list)), 1)


def _flat(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys and names of an object, of objects in it too: ``start.id``; those of its ``properties`` as its own."""
    for key, value in item.items():
        if isinstance(value, dict) and (kind := _SPARQL.get(str(value.get("type")))):
            yield key, kind(_name(value.get("value")))
        elif isinstance(value, dict):
            yield from ((inner if key == "properties" else f"{key}.{inner}", _name(of)) for inner, of in value.items())
        else:
            yield key, _name(value)


_SPARQL: dict[str, Callable[[str], str]] = dict.fromkeys(("literal", "typed-literal"), Text)
_SPARQL |= {"uri": str, "bnode": "_:{}".format}


def _name(value: Any) -> str:
    """A value as a name; several are joined as Neo4j and KGX join them, an object has none."""
    if isinstance(value, list) and len(value) != 1:
        return Several(";".join(map(_name, value)))
    if isinstance(value, list):
        return _name(value[0])
    return "" if value is None or isinstance(value, dict) else str(value)


def _distinct(column: Any) -> Any:
    """A column of strings or integers as strings by code, each that occurs kept once."""
    whole = column.unify_dictionaries().combine_chunks()
    whole.validate(full=True)
    whole = whole if types.is_dictionary(whole.type) else whole.dictionary_encode()
    used = whole.indices.dictionary_encode()  # a dictionary may hold more than occurs
    return pa.DictionaryArray.from_arrays(used.indices, whole.dictionary.take(used.dictionary).cast(pa.large_string()))


def _parquet_rows(content: Any, names: Sequence[str], found: Columns) -> Iterator[tuple[int, Columns, list[str]]]:
    used = {*found.places, *found.labels, found.node, *found.label, found.kind}
    places = [place for place in range(len(names)) if place in used]
    batches = parquet.ParquetFile(content).iter_batches(_BATCH_ROWS, columns=[names[place] for place in places])
    rows = (values for batch in batches for values in zip(*(column.to_pylist() for column in batch), strict=True))
    for number, values in enumerate(rows, 1):
        row = [""] * len(names)
        for place, value in zip(places, values, strict=True):
            row[place] = _name(value)
        yield number, found, row


def _parquet_batches(path: Path, run: Pass) -> Iterator[Any]:
    """Three columns by name, of strings (plain or dictionary-encoded) or of integers; nodes and labels row by row."""
    with opened(path) as file:
        try:
            content = BytesIO(file.read()) if is_packed(path) else file
            metadata = parquet.read_metadata(content)
            schema = metadata.schema.to_arrow_schema()
            found, _ = _columns(path, None, schema.names, run)
            names = [place if isinstance(place, str) else schema.names[place] for place in found.places]
            for name, place in zip(names, found.places, strict=True):
                kind = schema.types[place] if isinstance(place, int) else pa.string()
                kind = kind.value_type if types.is_dictionary(kind) else kind
                if not any(fits(kind) for fits in _OF_NAMES):
                    raise GraphError(f"{path}: column {name!r} holds {kind}, not names: make it a string column")
            wanted = [name for name, place in zip(names, found.places, strict=True) if isinstance(place, int)]
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            plain = sum(_ROW_BYTES * group.num_rows + group.total_byte_size for group in groups)
            if plain > ANY_BYTES + MAX_RATIO * path.stat().st_size:
                raise GraphError(f"{path}: more than {MAX_RATIO} times its size unpacked: no graph is like that")
            if not found.bare:
                yield from _batches(_triples(path, _parquet_rows(content, schema.names, found), run))
                return
            table = parquet.ParquetFile(content, metadata=metadata, read_dictionary=wanted)  # each name once
            before = 0
            for number in range(len(groups)):
                rows = table.read_row_group(number, wanted)
                parts = [_distinct(rows[name]) if name in wanted else _repeated(name, len(rows)) for name in names]
                keep = pa.repeat(pa.scalar(True), len(rows))
                for name, part in zip(names, parts, strict=True):
                    empty = compute.equal(part.indices.fill_null(-1), part.dictionary.index("").as_py())
                    empty = compute.or_(empty, part.is_null())
                    for place in compute.indices_nonzero(empty).to_pylist():
                        run.bad(path, before + place + 1, f"the {name} is empty", "row")
                    keep = compute.and_not(keep, empty)
                numbers = pa.array(np.arange(before + 1, before + len(rows) + 1))
                yield pa.record_batch([*parts, numbers], schema=_ROW).filter(keep)
                before += len(rows)
        except (pa.ArrowException, OSError, ValueError, LookupError) as reason:
            why = " ".join(str(reason).split())
            raise GraphError(f"{path} is not a Parquet file that can be read: {why}") from reason
