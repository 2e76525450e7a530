"""The compiled loops of `trivium.inference.engine` and of ranking."""

import numpy as np
from numba import njit, prange

from trivium.nn.kernels import AHEAD
from trivium.nn.vector import WIDTH, add_product, prefetch, store, zeros


@njit(error_model="numpy", cache=True)
def grow_balls(offsets, sources, starts, entities, seen, num_entities):  # type: ignore[no-untyped-def]
    """Each query's set of entities, grown by one hop.

    Args:
        starts: ``[batch + 1]`` offsets of each query's run in ``entities``.
        seen: ``[batch · num_entities]``, true where a query's set holds an entity; updated.

    Returns:
        The same two arrays after the hop; a set's earlier members come first.
    """
    batch = len(starts) - 1
    out = np.empty(max(16, 2 * len(entities)), np.int32)
    out_starts = np.zeros(batch + 1, np.int64)
    count = 0
    for b in range(batch):
        for place in range(starts[b], starts[b + 1]):
            if count == len(out):
                out = np.concatenate((out, np.empty(len(out), np.int32)))
            out[count] = entities[place]
            count += 1
        for place in range(starts[b], starts[b + 1]):
            entity = entities[place]
            for edge in range(offsets[entity], offsets[entity + 1]):
                other = sources[edge]
                if not seen[b * num_entities + other]:
                    seen[b * num_entities + other] = True
                    if count == len(out):
                        out = np.concatenate((out, np.empty(len(out), np.int32)))
                    out[count] = other
                    count += 1
        out_starts[b + 1] = count
    return out_starts, out[:count].copy()


@njit(parallel=True, error_model="numpy", cache=True)
def gather_rows(offsets, sources, relations, rows, queries, places, pool, relation, boundary, heads, out, num_entities, dim):
    # type: ignore[no-untyped-def]
    """State and aggregate of chosen (query, entity) pairs: the input of a layer's linear map.

    Args:
        rows, queries: ``[n]``, the entity and the query of each pair.
        places: ``[batch · num_entities]``, where in ``pool`` each query's state of each entity stands.
        pool: states, ``dim`` numbers each, flat: the shared base's, then those that differ from it.
        out: ``[n · 2 · dim]``, filled.
    """
    last = len(sources) - 1
    for i in prange(len(rows)):
        entity, query = rows[i], queries[i]
        begin, end = offsets[entity], offsets[entity + 1]
        shift = np.int64(query) * num_entities
        own = np.int64(places[shift + entity]) * dim
        for c in range(0, dim, WIDTH):
            total = zeros()
            for e in range(begin, end):
                prefetch(pool, np.int64(places[shift + sources[min(e + AHEAD, last)]]) * dim + c)
                left = np.int64(places[shift + sources[e]]) * dim + c
                total = add_product(total, pool, left, relation, np.int64(relations[e]) * dim + c)
            store(out, i * 2 * dim + dim + c, total)
        for d in range(dim):
            out[i * 2 * dim + d] = pool[own + d]
        if heads[query] == entity:
            for d in range(dim):
                out[i * 2 * dim + dim + d] += boundary[d]


@njit(parallel=True, error_model="numpy", cache=True, fastmath={"reassoc", "contract", "nsz"})
def finish_layer(linear, gain, bias, epsilon, state, state_row, out, out_row, rows, dim):  # type: ignore[no-untyped-def]
    """``out = state + ReLU(LN(linear))`` row by row, in one pass."""
    for i in prange(rows):
        row = linear[i * dim : (i + 1) * dim]
        mean = np.float32(0)
        for d in range(dim):
            mean += row[d]
        mean /= np.float32(dim)
        variance = np.float32(0)
        for d in range(dim):
            variance += (row[d] - mean) * (row[d] - mean)
        scale = np.float32(1) / np.sqrt(variance / np.float32(dim) + epsilon)
        source = state[i * state_row : i * state_row + dim]
        target = out[i * out_row : i * out_row + dim]
        for d in range(dim):
            target[d] = source[d] + max((row[d] - mean) * scale * gain[d] + bias[d], np.float32(0))


@njit(parallel=True, error_model="numpy", cache=True)
def spread_rows(places, pool, out, out_row, dim):  # type: ignore[no-untyped-def]
    """Writes every query's state of every entity where a dense layer wants it."""
    for i in prange(len(places)):
        source = np.int64(places[i]) * dim
        for d in range(dim):
            out[i * out_row + d] = pool[source + d]


@njit(parallel=True, error_model="numpy", cache=True, fastmath={"reassoc", "contract", "nsz"})
def last_layer(hidden, weight, bias, out):  # type: ignore[no-untyped-def]
    """``out = weight · ReLU(hidden) + bias`` row by row."""
    dim = len(weight)
    for i in prange(len(out)):
        row = hidden[i * dim : (i + 1) * dim]
        total = np.float32(0)
        for d in range(dim):
            total += max(row[d], np.float32(0)) * weight[d]
        out[i] = total + bias


@njit(parallel=True, error_model="numpy", cache=True)
def count_rivals(scores, query, answer, known_starts, known, tolerance, better, tied):  # type: ignore[no-untyped-def]
    """How many unknown entities score above each answer, and how many tie with it.

    Args:
        scores: ``[queries, entities]``.
        query, answer: ``[answers]``, the row of scores and the entity.
        known_starts, known: per answer a run of entities that do not count (the answer's own entry is skipped).
        tolerance: scores this close are tied.
        better, tied: ``[answers]``, filled.
    """
    for i in prange(len(query)):
        row = scores[query[i]]
        own = row[answer[i]]
        above, same = 0, -1  # the answer ties with itself
        for j in range(len(row)):
            above += row[j] > own + tolerance
            same += abs(row[j] - own) <= tolerance
        for place in range(known_starts[i], known_starts[i + 1]):
            j = known[place]
            if j != answer[i]:
                above -= row[j] > own + tolerance
                same -= abs(row[j] - own) <= tolerance
        better[i] = above
        tied[i] = same
