"""The textual relation graph: each relation hears those whose texts are most like its own.

The threshold that an encoder brings was chosen for MiniLM so. Over the texts of FB15k-237, NELL-995 and
CoDEx-M (a relation's own inverse left out) the cosines have medians of .13-.14 and 99th percentiles of
.53-.64; a relation's nearest has .74, .72 and .52 in the median, its fifth nearest .58, .55 and .38. So five
nearest are neighbours enough as a rule, and a threshold is to add only near-paraphrases beyond them. Above
0.7 a relation has 2.5 others on FB15k-237, 1.5 on NELL-995, none on CoDEx-M, and 14 of 54 among the kinship
terms of Metafam. 0.6 would join half of Metafam to each other; 0.8 would leave two thirds of FB15k-237 with
nothing but their five nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.kernels.csr import IntArray, OffsetArray
from trivium.text.encoder import TextEncoder
from trivium.text.names import RelationTexts

NEAREST = 5
TIE = 1e-5  # cosines of equal texts differ by rounding: what ties with the fifth nearest is taken with it
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class TextGraph:
    """Relations, inverses included, joined by the likeness of their texts.

    An edge leads from a node to one that it is near to: each node hears its own nearest, so that its degree
    is bounded however popular it is with others. Weights are cosines, in (0, 1].

    Attributes:
        vectors: ``[2 · num_relations, dim]``, of length 1, or zeros for a node without text.
        offsets: ``[2 · num_relations + 1]``, the run of edges that arrive at each node.
        sources: ``[edges]``, ascending within a run.
        weights: ``[edges]``.
        threshold: the cosine from which on two nodes are joined though they are not near.
        ends: ``[2 · num_relations, dim]``, vectors of what each node leads to, zeros where no name says it.
    """

    vectors: Float[NDArray[np.float32], "nodes dim"]
    offsets: OffsetArray
    sources: IntArray
    weights: Float[NDArray[np.float32], " edges"]
    threshold: float
    ends: Float[NDArray[np.float32], "nodes dim"]

    @classmethod
    def from_texts(cls, texts: RelationTexts, encoder: TextEncoder) -> TextGraph:
        """Encodes each distinct text once, then joins. Cost: as the encoder, and as `from_vectors`."""
        wanted = [*texts.nodes, *texts.ends]
        distinct = sorted({text for text in wanted if text is not None})
        vectors = np.zeros((len(wanted), encoder.dim), np.float32)
        if distinct:
            place = {text: row for row, text in enumerate(distinct)}
            known = [row for row, text in enumerate(wanted) if text is not None]
            vectors[known] = encoder.encode(distinct)[[place[wanted[row] or ""] for row in known]]
        vectors, ends = np.split(vectors, 2)
        return cls.from_vectors(vectors, encoder.threshold, ends=ends)

    @classmethod
    def from_vectors(
        cls,
        vectors: Float[NDArray[np.float32], "nodes dim"],
        threshold: float,
        nearest: int = NEAREST,
        ends: Float[NDArray[np.float32], "nodes dim"] | None = None,
    ) -> TextGraph:
        """Joins each node to its ``nearest`` by cosine and to all from ``threshold`` on.

        Left out: itself, its own inverse, nodes without text, and cosines of 0 or less. What ties with the
        last of the nearest is taken too, so that numbering the relations otherwise changes nothing.

        Args:
            ends: what the nodes lead to; ``vectors`` by default.

        Raises:
            InputError: the number of nodes is odd.

        Cost: O(nodes² · dim) time, O(nodes) memory beyond the answer.
        """
        nodes = len(vectors)
        if nodes % 2:
            raise InputError(f"{nodes} text vectors: one for each relation and one for each inverse are needed")
        offsets, sources, weights = np.zeros(nodes + 1, np.int64), [], []
        for begin in range(0, nodes, _ROWS):
            rows = np.arange(begin, min(begin + _ROWS, nodes))
            cosines = vectors[rows] @ vectors.T
            cosines[rows - begin, rows] = 0
            cosines[rows - begin, (rows + nodes // 2) % nodes] = 0
            fifth = np.zeros(len(rows), np.float32)
            if nearest < nodes:
                fifth = np.partition(cosines, nodes - nearest, axis=1)[:, nodes - nearest]
            keep = (cosines > TIE) & ((cosines >= fifth[:, None] - TIE) | (cosines >= threshold - TIE))
            offsets[rows + 1] = keep.sum(1)
            sources.append(np.nonzero(keep)[1].astype(np.int32))
            weights.append(np.minimum(cosines[keep], 1))
        np.cumsum(offsets, out=offsets)
        empty = np.zeros(0, np.int32)
        return cls(
            vectors,
            offsets,
            np.concatenate([empty, *sources]),
            np.concatenate([empty.astype(np.float32), *weights]),
            threshold,
            vectors if ends is None else ends,
        )

    @property
    def num_relations(self) -> int:
        return len(self.vectors) // 2

    @property
    def num_edges(self) -> int:
        return len(self.sources)

    @cached_property
    def has_text(self) -> Bool[NDArray[np.bool_], " nodes"]:
        return np.asarray(self.vectors.any(axis=1))

    @cached_property
    def num_isolated(self) -> int:
        """How many relations (inverses not counted) no text edge reaches, neither them nor their inverses."""
        silent = np.diff(self.offsets) == 0
        return int((silent[: self.num_relations] & silent[self.num_relations :]).sum())

    @property
    def warning(self) -> str | None:
        """A line for people when over half of the relations are isolated."""
        if 2 * self.num_isolated <= self.num_relations:
            return None
        return (
            f"{self.num_isolated} of {self.num_relations} relations have no neighbour by text: name them in a "
            "relations.tsv beside the triples, or switch text off"
        )

    def take(self, relations: Sequence[int] | IntArray) -> TextGraph:
        """The graph of some relations alone (ids, inverses not counted), joined anew."""
        ids = np.asarray(relations, np.int64)
        nodes = np.concatenate([ids, ids + self.num_relations])
        return self.from_vectors(self.vectors[nodes], self.threshold, ends=self.ends[nodes])

    def with_relation(self, other: TextGraph) -> TextGraph:
        """The graph with one relation more, which only has a text: that of a graph of one relation."""
        vectors, ends = (
            np.insert(np.concatenate([old, new[1:]]), self.num_relations, new[0], axis=0)
            for old, new in ((self.vectors, other.vectors), (self.ends, other.ends))
        )
        return self.from_vectors(vectors, self.threshold, ends=ends)
