"""Names by id: one string column, no Python object per name.

Of an index that is mapped they stay on the disk: one is found by halving the sorted order, and what shows a few of them
reads these alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from trivium.errors import GraphError

CHUNK = 4096  # names compared while nothing else of Python runs: about 5 ms
MAX_LENGTH = 200  # characters; a longer text is not compared with names
MIN_SIMILARITY = 60.0  # of 100, as rapidfuzz counts
COMPARED = 1 << 20  # names, at most, for likeness: a second or two
FEW = 64  # names are looked up one by one where the names that are held are so many times as many

Strings: TypeAlias = "pl.Series | pa.LargeStringArray"
Order = NDArray[np.int32]


class Names:
    """The names of entities or relations, in the order of their ids, and labels for people where there are any.

    Args:
        names: unique strings; a name's place is its id. An Arrow array stays where it is, until all are asked for.
        labels: as many strings, or ``None``; they are shown, and looked up where no name fits. One that is the name
            itself counts as none.
        texts: as many rows of what an index holds of relations in words, ``name``, ``description`` and ``inverse``
            (strings or null), or ``None``; see `trivium.text.names`.
    """

    def __init__(
        self,
        names: Strings | Sequence[str],
        labels: Strings | Sequence[str] | None = None,
        texts: pl.DataFrame | None = None,
    ) -> None:
        self._names = _held(names)
        self._labels = None if labels is None else _held(labels)
        self.texts = texts

    @cached_property
    def names(self) -> pl.Series:
        """All of them, in memory."""
        return pl.Series("name", self._names)

    @cached_property
    def labels(self) -> pl.Series | None:
        """All of them, in memory."""
        return None if self._labels is None else pl.Series("label", self._labels)

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
        return len(self._names)

    def take(self, ids: NDArray[np.integer]) -> pl.Series:
        """The names of ids ``[n]``."""
        return _taken(self._names, ids)

    @cached_property
    def by_name(self) -> Order | None:
        """The ids in the order of their names; ``None`` where that is their own."""
        return None if self.names.is_sorted() else _order(self.names)

    @cached_property
    def by_call(self) -> Order | None:
        """The ids in the order of what people call each, in small letters; ``None`` where that is their own."""
        called = self.called.str.to_lowercase()
        return None if called.is_sorted() else _order(called)

    @cached_property
    def plain(self) -> bool:
        """Whether each is called by its name."""
        begin = self._begin(self.by_name, self.take, "http")
        address = begin < len(self) and self.take(_at(self.by_name, begin))[0].startswith("http")
        return self._labels is None and not address

    def calls(self, ids: NDArray[np.integer]) -> pl.Series:
        """What people call ids ``[n]``: a label, else the last part of an address, else the name; some share one."""
        names = self.take(ids)
        return names if self.plain else _called(names, names if self._labels is None else _taken(self._labels, ids))

    @cached_property
    def called(self) -> pl.Series:
        """What people call each; see `calls`."""
        if self.plain:
            return self.names
        return _called(self.names, self.names if self.labels is None else self.labels)

    @cached_property
    def _shown(self) -> pl.Series:
        if self.plain:
            return self.names
        another = (self.called != self.names) & self.called.is_in(self.names.implode())
        return self.called.zip_with(~(another | self.called.is_duplicated()), self.names)

    def shown(self, ids: NDArray[np.integer]) -> pl.Series:
        """What people call ids ``[n]``, or their names where several are called so, or it is another's name."""
        if self.plain or FEW * len(ids) > len(self):
            return self._shown.gather(ids)
        called = self.calls(ids)
        alone = [
            len(self._all_called(name)) == 1 and self._id(name, False) in (-1, id)
            for name, id in zip(called, ids.tolist(), strict=True)
        ]
        return called.zip_with(pl.Series(alone, dtype=pl.Boolean), self.take(ids))

    def _begin(self, order: Order | None, key: Callable[[NDArray[np.int64]], pl.Series], text: str) -> int:
        """The first place in an order at which stands what is not less than a text."""
        return bisect_left(range(len(self)), text, key=lambda place: key(_at(order, place))[0])

    def _folded(self, ids: NDArray[np.integer]) -> pl.Series:
        return self.calls(ids).str.to_lowercase()

    def beginning(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids of what is called ``text``, which is in small letters, and of what goes on after it.

        Cost: O(log names + found).
        """
        same, longer, end = (
            self._begin(self.by_call, self._folded, bound) for bound in (text, f"{text}\0", f"{text}\U0010ffff\0")
        )
        return _at(self.by_call, same, longer), _at(self.by_call, longer, end)

    def _all_called(self, name: str) -> NDArray[np.int64]:
        """The ids of all that are called so."""
        ids = self.beginning(pl.Series([name]).str.to_lowercase()[0])[0]
        return ids[(self.calls(ids) == name).to_numpy()] if len(ids) else ids

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
        new = asked.filter(self.ids(asked, labels) < 0).unique(maintain_order=True)
        if labels and not self.plain and len(odd := new.filter(new.is_in(self.called.unique().to_list()))):
            raise GraphError(self.unknown(odd[0], "name"))
        called = None if self.labels is None else pl.concat([self.labels, new])
        texts = None if self.texts is None else pl.concat([self.texts, self.texts.clear(len(new))])
        names = Names(pl.concat([self.names, new]), called, texts)
        return names, np.split(names.ids(asked, labels), np.cumsum([len(column) for column in columns])[:-1])

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

    def ids(self, names: pl.Series | Iterable[str], labels: bool = True) -> NDArray[np.int32]:
        """The id of each name, or, with ``labels``, of what a single one is called; -1 for others.

        Cost: O(asked · log held) for a few, O(held + asked) for many.
        """
        asked = names if isinstance(names, pl.Series) else _strings(names)
        if FEW * len(asked) < len(self):
            return np.array([self._id(name, labels) for name in asked], np.int32)

        def found(held: pl.Series, missing: pl.Series) -> NDArray[np.int32]:
            table = pl.DataFrame({"name": held, "id": np.arange(len(self), dtype=np.int32)})
            table = missing.rename("name").to_frame().join(table, on="name", how="left", maintain_order="left")
            return table["id"].fill_null(-1).to_numpy().astype(np.int32)

        ids = found(self.names, asked)
        if labels and (ids < 0).any() and not self.plain:
            ids[ids < 0] = found(self._shown, asked.filter(ids < 0))
        return ids

    def _id(self, name: str, labels: bool) -> int:
        """The id of one name, as `ids`."""
        place = self._begin(self.by_name, self.take, name)
        if place < len(self) and self.take(found := _at(self.by_name, place))[0] == name:
            return int(found[0])
        if not labels or self.plain or len(ids := self._all_called(name)) != 1:
            return -1
        return int(ids[0])

    def each(self, names: Sequence[str], what: str) -> NDArray[np.int64]:
        """The id of each name, ``[names]``, as `ids`.

        Args:
            what: the word for the error's sentence: ``"entity"``, ``"relation"``.

        Raises:
            GraphError: a name is not held; the message names the nearest that are.
        """
        ids = self.ids(names).astype(np.int64)
        if (ids < 0).any():
            raise GraphError(self.unknown(str(names[int((ids < 0).argmax())]), what))
        return ids

    def id(self, name: str, what: str) -> int:
        """The id of one name; see `each`."""
        return int(self.each([name], what)[0])

    def unknown(self, name: str, what: str) -> str:
        """What is wrong with a name that has no id."""
        if not self.plain and len(places := self._all_called(name)) > 1:
            rest = ", ".join(self.take(places[:5]))
            return f"{name!r} belongs to {len(places)} names: give one of them ({rest})"
        return f"unknown {what} {name!r}: {self.suggest(name)}"

    def suggest(self, name: str) -> str:
        """Words that name what is nearest to an unknown name."""
        ids = self.like(name.lower(), 3)
        if len(self) <= COMPARED:  # the last part of an address that has a label
            last = self.names.str.ends_with(f"/{name}") | self.names.str.ends_with(f"#{name}")
            ids = np.concatenate([np.flatnonzero(last), ids])[:3]
        near = self.shown(ids).unique(maintain_order=True)
        return f"did you mean {' or '.join(map(repr, near))}?" if len(near) else "nothing here is spelled like it"

    def like(self, text: str, count: int) -> NDArray[np.int64]:
        """The ids of what is spelled most like a text in small letters, best first, at most ``count``.

        Cost: O(names); of more than `COMPARED` those alone that stand next to the text in their order.
        """
        first = 0
        if len(self) > COMPARED:
            first = min(max(0, self._begin(self.by_call, self._folded, text) - COMPARED // 2), len(self) - COMPARED)
        ids = _at(self.by_call, first, min(first + COMPARED, len(self)))
        return ids[most_similar(self._folded(ids), text, count)]


def _held(strings: Strings | Sequence[str]) -> Strings:
    return strings if isinstance(strings, pl.Series | pa.Array) else pl.Series("name", strings, dtype=pl.String)


def _taken(held: Strings, ids: NDArray[np.integer]) -> pl.Series:
    if isinstance(held, pl.Series):
        return held.gather(ids)
    return pl.Series("name", held.take(pa.array(ids)), dtype=pl.String)


def _order(strings: pl.Series) -> Order:
    return pl.Series(strings).arg_sort().to_numpy().astype(np.int32)


def _at(order: Order | None, begin: int, end: int | None = None) -> NDArray[np.int64]:
    """The ids at some places of an order, or at one."""
    end = begin + 1 if end is None else end
    return np.arange(begin, end) if order is None else order[begin:end].astype(np.int64)


def _called(names: pl.Series, labels: pl.Series) -> pl.Series:
    parts = names.str.extract("^https?://.*[/#]([^/#]+)$").fill_null(names)
    return parts.zip_with(labels == names, labels)


def _strings(names: Iterable[Any]) -> pl.Series:
    """Names as strings; of numbers their digits.

    Raises:
        GraphError: one is neither.
    """
    held = list(names)
    if odd := [name for name in held if not isinstance(name, str | int | np.integer)]:
        raise GraphError(f"{odd[0]!r} is no name: give a string")
    return pl.Series("name", [str(name) for name in held], dtype=pl.String)


class Distinct:
    """Names that come in parts, each kept once; they are compared as often as their number doubles."""

    def __init__(self) -> None:
        self.held, self.more = pl.Series("name", [], dtype=pl.String), list[pl.Series]()

    def add(self, names: pl.Series) -> None:
        self.more.append(names)
        if sum(map(len, self.more)) > len(self.held):
            self._compare()

    def sorted(self) -> pl.Series:
        self._compare()
        return self.held.sort().rechunk()

    def _compare(self) -> None:
        self.held, self.more = pl.concat([self.held, *self.more]).unique(), []


class NameIndex:
    """Names as people type them, for who looks up one after another.

    Args:
        names: by id.
        counts: ``[names]``, facts of each; of several names with the same beginning, those with more come first.
        what: the word for errors: ``"entity"``, ``"relation"``.
    """

    def __init__(self, names: Names, counts: NDArray[np.integer], what: str) -> None:
        self.names = names
        self.counts = counts
        self.what = what

    def id(self, name: str) -> int:
        """The id of a name, or of what one alone is called; see `Names.id`."""
        return self.names.id(name, self.what)

    def search(self, text: str, count: int) -> NDArray[np.int64]:
        """The ids of what is called ``text`` or begins so, then of what is spelled like it.

        Capitals do not matter. Cost: O(log names) where enough names begin with it, else as `Names.like`.
        """
        text = text.lower()[:MAX_LENGTH]
        same, longer = self.names.beginning(text)
        if len(longer) > count:  # no need to sort them all
            counts = self.counts[longer]
            longer = longer[counts >= np.partition(counts, -count)[-count]]
        found = np.concatenate([same, longer[np.lexsort((longer, -self.counts[longer]))]])[:count]
        if len(found) < count and text:
            similar = self.names.like(text, 2 * count)
            found = np.concatenate([found, similar[~np.isin(similar, found)]])[:count]
        return found


def most_similar(names: pl.Series, text: str, count: int) -> NDArray[np.int64]:
    """Where the names are that are spelled most like ``text``, best first, at most ``count``. Cost: O(names)."""
    best: list[tuple[float, int]] = []
    for start in range(0, len(names) if len(text) <= MAX_LENGTH else 0, CHUNK):
        choices = names.slice(start, CHUNK).to_list()
        found = process.extract(text, choices, scorer=fuzz.WRatio, limit=count, score_cutoff=MIN_SIMILARITY)
        best += [(-similarity, start + place) for _, similarity, place in found]
    return np.array([place for _, place in sorted(best)[:count]], np.int64)
