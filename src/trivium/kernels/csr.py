"""Sorting edges by their target in linear time (compressed sparse rows), and what is read off such rows."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
OffsetArray = NDArray[np.int64]


@njit(cache=True, nogil=True)
def _counting_order(keys, num_keys, order):  # type: ignore[no-untyped-def]
    """Stable order of ``order`` by ``keys[order]``; the row offsets of each key."""
    offsets = np.zeros(num_keys + 1, np.int64)
    for key in keys:
        offsets[key + 1] += 1
    for key in range(num_keys):
        offsets[key + 1] += offsets[key]
    place = offsets[:-1].copy()
    out = np.empty_like(order)
    for i in order:
        key = keys[i]
        out[place[key]] = i
        place[key] += 1
    return out, offsets


def order_by(keys: IntArray, num_keys: int, order: OffsetArray | None = None) -> tuple[OffsetArray, OffsetArray]:
    """Stable counting sort.

    Args:
        keys: one per item, in ``[0, num_keys)``.
        order: an earlier order to refine; ``None`` means the items' own.

    Returns:
        The items' order by key, and ``num_keys + 1`` offsets of each key's run in it.

    Cost: O(items + num_keys).
    """
    start = np.arange(len(keys), dtype=np.int64) if order is None else order
    return _counting_order(keys, num_keys, start)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _first_of_run(targets, relations, sources):  # type: ignore[no-untyped-def]
    """Marks the edges that differ from the edge before them; equal edges stand side by side."""
    keep = np.ones(len(targets), np.bool_)
    for i in range(1, len(targets)):
        keep[i] = targets[i] != targets[i - 1] or relations[i] != relations[i - 1] or sources[i] != sources[i - 1]
    return keep


def sorted_unique(
    sources: IntArray, relations: IntArray, targets: IntArray, num_entities: int, num_relations: int
) -> tuple[IntArray, IntArray, OffsetArray]:
    """Edges sorted by (target, relation, source), each once.

    Returns:
        Sources, relations, and the ``num_entities + 1`` offsets of each target's edges.

    Cost: O(edges + num_entities + num_relations): three counting sorts, least significant key first.
    """
    order, _ = order_by(sources, num_entities)
    order, _ = order_by(relations, num_relations, order)
    order, _ = order_by(targets, num_entities, order)
    sources, relations, targets = sources[order], relations[order], targets[order]
    keep = _first_of_run(targets, relations, sources)
    if not keep.all():
        sources, relations, targets = sources[keep], relations[keep], targets[keep]
    offsets = np.zeros(num_entities + 1, np.int64)
    np.cumsum(np.bincount(targets, minlength=num_entities), out=offsets[1:])
    return sources, relations, offsets


def targets_of(offsets: OffsetArray) -> IntArray:
    """The target of every edge, from the offsets of each target's run."""
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))


@njit(cache=True, nogil=True)
def _find(offsets, relations, sources, triples):  # type: ignore[no-untyped-def]
    """For each triple, halves its tail's run until the edge (relation, head) or its place is found."""
    places = np.empty(len(triples), np.int64)
    for i in range(len(triples)):
        head, relation, tail = triples[i, 0], triples[i, 1], triples[i, 2]
        places[i] = -1
        if tail < 0 or tail >= len(offsets) - 1:
            continue
        low, high = offsets[tail], offsets[tail + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if relations[middle] < relation or (relations[middle] == relation and sources[middle] < head):
                low = middle + 1
            else:
                high = middle
        if low < end and relations[low] == relation and sources[low] == head:
            places[i] = low
    return places


def find_edges(offsets: OffsetArray, relations: IntArray, sources: IntArray, triples: IntArray) -> OffsetArray:
    """Where each of ``[n, 3]`` triples (head, relation, tail) stands among sorted edges.

    Returns:
        ``[n]`` places; -1 for a triple that is not among them, ids out of range included.

    Cost: O(n log degree).
    """
    return _find(offsets, relations, sources, triples)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _incidence(offsets, relations, num_relations):  # type: ignore[no-untyped-def]
    """Unique (entity, relation that the entity is a head of), from edges sorted by (target, relation)."""
    num_entities = len(offsets) - 1
    rows = np.zeros(num_entities + 1, np.int64)
    for entity in range(num_entities):
        rows[entity + 1] = rows[entity]
        before = -1
        for edge in range(offsets[entity], offsets[entity + 1]):
            if relations[edge] != before:
                before = relations[edge]
                rows[entity + 1] += 1
    columns = np.empty(rows[num_entities], np.int32)
    place = 0
    for entity in range(num_entities):
        before = -1
        for edge in range(offsets[entity], offsets[entity + 1]):
            if relations[edge] != before:
                before = relations[edge]
                columns[place] = before + num_relations if before < num_relations else before - num_relations
                place += 1
    return rows, columns


def incidence_rows(offsets: OffsetArray, relations: IntArray, num_relations: int) -> tuple[OffsetArray, IntArray]:
    """For each entity, the relations (inverses included) that it is a head of.

    An edge that arrives with ``r`` leaves, seen from its target, with the inverse of ``r``.

    Returns:
        ``num_entities + 1`` offsets, and the relations.
    """
    return _incidence(offsets, relations, num_relations)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _shared(rows, columns, starts, members, num_nodes):  # type: ignore[no-untyped-def]
    """Pairs (i, j) of columns that share a row, j in ascending order for each i."""
    offsets = np.zeros(num_nodes + 1, np.int64)
    found = np.empty(max(16, len(columns)), np.int32)
    seen = np.full(num_nodes, -1, np.int32)
    total = 0
    for i in range(num_nodes):
        begin = total
        for place in range(starts[i], starts[i + 1]):
            row = members[place]
            for k in range(rows[row], rows[row + 1]):
                j = columns[k]
                if seen[j] != i:
                    seen[j] = i
                    if total == len(found):
                        grown = np.empty(2 * len(found), np.int32)
                        grown[:total] = found
                        found = grown
                    found[total] = j
                    total += 1
        found[begin:total].sort()
        offsets[i + 1] = total
    return offsets, found[:total].copy()


def shared_rows(rows: OffsetArray, columns: IntArray, num_nodes: int) -> tuple[OffsetArray, IntArray]:
    """Which columns of a sparse 0/1 matrix share a row: the pattern of ``MᵀM``.

    Args:
        rows: offsets of each row's run in ``columns``.

    Returns:
        For each column, offsets of its run, and the columns that it shares a row with (itself included), ascending.

    Cost: O(Σ over rows of (entries in the row)²), memory of the answer.
    """
    order, starts = order_by(columns, num_nodes)
    return _shared(rows, columns, starts, targets_of(rows)[order], num_nodes)  # type: ignore[no-any-return]
