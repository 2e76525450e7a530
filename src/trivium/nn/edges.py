"""Edges as message passing wants them: sorted by target, and by source or relation for the gradients."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trivium.kernels.csr import IntArray, OffsetArray, order_by, targets_of


@dataclass(frozen=True, eq=False)
class Runs:
    """Edges in runs that share a key.

    Attributes:
        offsets: ``[keys + 1]`` int64, where each key's run begins.
        first, second: ``[edges]`` int32, the two other ends of each edge.
        positions: ``[edges]`` int64, each edge's place in the order by target; ``None`` is that order itself.
    """

    offsets: Tensor
    first: Tensor
    second: Tensor
    positions: Tensor | None


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges sorted by target.

    Attributes:
        offsets: ``[num_targets + 1]`` int64, the run of edges that arrive at each target.
        sources: ``[edges]`` int32 in ``[0, num_sources)``.
        relations: ``[edges]`` int32 in ``[0, num_relations)``.
    """

    offsets: Tensor
    sources: Tensor
    relations: Tensor
    num_sources: int
    num_relations: int

    @classmethod
    def from_arrays(
        cls,
        offsets: OffsetArray,
        sources: IntArray,
        relations: IntArray | None,
        *,
        num_sources: int,
        num_relations: int = 1,
    ) -> "Edges":
        """Wraps numpy arrays without a copy; ``relations=None`` gives every edge relation 0."""
        kinds = np.zeros(len(sources), np.int32) if relations is None else relations
        return cls(_tensor(offsets), _tensor(sources), _tensor(kinds), num_sources, num_relations)

    @property
    def num_targets(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def by_target(self) -> Runs:
        """``first`` is the source, ``second`` the relation."""
        return Runs(self.offsets, self.sources, self.relations, None)

    @cached_property
    def by_source(self) -> Runs:
        """``first`` is the target, ``second`` the relation. Cost: O(edges), once."""
        order, offsets = order_by(self.sources.numpy(), self.num_sources)
        return Runs(
            _tensor(offsets),
            _tensor(self.targets.numpy()[order]),
            _tensor(self.relations.numpy()[order]),
            _tensor(order),
        )

    @cached_property
    def by_relation(self) -> Runs:
        """``first`` is the source, ``second`` the target. Cost: O(edges), once."""
        order, offsets = order_by(self.relations.numpy(), self.num_relations)
        return Runs(
            _tensor(offsets), _tensor(self.sources.numpy()[order]), _tensor(self.targets.numpy()[order]), _tensor(order)
        )

    @cached_property
    def targets(self) -> Tensor:
        """``[edges]`` int32."""
        return _tensor(targets_of(self.offsets.numpy()))


def _tensor(array: IntArray | OffsetArray) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
