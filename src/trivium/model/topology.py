"""A graph as the model reads it: edges between entities, and between entities and relations, as tensors."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from trivium.graph.graph import Graph
from trivium.kernels.csr import incidence_rows, order_by, targets_of
from trivium.kernels.neighbourhoods import FactIndex
from trivium.model.relation_graph import relation_graph
from trivium.nn.edges import Edges
from trivium.text.graph import TextGraph


class Topology:
    """What message passing needs of a graph, each part built once, when it is first asked for.

    Args:
        texts: what is known of the relations in words, if anything.

    Cost: linear in the triples, but for `relation_graph`, which is linear in the meetings of relations.
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
        return Edges.from_arrays(
            graph.offsets,
            graph.sources,
            graph.edge_relations,
            num_sources=graph.num_entities,
            num_relations=2 * graph.num_relations,
        )

    @cached_property
    def to_entities(self) -> Edges:
        """Relation to entity, where the entity is a head of the relation (of the 2 · num_relations), each pair once."""
        rows, columns = incidence_rows(self.graph.offsets, self.graph.edge_relations, self.num_relations)
        return Edges.from_arrays(rows, columns, None, num_sources=2 * self.num_relations)

    @cached_property
    def to_relations(self) -> Edges:
        """`to_entities` the other way."""
        rows, columns = self.to_entities.offsets.numpy(), self.to_entities.sources.numpy()
        order, offsets = order_by(columns, 2 * self.num_relations)
        return Edges.from_arrays(offsets, targets_of(rows)[order], None, num_sources=self.num_entities)

    @cached_property
    def entity_scale(self) -> Tensor:
        """``[entities, 1]``: ``c_e^-½``, where ``c_e`` counts the relations that it is a head of, at least 1."""
        scale: Tensor = self.to_entities.offsets.diff().clamp(min=1).float().rsqrt()[:, None]
        return scale

    @cached_property
    def relation_counts(self) -> Tensor:
        """``[2 · num_relations, 1]``: how many heads and tails each relation has, at least 1."""
        heads = self.to_relations.offsets.diff()
        return (heads + heads.roll(self.num_relations)).clamp(min=1).float()[:, None]

    @cached_property
    def heard(self) -> Tensor:
        """``[2 · num_relations]``, true for a relation that has an edge."""
        heard: Tensor = self.to_relations.offsets.diff() > 0
        return heard

    @cached_property
    def relation_graph(self) -> Edges:
        """How relations meet: relation to relation, with one of the four kinds as the edge's relation."""
        offsets, sources, kinds = relation_graph(self.graph)
        return Edges.from_arrays(offsets, sources, kinds, num_sources=2 * self.num_relations, num_relations=4)

    @cached_property
    def fact_index(self) -> FactIndex:
        """What the prompt enhancer chooses examples and neighbours by."""
        runs = self.edges.by_relation
        facts = runs.offsets.numpy(), runs.first.numpy(), runs.second.numpy()
        return FactIndex(self.graph, facts, self.to_relations.offsets.diff().numpy())
