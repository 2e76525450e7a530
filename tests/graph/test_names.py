"""Names by name, by their beginning, by likeness."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.conftest import ODD, PLAIN
from trivium.errors import GraphError
from trivium.graph.names import NameIndex, Names


def index_of(names: list[str], labels: list[str] | None = None, counts: list[int] | None = None) -> NameIndex:
    return NameIndex(Names(names, labels), np.array(counts or [1] * len(names)), "entity")


def search(held: NameIndex, text: str, count: int) -> list[str]:
    return held.names.take(held.search(text, count)).to_list()


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), unique=True, min_size=1))
def test_every_name_is_found_and_nothing_else(names: list[str]) -> None:
    held = index_of(names)
    assert [held.id(name) for name in names] == list(range(len(names)))
    with pytest.raises(GraphError, match="unknown entity"):
        held.id("".join(names) + "x")
    for name in names:
        assert name in search(held, name, len(names))


def test_one_by_one_names_are_found_as_all_at_once() -> None:
    """Beside so many others that no table of all is made for a few."""
    rng = np.random.default_rng(0)
    names = [f"http://x/{'ab'[i % 2]}#{i // 2}" if i % 5 else f"p{i}" for i in rng.permutation(2000)]
    labels = [name if i % 3 else f"Label {i % 700}" for i, name in enumerate(names)]
    for held in (Names(names), Names(names, labels), Names(sorted(names))):
        table = pl.Series([*held.called, *held.names, "nothing", "http"])
        asked = table.gather(rng.choice(len(table), 300)).to_list()
        assert [held.ids([name])[0] for name in asked] == held.ids(pl.Series(asked)).tolist()
        places = rng.choice(len(names), 300)
        assert [held.shown(np.array([place]))[0] for place in places] == held.shown(places).to_list()


def test_beginnings_come_first_the_same_name_before_all_then_those_with_more_facts() -> None:
    held = index_of(["Niger River", "Niger", "Nigeria", "Algeria", "Congo River"], counts=[1, 2, 9, 5, 3])
    assert search(held, "niger", 3) == ["Niger", "Nigeria", "Niger River"]
    assert search(held, "", 2) == ["Nigeria", "Algeria"]
    assert search(held, "nigerai", 1) == ["Nigeria"]  # a near miss
    assert "Congo River" in search(held, "river", 5)
    assert search(held, "qqqq", 5) == []


def test_labels_are_searched_but_names_identify() -> None:
    held = index_of(["u:1", "u:2", "u:3"], ["Paris", "Paris", "Rome"])
    assert held.id("u:2") == 1
    assert held.id("Rome") == 2
    with pytest.raises(GraphError, match="unknown entity 'rome': did you mean 'Rome'"):
        held.id("rome")
    with pytest.raises(GraphError, match=r"'Paris' belongs to 2 names: give one of them \(u:1, u:2\)"):
        held.id("Paris")
    assert search(held, "PAR", 2) == ["u:1", "u:2"]


def test_capitals_hide_no_name_and_addresses_are_called_by_their_end() -> None:
    names = Names(["Lake General Carrera", "Nepal"])
    for name in ("NEPAL", "nepal"):
        assert names.unknown(name, "head").startswith(f"unknown head '{name}': did you mean 'Nepal'")
    names = Names(["http://x/a#p", "http://x/b#p", "http://x/ns/works", "plain"])
    assert names.shown(np.arange(4)).to_list() == ["http://x/a#p", "http://x/b#p", "works", "plain"]
    assert names.id("works", "entity") == 2 and index_of(names.names.to_list()).id("works") == 2
    for held in (names.id, lambda name, _: index_of(names.names.to_list()).id(name)):
        with pytest.raises(
            GraphError, match=r"'p' belongs to 2 names: give one of them \(http://x/a#p, http://x/b#p\)"
        ):
            held("p", "entity")


def test_odd_names_and_odd_searches() -> None:
    held = index_of(ODD + PLAIN)
    for name in ODD:
        assert search(held, name, 1) == [name]
    for text in ("\x00", "\U0010ffff", "%", "[", "\\", "(?", "x" * 10_000):
        search(held, text, 5)
    for name, words in (("Gangse", "did you mean .*'Ganges'"), ("x" * 10_000, "nothing here is spelled like it")):
        with pytest.raises(GraphError, match=words):
            held.id(name)


@pytest.mark.parametrize("padding", [0, 500], ids=["few", "many"])
def test_what_one_is_called_is_not_shown_where_it_is_another_s_name(padding: int) -> None:
    others = [f"x{number:03}" for number in range(padding)]
    names = Names(["China", "India", "Nepal", *others], ["India", "Bharat", "Nepal", *others])
    assert names.shown(np.arange(3)).to_list() == ["China", "Bharat", "Nepal"]
    assert names.ids(["India", "Bharat", "China"]).tolist() == [1, 1, 0]


def test_the_last_part_of_an_address_leads_to_its_label() -> None:
    names = Names(["http://ex.org/P106", "http://ex.org/P27"], ["occupation", "citizenship"])
    assert names.unknown("P106", "relation") == "unknown relation 'P106': did you mean 'occupation'?"
