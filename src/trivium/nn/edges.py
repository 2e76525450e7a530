"""Edges as message passing wants them: sorted by target, and by source or relation for the gradients."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from trivium.kernels.csr import IntArray, OffsetArray, order_by, targets_of


class Runs(NamedTuple):
    """Edges in runs that share a key.

    Attributes:
        offsets: ``[keys + 1]``, where each key's run begins.
        first, second: ``[edges]``, the two other ends of each edge.
        positions: ``[edges]``, each edge's place in the order by target; ``None`` is that order itself.
    """

    offsets: OffsetArray
    first: IntArray
    second: IntArray
    positions: OffsetArray | None


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges sorted by target.

    Attributes:
        offsets: ``[num_targets + 1]``, the run of edges that arrive at each target.
        sources: ``[edges]`` in ``[0, num_sources)``.
        relations: ``[edges]`` in ``[0, num_relations)``.
    """

    offsets: OffsetArray
    sources: IntArray
    relations: IntArray
    num_sources: int
    num_relations: int

    @classmethod
    def of_one_kind(cls, offsets: OffsetArray, sources: IntArray, num_sources: int) -> "Edges":
        """Edges of a single relation, 0."""
        return cls(offsets, sources, np.zeros(len(sources), np.int32), num_sources, 1)

    @property
    def num_targets(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def targets(self) -> IntArray:
        """``[edges]``."""
        return targets_of(self.offsets)

    @cached_property
    def by_target(self) -> Runs:
        """``first`` is the source, ``second`` the relation."""
        return Runs(self.offsets, self.sources, self.relations, None)

    @cached_property
    def by_source(self) -> Runs:
        """``first`` is the target, ``second`` the relation. Cost: O(edges), once."""
        order, offsets = order_by(self.sources, self.num_sources)
        return Runs(offsets, self.targets[order], self.relations[order], order)

    @cached_property
    def by_relation(self) -> Runs:
        """``first`` is the source, ``second`` the target. Cost: O(edges), once."""
        order, offsets = order_by(self.relations, self.num_relations)
        return Runs(offsets, self.sources[order], self.targets[order], order)
