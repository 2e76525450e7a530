"""Prompt graphs: a few example facts of each asked relation, each with a bounded neighbourhood, chosen by structure.

Examples are chosen in `trivium.model.prompt_examples`, neighbours in `trivium.kernels.neighbourhoods`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trivium.graph.graph import inverse
from trivium.kernels.csr import IntArray, order_by
from trivium.kernels.neighbourhoods import FAR, neighbourhoods
from trivium.model.config import ModelConfig
from trivium.model.topology import Topology
from trivium.nn.edges import Edges

LABELS = (FAR + 1) ** 2  # pairs of distances 0 to FAR
ALONE = np.array([FAR, FAR * (FAR + 1), 0], np.int32)  # labels of a head, a tail and both in one, far from all


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a batch of asked relations, as one graph whose parts are not joined.

    A *pair* is a relation that occurs in an asked relation's prompts: the edges' relations are pairs.

    Attributes:
        examples: ``[examples, 3]``: place in the batch, head and tail (entity ids), sorted by place.
        ends: ``[examples, 2]``, the nodes of the head and the tail.
        entities: ``[nodes]`` entity ids.
        node_examples: ``[nodes]``, the example of each node, ascending.
        labels: ``[nodes + 3]``, ``(FAR + 1) · (distance to the head) + (distance to the tail)``; distances are
            counted within the prompt and without the example's own fact, `FAR` stands for all beyond. The last
            three are `ALONE`: ends that nothing surrounds, for comparison.
        edges: node to node, inverses included; the example's own fact is left out.
        pairs: ``[pairs, 2]``: place in the batch and relation.
        marks: ``[pairs]``: 1 where the relation is the asked one, 2 where it is its inverse, else 0.
    """

    examples: IntArray
    ends: IntArray
    entities: IntArray
    node_examples: IntArray
    labels: IntArray
    edges: Edges
    pairs: IntArray
    marks: IntArray

    @cached_property
    def to_pairs(self) -> Edges:
        """The same edges by the pair they carry: from their source node, with their target node as the relation."""
        runs, nodes = self.edges.by_relation, len(self.labels)
        return Edges(runs.offsets, runs.first, runs.second, nodes, nodes)

    @cached_property
    def example_edges(self) -> NDArray[np.int64]:
        """``[examples]``: how many edges each example's neighbourhood has."""
        return np.bincount(self.node_examples[self.edges.targets], minlength=len(self.examples))


def extract(
    topology: Topology,
    relations: NDArray[np.int64],
    config: ModelConfig = ModelConfig(),  # noqa: B008
    rng: np.random.Generator | None = None,
    examples: IntArray | None = None,
) -> Prompts:
    """The prompts of a batch of relations.

    Example facts are chosen by structure: all facts of the relation are sorted by the degrees of head and tail (powers
    of two), then by the relations around both (hashed, two steps deep), then by name, and taken at even distances.
    Around each, entities that both ends reach come first, then neighbours, each relation in its turn.

    Args:
        relations: ``[batch]`` ids over ``2 · num_relations``.
        config: its ``prompt_...`` fields bound a prompt, whatever the degrees in the graph.
        rng: draws the examples and the neighbours at random instead, as training does.
        examples: ``[n, 3]``, the examples themselves (place in the batch, head, tail) instead of a choice.

    Cost: O(facts · log facts) a relation, and, for an example, O(degree of its ends + 64 · `EXPANDED_DEGREE`).
    """
    index, edges, num_relations = topology.fact_index, topology.edges, topology.num_relations
    ranks = index.name_ranks if rng is None else np.arange(topology.num_entities, dtype=np.int32)
    salt = np.uint64(0) if rng is None else rng.integers(2**63, dtype=np.uint64)
    if examples is None:
        examples = index.examples(relations, config.prompt_examples, rng)
    else:
        examples = examples[np.argsort(examples[:, 0], kind="stable")].astype(np.int32)
    colours = index.entity_colours, index.relation_colours
    limits = config.prompt_hops, config.prompt_entities, config.prompt_edges // 2
    sizes, entities, distances, triples = neighbourhoods(
        edges.by_target[:3], num_relations, colours, ranks, salt, relations, examples, *limits
    )
    first = np.cumsum(sizes) - sizes
    ends = np.stack([first, first + (examples[:, 1] != examples[:, 2])], axis=1).astype(np.int32)
    node_examples = np.repeat(np.arange(len(examples), dtype=np.int32), sizes)
    labels = np.concatenate([distances @ np.array([FAR + 1, 1], np.int32), ALONE])
    heads, forward, tails = triples.T
    sources, targets = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    carried = np.concatenate([forward, inverse(forward, num_relations)])
    codes = examples[node_examples[sources], 0] * np.int64(2 * num_relations) + carried
    used = np.zeros(len(relations) * 2 * num_relations, np.bool_)
    used[codes] = True
    pairs = np.stack(np.divmod(np.flatnonzero(used), 2 * num_relations), axis=1).astype(np.int32)
    edge_pairs = (np.cumsum(used) - 1)[codes].astype(np.int32)
    order, offsets = order_by(targets, len(labels))
    asked = relations[pairs[:, 0]]
    marks = np.where(pairs[:, 1] == asked, 1, 2 * (pairs[:, 1] == inverse(asked, num_relations))).astype(np.int32)
    prompt_edges = Edges(offsets, sources[order], edge_pairs[order], len(labels), len(pairs))
    return Prompts(examples, ends, entities, node_examples, labels, prompt_edges, pairs, marks)
