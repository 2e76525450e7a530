"""The compiled loops of `trivium.model.enhancers`: a bounded neighbourhood around each example fact, by structure.

Choices are made by hashes of structure, smallest first: a hash is a fixed draw that no renaming changes. Equal ones
are settled by the order of names, so the order of triples never matters.
"""

from typing import Any

import numpy as np

from trivium.kernels.compiled import compiled

FAR = 3  # the distance that stands for every one beyond two steps
EXPANDED_DEGREE = 512  # an entity of more edges is kept as a neighbour, and not looked behind
_NEAR_SHARE = 0.5  # of the entities, at most, are neighbours of the ends; the rest is two steps away

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_11, _27, _30, _31 = (np.uint64(i) for i in (11, 27, 30, 31))


@compiled()
def hashed(x: Any) -> Any:
    """64-bit hashes (splitmix64's steps; Steele et al., 2014)."""
    x = x + _A
    x = (x ^ (x >> _30)) * _B
    x = (x ^ (x >> _27)) * _C
    return x ^ (x >> _31)


@compiled()
def _uniform(x: Any) -> Any:
    """A hash as a number in [0, 1)."""
    return np.float64(hashed(x) >> _11) * 2.0**-53


@compiled()
def _smallest(keys: Any, ties: Any, count: int) -> Any:
    """Places of the ``count`` smallest keys, equal ones by ``ties``."""
    places = np.arange(len(keys))
    if 0 < count < len(keys):
        places = places[keys <= np.partition(keys, count - 1)[count - 1]]
    places = places[np.argsort(ties[places], kind="mergesort")]
    return places[np.argsort(keys[places], kind="mergesort")][:count]


@compiled()
def neighbourhoods(  # type: ignore[no-untyped-def]
    edges, num_relations, colours, ranks, salt, asked, examples, hops, max_entities, max_triples
):
    """The entities and triples around each example; see `trivium.model.enhancers.extract`.

    Neighbours are taken by key: those that both ends reach have one in [0, 1), the others of a relation's ``m`` at
    random in ``[1, m + 1)``, so that the smallest keys take from each relation in turn.

    Args:
        edges: offsets, sources and relations of the graph's edges.
        colours: Weisfeiler-Lehman colours of entities and of relations.
        ranks: ``[entities]``, what settles ties.
        salt: changes every draw.
        asked: ``[batch]`` relations.
        examples: ``[examples, 3]``: place in ``asked``, head and tail, the fact whose neighbourhood is wanted.

    Returns:
        ``[examples]`` numbers of entities; ``[nodes]`` the entities, an example's head and tail first; ``[nodes, 2]``
        their distances to head and tail; ``[triples, 3]`` nodes with the relation between.
    """
    (offsets, sources, relations), (entity_colours, relation_colours) = edges, colours
    num_entities = len(offsets) - 1
    sizes = np.zeros(len(examples), np.int64)
    all_nodes = np.empty(len(examples) * max_entities, np.int32)
    all_distances = np.empty((len(all_nodes), 2), np.int32)
    all_triples = np.empty((len(examples) * max_triples, 3), np.int32)
    base, num_triples = 0, 0
    local = np.full(num_entities, -1, np.int32)  # an entity's place among the example's nodes
    sides = np.zeros(num_entities, np.uint8)  # 1: the head reaches it, 2: the tail, 3: both
    best = np.full(num_entities, np.inf)
    touched = np.empty(hops * num_entities, np.int32)
    found = np.empty((256, 3), np.int32)
    # examples, one after the other; the arrays above are made clean again at the end of each
    for x in range(len(examples)):
        relation, a, b = asked[examples[x, 0]], examples[x, 1], examples[x, 2]
        back = relation - num_relations if relation >= num_relations else relation + num_relations
        nodes, distances = all_nodes[base : base + max_entities], all_distances[base : base + max_entities]
        nodes[0], nodes[1] = a, b
        first = size = 1 if a == b else 2
        for i in range(size):
            local[nodes[i]] = i
            sides[nodes[i]] = 3 if a == b else i + 1
        begin, num_touched = 0, 0
        # hops: from the nodes that the last one added, to their neighbours that are no nodes yet
        for hop in range(hops):
            # edges of these nodes, once to mark which end reaches a neighbour
            for i in range(begin, size):
                if hop == 0 or offsets[nodes[i] + 1] - offsets[nodes[i]] <= EXPANDED_DEGREE:
                    for e in range(offsets[nodes[i]], offsets[nodes[i] + 1]):
                        if local[sources[e]] < 0:
                            sides[sources[e]] |= sides[nodes[i]]
            start = num_touched
            # the same edges again, in runs of one relation, for the best key of each neighbour
            for i in range(begin, size):
                e, stop = offsets[nodes[i]], offsets[nodes[i] + 1]
                if hop > 0 and stop - e > EXPANDED_DEGREE:
                    continue
                while e < stop:
                    run, k = e, relations[e]
                    while e < stop and relations[e] == k:
                        e += 1
                    for place in range(run, e):
                        other = sources[place]
                        if local[other] < 0:
                            if best[other] == np.inf:
                                touched[num_touched] = other
                                num_touched += 1
                            if sides[other] == 3:
                                key = _uniform(entity_colours[other] ^ salt)
                            else:
                                key = 1.0 + (e - run) * _uniform(entity_colours[other] ^ relation_colours[k] ^ salt)
                            best[other] = min(best[other], key)
            offered = touched[start:num_touched]
            room = max_entities if hop == hops - 1 else np.int64(2 + (max_entities - 2) * _NEAR_SHARE)
            begin, chosen = size, offered[_smallest(best[offered], ranks[offered], int(room - size))]
            for i in range(len(chosen)):
                nodes[size], local[chosen[i]] = chosen[i], size
                size += 1
            best[offered] = np.inf
        # every triple among the nodes, seen once: from the later end, or from the one whose edges are looked at
        count = 0
        for j in range(size):
            if j >= first and offsets[nodes[j] + 1] - offsets[nodes[j]] > EXPANDED_DEGREE:
                continue
            for e in range(offsets[nodes[j]], offsets[nodes[j] + 1]):
                i, k = local[sources[e]], relations[e]
                if i < 0 or (i == j and k >= num_relations):
                    continue
                if i > j and (i < first or offsets[nodes[i] + 1] - offsets[nodes[i]] <= EXPANDED_DEGREE):
                    continue
                if (i == 0 and j == first - 1 and k == relation) or (i == first - 1 and j == 0 and k == back):
                    continue  # the example itself
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                turned = k >= num_relations
                found[count, 0], found[count, 2] = (j, i) if turned else (i, j)
                found[count, 1] = k - num_relations if turned else k
                count += 1
        # distances to either end: the triples, once for each step, both ways
        distances[:size] = FAR
        for side in range(2):
            distances[min(side, first - 1), side] = 0
            for step in range(1, FAR):
                for e in range(count):
                    for i, j in ((found[e, 0], found[e, 2]), (found[e, 2], found[e, 0])):
                        if distances[i, side] == step - 1 and distances[j, side] > step:
                            distances[j, side] = step
        kept = found[:count]
        if count > max_triples:
            keys, ties = np.empty(count), np.empty(count, np.int64)
            # triples: those near the ends first, then by hash
            for e in range(count):
                i, k, j = found[e]
                colour = entity_colours[nodes[i]] + hashed(entity_colours[nodes[j]] ^ relation_colours[k] ^ salt)
                keys[e] = distances[i].sum() + distances[j].sum() + _uniform(colour)
                ties[e] = np.int64(ranks[nodes[i]]) * num_entities + ranks[nodes[j]]
            kept = found[_smallest(keys, ties, max_triples)]
        added = all_triples[num_triples : num_triples + len(kept)]
        added[:] = kept
        added[:, 0] += base
        added[:, 2] += base
        num_triples += len(kept)
        sides[touched[:num_touched]] = 0
        sides[nodes[:first]] = 0
        local[nodes[:size]] = -1
        sizes[x] = size
        base += size
    return sizes, all_nodes[:base].copy(), all_distances[:base].copy(), all_triples[:num_triples].copy()
