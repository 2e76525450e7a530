"""Subgraphs of a training graph, from its edges, sorted by target.

``offsets[t]:offsets[t + 1]`` are the edges that end in ``t``, their other ends in ``sources``, inverse edges included:
the neighbours of ``t`` are the sources of its edges.
"""

import numpy as np
from numba import njit

from trivium.kernels.csr import IntArray, OffsetArray


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


def induced(
    offsets: OffsetArray, sources: IntArray, relations: IntArray, num_relations: int, visited: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """The triples among visited entities, by their places in ``visited``; relations keep their ids."""
    local = np.full(len(offsets) - 1, -1, np.int32)
    local[visited] = np.arange(len(visited))
    degrees = offsets[visited + 1] - offsets[visited]
    edges = np.arange(degrees.sum()) + np.repeat(offsets[visited] - (np.cumsum(degrees) - degrees), degrees)
    heads, kinds, tails = local[sources[edges]], relations[edges], np.repeat(local[visited], degrees)
    kept = (heads >= 0) & (kinds < num_relations)
    return heads[kept], kinds[kept], tails[kept]
