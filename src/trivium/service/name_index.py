"""Names looked up by name, by their beginning and by likeness, on the event loop or beside it."""

from __future__ import annotations

from typing import Literal, SupportsInt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import GraphError
from trivium.graph.names import Names

CHUNK = 4096  # names compared while nothing else of Python runs: about 5 ms
LONGEST = 200  # characters; a longer name is not compared with others
LEAST_LIKENESS = 60.0

Ids = NDArray[np.int64]


class Directory:
    """The names of entities or relations, sorted twice: as they are, and as people type them.

    Args:
        names: by id.
        weight: ``[names]``; of several names with the same beginning, the weightier come first.

    Cost: O(names · log names) once; two sorted copies of the names, no Python object per name.
    """

    def __init__(self, names: Names, weight: NDArray[np.integer]) -> None:
        self.names = names
        self.weight = weight
        self._order = names.names.arg_sort().to_numpy().astype(np.int64)
        self._sorted = names.names.gather(self._order)
        shown = names.names if names.labels is None else names.labels
        folded = shown.str.to_lowercase()
        self._folded_order = folded.arg_sort().to_numpy().astype(np.int64)
        self._folded = folded.gather(self._folded_order)

    def __len__(self) -> int:
        return len(self._order)

    def name(self, place: SupportsInt) -> str:
        return str(self.names.names[int(place)])

    def label(self, place: SupportsInt) -> str:
        """As explanations call it, see `Names.shown`."""
        return str(self.names.shown(np.array([int(place)]))[0])

    def known(self, name: str) -> int | None:
        """The id of a name, or of a label that belongs to one name alone; ``None`` if there is none.

        Raises:
            GraphError: a label that belongs to several names.

        Cost: O(log names).
        """
        place = _first(self._sorted, name)
        if place < len(self) and self._sorted[place] == name:
            return int(self._order[place])
        if self.names.labels is None:
            return None
        same = [i for i in self._starting(name.lower())[0] if self.names.labels[int(i)] == name]
        if len(same) > 1:
            rest = ", ".join(self.name(i) for i in same[:5])
            raise GraphError(f"the label {name!r} belongs to several names: give one of them ({rest})")
        return int(same[0]) if same else None

    def search(self, text: str, count: int) -> Ids:
        """The ids of the names (labels, where there are any) that begin with ``text``, then of those spelled like it.

        Capitals do not matter. Cost: O(log names) where enough names begin with it, else O(names).
        """
        text = text.lower()[:LONGEST]
        same, longer = self._starting(text)
        begin = np.concatenate([same, longer[np.lexsort((longer, -self.weight[longer]))]])[:count]
        if len(begin) < count and text:
            near = self._near(text, 2 * count)
            begin = np.concatenate([begin, near[~np.isin(near, begin)]])[:count]
        return begin

    def suggest(self, name: str) -> str:
        """Words that name what is nearest to an unknown name."""
        near = [repr(self.label(i)) for i in self.search(name, 3)] if len(name) <= LONGEST else []
        return f"did you mean {' or '.join(near)}?" if near else "nothing here is spelled like it"

    def _starting(self, text: str) -> tuple[Ids, Ids]:
        """The ids of the names that are lower-case ``text``, and of those that go on after it."""
        begin, middle = _first(self._folded, text), _first(self._folded, text, "right")
        end = _first(self._folded, text + "\U0010ffff", "right")
        return self._folded_order[begin:middle], self._folded_order[middle:end]

    def _near(self, text: str, count: int) -> Ids:
        from rapidfuzz import fuzz, process

        best: list[tuple[float, int]] = []
        for start in range(0, len(self), CHUNK):
            choices = self._folded.slice(start, CHUNK).to_list()
            found = process.extract(text, choices, scorer=fuzz.WRatio, limit=count, score_cutoff=LEAST_LIKENESS)
            best += [(-likeness, start + place) for _, likeness, place in found]
        return self._folded_order[np.array([place for _, place in sorted(best)[:count]], np.int64)]


def _first(names: pl.Series, name: str, side: Literal["left", "right"] = "left") -> int:
    """Where ``name`` stands among sorted names, or would stand."""
    return int(names.search_sorted(name, side=side))
