"""A graph as the model reads it: edges between entities, and between entities and relations; facts by relation."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trivium.graph.graph import Graph, inverse
from trivium.graph.names import Names
from trivium.kernels.csr import Block, Edges, IntArray, OffsetArray, blocks, incidence_rows, order_by, sorted_unique
from trivium.kernels.neighbourhoods import hashed
from trivium.model.chains import ChainIndex
from trivium.text.graph import TextGraph

Hashes = NDArray[np.uint64]


class Topology:
    """What message passing needs of a graph, each part built once, when it is first asked for.

    Args:
        texts: what is known of the relations in words, if anything.
        device: where the model reads it; what is chosen by structure stays in the processor's memory.

    Cost: linear in the triples, but for `relation_graph`, which is linear in its own edges.
    """

    def __init__(
        self,
        graph: Graph,
        texts: TextGraph | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008
    ) -> None:
        self.graph = graph
        self.texts = None if texts is None else texts.on(device)
        self.device = device
        self.num_entities = graph.num_entities
        self.num_relations = graph.num_relations

    @cached_property
    def edges(self) -> Edges:
        """Entity to entity, inverse relations included."""
        graph = self.graph
        return Edges(graph.offsets, graph.sources, graph.edge_relations, graph.num_entities, 2 * graph.num_relations)

    @cached_property
    def to_entities(self) -> Edges:
        """Relation to entity, where the entity is a head of the relation (of the 2 · num_relations), each pair once."""
        counts, relations = list[OffsetArray](), list[IntArray]()
        for block in self.graph.blocks():
            offsets, kinds = incidence_rows(block.offsets, block.relations, self.num_relations)
            counts.append(np.diff(offsets))
            relations.append(kinds)
        offsets = np.concatenate([np.zeros(1, np.int64), *counts])
        return Edges.of_one_kind(np.cumsum(offsets), np.concatenate(relations), 2 * self.num_relations)

    @cached_property
    def to_relations(self) -> Edges:
        """`to_entities` the other way."""
        order, offsets = order_by(self.to_entities.sources, 2 * self.num_relations)
        return Edges.of_one_kind(offsets, self.to_entities.targets[order], self.num_entities)

    @cached_property
    def entity_scale(self) -> Tensor:
        """``[entities, 1]``: ``c_e^-½``, where ``c_e`` counts the relations that it is a head of, at least 1."""
        counts = torch.from_numpy(np.diff(self.to_entities.offsets)).to(self.device)
        return counts.clamp(min=1).float().rsqrt()[:, None]

    @cached_property
    def heads(self) -> Tensor:
        """``[2 · num_relations]``: how many distinct heads each relation has."""
        return torch.from_numpy(np.diff(self.to_relations.offsets)).to(self.device)

    @cached_property
    def relation_counts(self) -> Tensor:
        """``[2 · num_relations, 1]``: how many heads and tails each relation has, at least 1."""
        return (self.heads + self.heads.roll(self.num_relations)).clamp(min=1).float()[:, None]

    @property
    def has_edges(self) -> Tensor:
        """``[2 · num_relations]``, true for a relation that has an edge."""
        return self.heads > 0

    @cached_property
    def relation_graph(self) -> Edges:
        """Edges between all relations that share an entity, inverses included, a relation with itself included.

        An edge ``i -> j`` of kind head-to-tail says that a head of ``i`` is a tail of ``j``. With inverse relations in
        the graph the tails of ``r`` are the heads of its inverse, so one table of shared heads gives all four kinds:
        head to head, tail to tail, head to tail, tail to head.

        Cost: O(Σ over entities of (relations at the entity)²) time, memory of the answer.
        Source: Galkin et al., ULTRA (2024), section 4.1.
        """
        from scipy.sparse import csr_array  # half a second, and only for ULTRA's encoder

        nodes, rows, columns = 2 * self.num_relations, self.to_entities.offsets, self.to_entities.sources
        heads = csr_array((np.ones(len(columns), np.bool_), columns, rows), shape=(self.num_entities, nodes))
        i, j = (ids.astype(np.int32) for ids in (heads.T @ heads).nonzero())
        i_inverse, j_inverse = (inverse(a, self.num_relations).astype(np.int32) for a in (i, j))
        sources, targets = np.concatenate([i, i_inverse, i, i_inverse]), np.concatenate([j, j_inverse, j_inverse, j])
        kinds = np.repeat(np.arange(4, dtype=np.int32), len(i))
        sources, kinds, offsets = sorted_unique(sources, kinds, targets, nodes, 4)
        return Edges(offsets, sources, kinds, nodes, 4)

    @cached_property
    def chain_index(self) -> ChainIndex:
        """What chains are found by: entities are drawn by the hash of their structure, equal ones by name."""
        index = self.fact_index
        draws = np.empty(self.num_entities, np.int32)
        draws[np.lexsort((index.name_ranks, hashed(index.entity_colours)))] = np.arange(self.num_entities)
        return ChainIndex(self.edges, self.to_relations, draws)

    @cached_property
    def fact_index(self) -> "FactIndex":
        """What the prompt enhancer chooses examples and neighbours by."""
        return FactIndex(self.edges, np.diff(self.to_relations.offsets), self.graph.entities)


class FactIndex:
    """A graph's facts by relation, and Weisfeiler-Lehman colours of its relations and entities, as hashes; made once.

    Examples are chosen by structure, not by ids or the order of triples: hashes of structure are fixed draws that no
    renaming changes, and equal ones are settled by the order of names.

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
        around = hashed(self._arriving(lambda block: self.relation_colours[block.relations]))
        twice = self._arriving(lambda block: hashed(self.relation_colours[block.relations] ^ around[block.sources]))
        self.entity_colours: Hashes = hashed(around + twice)

    def _arriving(self, values: Callable[[Block], Hashes]) -> Hashes:
        """The sum of the edges' values at each entity; sums wrap around, so their differences are exact."""
        sums = list[Hashes]()
        for block in blocks(self.edges.offsets, self.edges.relations, self.edges.sources):
            totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values(block))])
            sums.append(np.diff(totals[block.offsets]))
        return np.concatenate(sums)

    @cached_property
    def name_ranks(self) -> IntArray:
        """``[num_entities]``: each entity's place in the order of names, for ties that structure leaves."""
        ranks = np.arange(len(self.names), dtype=np.int32)
        if self.names.by_name is not None:
            ranks[self.names.by_name] = ranks.copy()
        return ranks

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
