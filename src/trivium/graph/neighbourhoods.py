"""Choosing example facts of a relation, and a bounded neighbourhood around each, by structure.

Choices are made by hashes of structure, smallest first: a hash is a fixed draw that no renaming changes. Equal ones
are settled by the order of names, so the order of triples never matters.
"""

from functools import cached_property

import numpy as np
from numba import njit

from trivium.graph.csr import IntArray, OffsetArray
from trivium.graph.graph import Graph, inverse

FAR = 3  # the distance that stands for every one beyond two steps
EXPANDED_DEGREE = 512  # an entity of more edges is kept as a neighbour, and not looked behind
_NEAR_SHARE = 0.5  # of the entities, at most, are neighbours of the ends; the rest is two steps away

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11, _12, _52, _58 = (np.uint64(i) for i in (30, 27, 31, 11, 12, 52, 58))


class FactIndex:
    """A graph's facts by relation, and what relations and entities look like, as hashes; made once.

    Attributes:
        facts: ``[2 · num_relations + 1]`` offsets by relation, and each fact's head and tail.
        signatures: ``[2 · num_relations]``, equal for relations with as many facts, heads and tails.
        colours: ``[num_entities]``, equal for entities whose edges look alike, two steps deep.

    Args:
        facts: edges by relation, inverses included.
        heads: ``[2 · num_relations]``, how many distinct heads each relation has.

    Cost: O(edges).
    """

    def __init__(self, graph: Graph, facts: tuple[OffsetArray, IntArray, IntArray], heads: OffsetArray) -> None:
        self.graph = graph
        self.facts = facts
        tails = heads[inverse(np.arange(len(heads)), graph.num_relations)]
        self.signatures, self.colours = colour(
            graph.offsets, graph.sources, graph.edge_relations, np.diff(facts[0]), heads, tails
        )

    @cached_property
    def name_ranks(self) -> IntArray:
        """``[num_entities]``: each entity's place in the order of names, for ties that structure leaves."""
        return self.graph.entities.names.rank("ordinal").to_numpy().astype(np.int32)

    @cached_property
    def id_ranks(self) -> IntArray:
        """``[num_entities]``: the ids, for ties in training, where names mean nothing."""
        return np.arange(self.graph.num_entities, dtype=np.int32)


@njit(cache=True)
def _mix(x):  # type: ignore[no-untyped-def]
    """A 64-bit hash (splitmix64's steps; Steele et al., 2014)."""
    x = x + _A
    x = (x ^ (x >> _30)) * _B
    x = (x ^ (x >> _27)) * _C
    return x ^ (x >> _31)


@njit(cache=True)
def _uniform(x):  # type: ignore[no-untyped-def]
    """A hash as a number in [0, 1)."""
    return np.float64(_mix(x) >> _11) * 2.0**-53


@njit(cache=True)
def colour(offsets, sources, relations, counts, heads, tails):  # type: ignore[no-untyped-def]
    """What relations and entities look like, as hashes.

    Args:
        counts, heads, tails: ``[2 · num_relations]``, how many facts, heads and tails each relation has.

    Returns:
        A hash per relation, of its counts; and per entity, of the multiset of relations around it and around them.
    """
    signatures = np.empty(len(counts), np.uint64)
    for k in range(len(counts)):
        signatures[k] = _mix(np.uint64(counts[k]) + _mix(np.uint64(heads[k]) + _mix(np.uint64(tails[k]))))
    num_entities = len(offsets) - 1
    around = np.empty(num_entities, np.uint64)
    for entity in range(num_entities):
        total = np.uint64(0)
        for i in range(offsets[entity], offsets[entity + 1]):
            total += signatures[relations[i]]
        around[entity] = _mix(total)
    colours = np.empty(num_entities, np.uint64)
    for entity in range(num_entities):
        total = around[entity]
        for i in range(offsets[entity], offsets[entity + 1]):
            total += _mix(signatures[relations[i]] ^ around[sources[i]])
        colours[entity] = _mix(total)
    return signatures, colours


@njit(cache=True)
def choose_facts(offsets, heads, tails, degrees, colours, ranks, query, most):  # type: ignore[no-untyped-def]
    """At most ``most`` facts of each relation, spread over strata of degree; ``[n, 3]`` (place, head, tail)."""
    out = np.empty((len(query) * most, 3), np.int32)
    count = 0
    for place in range(len(query)):
        begin, end = offsets[query[place]], offsets[query[place] + 1]
        n = end - begin
        order = np.arange(n)
        if n > most:
            keys = np.empty(n, np.uint64)
            for i in range(n):
                a, b = heads[begin + i], tails[begin + i]
                strata = (_log2(degrees[a]) << _58) | (_log2(degrees[b]) << _52)
                keys[i] = strata | (_mix(colours[a] + _mix(colours[b])) >> _12)
            order = np.argsort(keys)
            settled = 0
            for i in range(most):
                p = (2 * i + 1) * n // (2 * most)
                if p < settled:
                    continue
                low, high = p, p + 1
                while low > settled and keys[order[low - 1]] == keys[order[p]]:
                    low -= 1
                while high < n and keys[order[high]] == keys[order[p]]:
                    high += 1
                if high - low > 1:
                    tied = order[low:high].copy()
                    names = np.empty(len(tied), np.int64)
                    for j in range(len(tied)):
                        fact = begin + tied[j]
                        names[j] = np.int64(ranks[heads[fact]]) * len(ranks) + ranks[tails[fact]]
                    order[low:high] = tied[np.argsort(names)]
                settled = high
        for i in range(min(n, most)):
            fact = begin + (order[i] if n <= most else order[(2 * i + 1) * n // (2 * most)])
            out[count, 0], out[count, 1], out[count, 2] = place, heads[fact], tails[fact]
            count += 1
    return out[:count].copy()


@njit(cache=True)
def _log2(x):  # type: ignore[no-untyped-def]
    power = np.uint64(0)
    while x > 1:
        x >>= 1
        power += np.uint64(1)
    return power


@njit(cache=True)
def draw_facts(offsets, heads, tails, query, most, rng):  # type: ignore[no-untyped-def]
    """At most ``most`` random facts of each relation, as `choose_facts` gives them."""
    out = np.empty((len(query) * most, 3), np.int32)
    count = 0
    for place in range(len(query)):
        begin, end = offsets[query[place]], offsets[query[place] + 1]
        first = count
        while count - first < min(most, end - begin):
            fact = begin + (count - first if end - begin <= most else rng.integers(0, end - begin))
            fresh = True
            for i in range(first, count):
                fresh &= out[i, 1] != heads[fact] or out[i, 2] != tails[fact]
            if fresh:
                out[count, 0], out[count, 1], out[count, 2] = place, heads[fact], tails[fact]
                count += 1
    return out[:count].copy()


@njit(cache=True)
def _offer(items, keys, ties, count, most, item, key, tie):  # type: ignore[no-untyped-def]
    """Keeps the ``most`` smallest (key, tie), each item once with its smallest key. Returns how many are held."""
    if count == most and (most == 0 or (key, tie) >= (keys[count - 1], ties[count - 1])):
        return count
    hole = count
    for i in range(count):
        if items[i] == item:
            if key >= keys[i]:
                return count
            hole = i
            break
    if hole == count:
        if count == most:
            hole = count - 1
        else:
            count += 1
    while hole > 0 and (key, tie) < (keys[hole - 1], ties[hole - 1]):
        items[hole], keys[hole], ties[hole] = items[hole - 1], keys[hole - 1], ties[hole - 1]
        hole -= 1
    items[hole], keys[hole], ties[hole] = item, key, tie
    return count


@njit(cache=True)
def _offer_neighbours(  # type: ignore[no-untyped-def]
    offsets,
    sources,
    relations,
    colours,
    signatures,
    ranks,
    salt,
    local,
    sides,
    entity,
    items,
    keys,
    ties,
    count,
    most,
):
    """Offers an entity's neighbours: those that both ends reach, then each relation's first, each relation's second, …

    A relation's ``m`` neighbours have keys at random in ``[1, m + 1)``, so that the smallest keys take from each
    relation in turn.
    """
    begin, end = offsets[entity], offsets[entity + 1]
    while begin < end:
        relation = relations[begin]
        stop = begin
        while stop < end and relations[stop] == relation:
            stop += 1
        for i in range(begin, stop):
            other = sources[i]
            if local[other] < 0:
                if sides[other] == 3:
                    key = _uniform(colours[other] ^ salt)
                else:
                    key = 1.0 + (stop - begin) * _uniform(colours[other] ^ signatures[relation] ^ salt)
                count = _offer(items, keys, ties, count, most, other, key, np.int64(ranks[other]))
        begin = stop
    return count


@njit(cache=True)
def neighbourhoods(  # type: ignore[no-untyped-def]
    offsets,
    sources,
    relations,
    num_relations,
    colours,
    signatures,
    ranks,
    salt,
    query,
    examples,
    hops,
    most_entities,
    most_triples,
):
    """The entities and triples around each example; see `trivium.model.prompt_graph.extract`.

    Returns:
        Entities ``[examples, most_entities]`` (the example's two first) and their numbers; their distances to head and
        tail ``[examples, most_entities, 2]``; triples ``[examples, most_triples, 3]`` (places among the entities, with
        the relation between) and their numbers.
    """
    num_examples, num_entities = len(examples), len(offsets) - 1
    entities = np.empty((num_examples, most_entities), np.int32)
    sizes = np.zeros(num_examples, np.int64)
    distances = np.empty((num_examples, most_entities, 2), np.int32)
    triples = np.empty((num_examples, most_triples, 3), np.int32)
    counts = np.zeros(num_examples, np.int64)
    local = np.full(num_entities, -1, np.int32)
    sides = np.zeros(num_entities, np.uint8)
    width = max(most_entities, most_triples)
    items, keys, ties = np.empty(width, np.int64), np.empty(width, np.float64), np.empty(width, np.int64)
    found = np.empty((256, 3), np.int32)
    near = np.int64(2 + (most_entities - 2) * (_NEAR_SHARE if hops > 1 else 1.0))
    for x in range(num_examples):
        asked, a, b = query[examples[x, 0]], examples[x, 1], examples[x, 2]
        back = asked - num_relations if asked >= num_relations else asked + num_relations
        nodes = entities[x]
        nodes[0], nodes[1] = a, b
        size = 1 if a == b else 2
        for i in range(size):
            local[nodes[i]] = i
        for i in range(size):
            for e in range(offsets[nodes[i]], offsets[nodes[i] + 1]):
                sides[sources[e]] |= 3 if a == b else i + 1
        held = 0
        for i in range(size):
            held = _offer_neighbours(
                offsets,
                sources,
                relations,
                colours,
                signatures,
                ranks,
                salt,
                local,
                sides,
                nodes[i],
                items,
                keys,
                ties,
                held,
                near - size,
            )
        first = size
        for i in range(held):
            nodes[size] = items[i]
            local[items[i]] = size
            size += 1
        if hops > 1:
            second = size
            for i in range(first, second):
                begin, end = offsets[nodes[i]], offsets[nodes[i] + 1]
                if end - begin <= EXPANDED_DEGREE:
                    for e in range(begin, end):
                        if local[sources[e]] < 0:
                            sides[sources[e]] |= sides[nodes[i]]
            held = 0
            for i in range(first, second):
                if offsets[nodes[i] + 1] - offsets[nodes[i]] <= EXPANDED_DEGREE:
                    held = _offer_neighbours(
                        offsets,
                        sources,
                        relations,
                        colours,
                        signatures,
                        ranks,
                        salt,
                        local,
                        sides,
                        nodes[i],
                        items,
                        keys,
                        ties,
                        held,
                        most_entities - size,
                    )
            for i in range(held):
                nodes[size] = items[i]
                local[items[i]] = size
                size += 1
            for i in range(second):
                begin, end = offsets[nodes[i]], offsets[nodes[i] + 1]
                if i < first or end - begin <= EXPANDED_DEGREE:
                    for e in range(begin, end):
                        sides[sources[e]] = 0
        else:
            for i in range(first):
                for e in range(offsets[nodes[i]], offsets[nodes[i] + 1]):
                    sides[sources[e]] = 0
        # every triple among the nodes, seen once: from the later end, or from the one whose edges are looked at
        count = 0
        for j in range(size):
            target = nodes[j]
            if j >= first and offsets[target + 1] - offsets[target] > EXPANDED_DEGREE:
                continue
            for e in range(offsets[target], offsets[target + 1]):
                i = local[sources[e]]
                if i < 0:
                    continue
                k = relations[e]
                looked = i < first or offsets[sources[e] + 1] - offsets[sources[e]] <= EXPANDED_DEGREE
                if (i > j and looked) or (i == j and k >= num_relations):
                    continue
                own = (sources[e] == a and target == b and k == asked) or (
                    sources[e] == b and target == a and k == back
                )
                if own:
                    continue
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                forward = k < num_relations
                found[count, 0] = i if forward else j
                found[count, 1] = k if forward else k - num_relations
                found[count, 2] = j if forward else i
                count += 1
        for side in range(2):
            distances[x, :size, side] = FAR
            distances[x, min(side, first - 1), side] = 0
            for step in range(1, FAR):
                for e in range(count):
                    i, j = found[e, 0], found[e, 2]
                    if distances[x, i, side] == step - 1 and distances[x, j, side] > step:
                        distances[x, j, side] = step
                    if distances[x, j, side] == step - 1 and distances[x, i, side] > step:
                        distances[x, i, side] = step
        if count <= most_triples:
            triples[x, :count] = found[:count]
        else:
            held = 0
            for e in range(count):
                i, k, j = found[e, 0], found[e, 1], found[e, 2]
                away = distances[x, i, 0] + distances[x, i, 1] + distances[x, j, 0] + distances[x, j, 1]
                key = away + _uniform(colours[nodes[i]] + _mix(colours[nodes[j]] ^ signatures[k] ^ salt))
                tie = np.int64(ranks[nodes[i]]) * num_entities + ranks[nodes[j]]
                held = _offer(items, keys, ties, held, most_triples, e, key, tie)
            for e in range(held):
                triples[x, e] = found[items[e]]
            count = held
        for i in range(size):
            local[nodes[i]] = -1
        sizes[x], counts[x] = size, count
    return entities, sizes, distances, triples, counts


@njit(cache=True)
def join_prompts(  # type: ignore[no-untyped-def]
    examples, entities, sizes, distances, triples, counts, batch, num_relations
):
    """The examples' neighbourhoods side by side, as `trivium.model.prompt_graph.Prompts` describes them.

    Returns:
        Its ends, entities, node examples and labels; the edges' sources, targets and pairs, unsorted; the pairs.
    """
    num_nodes, num_edges = np.int64(sizes.sum()), 2 * np.int64(counts.sum())
    ends = np.empty((len(examples), 2), np.int32)
    flat, node_examples = np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32)
    labels, edge_pairs = np.empty(num_nodes, np.int32), np.empty(num_edges, np.int32)
    sources, targets = np.empty(num_edges, np.int32), np.empty(num_edges, np.int32)
    pairs = np.empty((min(num_edges, batch * 2 * num_relations), 2), np.int32)
    place = np.full(2 * num_relations, -1, np.int32)
    node, edge, num_pairs, first_pair = 0, 0, 0, 0
    for x in range(len(examples)):
        if x > 0 and examples[x, 0] != examples[x - 1, 0]:
            for p in range(first_pair, num_pairs):
                place[pairs[p, 1]] = -1
            first_pair = num_pairs
        ends[x, 0] = node
        ends[x, 1] = node + (examples[x, 1] != examples[x, 2])
        for i in range(sizes[x]):
            flat[node + i] = entities[x, i]
            node_examples[node + i] = x
            labels[node + i] = (FAR + 1) * distances[x, i, 0] + distances[x, i, 1]
        for e in range(counts[x]):
            for turned in range(2):
                k = triples[x, e, 1] + turned * num_relations
                if place[k] < 0:
                    place[k] = num_pairs
                    pairs[num_pairs, 0], pairs[num_pairs, 1] = examples[x, 0], k
                    num_pairs += 1
                sources[edge] = node + triples[x, e, 2 * turned]
                targets[edge] = node + triples[x, e, 2 - 2 * turned]
                edge_pairs[edge] = place[k]
                edge += 1
        node += sizes[x]
    return ends, flat, node_examples, labels, sources, targets, edge_pairs, pairs[:num_pairs].copy()
