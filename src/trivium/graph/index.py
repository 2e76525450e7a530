"""A graph in one file that opens memory-mapped.

Layout, little-endian: ``TRIVIUM`` and a version byte; length and CRC-32 of a JSON header (uint32 each); the
header, ``[[section, dtype, count, crc], ...]``; the sections in that order, each at a multiple of 64 bytes.
Names and labels are Arrow large-string buffers: ``count + 1`` int64 offsets and UTF-8 bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from trivium.errors import GraphError
from trivium.files import check_place, whole_file
from trivium.graph.formats import INDEX
from trivium.graph.graph import Graph
from trivium.graph.names import Names

_MAGIC = b"TRIVIUM"
_VERSION = 1
_PREFIX = struct.Struct("<7sBII")
_ALIGNMENT = 64
_EDGES = ("sources", "edge_relations")


def save_index(graph: Graph, path: str | Path, force: bool = False) -> None:
    """Writes a graph so that `open_index` opens it at once.

    Raises:
        OutputError: the ending is not ``.trivium``, or the file cannot be written there.
    """
    path = check_place(path, force, INDEX)
    sections: dict[str, NDArray[Any]] = {
        "sources": graph.sources,
        "edge_relations": graph.edge_relations,
        "offsets": graph.offsets,
    }
    for what, names in (("entity", graph.entities), ("relation", graph.relations)):
        for kind, strings in (("names", names.names), ("labels", names.labels)):
            if strings is not None:
                sections |= _string_sections(f"{what}_{kind}", strings)
    table = [
        [name, array.dtype.str, len(array), zlib.crc32(array.data) if name not in _EDGES else 0]
        for name, array in sections.items()
    ]
    header = json.dumps(table).encode()
    with whole_file(path, force) as file:
        file.write(_PREFIX.pack(_MAGIC, _VERSION, len(header), zlib.crc32(header)) + header)
        for array in sections.values():
            file.write(bytes(-file.tell() % _ALIGNMENT))
            file.write(np.ascontiguousarray(array).data)


def _string_sections(name: str, strings: Any) -> dict[str, NDArray[Any]]:
    import polars as pl

    array = strings.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, np.uint8)[starts[0] : starts[-1]]
    return {f"{name}_offsets": starts - starts[0], f"{name}_bytes": text}


def open_index(path: str | Path) -> Graph:
    """Opens a saved graph; its edges stay in the file until they are needed.

    The arrays are private to the process (copy on write): changing them changes no file.

    Raises:
        GraphError: the file is missing, cut short, damaged, of another version, or no index at all. Damage to
            the edges is found where an id leaves its range; to anything else by a checksum.

    Cost: O(entities + relations), and one pass over the edges that keeps nothing.
    """
    path = Path(path)
    try:
        data = np.memmap(path, np.uint8, "c").view(np.ndarray)
    except FileNotFoundError as reason:
        raise GraphError(f"{path}: no such file") from reason
    except (OSError, ValueError) as reason:
        raise GraphError(
            f"{path} cannot be opened as an index: {getattr(reason, 'strerror', None) or reason}"
        ) from reason
    sections = _sections(path, data)
    try:
        sources, kinds, offsets = (sections[name] for name in (*_EDGES, "offsets"))
        entities, relations = (_names(sections, what) for what in ("entity", "relation"))
        _check(sources, len(entities))
        _check(kinds, 2 * len(relations))
    except (KeyError, ValueError) as reason:
        _damaged(path, reason)
    whole = len(offsets) == len(entities) + 1 and offsets[0] == 0 and (np.diff(offsets) >= 0).all()
    if not whole or not len(sources) == len(kinds) == offsets[-1]:
        _damaged(path, "the edges do not fit the entities")
    return Graph(sources, kinds, offsets, entities, relations)


def _sections(path: Path, data: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The arrays of the file, not copied."""
    start = bytes(data[: _PREFIX.size])
    if not start.startswith(_MAGIC) or len(start) < _PREFIX.size:
        raise GraphError(f"{path} is no index: make one with `trivium index GRAPH -o {path.name}`")
    _, version, length, crc = _PREFIX.unpack(start)
    if version != _VERSION:
        raise GraphError(f"{path} is an index of version {version}, not {_VERSION}: make it anew")
    place = _PREFIX.size + length
    header = bytes(data[_PREFIX.size : place])
    if len(header) < length:
        raise GraphError(f"{path} is cut short: make it anew with `trivium index`")
    if zlib.crc32(header) != crc:
        _damaged(path, "its header")
    sections = {}
    for name, dtype, count, checksum in json.loads(header):
        place += -place % _ALIGNMENT
        end = place + count * np.dtype(dtype).itemsize
        if end > len(data):
            raise GraphError(f"{path} is cut short ({len(data)} bytes, {end} needed): make it anew")
        sections[name] = data[place:end].view(dtype)
        if name not in _EDGES and zlib.crc32(sections[name].data) != checksum:
            _damaged(path, name)
        place = end
    if place != len(data):
        _damaged(path, "bytes follow its end")
    return sections


def _names(sections: dict[str, NDArray[Any]], what: str) -> Names:
    import polars as pl
    import pyarrow as pa

    columns: list[Any] = []
    for kind in ("names", "labels"):
        if kind == "labels" and f"{what}_labels_offsets" not in sections:
            columns.append(None)
            continue
        offsets, text = (sections[f"{what}_{kind}_{part}"] for part in ("offsets", "bytes"))
        buffers = (pa.py_buffer(part) for part in (offsets, text))
        columns.append(pl.Series("name", pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers)))
    return Names(columns[0], columns[1])


def _check(ids: NDArray[Any], count: int) -> None:
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= count):
        raise ValueError("an edge leads outside")


def _damaged(path: Path, what: object) -> NoReturn:
    raise GraphError(f"{path} is damaged ({what}): make it anew with `trivium index`")
