"""Graphs that are too large for memory, read in pieces on the disk: the same graph, the same index, nothing left."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import Run
from trivium.errors import GraphError, OutputError
from trivium.graph import read
from trivium.graph.graph import Graph
from trivium.graph.read import read_graph
from trivium.kernels import csr
from trivium.model.topology import Topology


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Parquet file of 3,000 rows, some of them twice, that is read in many pieces and sorted in many blocks."""
    rng = np.random.default_rng(0)
    heads, tails = (rng.random((2, 3000)) ** 2 * 400).astype(int)
    relations = rng.integers(0, 30, 3000)
    names = {"head": heads, "relation": relations, "tail": tails}
    frame = pl.DataFrame({name: [f"{name[0] * (name != 'tail')}{i}" for i in ids] for name, ids in names.items()})
    frame = frame.with_columns(pl.col("head").str.replace("h", ""))
    frame.write_parquet(tmp_path / "g.parquet", row_group_size=170)
    frame.write_csv(tmp_path / "g.tsv", separator="\t", include_header=False)
    monkeypatch.setattr(read, "PIECE_ROWS", 500)
    monkeypatch.setattr(csr, "BLOCK_EDGES", 700)
    return tmp_path / "g.parquet"


@pytest.mark.parametrize("how", [{}, {"undirected": True}, {"symmetric": ["r3", "r7"]}], ids=["", "undirected", "some"])
def test_in_pieces_a_graph_is_the_same(table: Path, tmp_path: Path, how: dict[str, bool]) -> None:
    (tmp_path / "pieces").mkdir()
    done: list[tuple[int, int | None]] = []
    graph = read_graph(table, **how, scratch=tmp_path / "pieces", progress=lambda *step: done.append(step))  # type: ignore[arg-type]
    same = read_graph(table, **how)  # type: ignore[arg-type]
    assert {path.name for path in (tmp_path / "pieces").iterdir()} == {"sources.part", "relations.part"}
    for name in ("sources", "edge_relations", "offsets", "triples", "twins"):
        np.testing.assert_array_equal(getattr(graph, name), getattr(same, name))
    assert (graph.sha256, graph.entities.names.to_list()) == (same.sha256, same.entities.names.to_list())
    assert [step for step, total in done if total is None][-1] == 3000
    shares = [step / total for step, total in done if total is not None]
    assert len(shares) > 20 and shares == sorted(shares) and shares[-1] < 1


def test_passes_in_blocks_find_the_same(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = read_graph(table)
    found = passes(graph)
    monkeypatch.undo()
    assert passes(read_graph(table)) == found


def passes(graph: Graph) -> list[list[int]]:
    topology = Topology(graph)
    held = topology.to_entities.offsets, topology.to_entities.sources, topology.fact_index.entity_colours, graph.twins
    return [array.tolist() for array in held]


def test_an_index_does_not_tell_how_it_was_made(
    table: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (table, table.with_suffix(".tsv")):
        assert command("index", path, "-o", tmp_path / f"{path.suffix[1:]}.trivium")[0] == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert command("index", table, "-o", tmp_path / "whole.trivium")[0] == 0
    contents = [(tmp_path / f"{name}.trivium").read_bytes() for name in ("whole", "parquet", "tsv")]
    assert all(before == after for before, after in itertools.pairwise(contents))
    assert not list(tmp_path.glob("*.pieces"))


def test_what_fails_leaves_nothing(table: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = table.with_suffix(".tsv")
    bad.write_text(bad.read_text() + "a\tb\n")
    status, _, err = command("index", bad, "-o", tmp_path / "g.trivium")
    assert (status, "g.tsv line 3001: 2 fields" in err) == (2, True)
    with pytest.raises(OutputError, match="cannot write in"):
        read_graph(table, scratch=tmp_path / "absent")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    status, _, err = command("index", table, "-o", tmp_path / "g.trivium")
    assert (status, "No space left on device" in err, err.count("\n")) == (2, True, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"g.parquet", "g.tsv"}


def test_a_fault_far_behind_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the lines before it were read in other ways already: none is there twice, none is missing."""
    from trivium.graph import tables

    monkeypatch.setattr(tables, "_BLOCK_BYTES", 200)
    lines = [f"a{i}\tr\tb{i}\n" for i in range(200)]
    (tmp_path / "g.tsv").write_text("".join([*lines, "\t\t\n", "z\tr\ty\n"]))
    graph = read_graph(tmp_path / "g.tsv")
    assert (graph.num_triples, graph.left_out) == (201, {"rows without an edge": 1})
    (tmp_path / "g.tsv").write_text("".join([*lines, "a\tr\n"]))
    with pytest.raises(GraphError, match="line 201: 2 fields"):
        read_graph(tmp_path / "g.tsv")
