"""Names by name, by their beginning, by likeness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.conftest import ODD, PLAIN
from trivium.errors import GraphError
from trivium.graph.names import Names
from trivium.service.name_index import Directory


def directory(names: list[str], labels: list[str] | None = None, weight: list[int] | None = None) -> Directory:
    return Directory(Names(names, labels), np.array(weight or [1] * len(names)))


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), unique=True, min_size=1))
def test_every_name_is_found_and_nothing_else(names: list[str]) -> None:
    held = directory(names)
    assert [held.known(name) for name in names] == list(range(len(names)))
    assert held.known("".join(names) + "x") is None
    for name in names:
        assert name in [held.name(int(i)) for i in held.search(name, len(names))]


def test_beginnings_come_first_the_same_name_before_all_then_the_weightier() -> None:
    held = directory(["Niger River", "Niger", "Nigeria", "Algeria", "Congo River"], weight=[1, 2, 9, 5, 3])
    assert [held.name(i) for i in held.search("niger", 3)] == ["Niger", "Nigeria", "Niger River"]
    assert [held.name(i) for i in held.search("", 2)] == ["Nigeria", "Algeria"]
    assert held.name(held.search("nigerai", 1)[0]) == "Nigeria"  # a near miss
    assert "Congo River" in [held.name(i) for i in held.search("river", 5)]
    assert len(held.search("qqqq", 5)) == 0


def test_labels_are_searched_and_shown_but_names_identify() -> None:
    held = directory(["u:1", "u:2", "u:3"], ["Paris", "Paris", "Rome"])
    assert held.known("u:2") == 1
    assert held.known("Rome") == 2
    assert held.known("rome") is None
    with pytest.raises(GraphError, match=r"'Paris' belongs to several names: give one of them \(u:1, u:2\)"):
        held.known("Paris")
    assert [held.label(i) for i in held.search("PAR", 5)[:2]] == ["u:1", "u:2"]  # as explanations name them
    assert held.label(2) == "Rome"


def test_odd_names_and_odd_searches() -> None:
    held = directory(ODD + PLAIN)
    for name in ODD:
        assert held.name(held.search(name, 1)[0]) == name
    for text in ("\x00", "\U0010ffff", "%", "[", "\\", "(?", "x" * 10_000):
        held.search(text, 5)
    assert "'Ganges'" in held.suggest("Gangse")
    assert held.suggest("x" * 10_000) == "nothing here is spelled like it"
