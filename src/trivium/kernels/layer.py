"""The compiled loops of `trivium.inference.engine` and of ranking.

A *pair* is a query and an entity whose state differs from the base, because the query's head has reached it. Pairs are
numbered in the order in which they are reached and keep their numbers from layer to layer.
"""

import numpy as np
from numba import njit, prange

from trivium.kernels import vector
from trivium.kernels.compiled import compiled

AHEAD, FAR = 12, 48  # edges between the one summed and those asked for: into the first cache, into the second
STATES, EDGES, RUNS = 2, 4, 8  # pairs ahead whose sources' states, edges and runs of edges are asked for
STAYS = 0.15  # of what comes to an entity, what it keeps as its rank
TILE = 24  # rows that a thread computes together: what they need fits the first cache; a multiple of the 6 below


@njit(error_model="numpy", nogil=True)
def _run_of(entity, query, offsets, apart):  # type: ignore[no-untyped-def]
    """Where an entity's edges begin and end; those of a head that is apart from its twins are theirs."""
    if entity == len(offsets) - 2 and apart[query] >= 0:
        entity = apart[query]
    return offsets[entity], offsets[entity + 1]


@compiled(error_model="numpy")
def reach(edges, own, apart, entities, queries, frontier, count, places, most):  # type: ignore[no-untyped-def]
    """Adds the neighbours of the pairs from ``frontier`` on, which were reached last.

    Args:
        edges, own, apart: as for `run_layer`.
        entities, queries: ``[batch · num_entities]``, the pairs so far; filled.
        count: how many they are.
        places: ``[batch · num_entities]``, each query's pair of each entity, -1 where it is not reached; updated.
        most: pairs; once there are more, no further edges are looked at.

    Returns:
        How many pairs there are now.
    """
    offsets, sources, _ = edges
    found, width = (sources, 0) if own is None else (own, len(sources))
    num_entities = len(offsets) - 1
    # the pairs that were reached last, and the edges of each
    for pair in range(frontier, count):
        if count > most:
            break
        query = np.int64(queries[pair])
        shift = query * num_entities
        begin, end = _run_of(entities[pair], query, offsets, apart)
        for edge in range(begin, end):
            other = found[query * width + edge]
            if places[shift + other] < 0:
                places[shift + other] = count
                entities[count] = other
                queries[count] = queries[pair]
                count += 1
    return count


@compiled()
def cut(offsets, sources, relations, entities, places):  # type: ignore[no-untyped-def]
    """The edges between some entities, in their order.

    Args:
        entities: ``[n]``, each once.
        places: ``[num_entities]``, the place of each of these, -1 for others.

    Returns:
        ``n + 1`` offsets, sources and relations; ends are numbered by their places.
    """
    starts = np.zeros(len(entities) + 1, np.int64)
    # the edges twice: to count those that stay, and to write them
    for i in range(len(entities)):
        starts[i + 1] = starts[i]
        for edge in range(offsets[entities[i]], offsets[entities[i] + 1]):
            starts[i + 1] += places[sources[edge]] >= 0
    near, kinds = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    count = 0
    for entity in entities:
        for edge in range(offsets[entity], offsets[entity + 1]):
            place = places[sources[edge]]
            if place >= 0:
                near[count], kinds[count] = place, relations[edge]
                count += 1
    return starts, near, kinds


@compiled(error_model="numpy")
def push_ranks(offsets, sources, head, wanted, ranks, left, queue, waiting, found):  # type: ignore[no-untyped-def]
    """Personalised PageRank of what is near a head, until so many entities have some.

    What is left at an entity is pushed to its neighbours as long as it is large for its degree; then what counts as
    large is quartered, until enough entities, or all that can be found, have a rank.
    Source: Andersen, Chung and Lang, Local Graph Partitioning using PageRank Vectors (2006).

    Args:
        wanted: entities.
        ranks, left: ``[num_entities]``, zeros; filled for the entities that are found.
        queue: ``[num_entities]`` room.
        waiting: ``[num_entities]``, false; again so afterwards.
        found: ``[num_entities]`` room; the entities that something came to.

    Returns:
        How many entities are found.
    """
    left[head] = 1.0
    found[0] = head
    count = 1
    pushed = 0
    large = 1.0 / wanted
    while pushed < min(wanted, count):
        # a ring of the entities that have much left
        size = first = 0
        for i in range(count):
            entity = found[i]
            if left[entity] > large * (offsets[entity + 1] - offsets[entity]):
                queue[size] = entity
                waiting[entity] = True
                size += 1
        while size > 0:
            entity = queue[first]
            first = (first + 1) % len(queue)
            size -= 1
            waiting[entity] = False
            pushed += ranks[entity] == 0
            ranks[entity] += STAYS * left[entity]
            sent = (1 - STAYS) * left[entity] / max(1, offsets[entity + 1] - offsets[entity])
            left[entity] = 0.0
            for edge in range(offsets[entity], offsets[entity + 1]):
                other = sources[edge]
                if left[other] == 0 and ranks[other] == 0:
                    found[count] = other
                    count += 1
                left[other] += sent
                if not waiting[other] and left[other] > large * (offsets[other + 1] - offsets[other]):
                    queue[(first + size) % len(queue)] = other
                    waiting[other] = True
                    size += 1
        large /= 4
    return count


@njit(error_model="numpy", nogil=True)
def _multiply(rows, count, inside, weight, out, outside):  # type: ignore[no-untyped-def]
    """``out = rows · weight`` for ``count`` rows, a multiple of 6; every row is summed in the same order.

    Six rows by sixteen columns at a time, twelve registers of sums: 183 GFLOP/s on two AVX2 cores, where torch's
    product reaches 164 (benchmarks/message_passing.py).
    """
    nothing = vector.repeat(np.float32(0))
    # panels of 16 columns; in each six rows at a time, and for these what they are summed over
    for panel in range(outside // vector.LANES):
        for r in range(0, count, 6):
            a, b, c, d, e, f = nothing, nothing, nothing, nothing, nothing, nothing
            start = r * inside
            for k in range(inside):
                column = vector.load_floats(weight, (panel * inside + k) * vector.LANES)
                a = vector.add_multiple(a, rows, start + k, column)
                b = vector.add_multiple(b, rows, start + inside + k, column)
                c = vector.add_multiple(c, rows, start + 2 * inside + k, column)
                d = vector.add_multiple(d, rows, start + 3 * inside + k, column)
                e = vector.add_multiple(e, rows, start + 4 * inside + k, column)
                f = vector.add_multiple(f, rows, start + 5 * inside + k, column)
            place = r * outside + panel * vector.LANES
            vector.store(out, place, a)
            vector.store(out, place + outside, b)
            vector.store(out, place + 2 * outside, c)
            vector.store(out, place + 3 * outside, d)
            vector.store(out, place + 4 * outside, e)
            vector.store(out, place + 5 * outside, f)


@njit(error_model="numpy", nogil=True)
def _finish(linear, here, bias, gain, shift, epsilon, state, before, out, after, dim):  # type: ignore[no-untyped-def]
    """``out = state + ReLU(LN(linear + bias))`` for one row; it begins at ``here``, ``before``, ``after``."""
    count = np.float32(dim)
    total = vector.repeat(np.float32(0))
    # the row three times, 16 columns at a time: for its mean, for its variance, and to finish it
    for c in range(0, dim, vector.LANES):
        value = vector.plus(vector.load_floats(linear, here + c), vector.load_floats(bias, c))
        vector.store(linear, here + c, value)
        total = vector.plus(total, value)
    shifted = vector.repeat(-vector.sum_of(total) / count)
    total = vector.repeat(np.float32(0))
    for c in range(0, dim, vector.LANES):
        value = vector.plus(vector.load_floats(linear, here + c), shifted)
        vector.store(linear, here + c, value)
        total = vector.plus(total, vector.times(value, value))
    scale = vector.repeat(np.float32(1) / np.sqrt(vector.sum_of(total) / count + epsilon))
    for c in range(0, dim, vector.LANES):
        value = vector.times(vector.times(vector.load_floats(linear, here + c), scale), vector.load_floats(gain, c))
        value = vector.positive(vector.plus(value, vector.load_floats(shift, c)))
        vector.store(out, after + c, vector.plus(vector.load_floats(state, before + c), value))


@njit(error_model="numpy", nogil=True)
def _ask_for(pair, count, offsets, sources, width, relations, reached, places, base_states, dim):  # type: ignore[no-untyped-def]
    """Asks for what the pairs after one need, whose edges, unlike those of all entities, do not follow on its own.

    Args:
        sources: each query's stand ``width`` after those of the one before.
    """
    entities, queries, _, apart, before, states = reached
    coming = min(pair + RUNS, count - 1)
    vector.prefetch(offsets, np.int64(entities[coming]))
    coming = min(pair + EDGES, count - 1)
    query = np.int64(queries[coming])
    begin, end = _run_of(np.int64(entities[coming]), query, offsets, apart)
    vector.prefetch(sources, query * width + begin)
    vector.prefetch(relations, begin)
    coming = min(pair + STATES, count - 1)
    query = np.int64(queries[coming])
    begin, end = _run_of(np.int64(entities[coming]), query, offsets, apart)
    for edge in range(begin, min(end, begin + FAR)):
        source = np.int64(sources[query * width + edge])
        place = np.int64(places[query * (len(offsets) - 1) + source])
        own = (place >= 0) & (place < before)
        for c in range(0, dim, vector.WIDTH):
            vector.prefetch_either_far(own, states, place * dim + c, base_states, source * dim + c)


@compiled(parallel=True, error_model="numpy")
def run_layer(edges, own, reached, places, base, layer, out, count, threads):  # type: ignore[no-untyped-def]
    """One layer of the entity encoder for the reached pairs: messages, linear map, norm, ReLU and residual at once.

    Args:
        edges: offsets, sources and relations.
        own: ``[batch · edges]``, the sources for each query, or ``None`` where they are the same.
        reached: entities and queries, as for `reach`; ``heads``, the entity of each query that has the boundary (-1 for
            none); ``apart``, ``[batch]``, the entity whose edges the last one has, or -1; ``before``: pairs from this
            number on had the base's state until now; the other pairs' states before the layer, ``dim`` numbers each.
        places: as for `reach`; ``None`` says that every pair has its state, in order of query and entity, and that the
            pairs of each query with the given entities are computed.
        base: the base's states before the layer, of all entities or one for all; the layer's projected relation
            representations; the boundary, ``[dim]``.
        layer: the linear map, packed by `packed`, its offset, and the norm's gain, shift and epsilon.
        out: ``[pairs · dim]``, by pair, or by query and entity where every pair has its state; what is computed is
            filled in.
        count: how many are computed.
        threads: how the tiles are dealt out; the result does not depend on it.
    """
    offsets, sources, relations = edges
    entities, queries, heads, apart, before, states = reached
    base_states, carried, asked = base
    weight, bias, gain, shift, epsilon = layer
    found, apart_by = (sources, 0) if own is None else (own, len(sources))
    num_entities, dim, final = len(offsets) - 1, len(asked), len(sources) - 1
    base_row = 0 if len(base_states) == dim else dim
    width = len(entities)
    tiles = (count + TILE - 1) // TILE
    each = (tiles + threads - 1) // threads
    # tiles of pairs, dealt out so that the threads' shares are alike
    for i in prange(each * threads):
        tile = (i % each) * threads + i // each
        if tile < tiles:
            rows = np.zeros(TILE * 2 * dim, np.float32)  # each pair's state and, beside it, its messages
            linear = np.empty(TILE * dim, np.float32)
            first = tile * TILE
            last = min(count, first + TILE)
            # the tile's pairs: their states, and the sums over the edges that arrive
            for pair in range(first, last):
                if places is None:
                    entity, query = np.int64(entities[pair % width]), np.int64(pair // width)
                else:
                    entity, query = np.int64(entities[pair]), np.int64(queries[pair])
                begin, end = _run_of(entity, query, offsets, apart)
                first_edge = query * apart_by
                if places is not None and base_row > 0:
                    _ask_for(pair, count, offsets, found, apart_by, relations, reached, places, base_states, dim)
                here = (pair - first) * 2 * dim
                places_here = query * num_entities
                if places is None or pair < before:
                    own_row = (places_here + entity if places is None else pair) * dim
                    for d in range(dim):
                        rows[here + d] = states[own_row + d]
                else:
                    for d in range(dim):
                        rows[here + d] = base_states[entity * base_row + d]
                # columns, two vectors of them at a time, and for each pair the edges that arrive at the entity
                for c in range(0, dim, 2 * vector.WIDTH):
                    beside = min(vector.WIDTH, dim - vector.WIDTH - c)  # 0 where one vector is left: summed twice
                    left, right = vector.zeros(), vector.zeros()
                    for e in range(begin, end):
                        source = np.int64(found[first_edge + e])
                        soon = np.int64(found[first_edge + min(e + AHEAD, final)])
                        later = np.int64(found[first_edge + min(e + FAR, final)])
                        factor = np.int64(relations[e]) * dim + c
                        if places is None:
                            soon, later = (places_here + soon) * dim + c, (places_here + later) * dim + c
                            vector.prefetch_far(states, later)
                            vector.prefetch_far(states, later + beside)
                            vector.prefetch(states, soon)
                            vector.prefetch(states, soon + beside)
                            place = (places_here + source) * dim + c
                            left = vector.add_product(left, states, place, carried, factor)
                            right = vector.add_product(right, states, place + beside, carried, factor + beside)
                        else:
                            # no look-up where no pair has a state of its own yet
                            place = np.int64(places[places_here + soon]) if before > 0 else np.int64(-1)
                            is_own = (place >= 0) & (place < before)
                            here_own, here_base = place * dim + c, soon * base_row + c
                            vector.prefetch_either(is_own, states, here_own, base_states, here_base)
                            vector.prefetch_either(is_own, states, here_own + beside, base_states, here_base + beside)
                            place = np.int64(places[places_here + source]) if before > 0 else np.int64(-1)
                            is_own = (place >= 0) & (place < before)
                            here_own, here_base = place * dim + c, source * base_row + c
                            left = vector.add_product_of_either(
                                left, is_own, states, here_own, base_states, here_base, carried, factor
                            )
                            right = vector.add_product_of_either(
                                right,
                                is_own,
                                states,
                                here_own + beside,
                                base_states,
                                here_base + beside,
                                carried,
                                factor + beside,
                            )
                    vector.store(rows, here + dim + c, left)
                    vector.store(rows, here + dim + c + beside, right)
                if heads[query] == entity:
                    for d in range(dim):
                        rows[here + dim + d] += asked[d]
            _multiply(rows, TILE, 2 * dim, weight, linear, dim)
            # the tile's pairs again, to finish each
            for pair in range(first, last):
                r = pair - first
                to = pair if places is not None else pair // width * num_entities + np.int64(entities[pair % width])
                _finish(linear, r * dim, bias, gain, shift, epsilon, rows, r * 2 * dim, out, to * dim, dim)


@compiled(parallel=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def score_rows(states, count, dim, weight, bias, last_weight, last_bias, hidden_dim, out):  # type: ignore[no-untyped-def]
    """``out = last_weight · ReLU(states · weight + bias) + last_bias`` for ``count`` rows of ``dim`` numbers."""
    # tiles of rows; in each the rows, and for these what they are summed over
    for tile in prange((count + TILE - 1) // TILE):
        rows = np.zeros(TILE * dim, np.float32)
        hidden = np.empty(TILE * hidden_dim, np.float32)
        first = tile * TILE
        size = min(count - first, TILE)
        rows[: size * dim] = states[first * dim : (first + size) * dim]
        _multiply(rows, TILE, dim, weight, hidden, hidden_dim)
        for r in range(size):
            row = hidden[r * hidden_dim : (r + 1) * hidden_dim]
            total = np.float32(0)
            for d in range(hidden_dim):
                total += max(row[d] + bias[d], np.float32(0)) * last_weight[d]
            out[first + r] = total + last_bias


@compiled(parallel=True, error_model="numpy")
def count_rivals(scores, query, answer, known_starts, known, tolerance, better, tied):  # type: ignore[no-untyped-def]
    """How many unknown entities score above each answer, and how many tie with it.

    Args:
        scores: ``[queries, entities]``.
        query, answer: ``[answers]``, the row of scores and the entity.
        known_starts, known: per answer a run of entities that do not count (the answer's own entry is skipped).
        tolerance: scores this close are tied.
        better, tied: ``[answers]``, filled.
    """
    # answers; for each all entities, then those that do not count, to take them back
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
