"""Which facts of a relation are its examples: chosen by structure, not by ids or the order of triples.

Hashes of structure are fixed draws that no renaming changes; equal ones are settled by the order of names.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trivium.graph.graph import inverse
from trivium.graph.names import Names
from trivium.kernels.csr import IntArray, OffsetArray
from trivium.kernels.neighbourhoods import hashed
from trivium.nn.edges import Edges

Hashes = NDArray[np.uint64]


class FactIndex:
    """A graph's facts by relation, and Weisfeiler-Lehman colours of its relations and entities, as hashes; made once.

    Attributes:
        relation_colours: ``[2 · num_relations]``, equal for relations with as many facts, heads and tails.
        entity_colours: ``[num_entities]``, equal for entities whose edges look alike, two steps deep.

    Args:
        edges: entity to entity, inverse relations included.
        heads: ``[2 · num_relations]``, how many distinct heads each relation has.

    Cost: O(edges).
    """

    def __init__(self, edges: Edges, heads: NDArray[np.int64], names: Names) -> None:
        self.edges = edges
        self.names = names
        tails = heads[inverse(np.arange(len(heads)), edges.num_relations // 2)]
        counts = np.diff(edges.by_relation.offsets), heads, tails
        facts, firsts, seconds = (count.astype(np.uint64) for count in counts)
        self.relation_colours: Hashes = hashed(facts + hashed(firsts + hashed(seconds)))
        carried = self.relation_colours[edges.relations]
        around = hashed(self._arriving(carried))
        self.entity_colours: Hashes = hashed(around + self._arriving(hashed(carried ^ around[edges.sources])))

    def _arriving(self, values: Hashes) -> Hashes:
        """The sum of the edges' values at each entity; sums wrap around, so their differences are exact."""
        totals: Hashes = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values)])
        sums: Hashes = np.diff(totals[self.edges.offsets])
        return sums

    @cached_property
    def name_ranks(self) -> IntArray:
        """``[num_entities]``: each entity's place in the order of names, for ties that structure leaves."""
        return self.names.names.rank("ordinal").to_numpy().astype(np.int32)

    def examples(self, relations: NDArray[np.int64], count: int, rng: np.random.Generator | None) -> IntArray:
        """At most ``count`` facts of each relation, ``[n, 3]`` (place in ``relations``, head, tail).

        They are spread evenly over the facts in the order of the ends' degrees (powers of two), hashes and names;
        drawn at random where there is ``rng``.
        """
        facts = self.edges.by_relation
        chosen = [np.empty((0, 3), np.int32)]
        for place, relation in enumerate(relations):
            begin, end = facts.offsets[relation], facts.offsets[relation + 1]
            heads, tails, held = facts.first[begin:end], facts.second[begin:end], end - begin
            if held <= count:
                few = np.arange(held)
            elif rng is not None:
                few = rng.choice(held, count, replace=False)
            else:
                few = self._order(heads, tails)[(2 * np.arange(count) + 1) * held // (2 * count)]
            chosen.append(np.stack([np.full(len(few), place, np.int32), heads[few], tails[few]], axis=1))
        return np.concatenate(chosen)

    def _order(self, heads: IntArray, tails: IntArray) -> OffsetArray:
        """Facts by the ends' degrees in the highest bits of a key, then the hash of both, then names."""
        degree = np.frexp(np.diff(self.edges.offsets))[1].astype(np.uint64)  # its power of two
        keys = hashed(self.entity_colours[heads] + hashed(self.entity_colours[tails])) >> np.uint64(12)
        keys |= (degree[heads] << np.uint64(58)) | (degree[tails] << np.uint64(52))
        return np.lexsort((self.name_ranks[tails], self.name_ranks[heads], keys))
