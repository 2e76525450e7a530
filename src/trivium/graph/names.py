"""Names by id: one string column, no Python object per name."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from trivium.errors import GraphError

CHUNK = 4096  # names compared while nothing else of Python runs: about 5 ms
MAX_LENGTH = 200  # characters; a longer text is not compared with names
MIN_SIMILARITY = 60.0  # of 100, as rapidfuzz counts


class Names:
    """The names of entities or relations, in the order of their ids, and labels for people where there are any.

    Args:
        names: unique strings; a name's place is its id.
        labels: as many strings, or ``None``; they are shown, and looked up where no name fits. One that is the name
            itself counts as none.
        texts: as many rows of what an index holds of relations in words, ``name``, ``description`` and ``inverse``
            (strings or null), or ``None``; see `trivium.text.names`.
    """

    def __init__(
        self,
        names: pl.Series | Sequence[str],
        labels: pl.Series | Sequence[str] | None = None,
        texts: pl.DataFrame | None = None,
    ) -> None:
        self.names = names if isinstance(names, pl.Series) else pl.Series("name", names, dtype=pl.String)
        self.labels = None if labels is None else pl.Series("label", labels, dtype=pl.String)
        self.texts = texts

    @classmethod
    def of(cls, names: Names | Sequence[str] | int) -> Names:
        """Names from a list, or so many numbers.

        Raises:
            GraphError: the list holds something else, or a name twice.
        """
        if isinstance(names, Names):
            return names
        if isinstance(names, int):
            return cls.numbered(names)
        held = cls(_strings(names))
        if held.names.is_duplicated().any():
            raise GraphError(f"the name {held.names.filter(held.names.is_duplicated())[0]!r} is there twice")
        return held

    @classmethod
    def numbered(cls, count: int) -> Names:
        """The ids themselves as names."""
        return cls(pl.Series("name", np.arange(count, dtype=np.int64)).cast(pl.String))

    def __len__(self) -> int:
        return len(self.names)

    def take(self, ids: NDArray[np.integer]) -> pl.Series:
        """The names of ids ``[n]``."""
        return self.names.gather(ids)

    @cached_property
    def called(self) -> pl.Series:
        """What people call each: its label, else the last part of an address, else its name; several may share one."""
        if self.labels is None and not self.names.str.starts_with("http").any():
            return self.names
        labels = self.names if self.labels is None else self.labels
        parts = self.names.str.extract("^https?://.*[/#]([^/#]+)$").fill_null(self.names)
        return parts.zip_with(labels == self.names, labels)

    @cached_property
    def _shown(self) -> pl.Series:
        if self.called is self.names:
            return self.names
        return self.called.zip_with(~self.called.is_duplicated(), self.names)

    def shown(self, ids: NDArray[np.integer]) -> pl.Series:
        """What people call ids ``[n]``, or their names where several are called so."""
        return self._shown.gather(ids)

    def with_all(
        self, *columns: pl.Series | Sequence[str], labels: bool = True
    ) -> tuple[Names, list[NDArray[np.int32]]]:
        """The names with those at the end that columns name and they lack, and the ids of the columns.

        Args:
            labels: whether they may say what one alone is called, as in `ids`.

        Raises:
            GraphError: something that several names are called.
        """
        asked = pl.concat([pl.Series("name", column, dtype=pl.String) for column in columns])
        held = self if labels else Names(self.names)
        new = asked.filter(held.ids(asked) < 0).unique(maintain_order=True)
        if held.called is not self.names and len(odd := new.filter(new.is_in(self.called.unique().to_list()))):
            raise GraphError(self.unknown(odd[0], "name"))
        called = None if self.labels is None else pl.concat([self.labels, new])
        texts = None if self.texts is None else pl.concat([self.texts, self.texts.clear(len(new))])
        names = Names(pl.concat([self.names, new]), called, texts)
        ids = (names if labels else Names(names.names)).ids(asked)
        return names, np.split(ids, np.cumsum([len(column) for column in columns])[:-1])

    def sorted(self, ids: NDArray[np.integer]) -> tuple[Names, NDArray[np.int32]]:
        """The names of these ids alone, each once, in sorted order, and where every id went."""
        used = np.zeros(len(self), np.bool_)
        used[ids] = True
        kept = np.flatnonzero(used)
        kept = kept[self.names.gather(kept).arg_sort().to_numpy()]
        places = np.full(len(self), -1, np.int32)
        places[kept] = np.arange(len(kept))
        labels = None if self.labels is None else self.labels.gather(kept)
        return Names(self.names.gather(kept), labels, None if self.texts is None else self.texts[kept]), places

    def with_labels(self, labels: Mapping[str, str]) -> Names:
        """The names with more labels, by name, in place of those that they have."""
        if not labels or not self.names.is_in(list(labels)).any():
            return self
        before = self.names if self.labels is None else self.labels
        return Names(self.names, self.names.replace_strict(labels, default=before), self.texts)

    def ids(self, names: pl.Series | Iterable[str]) -> NDArray[np.int32]:
        """The id of each name, or of what a single one is called; -1 for others. Cost: O(held + asked)."""
        asked = names if isinstance(names, pl.Series) else _strings(names)

        def found(held: pl.Series, missing: pl.Series) -> NDArray[np.int32]:
            table = pl.DataFrame({"name": held, "id": np.arange(len(self), dtype=np.int32)})
            table = missing.rename("name").to_frame().join(table, on="name", how="left", maintain_order="left")
            return table["id"].fill_null(-1).to_numpy().astype(np.int32)

        ids = found(self.names, asked)
        if self.called is not self.names and (ids < 0).any():
            ids[ids < 0] = found(self._shown, asked.filter(ids < 0))
        return ids

    def each(self, names: Sequence[str], what: str) -> NDArray[np.int64]:
        """The id of each name, ``[names]``, as `ids`.

        Args:
            what: the word for the error's sentence: ``"entity"``, ``"relation"``.

        Raises:
            GraphError: a name is not held; the message names the nearest that are.
        """
        ids = self.ids(names).astype(np.int64)
        if (ids < 0).any():
            raise GraphError(self.unknown(names[int((ids < 0).argmax())], what))
        return ids

    def id(self, name: str, what: str) -> int:
        """The id of one name; see `each`."""
        return int(self.each([name], what)[0])

    def unknown(self, name: str, what: str) -> str:
        """What is wrong with a name that has no id."""
        if self.called is not self.names and len(places := (self.called == name).arg_true()) > 1:
            rest = ", ".join(self.names.gather(places[:5]))
            return f"{name!r} belongs to {len(places)} names: give one of them ({rest})"
        return f"unknown {what} {name!r}: {self.suggest(name)}"

    def suggest(self, name: str) -> str:
        """Words that name what is nearest to an unknown name."""
        near = self._shown.gather(most_similar(self._shown.str.to_lowercase(), name.lower(), 3))
        return f"did you mean {' or '.join(map(repr, near))}?" if len(near) else "nothing here is spelled like it"


def _strings(names: Iterable[Any]) -> pl.Series:
    """Names as strings; of numbers their digits.

    Raises:
        GraphError: one is neither.
    """
    held = list(names)
    if odd := [name for name in held if not isinstance(name, str | int | np.integer)]:
        raise GraphError(f"{odd[0]!r} is no name: give a string")
    return pl.Series("name", [str(name) for name in held], dtype=pl.String)


class NameIndex:
    """Names sorted twice, as they are and as people type them, for who looks up one after another.

    Args:
        names: by id.
        counts: ``[names]``, facts of each; of several names with the same beginning, those with more come first.
        what: the word for errors: ``"entity"``, ``"relation"``.

    Cost: O(names · log names) once; two sorted copies of the names, no Python object per name.
    """

    def __init__(self, names: Names, counts: NDArray[np.integer], what: str) -> None:
        self.names = names
        self.counts = counts
        self.what = what
        self._order = names.names.arg_sort().to_numpy().astype(np.int64)
        self._sorted = names.names.gather(self._order)
        folded = names.called.str.to_lowercase()
        self._folded_order = folded.arg_sort().to_numpy().astype(np.int64)
        self._folded = folded.gather(self._folded_order)

    def id(self, name: str) -> int:
        """The id of a name, or of what one alone is called; see `Names.each`.

        Cost: O(log names), and O(names) for an unknown one.
        """
        place = bisect_left(self._sorted, name)
        if place < len(self._sorted) and self._sorted[place] == name:
            return int(self._order[place])
        called = self.names.called
        same = [id for id in self._beginning(name.lower())[0].tolist() if called[id] == name]
        if len(same) != 1:
            raise GraphError(self.names.unknown(name, self.what))
        return int(same[0])

    def search(self, text: str, count: int) -> NDArray[np.int64]:
        """The ids of what is called ``text`` or begins so, then of what is spelled like it.

        Capitals do not matter. Cost: O(log names) where enough names begin with it, else O(names).
        """
        text = text.lower()[:MAX_LENGTH]
        same, longer = self._beginning(text)
        found = np.concatenate([same, longer[np.lexsort((longer, -self.counts[longer]))]])[:count]
        if len(found) < count and text:
            similar = self._folded_order[most_similar(self._folded, text, 2 * count)]
            found = np.concatenate([found, similar[~np.isin(similar, found)]])[:count]
        return found

    def _beginning(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids of the names that are lower-case ``text``, and of those that go on after it."""
        begin, middle = bisect_left(self._folded, text), bisect_right(self._folded, text)
        end = bisect_right(self._folded, text + "\U0010ffff")
        return self._folded_order[begin:middle], self._folded_order[middle:end]


def most_similar(names: pl.Series, text: str, count: int) -> NDArray[np.int64]:
    """Where the names are that are spelled most like ``text``, best first, at most ``count``. Cost: O(names)."""
    best: list[tuple[float, int]] = []
    for start in range(0, len(names) if len(text) <= MAX_LENGTH else 0, CHUNK):
        choices = names.slice(start, CHUNK).to_list()
        found = process.extract(text, choices, scorer=fuzz.WRatio, limit=count, score_cutoff=MIN_SIMILARITY)
        best += [(-similarity, start + place) for _, similarity, place in found]
    return np.array([place for _, place in sorted(best)[:count]], np.int64)
