from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivium.errors import GraphError, OutputError
from trivium.graph.graph import Graph
from trivium.graph.index import open_index, save_index
from trivium.graph.names import Names
from trivium.graph.read import read_graph


def small(labels: bool = True) -> Graph:
    rng = np.random.default_rng(0)
    heads, relations, tails = (rng.integers(0, top, 200, np.int32) for top in (30, 4, 30))
    names = [f"é{i}😀" for i in range(30)]
    entities = Names(names, [name.upper() for name in names] if labels else None)
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
        assert same.entities.names.equals(graph.entities.names)
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


def test_an_index_takes_no_place_that_is_taken_or_nameless(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"its ending must be \.trivium"):
        save_index(small(), tmp_path / "g.parquet")
    (tmp_path / "g.trivium").write_text("kept")
    with pytest.raises(OutputError, match="exists already"):
        save_index(small(), tmp_path / "g.trivium")
    with pytest.raises(GraphError, match="is no index"):
        open_index(tmp_path / "g.trivium")
    save_index(small(), tmp_path / "g.trivium", force=True)
    assert open_index(tmp_path / "g.trivium").num_entities == 30


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be opened as an index"),
        (b"TRIVIUM", "is no index"),
        (b"PK\x03\x04" * 40, "is no index"),
        (b"TRIVIUM\x07" + bytes(80), "of version 7, not 1"),
        (b"TRIVIUM\x01\xff\xff\x00\x00" + bytes(80), "is cut short"),
        (b"TRIVIUM\x01\x02\x00\x00\x00" + bytes(80), r"is damaged \(its header\)"),
    ],
)
def test_what_is_no_index_is_one_clear_line(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "g.trivium").write_bytes(data)
    with pytest.raises(GraphError, match=words):
        read_graph(tmp_path / "g.trivium")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such file"):
        open_index(tmp_path / "g.trivium")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 16), st.integers(1, 255), st.booleans())
def test_a_damaged_file_is_one_clear_line_or_a_graph_within_bounds(
    tmp_path: Path, place: int, flip: int, cut: bool
) -> None:
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
    try:
        graph = open_index(tmp_path / "bad.trivium")
    except GraphError as reason:
        assert "bad.trivium" in str(reason)
        assert "\n" not in str(reason)
    else:
        assert not cut
        assert 0 <= graph.sources.min() <= graph.sources.max() < 30
        assert 0 <= graph.edge_relations.min() <= graph.edge_relations.max() < 8
        assert graph.entities.names.equals(small().entities.names)


def test_names_open_as_strings(tmp_path: Path) -> None:
    save_index(small(), tmp_path / "g.trivium")
    assert open_index(tmp_path / "g.trivium").entities.names.dtype == pl.String
