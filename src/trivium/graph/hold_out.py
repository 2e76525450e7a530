"""Facts to take out of a graph, with all that says the same, so that what is left can be asked for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from trivium.graph.graph import Graph
from trivium.kernels.csr import IntArray, OffsetArray


def divided(graph: Graph, shares: Sequence[float], seed: int) -> list[IntArray]:
    """Facts of a graph in parts, ``[n, 3]`` each, sorted: what is left, then a part for each of the shares.

    Each share is one of every relation's facts (what is over a whole number is drawn by chance), copies stay together,
    and what is left holds every entity and every relation of the graph; so a part may be smaller than its share.
    """
    rng = np.random.default_rng(seed)
    facts = graph.triples[rng.permutation(graph.num_triples)]
    sizes = np.bincount(facts[:, 1], minlength=graph.num_relations)
    parts, rest = [], graph
    for share in shares:
        most = np.floor(share * sizes + rng.random(len(sizes))).astype(np.int64)
        parts.append(hold_out(rest, facts[rest.contains(facts)], len(facts), most))
        rest = rest.less(parts[-1])
    return [rest.triples[np.lexsort(rest.triples.T[::-1])], *parts]


def hold_out(graph: Graph, facts: IntArray, count: int, most: OffsetArray | None = None) -> IntArray:
    """The first of ``[n, 3]`` facts of a graph, with their copies (`Graph.copies`), until they are ``count``.

    A fact stays where, without it and its copies, an entity or a relation would have none left.

    Args:
        most: ``[num_relations]``, of each relation, but for the copies of the last.

    Returns:
        ``[m, 3]``, sorted; fewer than ``count`` where no more can go, a few more where the last one has copies.

    Cost: O(n).
    """
    degrees = np.diff(graph.offsets).tolist()
    sizes = np.bincount(graph.triples[:, 1], minlength=graph.num_relations)
    left = (sizes if most is None else most).tolist()
    places, copies = graph.copies(facts)
    ends = np.searchsorted(places, np.arange(1, len(facts) + 1)).tolist()
    begin = 0
    taken: set[tuple[int, ...]] = set()
    for fact, end in zip(facts.tolist(), ends, strict=True):
        if len(taken) >= count:
            break
        group = {tuple(fact), *map(tuple, copies[begin:end].tolist())}
        begin = end
        if tuple(fact) in taken or left[fact[1]] < 1:
            continue
        entities = Counter(entity for head, _, tail in group for entity in (head, tail))
        relations = Counter(relation for _, relation, _ in group)
        if all(degrees[e] > n for e, n in entities.items()) and all(sizes[r] > n for r, n in relations.items()):
            taken |= group
            for entity, n in entities.items():
                degrees[entity] -= n
            for relation, n in relations.items():
                sizes[relation] -= n
                left[relation] -= n
    return np.array(sorted(taken), np.int32).reshape(-1, 3)
