"""The relation graph: which relations share an entity, and how (Galkin et al., ULTRA, 2024, section 4.1)."""

import numpy as np

from trivium.graph.graph import inverse
from trivium.kernels.csr import shared_rows, sorted_unique, targets_of
from trivium.nn.edges import Edges


def relation_graph(to_entities: Edges, num_relations: int) -> Edges:
    """Edges between all relations that share an entity, inverses included, a relation with itself included.

    An edge ``i -> j`` of kind head-to-tail says that a head of ``i`` is a tail of ``j``. With inverse relations in the
    graph the tails of ``r`` are the heads of its inverse, so one table of shared heads gives all four kinds.

    Args:
        to_entities: the relations that each entity is a head of.

    Cost: O(Σ over entities of (relations at the entity)²) time, memory of the answer.
    """
    nodes = 2 * num_relations
    offsets, j = shared_rows(to_entities.offsets, to_entities.sources, nodes)
    i = targets_of(offsets)
    i_inverse, j_inverse = (inverse(a, num_relations).astype(np.int32) for a in (i, j))
    # head to head, tail to tail, head to tail, tail to head
    sources, targets = np.concatenate([i, i_inverse, i, i_inverse]), np.concatenate([j, j_inverse, j_inverse, j])
    kinds = np.repeat(np.arange(4, dtype=np.int32), len(i))
    sources, kinds, offsets = sorted_unique(sources, kinds, targets, nodes, 4)
    return Edges(offsets, sources, kinds, nodes, 4)
