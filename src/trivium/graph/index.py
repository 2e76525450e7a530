"""A graph in one file that opens at once.

Layout: ``TRIVIUM``, a version byte and the little-endian CRC-32 of all that follows; zeros up to byte 64; an Arrow IPC
file of one record batch with one row, a list to each column of `SCHEMA`. Labels and the texts of relations are null
where there are none, an order of ids where it is their own.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from trivium.errors import GraphError, OutputError
from trivium.files import check_place, digest, make_folder, whole_file, write_whole
from trivium.graph.formats import INDEX, opened
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.kernels.csr import IntArray, OffsetArray, edges_hold
from trivium.released import cache_folder

_NUMBERS = {"sources": pa.int32(), "edge_relations": pa.int32(), "offsets": pa.int64(), "twins": pa.int64()}
_NUMBERS |= {"reflexive": pa.int64()}
_ORDERS = dict.fromkeys(["entities_by_name", "entities_by_call"], pa.int32())
_NAMES = ("entity_names", "entity_labels", "relation_names", "relation_labels")
TEXTS = ("name", "description", "inverse")  # of a relation, see `trivium.text.names.RelationText`
_STRINGS = dict.fromkeys([*_NAMES, *(f"relation_{text}_texts" for text in TEXTS)], pa.large_string())
_COLUMNS = _NUMBERS | _ORDERS | _STRINGS | {"sha256": pa.large_string()}
SCHEMA = pa.schema({name: pa.large_list(kind) for name, kind in _COLUMNS.items()})
_PREFIX = struct.Struct("<7sBI")
_MAGIC = b"TRIVIUM"
_VERSION = 4
_BEGIN = 64  # of the Arrow file
_BLOCK_BYTES = 1 << 24
MAPPED = 1 << 29  # bytes of an index that is mapped: a smaller one is read and checked in a second
AGAIN = "make it anew with `trivium index`"

log = logging.getLogger(__name__)


def save_index(graph: Graph, path: str | Path, force: bool = False) -> None:
    """Writes a graph so that `open_index` opens it at once.

    Raises:
        OutputError: the ending is not ``.trivium``, or the file cannot be written there.
    """
    path = check_place(path, force, INDEX)
    entities, relations = graph.entities, graph.relations
    reflexive = np.array(sorted(graph.reflexive), np.int64)
    numbers: list[Any] = [graph.sources, graph.edge_relations, graph.offsets, graph.twins, reflexive]
    names = [entities.names, entities.labels, relations.names, relations.labels]
    texts = [None] * len(TEXTS) if relations.texts is None else relations.texts.get_columns()
    held = *numbers, entities.by_name, entities.by_call, *names, *texts, pl.Series([graph.sha256])
    columns = [_list(values, kind) for values, kind in zip(held, _COLUMNS.values(), strict=True)]
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
        if os.fstat(file.fileno()).st_size >= MAPPED:
            Path(file.name).chmod(0o444)  # who maps it must not see it change
    _believe(path)


def _list(values: NDArray[Any] | pl.Series | None, kind: Any) -> Any:
    """An Arrow array of one row that lists the values."""
    if values is None:
        return pa.nulls(1, pa.large_list(kind))
    if isinstance(values, pl.Series):
        values = values.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    return pa.LargeListArray.from_arrays([0, len(values)], values)


def open_index(path: str | Path, check: bool = False) -> Graph:
    """Opens a saved graph. Changes of the graph's arrays do not change the file.

    An index is read into memory: what becomes of the file later changes nothing. One of `MAPPED` bytes and more is
    mapped instead, and read where it is needed: it is checked once, and again when the file is another or has been
    written to since; what a disk does to it later is seen by a check alone. Such a file is made read-only: it is
    replaced as a whole, and not written over while it is in use.

    Args:
        check: look at all of it, even if it was looked at before.

    Raises:
        GraphError: the file is missing, damaged, of another version, or no index at all, or what it holds is no
            graph: nothing that an index says is believed unchecked.

    Cost: a pass over the file for its checksum, and a few over its edges that keep nothing: under a second a gigabyte.
        Nothing of that for a mapped file that was checked before.
    """
    path = Path(path)
    with opened(path) as file:
        start = file.read(_PREFIX.size)
        size = os.fstat(file.fileno()).st_size
        if not start.startswith(_MAGIC) or size < _BEGIN:
            raise GraphError(f"{path} is no index: make one with `trivium index GRAPH -o {path.name}`")
        _, version, checksum = _PREFIX.unpack(start)
        if version != _VERSION:
            raise GraphError(f"{path} is an index of version {version}, not {_VERSION}: {AGAIN}")
        file.seek(0)
        try:
            if size < MAPPED:
                data = np.fromfile(file, np.uint8)  # not mapped: `cp` over a mapped file kills who reads it
            else:
                data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        except (MemoryError, OSError) as reason:
            raise GraphError(f"{path} is larger than this machine's memory: {reason}") from reason
    whole = check or size < MAPPED or not _believed(path)
    if whole and size >= MAPPED:
        log.info("%s is checked once: %.1f GB", path, size / 1e9)
    if whole and _checksum(data) != checksum:
        raise GraphError(f"{path} is damaged or cut short (its checksum is another): {AGAIN}")
    try:
        graph = _graph(data, whole)
    except (pa.ArrowException, OSError, EOFError, ValueError, LookupError, struct.error) as reason:
        raise GraphError(f"{path} holds no graph ({' '.join(str(reason).split())}): {AGAIN}") from reason
    if whole:
        _believe(path)
    return graph


def _checksum(data: NDArray[np.uint8]) -> int:
    return zlib.crc32(data[_PREFIX.size :].data)


def _stamp(path: Path) -> tuple[Path, bytes]:
    """Where it is noted that a file was checked, and what says that it is still that file: any write changes it."""
    at = path.stat()
    said = digest(at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns, _VERSION)
    return cache_folder() / "indexes" / digest(str(path.resolve())), said.encode()


def _believe(path: Path) -> None:
    """Notes that a file was checked, or written just now, if it is one that is mapped."""
    if path.stat().st_size >= MAPPED:
        with suppress(OSError, OutputError):  # then it is checked again
            place, said = _stamp(path)
            make_folder(place.parent)
            write_whole(said, place, force=True)


def _believed(path: Path) -> bool:
    """Whether a file is noted as checked."""
    place, said = _stamp(path)
    return place.is_file() and place.read_bytes() == said


def _graph(data: NDArray[np.uint8], whole: bool) -> Graph:
    """The graph in an index's bytes.

    Args:
        whole: whether all of it is checked; else the few bytes that say where the columns are.

    Raises:
        ValueError, OSError, EOFError, LookupError, struct.error, pa.ArrowException: they hold none.
    """
    messages = pa.BufferReader(pa.py_buffer(data[_BEGIN + 8 :]))  # an Arrow file is its name, a stream and a footer
    schema, rows = pa.ipc.read_message(messages), pa.ipc.read_message(messages)
    _require(schema.type == "schema" and pa.ipc.read_schema(schema).equals(SCHEMA), "its columns are others")
    _require(rows.type == "record batch" and not _compressed(bytes(rows.metadata)), "it is compressed")
    batch = pa.ipc.read_record_batch(rows, SCHEMA)
    batch.validate(full=whole)
    columns = {name: batch[name].flatten() for name in SCHEMA.names}
    missing = any(columns[name].null_count for name in [*_NUMBERS, *_ORDERS, *_NAMES, "sha256"])
    _require(len(batch) == 1 and not missing and len(columns["sha256"]) == 1, "a value is missing")
    held: list[Any] = [None if batch[name].null_count else columns[name] for name in _STRINGS]
    _require(held[0] is not None and held[2] is not None, "the names are missing")
    _require(held[1] is None or len(held[1]) == len(held[0]), "labels do not fit")
    _require(all(one is None or len(one) == len(held[2]) for one in held[3:]), "labels or texts do not fit")
    _require(len({text is None for text in held[4:]}) == 1, "some texts are missing")
    few = [None if one is None else pl.Series(one) for one in held[2:]]
    texts = None if few[-1] is None else pl.DataFrame(dict(zip(TEXTS, few[2:], strict=True)))
    entities, relations = Names(*held[:2]), Names(few[0], few[1], texts)
    entities.by_name, entities.by_call = (
        None if batch[name].null_count else _view(columns[name], data) for name in _ORDERS
    )
    sources, kinds, offsets, twins, reflexive = (_view(columns[name], data) for name in _NUMBERS)
    count = len(relations)
    _require(len(offsets) == len(entities) + 1 and len(sources) == len(kinds), "the edges do not fit the entities")
    _require(_are_groups(twins, 2 * count), "its twins do not fit the relations")
    if whole:
        _check(entities, relations, sources, kinds, offsets)
    graph = Graph(sources, kinds, offsets, entities, relations)
    graph.twins, graph.reflexive = twins, frozenset(reflexive.tolist())
    graph.sha256 = columns["sha256"][0].as_py()
    return graph


def _check(entities: Names, relations: Names, sources: IntArray, kinds: IntArray, offsets: OffsetArray) -> None:
    """Looks at all names and edges.

    Raises:
        ValueError: they are not those of a graph.
    """
    orders = [(entities.names, entities.by_name), (entities.called.str.to_lowercase(), entities.by_call)]
    for strings, order in orders:
        if order is not None:
            _require(len(order) == len(entities) and _are_all(order), "an order does not fit the names")
            strings = strings.gather(order)
        _require(strings.is_sorted(), "an order is none")
    names = entities.names if entities.by_name is None else entities.names.gather(entities.by_name)
    distinct = (names[1:] != names[:-1]).all() and relations.names.n_unique() == len(relations)
    _require(distinct, "a name is there twice")
    fits = offsets[0] == 0 and (np.diff(offsets) >= 0).all() and len(sources) == offsets[-1]
    _require(fits, "the edges do not fit the entities")
    key = np.uint64(secrets.randbits(64))  # no file can be made to fit a number that nobody knows
    _require(edges_hold(offsets, kinds, sources, len(relations), key), "its edges are not sorted, paired and in range")


def _are_all(ids: IntArray) -> bool:
    """Whether these are all ids below their number."""
    return bool((np.bincount(ids[(ids >= 0) & (ids < len(ids))], minlength=len(ids)) == 1).all())


def _are_groups(twins: OffsetArray, count: int) -> bool:
    """Whether each of so many is given the first of its group, as in `Graph.twins`."""
    inside = len(twins) == count and ((twins >= 0) & (twins <= np.arange(count))).all()
    return bool(inside and (twins[twins] == twins).all())


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
