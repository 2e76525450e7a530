"""Prompt graphs: a few example facts of each asked relation, each with a bounded neighbourhood, chosen by structure.

How facts and neighbours are chosen is `trivium.kernels.neighbourhoods`.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trivium.graph.graph import inverse
from trivium.kernels.csr import IntArray, OffsetArray, order_by
from trivium.kernels.neighbourhoods import FAR, neighbourhoods
from trivium.model.topology import Topology
from trivium.nn.edges import Edges

LABELS = (FAR + 1) ** 2  # pairs of distances 0 to FAR
ALONE = np.array([FAR, FAR * (FAR + 1), 0], np.int32)  # labels of a head, a tail and both in one, far from all


@dataclass(frozen=True)
class Bounds:
    """How large a prompt may be, whatever the degrees in the graph."""

    examples: int = 8
    """Example facts of a relation."""
    hops: int = 2
    """Steps from the example's head or tail, 1 or 2."""
    entities: int = 64
    """Entities around an example, its own two included."""
    edges: int = 256
    """Edges around an example, inverses included."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a batch of queries, as one graph whose parts are not joined.

    A *pair* is a relation that occurs in a query's prompts: the edges' relations are pairs.

    Attributes:
        query: ``[batch]``, ids over ``2 · num_relations``.
        examples: ``[examples, 3]``: place in the batch, head and tail (entity ids), sorted by place.
        ends: ``[examples, 2]``, the nodes of the head and the tail.
        entities: ``[nodes]`` entity ids.
        node_examples: ``[nodes]``, the example of each node, ascending.
        labels: ``[nodes + 3]``, ``(FAR + 1) · (distance to the head) + (distance to the tail)``; distances are
            counted within the prompt and without the example's own fact, `FAR` stands for all beyond. The last
            three are `ALONE`: ends that nothing surrounds, for comparison.
        offsets, sources, edge_pairs: edges by target node, inverses included; the example's own fact is left out.
        pairs: ``[pairs, 2]``: place in the batch and relation.
        marks: ``[pairs]``: 1 where the relation is the asked one, 2 where it is its inverse, else 0.
    """

    query: NDArray[np.int64]
    examples: IntArray
    ends: IntArray
    entities: IntArray
    node_examples: IntArray
    labels: IntArray
    offsets: OffsetArray
    sources: IntArray
    edge_pairs: IntArray
    pairs: IntArray
    marks: IntArray

    @cached_property
    def edges(self) -> Edges:
        """Node to node."""
        return Edges.from_arrays(
            self.offsets,
            self.sources,
            self.edge_pairs,
            num_sources=len(self.labels),
            num_relations=len(self.pairs),
        )

    @cached_property
    def to_pairs(self) -> Edges:
        """The same edges by the pair they carry: from their source node, with their target node as the relation."""
        runs = self.edges.by_relation
        nodes = len(self.labels)
        return Edges(runs.offsets, runs.first, runs.second, num_sources=nodes, num_relations=nodes)

    @cached_property
    def example_edges(self) -> NDArray[np.int64]:
        """``[examples]``: how many edges each example's neighbourhood has."""
        targets = self.node_examples[self.edges.targets.numpy()]
        return np.bincount(targets, minlength=len(self.examples))

    def rewired(self, rng: np.random.Generator) -> "Prompts":
        """The same examples, entities, labels and relations, with each edge's ends drawn anew within its example."""
        edges = self.edges
        targets = edges.targets.numpy()
        example = self.node_examples[targets]
        shuffled = np.lexsort([rng.random(len(targets)), example])
        by_example = np.argsort(example, kind="stable")
        sources = np.empty_like(self.sources)
        sources[by_example] = self.sources[shuffled]
        return replace(self, sources=sources)


def extract(
    topology: Topology,
    query: NDArray[np.int64],
    bounds: Bounds = Bounds(),
    rng: np.random.Generator | None = None,
    examples: IntArray | None = None,
) -> Prompts:
    """The prompts of a batch of relations.

    Example facts are chosen by structure: all facts of the relation are sorted by the degrees of head and tail (powers
    of two), then by the relations around both (hashed, two steps deep), then by name, and taken at even distances.
    Around each, entities that both ends reach come first, then neighbours, each relation in its turn.

    Args:
        query: ``[batch]`` ids over ``2 · num_relations``.
        rng: draws the examples and the neighbours at random instead, as training does.
        examples: ``[n, 3]``, the examples themselves (place in the batch, head, tail) instead of a choice.

    Cost: O(facts · log facts) a relation, and, for an example, O(degree of its ends + 64 · `EXPANDED_DEGREE`).
    """
    index, graph = topology.fact_index, topology.graph
    ranks = index.name_ranks if rng is None else np.arange(graph.num_entities, dtype=np.int32)
    salt = np.uint64(0) if rng is None else rng.integers(2**63, dtype=np.uint64)
    if examples is None:
        examples = index.examples(query, bounds.examples, rng)
    else:
        examples = examples[np.argsort(examples[:, 0], kind="stable")].astype(np.int32)
    sizes, entities, distances, triples = neighbourhoods(
        (graph.offsets, graph.sources, graph.edge_relations),
        graph.num_relations,
        (index.colours, index.signatures, ranks),
        salt,
        query,
        examples,
        bounds.hops,
        bounds.entities,
        bounds.edges // 2,
    )
    first = np.cumsum(sizes) - sizes
    ends = np.stack([first, first + (examples[:, 1] != examples[:, 2])], axis=1).astype(np.int32)
    node_examples = np.repeat(np.arange(len(examples), dtype=np.int32), sizes)
    heads, relations, tails = triples.T
    sources, targets = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    relations = np.concatenate([relations, inverse(relations, graph.num_relations)])
    codes = examples[node_examples[sources], 0] * np.int64(2 * graph.num_relations) + relations
    used = np.zeros(len(query) * 2 * graph.num_relations, np.bool_)
    used[codes] = True
    pairs = np.stack(np.divmod(np.flatnonzero(used), 2 * graph.num_relations), axis=1).astype(np.int32)
    edge_pairs = (np.cumsum(used) - 1)[codes].astype(np.int32)
    labels = np.concatenate([distances @ np.array([FAR + 1, 1], np.int32), ALONE])
    order, offsets = order_by(targets, len(labels))
    asked = query[pairs[:, 0]]
    marks = np.where(pairs[:, 1] == asked, 1, 2 * (pairs[:, 1] == inverse(asked, graph.num_relations)))
    return Prompts(
        query,
        examples,
        ends,
        entities,
        node_examples,
        labels,
        offsets,
        sources[order],
        edge_pairs[order],
        pairs,
        marks.astype(np.int32),
    )
