"""Subgraphs of a training graph: compiled loops over its edges, sorted by target.

``offsets[t]:offsets[t + 1]`` are the edges that end in ``t``, their other ends in ``sources``, inverse edges included:
the neighbours of ``t`` are the sources of its edges.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def grow(offsets, sources, start, size, fan_out, rng):  # type: ignore[no-untyped-def]
    """Entities reached from ``start``, in the order of the visit: breadth-first, then along random edges.

    Args:
        size: how many, at most.
        fan_out: edges followed from an entity, drawn with repeats where it has more.
    """
    seen = np.zeros(len(offsets) - 1, np.bool_)
    visited = np.empty(min(size, len(offsets) - 1), np.int32)
    visited[0] = start
    seen[start] = True
    count, place = 1, 0
    while place < count and count < len(visited):  # the queue is ``visited`` itself
        entity = visited[place]
        place += 1
        begin = offsets[entity]
        degree = offsets[entity + 1] - begin
        for i in range(min(degree, fan_out)):
            edge = begin + (i if degree <= fan_out else rng.integers(0, degree))
            other = sources[edge]
            if not seen[other] and count < len(visited):
                seen[other] = True
                visited[count] = other
                count += 1
    tries = 0
    # where that ended early, random edges of visited entities: a bounded number of tries, since all may be inside
    while count < len(visited) and tries < 20 * size:
        tries += 1
        entity = visited[rng.integers(0, count)]
        begin = offsets[entity]
        degree = offsets[entity + 1] - begin
        if degree > 0:
            other = sources[begin + rng.integers(0, degree)]
            if not seen[other]:
                seen[other] = True
                visited[count] = other
                count += 1
    return visited[:count].copy()


@njit(cache=True)
def induced(offsets, sources, relations, num_relations, visited):  # type: ignore[no-untyped-def]
    """The triples among visited entities, by their places in ``visited``; relations keep their ids.

    Walks the edges of each visited entity twice: to count the triples, then to write them.
    """
    local = np.full(len(offsets) - 1, -1, np.int32)
    for place in range(len(visited)):
        local[visited[place]] = place
    count = 0
    for entity in visited:
        for edge in range(offsets[entity], offsets[entity + 1]):
            count += relations[edge] < num_relations and local[sources[edge]] >= 0
    heads, kinds, tails = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    place = 0
    for entity in visited:
        for edge in range(offsets[entity], offsets[entity + 1]):
            if relations[edge] < num_relations and local[sources[edge]] >= 0:
                heads[place] = local[sources[edge]]
                kinds[place] = relations[edge]
                tails[place] = local[entity]
                place += 1
    return heads, kinds, tails
