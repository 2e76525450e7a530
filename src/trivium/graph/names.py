"""Names by id: one string column, no Python object per name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trivium.errors import GraphError

if TYPE_CHECKING:
    import polars as pl


class Names:
    """The names of entities or relations, in the order of their ids, and labels for people where there are any.

    Args:
        names: unique strings; a name's place is its id.
        labels: as many strings, or ``None``; they are shown, never looked up first.
    """

    def __init__(self, names: pl.Series | Sequence[str], labels: pl.Series | Sequence[str] | None = None) -> None:
        import polars as pl

        self.names = names if isinstance(names, pl.Series) else pl.Series("name", names, dtype=pl.String)
        self.labels = None if labels is None else pl.Series("label", labels, dtype=pl.String)

    @classmethod
    def numbered(cls, count: int) -> Names:
        """The ids themselves as names."""
        import polars as pl

        return cls(pl.Series("name", np.arange(count, dtype=np.int64)).cast(pl.String))

    def __len__(self) -> int:
        return len(self.names)

    def take(self, ids: NDArray[np.integer]) -> pl.Series:
        """The names of ids ``[n]``."""
        return self.names.gather(ids)

    def shown(self, ids: NDArray[np.integer]) -> pl.Series:
        """The labels of ids ``[n]``, or their names where there are no labels."""
        return (self.names if self.labels is None else self.labels).gather(ids)

    def with_name(self, name: str) -> Names:
        """The names with one more at the end, which is its own label."""
        return Names([*self.names, name], None if self.labels is None else [*self.labels, name])

    def ids(self, names: pl.Series | Iterable[str]) -> NDArray[np.int32]:
        """The id of each name, -1 for one that is not held. Cost: O(held + asked)."""
        import polars as pl

        asked = names if isinstance(names, pl.Series) else pl.Series(list(names), dtype=pl.String)
        held = pl.DataFrame({"name": self.names, "id": np.arange(len(self), dtype=np.int32)})
        table = asked.rename("name").to_frame().join(held, on="name", how="left", maintain_order="left")
        return table["id"].fill_null(-1).to_numpy().astype(np.int32)

    def id(self, name: str, what: str) -> int:
        """The id of one name, or of one label that belongs to a single name.

        Args:
            what: the word for the error's sentence: ``"entity"``, ``"relation"``.

        Raises:
            GraphError: the name is not held; the message names the nearest that are.
        """
        found = int(self.ids([name])[0])
        if found < 0 and self.labels is not None:
            places = (self.labels == name).arg_true()
            if len(places) > 1:
                rest = ", ".join(self.names.gather(places[:5]))
                raise GraphError(f"the label {name!r} belongs to {len(places)} names: give one of them ({rest})")
            found = int(places[0]) if len(places) else -1
        if found < 0:
            raise GraphError(f"unknown {what} {name!r}: {self.suggest(name)}")
        return found

    def suggest(self, name: str) -> str:
        """Words that name what is nearest to an unknown name."""
        near = self.nearest(name)
        return f"did you mean {' or '.join(map(repr, near))}?" if near else "nothing here is spelled like it"

    def nearest(self, name: str, count: int = 3) -> list[str]:
        """The held names (or labels) that are spelled most like ``name``, best first."""
        from rapidfuzz import fuzz, process

        choices = (self.names if self.labels is None else self.labels).to_list()
        best = process.extract(name, choices, scorer=fuzz.WRatio, limit=count, score_cutoff=60)
        return [choice for choice, _, _ in best]
