"""The compiled loops of `trivium.model.chains`: which chains of relations join the ends of facts, and where they lead.

A chain of up to three relations is a code: its relations plus one as digits of base ``num_relations + 1``, the last one
lowest, where ``num_relations`` counts inverses. A digit of 0 stands for no relation.
"""

from typing import Any

import numpy as np
from numba import njit

MAX_DEGREE = 2_000  # an entity of more edges is not looked through for chains of two
MAX_MIDDLES = (
    200_000  # pairs of neighbours of the facts' ends, of all together, that are looked through for chains of three
)


@njit(cache=True, nogil=True)
def _first(values: Any, begin: int, end: int, wanted: int) -> int:
    """The first place in ``[begin, end)`` whose value is not below ``wanted``; values ascend there."""
    while begin < end:
        middle = (begin + end) // 2
        if values[middle] < wanted:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(cache=True, nogil=True)
def joining_chains(  # type: ignore[no-untyped-def]
    edges, by_source, num_relations, query, heads, tails, length, codes
):
    """The codes of chains that join the head and the tail of each fact, each once a fact, the asked relation aside.

    Args:
        edges: offsets, sources, relations, sorted by (target, relation).
        by_source: sources and relations of the same runs, sorted by source within each.
        heads, tails: ``[facts]``.
        length: of the longest chains, 1 to 3.
        codes: room for them; facts that find none left are passed over.

    Returns:
        How many there are.
    """
    offsets, sources, relations = edges
    their_sources, their_relations = by_source
    base, half, count, left = num_relations + 1, num_relations // 2, 0, MAX_MIDDLES
    # the facts; the edges at one end, to meet those at the other; for chains of three the pairs of edges at both
    for i in range(len(heads)):
        a, b, begin = heads[i], tails[i], count
        room = len(codes)
        first, last = offsets[b], offsets[b + 1]
        place = _first(their_sources, first, last, a)
        while place < last and their_sources[place] == a and count < room:
            if their_relations[place] != query:
                codes[count] = their_relations[place] + 1
                count += 1
            place += 1
        at_a, at_b = offsets[a + 1] - offsets[a], last - first
        if length > 1 and min(at_a, at_b) <= MAX_DEGREE:
            if at_a <= at_b:
                for e in range(offsets[a], offsets[a + 1]):
                    m, x = sources[e], (relations[e] + half) % num_relations
                    if m in (a, b):
                        continue
                    place = _first(their_sources, first, last, m)
                    while place < last and their_sources[place] == m and count < room:
                        codes[count] = (x + 1) * base + their_relations[place] + 1
                        count += 1
                        place += 1
            else:
                for e in range(first, last):
                    m, y = sources[e], relations[e]
                    if m in (a, b):
                        continue
                    end = offsets[m + 1]
                    place = _first(their_sources, offsets[m], end, a)
                    while place < end and their_sources[place] == a and count < room:
                        codes[count] = (their_relations[place] + 1) * base + y + 1
                        count += 1
                        place += 1
        if length > 2 and at_a * at_b <= left:
            left -= at_a * at_b
            for e in range(offsets[a], offsets[a + 1]):
                m, x = sources[e], (relations[e] + half) % num_relations
                if m in (a, b):
                    continue
                for f in range(first, last):
                    w, z = sources[f], relations[f]
                    if w in (a, b, m):
                        continue
                    end = offsets[w + 1]
                    place = _first(their_sources, offsets[w], end, m)
                    while place < end and their_sources[place] == m and count < room:
                        codes[count] = ((x + 1) * base + their_relations[place] + 1) * base + z + 1
                        count += 1
                        place += 1
        found = np.unique(codes[begin:count])
        codes[begin : begin + len(found)] = found
        count = begin + len(found)
        if count == room:
            return begin  # the last fact may lack some of its chains
    return count


@njit(cache=True, nogil=True)
def _ends(edges, num_relations, start, code, marks, stamp, out):  # type: ignore[no-untyped-def]
    """The entities at the end of a chain from ``start``, each once, into ``out[0]``.

    Returns:
        How many, or -1 if a step has more than there is room for; and the next stamp.
    """
    offsets, sources, relations = edges
    base, half = num_relations + 1, num_relations // 2
    here, there = 0, 1
    out[0, 0] = start
    count = 1
    scale = base * base
    # the chain's relations; what was reached; the edges of the relation there
    while scale > 0:
        digit = (code // scale) % base
        scale //= base
        if digit == 0:
            continue
        arriving = (digit - 1 + half) % num_relations
        stamp += 1
        reached = 0
        for i in range(count):
            entity = out[here, i]
            end = offsets[entity + 1]
            place = _first(relations, offsets[entity], end, arriving)
            while place < end and relations[place] == arriving:
                source = sources[place]
                place += 1
                if marks[source] != stamp:
                    if reached == out.shape[1]:
                        return -1, stamp
                    marks[source] = stamp
                    out[there, reached] = source
                    reached += 1
        here, there = there, here
        count = reached
    if here == 1:
        out[0, :count] = out[1, :count]
    return count, stamp


@njit(cache=True, nogil=True)
def chain_counts(edges, num_relations, query, codes, starts, num_entities, room):  # type: ignore[no-untyped-def]
    """How often each chain leads somewhere from its sample of starts, and how often to an answer of the asked relation.

    Args:
        codes: ``[chains]``.
        starts: ``[chains, sample]``, -1 for none.
        room: a start from which a step leads to more entities is passed over.

    Returns:
        Two arrays ``[chains]``.
    """
    offsets, sources, relations = edges
    arriving = (query + num_relations // 2) % num_relations
    marks = np.zeros(num_entities, np.int64)
    out = np.empty((2, room), np.int32)
    led, right = np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64)
    stamp = 0
    for c in range(len(codes)):
        for start in starts[c]:
            if start < 0:
                break
            count, stamp = _ends(edges, num_relations, start, codes[c], marks, stamp, out)
            first = _first(relations, offsets[start], offsets[start + 1], arriving)
            last = _first(relations, first, offsets[start + 1], arriving + 1)
            for i in range(count):
                entity = out[0, i]
                if entity != start:
                    led[c] += 1
                    place = _first(sources, first, last, entity)
                    right[c] += place < last and sources[place] == entity
    return led, right


@njit(cache=True, nogil=True)
def raise_scores(scores, evidence, gain, scale):  # type: ignore[no-untyped-def]
    """``scores += gain · log(1 + evidence / scale)``, an entity at a time, so that nothing depends on the batch."""
    for i in range(scores.shape[0]):
        for entity in range(scores.shape[1]):
            if evidence[i, entity] > 0:
                scores[i, entity] += gain * np.log1p(evidence[i, entity] / scale)


@njit(cache=True, nogil=True)
def spread_chains(  # type: ignore[no-untyped-def]
    edges, num_relations, head, codes, weights, room, marks, stamp, found, out
):
    """``out[e] = 1 - Π (1 - weight)`` over the chains that lead from ``head`` to ``e``; the head has 0.

    Args:
        marks: ``[entities]``, none of them above ``stamp``.
        found: room for the entities that are led to; filled.
        out: ``[entities]``, zeros.

    Returns:
        How many entities are led to, and the next stamp.
    """
    reached = np.empty((2, room), np.int32)
    total = 0
    for c in range(len(codes)):
        count, stamp = _ends(edges, num_relations, head, codes[c], marks, stamp, reached)
        for j in range(count):
            entity = reached[0, j]
            if entity == head:
                continue
            if out[entity] == 0:
                found[total] = entity
                total += 1
            out[entity] += (np.float32(1) - out[entity]) * weights[c]
    return total, stamp
