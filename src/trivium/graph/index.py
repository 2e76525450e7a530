"""A graph in one file that opens at once.

Layout: ``TRIVIUM``, a version byte and the little-endian CRC-32 of all that follows; zeros up to byte 64; an Arrow IPC
file of one record batch with one row, a list to each column of `SCHEMA`. Labels and the texts of relations are null
where there are none.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from trivium.errors import GraphError
from trivium.files import check_place, whole_file
from trivium.graph.formats import INDEX, opened
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.kernels.csr import edges_hold

_NUMBERS = {"sources": pa.int32(), "edge_relations": pa.int32(), "offsets": pa.int64()}
_NAMES = ("entity_names", "entity_labels", "relation_names", "relation_labels")
TEXTS = ("name", "description", "inverse")  # of a relation, see `trivium.text.names.RelationText`
_STRINGS = dict.fromkeys([*_NAMES, *(f"relation_{text}_texts" for text in TEXTS)], pa.large_string())
SCHEMA = pa.schema({name: pa.large_list(kind) for name, kind in (_NUMBERS | _STRINGS).items()})
_PREFIX = struct.Struct("<7sBI")
_MAGIC = b"TRIVIUM"
_VERSION = 3
_BEGIN = 64  # of the Arrow file
_BLOCK_BYTES = 1 << 24
AGAIN = "make it anew with `trivium index`"


def save_index(graph: Graph, path: str | Path, force: bool = False) -> None:
    """Writes a graph so that `open_index` opens it at once.

    Raises:
        OutputError: the ending is not ``.trivium``, or the file cannot be written there.
    """
    path = check_place(path, force, INDEX)
    numbers: list[Any] = [graph.sources, graph.edge_relations, graph.offsets]
    names = [graph.entities.names, graph.entities.labels, graph.relations.names, graph.relations.labels]
    texts = [None] * len(TEXTS) if graph.relations.texts is None else graph.relations.texts.get_columns()
    columns = [_list(values) for values in [*numbers, *names, *texts]]
    with whole_file(path, force) as file:
        file.write(bytes(_BEGIN))
        with pa.ipc.new_file(file, SCHEMA) as writer:
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        file.seek(_PREFIX.size)
        checksum = 0
        while block := file.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
        file.seek(0)
        file.write(_PREFIX.pack(_MAGIC, _VERSION, checksum))


def _list(values: NDArray[Any] | pl.Series | None) -> Any:
    """An Arrow array of one row that lists the values."""
    if values is None:
        return pa.nulls(1, SCHEMA.field("entity_labels").type)
    if isinstance(values, pl.Series):
        values = values.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    return pa.LargeListArray.from_arrays([0, len(values)], values)


def open_index(path: str | Path) -> Graph:
    """Opens a saved graph. It is read into memory: what becomes of the file later changes nothing, nor do changes of
    the graph's arrays change the file.

    Raises:
        GraphError: the file is missing, damaged, of another version, or no index at all, or what it holds is no
            graph: nothing that an index says is believed unchecked.

    Cost: a pass over the file for its checksum, and a few over its edges that keep nothing: under a second a gigabyte.
    """
    path = Path(path)
    with opened(path) as file:
        start = file.read(_PREFIX.size)
        if not start.startswith(_MAGIC) or os.fstat(file.fileno()).st_size < _BEGIN:
            raise GraphError(f"{path} is no index: make one with `trivium index GRAPH -o {path.name}`")
        _, version, checksum = _PREFIX.unpack(start)
        if version != _VERSION:
            raise GraphError(f"{path} is an index of version {version}, not {_VERSION}: {AGAIN}")
        file.seek(0)
        try:
            data = np.fromfile(file, np.uint8)  # not mapped: `cp` over a mapped file kills who reads it
        except MemoryError as reason:
            raise GraphError(f"{path} is larger than this machine's memory: {reason}") from reason
    if zlib.crc32(data[_PREFIX.size :].data) != checksum:
        raise GraphError(f"{path} is damaged or cut short (its checksum is another): {AGAIN}")
    try:
        return _graph(data)
    except (pa.ArrowException, OSError, EOFError, ValueError, LookupError, struct.error) as reason:
        raise GraphError(f"{path} holds no graph ({' '.join(str(reason).split())}): {AGAIN}") from reason


def _graph(data: NDArray[np.uint8]) -> Graph:
    """The graph in an index's bytes.

    Raises:
        ValueError, OSError, EOFError, LookupError, struct.error, pa.ArrowException: they hold none.
    """
    messages = pa.BufferReader(pa.py_buffer(data[_BEGIN + 8 :]))  # an Arrow file is its name, a stream and a footer
    schema, rows = pa.ipc.read_message(messages), pa.ipc.read_message(messages)
    _require(schema.type == "schema" and pa.ipc.read_schema(schema).equals(SCHEMA), "its columns are others")
    _require(rows.type == "record batch" and not _compressed(bytes(rows.metadata)), "it is compressed")
    batch = pa.ipc.read_record_batch(rows, SCHEMA)
    batch.validate(full=True)
    columns = {name: batch[name].flatten() for name in SCHEMA.names}
    missing = any(columns[name].null_count for name in [*_NUMBERS, *_NAMES])
    _require(len(batch) == 1 and not missing, "a value is missing")
    sources, kinds, offsets = (_view(columns[name], data) for name in _NUMBERS)
    strings: list[Any] = [None if batch[name].null_count else pl.Series("", columns[name]) for name in _STRINGS]
    for held, *others in (strings[:2], strings[2:]):
        _require(held is not None and _unique(held), "a name is missing or there twice")
        _require(all(other is None or len(other) == len(held) for other in others), "labels or texts do not fit")
    _require(len({text is None for text in strings[4:]}) == 1, "some texts are missing")
    texts = None if strings[-1] is None else pl.DataFrame(dict(zip(TEXTS, strings[4:], strict=True)))
    entities, relations = Names(strings[0], strings[1]), Names(strings[2], strings[3], texts)
    fits = len(offsets) == len(entities) + 1 and offsets[0] == 0 and (np.diff(offsets) >= 0).all()
    _require(fits and len(sources) == len(kinds) == offsets[-1], "the edges do not fit the entities")
    key = np.uint64(secrets.randbits(64))  # no file can be made to fit a number that nobody knows
    _require(edges_hold(offsets, kinds, sources, len(relations), key), "its edges are not sorted, paired and in range")
    return Graph(sources, kinds, offsets, entities, relations)


def _compressed(message: bytes) -> bool:
    """Whether a record batch's buffers are compressed, which Arrow says only once it has inflated them: a thousandth
    of their size may be all that the file holds.

    Source: Arrow's Message.fbs, and the layout of FlatBuffers: a table's first number leads back to its list of fields.
    """

    def field(table: int, number: int) -> int:
        fields = table - struct.unpack_from("<i", message, table)[0]
        held = 4 + 2 * number < struct.unpack_from("<H", message, fields)[0]
        place = struct.unpack_from("<H", message, fields + 4 + 2 * number)[0] if held else 0
        return table + int(place) if place else 0

    def leads_to(place: int) -> int:
        return place + int(struct.unpack_from("<I", message, place)[0])

    return field(leads_to(field(leads_to(0), 2)), 3) > 0


def _unique(names: pl.Series) -> bool:
    """Whether each is there once; at once where they are sorted, as readers sort them."""
    return bool((names[1:] > names[:-1]).all()) or names.n_unique() == len(names)


def _require(held: Any, what: str) -> None:
    if not held:
        raise ValueError(what)


def _view(values: Any, data: NDArray[np.uint8]) -> NDArray[Any]:
    """An Arrow array's numbers as a view of the file's bytes, which can be written to."""
    dtype = np.dtype(values.type.to_pandas_dtype())
    begin = values.buffers()[1].address - data.ctypes.data + values.offset * dtype.itemsize if len(values) else 0
    end = begin + len(values) * dtype.itemsize
    _require(0 <= begin <= end <= len(data), "numbers lie outside the file")
    return data[begin:end].view(dtype)
