"""Choosing example facts of a relation, and a bounded neighbourhood around each, by structure.

Choices are made by hashes of structure, smallest first: a hash is a fixed draw that no renaming changes. Equal ones
are settled by the order of names, so the order of triples never matters.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trivium.graph.graph import Graph, inverse
from trivium.kernels.csr import IntArray, OffsetArray

FAR = 3  # the distance that stands for every one beyond two steps
EXPANDED_DEGREE = 512  # an entity of more edges is kept as a neighbour, and not looked behind
_NEAR_SHARE = 0.5  # of the entities, at most, are neighbours of the ends; the rest is two steps away

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_11, _12, _27, _30, _31, _52, _58 = (np.uint64(i) for i in (11, 12, 27, 30, 31, 52, 58))


@njit(cache=True, nogil=True)
def _mix(x: Any) -> Any:
    """64-bit hashes (splitmix64's steps; Steele et al., 2014)."""
    x = x + _A
    x = (x ^ (x >> _30)) * _B
    x = (x ^ (x >> _27)) * _C
    return x ^ (x >> _31)


@njit(cache=True, nogil=True)
def _uniform(x: Any) -> Any:
    """A hash as a number in [0, 1)."""
    return np.float64(_mix(x) >> _11) * 2.0**-53


class FactIndex:
    """A graph's facts by relation, and what relations and entities look like, as hashes; made once.

    Attributes:
        facts: ``[2 · num_relations + 1]`` offsets by relation, and each fact's head and tail.
        signatures: ``[2 · num_relations]``, equal for relations with as many facts, heads and tails.
        colours: ``[num_entities]``, equal for entities whose edges look alike, two steps deep.

    Args:
        heads: ``[2 · num_relations]``, how many distinct heads each relation has.

    Cost: O(edges).
    """

    def __init__(self, graph: Graph, facts: tuple[OffsetArray, IntArray, IntArray], heads: OffsetArray) -> None:
        self.graph = graph
        self.facts = facts
        tails = heads[inverse(np.arange(len(heads)), graph.num_relations)]
        counts, firsts, seconds = (a.astype(np.uint64) for a in (np.diff(facts[0]), heads, tails))
        self.signatures: NDArray[np.uint64] = _mix(counts + _mix(firsts + _mix(seconds)))
        passing = self.signatures[graph.edge_relations]
        around = _mix(self._arriving(passing))
        self.colours: NDArray[np.uint64] = _mix(around + self._arriving(_mix(passing ^ around[graph.sources])))

    def _arriving(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The sum of the edges' values at each entity; sums wrap around, so their differences are exact."""
        totals: NDArray[np.uint64] = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values)])[self.graph.offsets]
        sums: NDArray[np.uint64] = totals[1:] - totals[:-1]
        return sums

    @cached_property
    def name_ranks(self) -> IntArray:
        """``[num_entities]``: each entity's place in the order of names, for ties that structure leaves."""
        return self.graph.entities.names.rank("ordinal").to_numpy().astype(np.int32)

    def examples(self, query: NDArray[np.int64], most: int, rng: np.random.Generator | None) -> IntArray:
        """At most ``most`` facts of each relation, ``[n, 3]`` (place in ``query``, head, tail).

        They are spread evenly over the facts in the order of the ends' degrees (powers of two), hashes and names;
        drawn at random where there is ``rng``.
        """
        offsets, heads, tails = self.facts
        chosen = [np.empty((0, 3), np.int32)]
        for place, relation in enumerate(query):
            begin, count = offsets[relation], offsets[relation + 1] - offsets[relation]
            if count <= most:
                facts = np.arange(count)
            elif rng is not None:
                facts = rng.choice(count, most, replace=False)
            else:
                facts = self._order(heads[begin : begin + count], tails[begin : begin + count])
                facts = facts[(2 * np.arange(most) + 1) * count // (2 * most)]
            ends = heads[begin + facts], tails[begin + facts]
            chosen.append(np.stack([np.full(len(facts), place, np.int32), *ends], axis=1))
        return np.concatenate(chosen)

    def _order(self, heads: IntArray, tails: IntArray) -> OffsetArray:
        degree = np.frexp(np.diff(self.graph.offsets))[1].astype(np.uint64)  # its power of two
        keys = _mix(self.colours[heads] + _mix(self.colours[tails])) >> _12
        keys |= (degree[heads] << _58) | (degree[tails] << _52)
        return np.lexsort((self.name_ranks[tails], self.name_ranks[heads], keys))


@njit(cache=True, nogil=True)
def _smallest(keys: Any, ties: Any, most: int) -> Any:
    """Places of the ``most`` smallest keys, equal ones by ``ties``."""
    places = np.arange(len(keys))
    if 0 < most < len(keys):
        places = places[keys <= np.partition(keys, most - 1)[most - 1]]
    places = places[np.argsort(ties[places], kind="mergesort")]
    return places[np.argsort(keys[places], kind="mergesort")][:most]


@njit(cache=True, nogil=True)
def neighbourhoods(  # type: ignore[no-untyped-def]
    edges, num_relations, looks, salt, query, examples, hops, most_entities, most_triples
):
    """The entities and triples around each example; see `trivium.model.prompt_graph.extract`.

    Neighbours are taken by key: those that both ends reach have one in [0, 1), the others of a relation's ``m`` at
    random in ``[1, m + 1)``, so that the smallest keys take from each relation in turn.

    Args:
        edges: offsets, sources and relations of the graph's edges.
        looks: colours, signatures, and ranks that settle ties.
        examples: ``[examples, 3]``, as `FactIndex.examples` gives them.

    Returns:
        ``[examples]`` numbers of entities; ``[nodes]`` the entities, an example's head and tail first; ``[nodes, 2]``
        their distances to head and tail; ``[triples, 3]`` nodes with the relation between.
    """
    (offsets, sources, relations), (colours, signatures, ranks) = edges, looks
    num_entities = len(offsets) - 1
    sizes = np.zeros(len(examples), np.int64)
    all_nodes = np.empty(len(examples) * most_entities, np.int32)
    all_distances = np.empty((len(all_nodes), 2), np.int32)
    all_triples = np.empty((len(examples) * most_triples, 3), np.int32)
    base, num_triples = 0, 0
    local = np.full(num_entities, -1, np.int32)  # an entity's place among the example's nodes
    sides = np.zeros(num_entities, np.uint8)  # 1: the head reaches it, 2: the tail, 3: both
    best = np.full(num_entities, np.inf)
    touched = np.empty(hops * num_entities, np.int32)
    found = np.empty((256, 3), np.int32)
    for x in range(len(examples)):
        asked, a, b = query[examples[x, 0]], examples[x, 1], examples[x, 2]
        back = asked - num_relations if asked >= num_relations else asked + num_relations
        nodes, distances = all_nodes[base : base + most_entities], all_distances[base : base + most_entities]
        nodes[0], nodes[1] = a, b
        first = size = 1 if a == b else 2
        for i in range(size):
            local[nodes[i]] = i
            sides[nodes[i]] = 3 if a == b else i + 1
        begin, num_touched = 0, 0
        for hop in range(hops):
            for i in range(begin, size):
                if hop == 0 or offsets[nodes[i] + 1] - offsets[nodes[i]] <= EXPANDED_DEGREE:
                    for e in range(offsets[nodes[i]], offsets[nodes[i] + 1]):
                        if local[sources[e]] < 0:
                            sides[sources[e]] |= sides[nodes[i]]
            start = num_touched
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
                                key = _uniform(colours[other] ^ salt)
                            else:
                                key = 1.0 + (e - run) * _uniform(colours[other] ^ signatures[k] ^ salt)
                            best[other] = min(best[other], key)
            offered = touched[start:num_touched]
            room = most_entities if hop == hops - 1 else np.int64(2 + (most_entities - 2) * _NEAR_SHARE)
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
                if (i == 0 and j == first - 1 and k == asked) or (i == first - 1 and j == 0 and k == back):
                    continue  # the example itself
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                turned = k >= num_relations
                found[count, 0], found[count, 2] = (j, i) if turned else (i, j)
                found[count, 1] = k - num_relations if turned else k
                count += 1
        distances[:size] = FAR
        for side in range(2):
            distances[min(side, first - 1), side] = 0
            for step in range(1, FAR):
                for e in range(count):
                    for i, j in ((found[e, 0], found[e, 2]), (found[e, 2], found[e, 0])):
                        if distances[i, side] == step - 1 and distances[j, side] > step:
                            distances[j, side] = step
        kept = found[:count]
        if count > most_triples:
            keys, ties = np.empty(count), np.empty(count, np.int64)
            for e in range(count):
                i, k, j = found[e]
                look = colours[nodes[i]] + _mix(colours[nodes[j]] ^ signatures[k] ^ salt)
                keys[e] = distances[i].sum() + distances[j].sum() + _uniform(look)
                ties[e] = np.int64(ranks[nodes[i]]) * num_entities + ranks[nodes[j]]
            kept = found[_smallest(keys, ties, most_triples)]
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
