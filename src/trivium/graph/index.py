"""A graph in one file that opens memory-mapped.

Layout: ``TRIVIUM``, a version byte and the little-endian CRC-32 of all that follows; zeros up to byte 64; an Arrow IPC
file of one record batch with one row, a list to each column of `SCHEMA`. Labels are null where there are none.
"""

from __future__ import annotations

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

_NUMBERS = {"sources": pa.int32(), "edge_relations": pa.int32(), "offsets": pa.int64()}
_NAMES = ("entity_names", "entity_labels", "relation_names", "relation_labels")
SCHEMA = pa.schema(
    {name: pa.large_list(kind) for name, kind in (_NUMBERS | dict.fromkeys(_NAMES, pa.large_string())).items()}
)
_PREFIX = struct.Struct("<7sBI")
_MAGIC = b"TRIVIUM"
_VERSION = 2
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
    columns = [_list(values) for values in numbers + names]
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
    """Opens a saved graph; its arrays stay in the file.

    They are private to the process (copy on write): changing them changes no file.

    Raises:
        GraphError: the file is missing, damaged, of another version, or no index at all, or what it holds is no
            graph: nothing that an index says is believed unchecked.

    Cost: a pass over the file for its checksum, and a few over its edges that keep nothing: under a second a gigabyte.
    """
    path = Path(path)
    with opened(path) as file:  # an empty file cannot be mapped
        data = np.memmap(file, np.uint8, "c").view(np.ndarray) if file.seek(0, 2) else np.empty(0, np.uint8)
    start = bytes(data[: _PREFIX.size])
    if not start.startswith(_MAGIC) or len(data) < _BEGIN:
        raise GraphError(f"{path} is no index: make one with `trivium index GRAPH -o {path.name}`")
    _, version, checksum = _PREFIX.unpack(start)
    if version != _VERSION:
        raise GraphError(f"{path} is an index of version {version}, not {_VERSION}: {AGAIN}")
    if zlib.crc32(data[_PREFIX.size :].data) != checksum:
        raise GraphError(f"{path} is damaged or cut short (its checksum is another): {AGAIN}")
    try:
        return _graph(data)
    except (pa.ArrowException, OSError, ValueError, LookupError) as reason:
        raise GraphError(f"{path} holds no graph ({' '.join(str(reason).split())}): {AGAIN}") from reason


def _graph(data: NDArray[np.uint8]) -> Graph:
    """The graph in an index's bytes.

    Raises:
        ValueError, OSError, LookupError, pa.ArrowException: they hold none.
    """
    file = pa.ipc.open_file(pa.py_buffer(data[_BEGIN:]))
    _require(file.schema.equals(SCHEMA) and file.num_record_batches == 1, "its columns are others")
    batch = file.get_batch(0)
    batch.validate(full=True)
    columns = {name: batch[name].flatten() for name in SCHEMA.names}
    _require(len(batch) == 1 and not any(column.null_count for column in columns.values()), "a value is missing")
    sources, kinds, offsets = (_view(columns[name], data) for name in _NUMBERS)
    names: list[Any] = [None if batch[name].null_count else pl.Series("name", columns[name]) for name in _NAMES]
    for held, labels in (names[:2], names[2:]):
        _require(held is not None and held.n_unique() == len(held), "a name is missing or there twice")
        _require(labels is None or len(labels) == len(held), "labels do not fit the names")
    entities, relations = Names(*names[:2]), Names(*names[2:])
    fits = len(offsets) == len(entities) + 1 and offsets[0] == 0 and (np.diff(offsets) >= 0).all()
    _require(fits and len(sources) == len(kinds) == offsets[-1], "the edges do not fit the entities")
    for ids, count in ((sources, len(entities)), (kinds, 2 * len(relations))):
        _require(not len(ids) or 0 <= int(ids.min()) <= int(ids.max()) < count, "an edge leads outside")
    ascending = (kinds[1:] > kinds[:-1]) | ((kinds[1:] == kinds[:-1]) & (sources[1:] > sources[:-1]))
    begins = offsets[(offsets > 0) & (offsets < len(sources))]
    ascending[begins - 1] = True  # another target
    _require(ascending.all(), "its edges are not sorted")
    return Graph(sources, kinds, offsets, entities, relations)


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
