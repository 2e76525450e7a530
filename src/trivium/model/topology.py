"""A graph as the model reads it: edges between entities, and between entities and relations."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trivium.graph.graph import Graph, inverse
from trivium.kernels.csr import incidence_rows, order_by, sorted_unique
from trivium.model.prompt_examples import FactIndex
from trivium.nn.edges import Edges
from trivium.text.graph import TextGraph


class Topology:
    """What message passing needs of a graph, each part built once, when it is first asked for.

    Args:
        texts: what is known of the relations in words, if anything.

    Cost: linear in the triples, but for `relation_graph`, which is linear in its own edges.
    """

    def __init__(self, graph: Graph, texts: TextGraph | None = None) -> None:
        self.graph = graph
        self.texts = texts
        self.num_entities = graph.num_entities
        self.num_relations = graph.num_relations

    @cached_property
    def edges(self) -> Edges:
        """Entity to entity, inverse relations included."""
        graph = self.graph
        # a read-only array, as a saved index gives, would have every loop compiled a second time: it is copied
        return Edges(
            np.require(graph.offsets, requirements="W"),
            np.require(graph.sources, requirements="W"),
            np.require(graph.edge_relations, requirements="W"),
            graph.num_entities,
            2 * graph.num_relations,
        )

    @cached_property
    def to_entities(self) -> Edges:
        """Relation to entity, where the entity is a head of the relation (of the 2 · num_relations), each pair once."""
        offsets, relations = incidence_rows(self.edges.offsets, self.edges.relations, self.num_relations)
        return Edges.of_one_kind(offsets, relations, 2 * self.num_relations)

    @cached_property
    def to_relations(self) -> Edges:
        """`to_entities` the other way."""
        order, offsets = order_by(self.to_entities.sources, 2 * self.num_relations)
        return Edges.of_one_kind(offsets, self.to_entities.targets[order], self.num_entities)

    @cached_property
    def entity_scale(self) -> Tensor:
        """``[entities, 1]``: ``c_e^-½``, where ``c_e`` counts the relations that it is a head of, at least 1."""
        scale: Tensor = torch.from_numpy(np.diff(self.to_entities.offsets)).clamp(min=1).float().rsqrt()[:, None]
        return scale

    @cached_property
    def heads(self) -> Tensor:
        """``[2 · num_relations]``: how many distinct heads each relation has."""
        return torch.from_numpy(np.diff(self.to_relations.offsets))

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
    def fact_index(self) -> FactIndex:
        """What the prompt enhancer chooses examples and neighbours by."""
        return FactIndex(self.edges, self.heads.numpy(), self.graph.entities)
