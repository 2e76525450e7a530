"""Names by id: one string column, no Python object per name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from trivium.errors import GraphError


class Names:
    """The names of entities or relations, in the order of their ids, and labels for people where there are any.

    Args:
        names: unique strings; a name's place is its id.
        labels: as many strings, or ``None``; they are shown, and looked up where no name fits.
    """

    def __init__(self, names: pl.Series | Sequence[str], labels: pl.Series | Sequence[str] | None = None) -> None:
        self.names = names if isinstance(names, pl.Series) else pl.Series("name", names, dtype=pl.String)
        self.labels = None if labels is None else pl.Series("label", labels, dtype=pl.String)

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
    def _shown(self) -> pl.Series:
        if self.labels is None:
            return self.names
        return self.labels.zip_with(~self.labels.is_duplicated(), self.names)

    def shown(self, ids: NDArray[np.integer]) -> pl.Series:
        """The labels of ids ``[n]``, or their names where there is no label, or one that several share."""
        return self._shown.gather(ids)

    def with_name(self, name: str) -> Names:
        """The names with one more at the end, which is its own label."""
        return Names([*self.names, name], None if self.labels is None else [*self.labels, name])

    def ids(self, names: pl.Series | Iterable[str]) -> NDArray[np.int32]:
        """The id of each name, or of a label that belongs to a single name; -1 for others. Cost: O(held + asked)."""
        asked = names if isinstance(names, pl.Series) else pl.Series(list(names), dtype=pl.String)

        def found(held: pl.Series, missing: pl.Series) -> NDArray[np.int32]:
            table = pl.DataFrame({"name": held, "id": np.arange(len(self), dtype=np.int32)})
            table = missing.rename("name").to_frame().join(table, on="name", how="left", maintain_order="left")
            return table["id"].fill_null(-1).to_numpy().astype(np.int32)

        ids = found(self.names, asked)
        if self.labels is not None and (ids < 0).any():
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
        if self.labels is not None and len(places := (self.labels == name).arg_true()) > 1:
            rest = ", ".join(self.names.gather(places[:5]))
            return f"the label {name!r} belongs to {len(places)} names: give one of them ({rest})"
        return f"unknown {what} {name!r}: {self.suggest(name)}"

    def suggest(self, name: str) -> str:
        """Words that name the held names (or labels) that are spelled most like an unknown one, best first."""
        choices = (self.names if self.labels is None else self.labels).to_list()
        best = process.extract(name, choices, scorer=fuzz.WRatio, limit=3, score_cutoff=60)
        near = [choice for choice, _, _ in best]
        return f"did you mean {' or '.join(map(repr, near))}?" if near else "nothing here is spelled like it"
