"""Edges sorted by target, as message passing wants them (compressed sparse rows); sorting in linear time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trivium.kernels.compiled import compiled

IntArray = NDArray[np.int32]
OffsetArray = NDArray[np.int64]
MERGED_EDGES, MERGED_ROWS = 1 << 25, 0.95  # twins are one in a graph of at most so many edges, if so few rows remain
BLOCK_EDGES = 1 << 24  # that a pass which keeps something of each takes at once: it needs up to a gigabyte
Arrays = TypeVar("Arrays")


class Scratch(Generic[Arrays]):
    """Arrays of the size of a graph that are made once and lent to one call at a time, on any thread.

    Who borrows them leaves them as they were, so that a call touches no more of them than it needs.

    Args:
        make: makes them.
    """

    def __init__(self, make: Callable[[], Arrays]) -> None:
        self.make = make
        self.free: list[Arrays] = []

    @contextmanager
    def lent(self) -> Iterator[Arrays]:
        """The arrays; those that an error leaves behind are not lent again."""
        try:
            held = self.free.pop()
        except IndexError:
            held = self.make()
        yield held
        self.free.append(held)


@compiled()
def _counting_order(keys, num_keys, order):  # type: ignore[no-untyped-def]
    """Stable order of ``order`` by ``keys[order]``; the row offsets of each key."""
    offsets = np.zeros(num_keys + 1, np.int64)
    # the items, to count those of each key; the keys, to add the counts up; the items again, each to its place
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
    keep = np.ones(len(targets), np.bool_)  # equal edges stand side by side: the first of each run is kept
    keep[1:] = (np.diff(targets) != 0) | (np.diff(relations) != 0) | (np.diff(sources) != 0)
    if not keep.all():
        sources, relations, targets = sources[keep], relations[keep], targets[keep]
    offsets = np.zeros(num_entities + 1, np.int64)
    np.cumsum(np.bincount(targets, minlength=num_entities), out=offsets[1:])
    return sources, relations, offsets


def targets_of(offsets: OffsetArray) -> IntArray:
    """The target of every edge, from the offsets of each target's run."""
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))


class Block(NamedTuple):
    """The edges of some targets that stand side by side.

    Attributes:
        first: the first target.
        offsets: ``[targets + 1]`` from 0 on; relations, sources: ``[edges]``; as of all edges.
    """

    first: int
    offsets: OffsetArray
    relations: IntArray
    sources: IntArray

    @property
    def targets(self) -> IntArray:
        """``[edges]``."""
        return targets_of(self.offsets) + np.int32(self.first)


def block_bounds(offsets: OffsetArray) -> list[int]:
    """Where blocks of targets begin, and the last one ends: of `BLOCK_EDGES`, or one target that has more."""
    bounds = [0]
    while (begin := bounds[-1]) < len(offsets) - 1:
        bounds.append(max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + BLOCK_EDGES, "right")) - 1))
    return bounds


def blocks(offsets: OffsetArray, relations: IntArray, sources: IntArray) -> Iterator[Block]:
    """Sorted edges in blocks, see `block_bounds`, for passes that take memory."""
    for begin, end in pairwise(block_bounds(offsets)):
        edges = slice(offsets[begin], offsets[end])
        yield Block(begin, offsets[begin : end + 1] - offsets[begin], relations[edges], sources[edges])


@compiled()
def find_edges(offsets: OffsetArray, relations: IntArray, sources: IntArray, triples: IntArray) -> OffsetArray:
    """Where each of ``[n, 3]`` triples (head, relation, tail) stands among sorted edges.

    Returns:
        ``[n]`` places; -1 for a triple that is not among them, ids out of range included.

    Cost: O(n log degree).
    """
    places = np.full(len(triples), -1, np.int64)
    # triples: the run of each one's tail is halved until the edge (relation, head), or where it would be, is found
    for i in range(len(triples)):
        head, relation, tail = triples[i, 0], triples[i, 1], triples[i, 2]
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


def coinciding(
    block: Block, num_entities: int, num_relations: int, most: int
) -> tuple[OffsetArray, OffsetArray, OffsetArray]:
    """How often two relations join the same two entities, the same way round or turned: over all pairs of relations.

    Args:
        block: of edges that have each its inverse, whose id is ``num_relations`` more. Of two entities the one with the
            larger id must be among its targets, so that each two are in one block.
        most: two entities that more triples join, and an entity with itself, are passed over.

    Returns:
        ``[pairs]`` ascending keys of two relations that share at least one pair of entities, ``first · 2 ·
        num_relations + second``: the first below ``num_relations``, the second over ``2 · num_relations`` and, inverses
        not counted, not below the first (it is the inverse of the first where a relation holds both ways round);
        ``[pairs]``, the triples of the first that the second holds too; and ``[num_relations]``, how many triples of
        each relation were not passed over.

    Cost: O(``most`` · triples) where all entities are joined so often; else about O(triples).
    """
    targets, relations, sources = block.targets, block.relations, block.sources
    once = np.flatnonzero(sources < targets)  # each triple as one of its two edges
    order, _ = order_by(sources[once], num_entities)
    order, _ = order_by(targets[once], num_entities, order)
    once = once[order]
    new = np.ones(len(once), np.bool_)  # of the edges of two entities, which stand side by side, the first
    new[1:] = (np.diff(targets[once]) != 0) | (np.diff(sources[once]) != 0)
    pair = np.cumsum(new) - 1
    few = np.bincount(pair)[pair] <= most
    pair, kinds = pair[few], relations[once[few]].astype(np.int64)
    plain, turned = kinds % num_relations, kinds >= num_relations
    found = [np.empty(0, np.int64)]
    near = np.arange(len(kinds))
    for ahead in range(1, most):
        near = near[near < len(kinds) - ahead]
        near = near[pair[near] == pair[near + ahead]]
        if not len(near):
            break
        a, b = plain[near], plain[near + ahead]
        first, second = np.minimum(a, b), np.maximum(a, b) + num_relations * (turned[near] != turned[near + ahead])
        found.append(first * 2 * num_relations + second)
    keys, shared = np.unique(np.concatenate(found), return_counts=True)
    first, second = np.divmod(keys, 2 * num_relations)
    shared[second == first + num_relations] *= 2  # both triples of the two hold the other
    return keys, shared, np.bincount(plain, minlength=num_relations)


@compiled()
def edges_hold(offsets, relations, sources, num_relations, key):  # type: ignore[no-untyped-def]
    """Whether edges are those of a graph: ids in range, sorted by (target, relation, source), each once, and each with
    its inverse.

    The pairs are compared by the sum of 64-bit hashes of the edges, less that of the inverses: with a random ``key``,
    others agree with a chance of 2^-64.

    Args:
        offsets: ``[entities + 1]``, ascending from 0 to the number of edges.
        key: uint64.

    Cost: O(edges), without memory.
    """
    total = np.uint64(0)
    entities = len(offsets) - 1
    # the edges of every target, each after the one before
    for target in range(entities):
        for edge in range(offsets[target], offsets[target + 1]):
            source, relation = sources[edge], relations[edge]
            if source < 0 or source >= entities or relation < 0 or relation >= 2 * num_relations:
                return False
            if edge > offsets[target]:
                before = relations[edge - 1]
                if before > relation or (before == relation and sources[edge - 1] >= source):
                    return False
            turned = relation >= num_relations
            head, tail, kind = (target, source, relation - num_relations) if turned else (source, target, relation)
            mixed = _mixed(_mixed(key ^ np.uint64((np.int64(head) << 32) | np.int64(tail))) + np.uint64(kind))
            total += np.uint64(0) - mixed if turned else mixed
    return total == 0


@njit(nogil=True)
def _mixed(x):  # type: ignore[no-untyped-def]
    """A 64-bit number well mixed. Source: Steele et al., Fast Splittable Pseudorandom Number Generators (2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def incidence_rows(offsets: OffsetArray, relations: IntArray, num_relations: int) -> tuple[OffsetArray, IntArray]:
    """For each entity, the relations (inverses included) that it is a head of.

    An edge that arrives with ``r`` leaves its target with the inverse of ``r``.

    Args:
        offsets, relations: of edges sorted by (target, relation).

    Returns:
        ``num_entities + 1`` offsets, and the relations.
    """
    first = np.ones(len(relations), np.bool_)  # of the edges of a relation at an entity, which stand side by side
    first[1:] = np.diff(relations) != 0
    first[offsets[:-1][np.diff(offsets) > 0]] = True
    rows = np.concatenate([np.zeros(1, np.int64), np.cumsum(first)])[offsets]
    return rows, (relations[first] + np.int32(num_relations)) % np.int32(2 * num_relations)


@compiled()
def _hash_edges(offsets, sources, relations, hashes):  # type: ignore[no-untyped-def]
    """``[entities]``, the same for entities with the same edges; filled."""
    # every entity, and its edges in their order
    for entity in range(len(hashes)):
        for edge in range(offsets[entity], offsets[entity + 1]):
            key = (np.uint64(relations[edge]) << np.uint64(32)) | np.uint64(sources[edge])
            hashes[entity] = _mixed(hashes[entity] + np.uint64(1) ^ key)


@compiled()
def _find_first(offsets, sources, relations, hashes, order, first):  # type: ignore[no-untyped-def]
    """``[entities]``, of those with the same edges the first in the order; filled.

    Args:
        hashes: of `_hash_edges`; what has another's and not its edges stands alone.
        order: the entities by hash.
    """
    # each entity and the one before it, edge by edge
    for place in range(len(order)):
        entity = order[place]
        first[entity] = entity
        if place == 0 or hashes[order[place - 1]] != hashes[entity]:
            continue
        other = first[order[place - 1]]
        here, there = offsets[entity], offsets[other]
        count = offsets[entity + 1] - here
        same = offsets[other + 1] - there == count
        for edge in range(count):
            if not same:
                break
            same = sources[here + edge] == sources[there + edge] and relations[here + edge] == relations[there + edge]
        if same:
            first[entity] = other


class Runs(NamedTuple):
    """Edges in runs that share a key.

    Attributes:
        offsets: ``[keys + 1]``, where each key's run begins.
        first, second: ``[edges]``, the two other ends of each edge.
        positions: ``[edges]``, each edge's place in the order by target; ``None`` is that order itself.
    """

    offsets: OffsetArray
    first: IntArray
    second: IntArray
    positions: OffsetArray | None


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges sorted by target.

    Attributes:
        offsets: ``[num_targets + 1]``, the run of edges that arrive at each target.
        sources: ``[edges]`` in ``[0, num_sources)``.
        relations: ``[edges]`` in ``[0, num_relations)``.
    """

    offsets: OffsetArray
    sources: IntArray
    relations: IntArray
    num_sources: int
    num_relations: int

    @classmethod
    def of_one_kind(cls, offsets: OffsetArray, sources: IntArray, num_sources: int) -> "Edges":
        """Edges of a single relation, 0."""
        return cls(offsets, sources, np.zeros(len(sources), np.int32), num_sources, 1)

    @property
    def num_targets(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def targets(self) -> IntArray:
        """``[edges]``."""
        return targets_of(self.offsets)

    @cached_property
    def by_target(self) -> Runs:
        """``first`` is the source, ``second`` the relation."""
        return Runs(self.offsets, self.sources, self.relations, None)

    @cached_property
    def by_source(self) -> Runs:
        """``first`` is the target, ``second`` the relation. Cost: O(edges), once."""
        order, offsets = order_by(self.sources, self.num_sources)
        return Runs(offsets, self.targets[order], self.relations[order], order)

    @cached_property
    def by_relation(self) -> Runs:
        """``first`` is the source, ``second`` the target. Cost: O(edges), once."""
        order, offsets = order_by(self.relations, self.num_relations)
        return Runs(offsets, self.sources[order], self.targets[order], order)


class Asked(NamedTuple):
    """What a batch of questions spreads over, as `trivium.kernels.layer` takes it.

    Attributes:
        edges: offsets, sources and relations, by row.
        own: ``[batch · edges]``, the sources for each question, where several are asked and a head has twins.
        heads: ``[batch]`` rows.
        apart: ``[batch]``, the row of the head's twins where it has some, else -1.
    """

    edges: tuple[OffsetArray, IntArray, IntArray]
    own: IntArray | None
    heads: NDArray[np.int64]
    apart: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Distinct:
    """Edges between entities, of which *twins*, those with the same edges, are one row.

    Twins have the same state after any layer, but for a question's head. It is the last row then, which is no other
    entity's: the edges that arrive at its twins arrive at it too, and those that leave it have it as their source.

    Attributes:
        edges: offsets ``[rows + 1]``, sources by row, relations.
        names: ``[edges]``, the sources by entity.
        num_relations: inverses included.
        row_of: ``[entities]``; ``None`` where every entity is its own row, and none is left for a head.
    """

    edges: tuple[OffsetArray, IntArray, IntArray]
    names: IntArray
    num_relations: int
    row_of: IntArray | None

    @classmethod
    def of(cls, graph: Edges) -> "Distinct":
        """Of edges between entities, inverse ones included. Cost: O(edges)."""
        offsets, sources, relations = graph.by_target[:3]
        every = cls((offsets, sources, relations), sources, graph.num_relations, None)
        if len(sources) > MERGED_EDGES:
            return every
        hashes, first = np.zeros(len(offsets) - 1, np.uint64), np.empty(len(offsets) - 1, np.int32)
        _hash_edges(offsets, sources, relations, hashes)
        _find_first(offsets, sources, relations, hashes, np.argsort(hashes, kind="stable"), first)
        kept = first == np.arange(len(first))
        if kept.sum() > MERGED_ROWS * len(first):
            return every
        row_of = (np.cumsum(kept, dtype=np.int32) - 1)[first]
        degrees = np.diff(offsets)
        ends = np.cumsum(degrees[kept])
        starts = np.concatenate([[0], ends, ends[-1:]])
        names, relations = (ids[np.repeat(kept, degrees)] for ids in (sources, relations))
        return cls((starts, row_of[names], relations), names, graph.num_relations, row_of)

    @cached_property
    def members(self) -> tuple[OffsetArray, IntArray]:
        """``[rows + 1]`` offsets of each row's entities, and these."""
        assert self.row_of is not None
        order, offsets = order_by(self.row_of, len(self.edges[0]) - 1)
        return offsets, order.astype(np.int32)

    @cached_property
    def copies(self) -> Scratch[tuple[IntArray]]:
        """Copies of the sources, for a question to change."""
        return Scratch(lambda: (self.edges[1].copy(),))

    @contextmanager
    def asked(self, heads: NDArray[np.int64]) -> Iterator[Asked]:
        """What the questions from some heads spread over, until it is given back."""
        rows, apart = self._rows(heads)
        (twins,) = np.nonzero(apart >= 0)
        if not len(twins):
            yield Asked(self.edges, None, rows, apart)
        elif len(heads) > 1:
            own = np.tile(self.edges[1], (len(heads), 1))
            for query in twins:
                own[query, self._leaving(heads[query], apart[query])] = rows[query]
            yield Asked(self.edges, own.reshape(-1), rows, apart)
        else:
            offsets, _, relations = self.edges
            with self.copies.lent() as (sources,):
                changed = self._leaving(heads[0], apart[0])
                sources[changed] = rows[0]
                yield Asked((offsets, sources, relations), None, rows, apart)
                sources[changed] = apart[0]

    def _rows(self, heads: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `Asked` has them."""
        if self.row_of is None:
            return heads, np.full(len(heads), -1)
        rows, offsets = self.row_of[heads].astype(np.int64), self.members[0]
        twins = offsets[rows + 1] - offsets[rows] > 1
        return np.where(twins, len(offsets) - 2, rows), np.where(twins, rows, -1)

    def _leaving(self, head: int, row: int) -> OffsetArray:
        """The places of the edges that leave a head, by those that arrive at the row of its twins."""
        offsets, sources, relations = self.edges
        run = slice(offsets[row], offsets[row + 1])
        turned = (relations[run] + self.num_relations // 2) % self.num_relations
        triples = np.stack([np.full(len(turned), head), turned, sources[run]], axis=1).astype(np.int32)
        places: OffsetArray = find_edges(offsets, relations, self.names, triples)
        return places

    def by_entity(self, table: NDArray[np.float32], heads: NDArray[np.int64]) -> NDArray[np.float32]:
        """``[batch, entities]`` of ``[batch, rows]``."""
        if self.row_of is None:
            return table
        rows, _ = self._rows(heads)
        out, queries = table[:, self.row_of], np.arange(len(heads))
        out[queries, heads] = table[queries, rows]
        return out

    def entities(self, rows: IntArray, head: int) -> tuple[IntArray, OffsetArray]:
        """The entities of a question's rows, of which the first is its head, and the place of each one's row."""
        if self.row_of is None:
            return rows, np.arange(len(rows))
        offsets, members = self.members
        begins, ends = offsets[rows[1:]], offsets[rows[1:] + 1]
        places = np.repeat(np.arange(1, len(rows)), ends - begins)
        within = np.arange(len(places)) - np.repeat(np.cumsum(ends - begins) - ends, ends - begins)
        found = members[within]
        return np.append(np.int32(head), found[found != head]), np.append(0, places[found != head])
