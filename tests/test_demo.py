"""The demo graph and the demo: what is hidden, and how ranks are counted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import build_world
import numpy as np
import polars as pl
import pytest

from tests.conftest import Run, graph_of
from trivium import Graph, read_graph
from trivium.cli import demo
from trivium.graph.names import Names
from trivium.inference.answers import Ids

FACTS = [tuple(line.split("\t")) for line in demo.WORLD.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def world() -> Graph:
    return read_graph(demo.WORLD)


def test_the_committed_graph_is_what_the_script_makes() -> None:
    assert build_world.world_facts() == FACTS


def test_sources_state_the_counts() -> None:
    text = demo.WORLD.with_name("SOURCES.md").read_text(encoding="utf-8")
    assert f"{len(FACTS):,} facts" in text
    counted: dict[str, int] = {}
    for names, counts in re.findall(r"^\| ([^|]*`[^|]*) \| ([\d, ]+)(?: \([^|]*)? \|", text, re.MULTILINE):
        counted |= dict(zip(re.findall(r"`([^`]+)`", names), map(int, counts.split(",")), strict=True))
    assert counted == {r: sum(r == fact[1] for fact in FACTS) for r in {fact[1] for fact in FACTS}}


def test_no_name_stands_for_two_kinds_of_thing() -> None:
    ends = {
        "flows through": ("river", "country"),
        "lies in": ("lake", "country"),
        "part of": ("subregion", "continent"),
    }
    kinds = defaultdict(set)
    for head, relation, tail in FACTS:
        first, second = ends.get(relation, ("country", "country" if relation == "borders" else relation))
        kinds[head].add(first)
        if relation != "lowest point":  # a sea, a lake or a river
            kinds[tail].add(second)
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}


def test_borders_are_told_in_both_directions() -> None:
    borders = {(h, t) for h, r, t in FACTS if r == "borders"}
    assert borders
    assert {(t, h) for h, t in borders} == borders


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Donau (Danube)", "Danube"),
        ("Yuan Jiang (Red river) source", "Red River"),
        ("Rio Grande river source (mouth shared with Mexico)", "Rio Grande"),
        ("Vaal [s]", "Vaal"),
        ("Niger", "Niger River"),
        ("the Tigris and Euphrates join to form the Shatt al Arab", None),
        ("[m] after country name indicates", None),
    ],
)
def test_river_names(raw: str, name: str | None) -> None:
    assert build_world.river_name(raw) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Superior* \u2013 53,348 sq km", "Lake Superior"),
        ("Nettilling Lake - 5,542 sq km note", "Nettilling Lake"),
        ("Lake Chad (endorheic lake shared with Niger, Nigeria, and Chad) - 10,360-25,900 sq km note", "Lake Chad"),
        ("Biwa-ko 688 sq km", "Biwa-ko"),
        ("9.6 times saltier than the ocean", None),
        ("it is an endorheic mountain basin", None),
    ],
)
def test_lake_names(raw: str, name: str | None) -> None:
    assert build_world.lake_name(raw) == name


def test_utc_offsets() -> None:
    offsets = [build_world.utc_offset(hours) for hours in (5.75, -3.5, 0, 14)]
    assert offsets == ["UTC+05:45", "UTC-03:30", "UTC+00:00", "UTC+14:00"]


def test_hides_a_twentieth_with_both_sides_of_borders_and_strands_nobody(world: Graph) -> None:
    hidden = demo.hide(world, seed=3)
    not_asked = [world.relations.id(name, "relation") for name in demo.NOT_ASKED]
    askable = (~np.isin(world.triples[:, 1], not_asked)).sum()
    assert 0.05 <= len(hidden) / askable <= 0.051
    assert world.contains(hidden).all()
    assert not np.isin(hidden[:, 1], not_asked).any()
    borders = world.relations.id("borders", "relation")
    told = {(h, t) for h, r, t in hidden.tolist() if r == borders}
    assert {(t, h) for h, t in told} == told
    asked = demo.question_triples(world)
    visible = world.less(np.concatenate([hidden, asked]))
    assert visible.num_triples == world.num_triples - len(hidden) - len(asked) - 1  # one of them is a border
    assert (np.diff(visible.offsets) > 0).all()
    assert np.array_equal(demo.hide(world, seed=3), hidden)
    assert not np.array_equal(demo.hide(world, seed=4), hidden)


def test_every_question_is_a_fact_of_the_graph(world: Graph) -> None:
    assert world.contains(demo.question_triples(world)).all()


def small_graph() -> Graph:
    """Two borders, and three countries that speak two languages: a a b."""
    facts = [[2, 0, 3], [3, 0, 2], [2, 1, 0], [3, 1, 0], [4, 1, 1]]
    return graph_of(facts, Names(["a", "b", "x", "y", "z"]), Names(["borders", "language"]))


def test_frequency_ranks_leave_known_answers_out() -> None:
    graph = small_graph()
    a, y = graph.entities.id("a", "entity"), graph.entities.id("y", "entity")
    language, speakers = 1, 3
    visible = graph.without(np.array([[y, language, a]], np.int32))  # x speaks a, z speaks b
    ranks = demo.frequency_ranks(visible, graph, np.array([y, a]), np.array([language, speakers]), np.array([a, y]))
    # (y, language, ?) seeks a: b has as many speakers.
    # (a, speakers, ?) seeks y: x is known, z is better, a and b tie.
    assert ranks.better.tolist() == [0, 1]
    assert ranks.tied.tolist() == [1, 2]


class Ignorant:
    """Knows nothing: in place of a ranker."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @classmethod
    def open(cls, graph: Graph, checkpoint: str) -> Ignorant:
        assert checkpoint == "trivium"
        return cls(graph)

    def rank(self, head: str, relation: str, k: int) -> pl.DataFrame:
        return pl.DataFrame({"rank": range(1, k + 1), "tail": ["India"] + ["Peru"] * (k - 1), "score": [1.0] * k})

    def ranks(self, heads: Ids, relations: Ids, answers: Ids, known: Graph) -> Iterator[object]:
        for places in np.array_split(np.arange(len(heads))[::-1], 3):
            asked = heads[places], relations[places], answers[places]
            yield places, demo.frequency_ranks(self.graph, known, *asked), None


def test_the_demo_marks_hidden_answers_and_prints_both_rankings(monkeypatch: pytest.MonkeyPatch, command: Run) -> None:
    monkeypatch.setattr(demo, "Ranker", Ignorant)
    status, shown, _ = command("demo")
    assert status == 0
    assert re.search(
        r"Nepal · borders · \? +\(the graph says: China\)\n +1\. India +1\.00 +✓\n +2\. Peru +1\.00\n", shown
    )
    total = re.search(r"^all +(\d+) +(\S+) +(\S+) +(\S+) +(\S+) *$", shown, re.MULTILINE)
    assert total and total[2] == total[4] and total[3] == total[5]
    assert "1.0 times" in shown


def test_the_demo_writes_its_graph(tmp_path: Path, command: Run) -> None:
    path = tmp_path / "world.tsv"
    status, out, _ = command("demo", "-o", path)
    assert (status, f"trivium rank {path} --head" in out) == (0, True)
    assert path.read_bytes() == demo.WORLD.read_bytes()
    status, _, err = command("demo", "-o", path)
    assert (status, "--force" in err) == (2, True)
