"""Subgraphs of a training graph, from its edges, sorted by target.

``offsets[t]:offsets[t + 1]`` are the edges that end in ``t``, their other ends in ``sources``, inverse edges included:
the neighbours of ``t`` are the sources of its edges.
"""

import numpy as np

from trivium.kernels.compiled import compiled
from trivium.kernels.csr import IntArray, OffsetArray


@compiled()
def _visit(entity, seen, visited, count):  # type: ignore[no-untyped-def]
    """Adds an entity to those visited, if it is new and there is room; returns how many they are now."""
    if not seen[entity] and count < len(visited):
        seen[entity] = True
        visited[count] = entity
        count += 1
    return count


@compiled()
def grow(offsets, sources, start, size, fan_out, rng):  # type: ignore[no-untyped-def]
    """Entities reached from ``start``, in the order of the visit: breadth-first, then along random edges.

    Args:
        size: how many, at most.
        fan_out: edges followed from an entity, drawn with repeats where it has more.
    """
    seen = np.zeros(len(offsets) - 1, np.bool_)
    visited = np.empty(min(size, len(offsets) - 1), np.int32)
    count, place = _visit(start, seen, visited, 0), 0
    while place < count and count < len(visited):  # the queue is ``visited`` itself
        entity = visited[place]
        place += 1
        begin = offsets[entity]
        degree = offsets[entity + 1] - begin
        for i in range(min(degree, fan_out)):
            edge = begin + (i if degree <= fan_out else rng.integers(0, degree))
            count = _visit(sources[edge], seen, visited, count)
    tries = 0
    # where that ended early, random edges of visited entities: a bounded number of tries, since all may be inside
    while count < len(visited) and tries < 20 * size:
        tries += 1
        entity = visited[rng.integers(0, count)]
        begin = offsets[entity]
        degree = offsets[entity + 1] - begin
        if degree > 0:
            count = _visit(sources[begin + rng.integers(0, degree)], seen, visited, count)
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
