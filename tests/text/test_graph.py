"""The textual relation graph against its definition, one pair at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trivium.graph.index import open_index, save_index
from trivium.graph.read import read_graph
from trivium.text.encoder import TextEncoder
from trivium.text.graph import TextGraph, graph_texts, with_texts
from trivium.text.names import RelationText


def count_letters(texts: Sequence[str]) -> NDArray[np.float32]:
    counts = np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)
    found: NDArray[np.float32] = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return found


LETTERS = TextEncoder("letters", 26, 0.8, count_letters)


def vectors(relations: int, seed: int, silent: float = 0.2, dim: int = 4) -> NDArray[np.float32]:
    """Random unit vectors, some zero, some pairs equal."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(2 * relations, dim)).astype(np.float32)
    found[rng.random(2 * relations) < 0.2] = found[0]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[rng.random(2 * relations) < silent] = 0
    return found


def edges(graph: TextGraph) -> dict[tuple[int, int], float]:
    lists = (graph.edges.sources.tolist(), graph.edges.targets.tolist(), graph.weight.tolist())
    return {(s, t): w for s, t, w in zip(*lists, strict=True)}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(0, 999), st.sampled_from([0.3, 0.9, 2.0]), st.integers(1, 5))
def test_edges_are_the_nearest_and_the_near(relations: int, seed: int, threshold: float, nearest: int) -> None:
    table = vectors(relations, seed)
    graph = TextGraph.from_vectors(table, threshold, nearest)
    found = edges(graph)
    for target in range(2 * relations):
        others = [j for j in range(2 * relations) if j % relations != target % relations]
        cosines = {j: float(table[target] @ table[j]) for j in others}
        last = sorted(cosines.values(), reverse=True)[nearest - 1] if len(others) >= nearest else -1
        for j, cosine in cosines.items():
            # 2e-5: what lies so close to a limit may fall on either side
            if abs(cosine - last) > 2e-5 and abs(cosine - threshold) > 2e-5 and abs(cosine) > 2e-5:
                assert ((j, target) in found) == (cosine > 0 and (cosine > last or cosine > threshold))
        ranked = sorted((c for c in cosines.values() if c > 2e-5), reverse=True)[:nearest]
        assert sum(t == target for _, t in found) >= len(ranked)
    assert all(s % relations != t % relations for s, t in found)
    assert all(weight == pytest.approx(table[s] @ table[t], abs=1e-6) for (s, t), weight in found.items())
    assert len(graph.weight) == len(found)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 999))
def test_numbering_the_relations_otherwise_changes_nothing(relations: int, seed: int) -> None:
    table = vectors(relations, seed)
    order = np.random.default_rng(seed).permutation(relations)
    nodes = np.concatenate([order, order + relations])
    before, after = TextGraph.from_vectors(table, 0.7), TextGraph.from_vectors(table[nodes], 0.7)
    named = {(int(nodes[s]), int(nodes[t])): weight for (s, t), weight in edges(after).items()}
    assert named.keys() == edges(before).keys()
    assert named == pytest.approx(edges(before), abs=1e-6)
    assert before.num_isolated == after.num_isolated


def test_many_relations_are_joined_block_by_block() -> None:
    table = vectors(600, 0, dim=16)
    graph = TextGraph.from_vectors(table, 2.0)
    cosines = table @ table.T
    nodes = np.arange(1200)
    cosines[nodes, nodes] = cosines[nodes, (nodes + 600) % 1200] = -1
    for target in (3, 1023, 1024, 1199):
        run = graph.edges.sources[graph.edges.offsets[target] : graph.edges.offsets[target + 1]]
        if table[target].any():
            assert set(np.argsort(-cosines[target])[:5]) <= set(run.tolist())
        assert (np.diff(run) > 0).all()


def test_texts_become_a_graph() -> None:
    texts = [RelationText("bad cab"), RelationText("cab bad"), RelationText(), RelationText("xyz", None, "zyx")]
    graph = TextGraph.from_texts(texts, LETTERS)
    assert graph.has_text.tolist() == [True, True, False, True] * 2
    assert (1, 0) in edges(graph) and (0, 1) in edges(graph)
    assert not any(2 in pair or 6 in pair for pair in edges(graph))
    assert np.array_equal(graph.ends[[0, 1, 3, 4, 5]], count_letters(["cab", "bad", "xyz", "bad", "cab"]))
    assert not graph.ends[[2, 6, 7]].any()
    assert graph.num_isolated == 1 and graph.warning is None


def test_isolation_is_warned_of() -> None:
    mute = TextGraph.from_texts([RelationText()] * 3, LETTERS)
    assert mute.num_isolated == 3 and not mute.has_text.any() and edges(mute) == {}
    assert mute.warning is not None and mute.warning.startswith("3 of 3 relations have no neighbour by text")


def test_part_of_a_graph_is_joined_afresh() -> None:
    table = vectors(9, 4, silent=0)
    part = TextGraph.from_vectors(table, 0.9, ends=table[::-1].copy()).take([7, 2])
    assert np.array_equal(part.ends, table[::-1][[7, 2, 16, 11]])
    assert np.array_equal(part.vectors, table[[7, 2, 16, 11]])
    assert edges(part) == edges(TextGraph.from_vectors(table[[7, 2, 16, 11]], 0.9))


def test_a_relation_is_added_by_its_text() -> None:
    table = vectors(4, 1, silent=0)
    one = TextGraph.from_vectors(table[[2, 6]], 0.9, ends=table[[3, 5]])
    graph = TextGraph.from_vectors(table, 0.9).with_relation(one)
    assert graph.num_relations == 5
    assert np.array_equal(graph.vectors, table[[0, 1, 2, 3, 2, 4, 5, 6, 7, 6]])
    assert np.array_equal(graph.ends, table[[0, 1, 2, 3, 3, 4, 5, 6, 7, 5]])
    assert edges(graph)[2, 4] == pytest.approx(1, abs=1e-6)


def test_texts_have_one_name_wherever_they_lie(tmp_path: Path) -> None:
    """Beside the graph or in its index, in whatever order; other texts have another."""
    (tmp_path / "g.tsv").write_text("a\tr2\tb\nb\tr1\tc\n")
    graph = read_graph(tmp_path / "g.tsv")
    plain = graph_texts(graph, LETTERS, tmp_path / "g.tsv").sha256
    (tmp_path / "relations.tsv").write_text("r1\tleads to\tit leads\nr2\tborders\t\tis bordered\nr3\tno relation\n")
    beside = graph_texts(graph, LETTERS, tmp_path / "g.tsv")
    assert beside.sha256 != plain
    (tmp_path / "b").mkdir()
    save_index(with_texts(graph, tmp_path / "g.tsv"), tmp_path / "b" / "g.trivium")
    index = open_index(tmp_path / "b" / "g.trivium")
    assert index.relations.texts is not None
    assert index.relations.texts.rows() == [("leads to", "it leads", None), ("borders", None, "is bordered")]
    held = graph_texts(index, LETTERS, tmp_path / "b" / "g.trivium")
    assert held.sha256 == beside.sha256
    assert (held.vectors == beside.vectors).all()
    assert graph_texts(index.with_relation("r9"), LETTERS).vectors[0].any()
    save_index(with_texts(index, tmp_path / "b" / "g.trivium"), tmp_path / "again.trivium")
    assert graph_texts(open_index(tmp_path / "again.trivium"), LETTERS).sha256 == beside.sha256
    (tmp_path / "relations.tsv").write_text("r1\tpurple\n")
    assert graph_texts(graph, LETTERS, tmp_path / "g.tsv").sha256 not in (beside.sha256, plain)
    assert with_texts(graph, tmp_path / "b" / "g.tsv").relations.texts is None
