import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Run
from trivium.errors import GraphError, InputError, OutputError
from trivium.graph import index, names
from trivium.graph.graph import Graph
from trivium.graph.index import SCHEMA, open_index, save_index
from trivium.graph.names import Names
from trivium.graph.read import read_graph


def small(labels: bool = True) -> Graph:
    rng = np.random.default_rng(0)
    heads, relations, tails = (rng.integers(0, top, 200, np.int32) for top in (30, 4, 30))
    held = [f"é{i}😀" for i in range(30)]
    entities = Names(held, [name.upper() for name in held] if labels else None)
    return Graph.from_ids(heads, relations, tails, entities=entities, relation_names=Names(["a", "b", 'c"', "d\t"]))


@pytest.mark.parametrize("labels", [True, False])
def test_what_is_saved_is_what_opens(tmp_path: Path, labels: bool) -> None:
    graph = small(labels)
    save_index(graph, tmp_path / "g.trivium")
    for read in (open_index, read_graph):
        same = read(tmp_path / "g.trivium")
        for part in ("sources", "edge_relations", "offsets"):
            np.testing.assert_array_equal(getattr(same, part), getattr(graph, part))
            assert getattr(same, part).dtype == getattr(graph, part).dtype
        assert same.sha256 == graph.sha256
        assert same.entities.names.equals(graph.entities.names, check_dtypes=True)
        assert (same.entities.labels is None) == (not labels)
        assert same.entities.shown(np.arange(30)).equals(graph.entities.shown(np.arange(30)))
    assert [p.name for p in tmp_path.iterdir()] == ["g.trivium"]


def test_a_graph_without_edges_can_be_saved(tmp_path: Path) -> None:
    graph = small()
    save_index(graph.without(graph.triples), tmp_path / "g.trivium")
    assert open_index(tmp_path / "g.trivium").num_triples == 0


def test_changing_an_opened_graph_changes_no_file(tmp_path: Path) -> None:
    save_index(small(), tmp_path / "g.trivium")
    before = (tmp_path / "g.trivium").read_bytes()
    open_index(tmp_path / "g.trivium").sources[:] = 0
    assert (tmp_path / "g.trivium").read_bytes() == before


def test_a_file_written_over_changes_no_opened_graph(tmp_path: Path) -> None:
    """As `cp` does it, into the same file; a mapped file that shrinks would end the process."""
    graph = small()
    save_index(graph, tmp_path / "g.trivium")
    opened = open_index(tmp_path / "g.trivium")
    with (tmp_path / "g.trivium").open("r+b") as file:
        file.truncate(1)
    assert opened.sha256 == graph.sha256


def test_an_index_takes_no_place_that_is_taken_or_nameless(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such file"):
        open_index(tmp_path / "g.trivium")
    with pytest.raises(OutputError, match=r"its ending must be \.trivium"):
        save_index(small(), tmp_path / "g.parquet")
    (tmp_path / "g.trivium").write_text("kept")
    with pytest.raises(OutputError, match="exists already"):
        save_index(small(), tmp_path / "g.trivium")
    save_index(small(), tmp_path / "g.trivium", force=True)
    assert open_index(tmp_path / "g.trivium").num_entities == 30


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no index"),
        (b"TRIVIUM", "is no index"),
        (b"another" * 40, "is no index"),
        (b"PK\x03\x04" * 40, "is a zip archive"),
        (b"TRIVIUM\x01" + bytes(80), "of version 1, not 4: make it anew"),
        (b"TRIVIUM\x04" + bytes(80), r"is damaged or cut short \(its checksum"),
        (b"TRIVIUM\x04" + zlib.crc32(bytes(99)).to_bytes(4, "little") + bytes(99), "holds no graph"),
    ],
)
def test_what_is_no_index_is_one_clear_line(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "g.trivium").write_bytes(data)
    with pytest.raises(GraphError, match=words):
        read_graph(tmp_path / "g.trivium")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 16), st.integers(1, 255), st.booleans())
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, place: int, flip: int, cut: bool) -> None:
    whole = tmp_path / "whole.trivium"
    if not whole.exists():
        save_index(small(), whole)
    data = bytearray(whole.read_bytes())
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] ^= flip
    (tmp_path / "bad.trivium").write_bytes(data)
    with pytest.raises(GraphError, match=r"bad\.trivium") as caught:
        open_index(tmp_path / "bad.trivium")
    assert "\n" not in str(caught.value)


def crafted(path: Path, columns: dict[str, Any], alone: Any = None) -> Path:
    """An index with a right checksum and other columns than that of `small` has."""
    save_index(small(), path, force=True)
    batch = pa.ipc.open_file(pa.py_buffer(path.read_bytes()[64:])).get_batch(0)
    held = {name: columns.get(name, batch[name]) for name in SCHEMA.names}
    table = pa.record_batch({"x": alone} if alone is not None else held)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table)
    rest = bytes(52) + sink.getvalue().to_pybytes()
    path.write_bytes(b"TRIVIUM\x04" + zlib.crc32(rest).to_bytes(4, "little") + rest)
    return path


def strings(offsets: list[int], data: bytes) -> Any:
    """One row, a list of strings with these offsets, unchecked."""
    buffers = [None, pa.py_buffer(np.array(offsets, np.int64)), pa.py_buffer(data)]
    values = pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
    return pa.LargeListArray.from_arrays([0, len(values)], values)


def numbers(values: Any, kind: str = "int32") -> Any:
    return pa.array([values], pa.large_list(pa.type_for_alias(kind)))


def unpaired(graph: Graph) -> Any:
    """The kinds of the edges, one of them another so that they are sorted still, but its inverse is not there."""
    kinds, top = graph.edge_relations.copy(), 2 * graph.num_relations - 1
    last = graph.offsets[1:] - 1  # the last edge of each entity may have a larger relation
    place = last[(kinds[last] < top) & (np.diff(graph.offsets) > 0)][0]
    kinds[place] = top
    return kinds


def test_a_crafted_file_is_one_clear_line(tmp_path: Path) -> None:
    graph = small()
    kinds, sources, offsets = graph.edge_relations.copy(), graph.sources.copy(), graph.offsets.copy()
    kinds[[0, 5]], sources[3], offsets[3] = kinds[[5, 0]], 30, offsets[4] + 1
    bad: list[dict[str, Any]] = [
        {"edge_relations": numbers(kinds)},
        {"sources": numbers(sources)},
        {"offsets": numbers(offsets, "int64")},
        {"offsets": numbers(graph.offsets)},
        {"sources": numbers([None, *graph.sources[1:].tolist()])},
        {"sources": numbers(graph.sources[1:])},
        {"sources": numbers(None)},
        {"relation_names": strings([0, 1, 2, 1, 4], b"abcd")},
        {"relation_names": strings([0, 1, 1 << 40, 3, 4], b"abcd")},
        {"relation_names": strings([0, 1, 2, 3, 4], b"abc\xff")},
        {"relation_names": strings([0, 1, 2, 3, 4], b"abca")},
        {"relation_names": pa.nulls(1, pa.large_list(pa.large_string()))},
        {"relation_names": pa.array([["a", "b", "c", None]], pa.large_list(pa.large_string()))},
        {"relation_labels": strings([0, 1], b"a")},
        {"relation_name_texts": strings([0, 1], b"a")},
        {"edge_relations": numbers(unpaired(graph))},
    ]
    for columns in bad:
        with pytest.raises(GraphError, match="holds no graph") as caught:
            open_index(crafted(tmp_path / "g.trivium", columns))
        assert "\n" not in str(caught.value)
    with pytest.raises(GraphError, match="its columns are others"):
        open_index(crafted(tmp_path / "g.trivium", {}, numbers([1])))
    assert open_index(crafted(tmp_path / "g.trivium", {})).sha256 == graph.sha256


def test_an_index_takes_no_relation_of_pairs(tmp_path: Path) -> None:
    save_index(small(), tmp_path / "g.trivium")
    with pytest.raises(InputError, match=r"g\.trivium has relations of its own, and no 'knows': --relation NAME"):
        read_graph(tmp_path / "g.trivium", relation="knows")
    assert read_graph(tmp_path / "g.trivium", relation="a").num_relations == 4  # what joins pairs to score, perhaps


def test_the_command_line_says_whether_an_index_is_whole(tmp_path: Path, command: Run) -> None:
    path = tmp_path / "g.trivium"
    save_index(small(), path)
    status, _, err = command("index", "g.tsv.gz", "--check")
    assert (status, "g.tsv.gz is no index (.trivium)" in err) == (2, True)
    status, out, _ = command("index", path, "--check")
    assert (status, "is whole: " in out) == (0, True)
    path.write_bytes(path.read_bytes()[:-1])
    status, _, err = command("index", path, "--check")
    assert (status, "is damaged or cut short" in err) == (2, True)
    assert command("index", path)[0] == 2


def test_a_large_index_is_mapped_and_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large from the first byte on, here. What was checked is believed until somebody writes to the file."""
    monkeypatch.setattr(index, "MAPPED", 0)
    monkeypatch.setattr(index, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(names, "FEW", 0)
    looked, whole = [], index._checksum

    def watched(data: NDArray[np.uint8]) -> int:
        looked.append(len(data))
        return whole(data)

    monkeypatch.setattr(index, "_checksum", watched)
    graph, path, copy = small(), tmp_path / "g.trivium", tmp_path / "copy.trivium"
    save_index(graph, path)
    before = path.read_bytes()
    opened = open_index(path)
    assert (path.stat().st_mode & 0o777, looked) == (0o444, [])
    assert opened.entities.id("é7😀", "entity") == 7 and opened.entities.id("É7😀", "entity") == 7
    assert opened.entities.shown(np.array([3])).to_list() == ["É3😀"]
    assert "names" not in vars(opened.entities) and "_shown" not in vars(opened.entities), "all names were read"
    opened.sources[:] = 0
    assert path.read_bytes() == before
    same = open_index(path, check=True)
    assert (same.twins.tolist(), same.reflexive, same.sha256) == (graph.twins.tolist(), graph.reflexive, graph.sha256)
    np.testing.assert_array_equal(same.sources, graph.sources)
    copy.write_bytes(before)
    for times in (2, 2):
        assert open_index(copy).named(graph.triples[:9]).equals(graph.named(graph.triples[:9]))
        assert len(looked) == times
    stamp = copy.stat()
    with copy.open("r+b") as file:
        file.seek(len(before) // 2)
        file.write(b"\xff")
    os.utime(copy, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(GraphError, match="is damaged or cut short"):
        open_index(copy)
