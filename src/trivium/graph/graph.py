"""The graph: triples as int32 ids, held as the edges that arrive at each entity, names kept apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import GraphError
from trivium.graph.formats import TRIPLE, chosen, recognised
from trivium.graph.names import Names
from trivium.kernels.csr import (
    Block,
    IntArray,
    OffsetArray,
    blocks,
    coinciding,
    find_edges,
    incidence_rows,
    sorted_unique,
    targets_of,
)

TWIN_SHARE = 0.75
"""The share of a relation's facts, beyond chance, that a twin holds too. Where a fifth of all facts is missing, copies
still share .8."""
TWIN_PAIRS = 5  # of entities, at least, that twins have in common: fewer may be chance
MOST_JOINED = 32  # relations of two entities; what more relations join says little about any two of them

Column = pl.Series | Sequence[str]


def inverse(relation: Any, num_relations: int) -> Any:
    """The inverse of a relation id or of an array of them: ``r + num_relations`` of ``r``, ``r`` of that."""
    return (relation + num_relations) % (2 * num_relations)


@dataclass(eq=False, repr=False)
class Graph:
    """A knowledge graph, ready for message passing: made by `from_ids`, or from edges that are sorted already.

    It holds each triple once, however often it is given, so repeated triples change nothing. Inverse
    relations are implicit: relation ids run over ``[0, 2 · num_relations)`` where a method speaks of edges.

    Attributes:
        sources: ``[edges]``, where each edge comes from; edges are sorted by (target, relation, source).
        edge_relations: ``[edges]``, ids over ``2 · num_relations``.
        offsets: ``[num_entities + 1]``, the run of edges that arrive at each entity.
        entities, relations: the names, by id.
        left_out: how many of what a file held are not in the graph, by kind (literals, bad lines).
    """

    sources: IntArray
    edge_relations: IntArray
    offsets: OffsetArray
    entities: Names
    relations: Names
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Graph: {self.num_triples:,} triples, {self.num_entities:,} entities, {self.num_relations:,} relations>"
        )

    @classmethod
    def from_triples(cls, triples: Any, columns: str | None = None, relation: str | None = None) -> Graph:
        """Builds a graph from triples by name; ids follow the sorted order of the names, as from a file.

        Args:
            triples: rows of head, relation and tail (strings, or numbers whose digits are names), or a frame of polars
                or pandas.
            columns: of a frame, ``HEAD,RELATION,TAIL``; by default they are recognised by their words.
            relation: what joins the two names of each row, or those of a frame without a column of relations.

        Raises:
            GraphError: a row is none of three names, or the frame lacks a column.
        """
        heads, relations, tails = _columns(triples, columns, relation)
        entities, kinds = (Names(column.unique().sort()) for column in (pl.concat([heads, tails]), relations))
        ids = entities.ids(heads), kinds.ids(relations), entities.ids(tails)
        return cls.from_ids(*ids, entities=entities, relation_names=kinds)

    @classmethod
    def from_ids(
        cls,
        heads: IntArray,
        relations: IntArray,
        tails: IntArray,
        *,
        entities: Names | Sequence[str] | int,
        relation_names: Names | Sequence[str] | int,
    ) -> Graph:
        """Builds a graph from id arrays of equal length ``[triples]``.

        Args:
            entities, relation_names: names by id, or how many there are (then the ids are the names).

        Raises:
            GraphError: there is no triple, or an id is no whole number or out of range.

        Cost: O(triples + entities + relations).
        """
        entities, relation_names = Names.of(entities), Names.of(relation_names)
        columns = ("head", heads, entities), ("relation", relations, relation_names), ("tail", tails, entities)
        for what, ids, names in columns:
            if len(ids) and (dtype := np.asarray(ids).dtype).kind not in "iu":
                raise GraphError(f"{what} ids are {dtype}: give whole numbers")
            if len(ids) and not 0 <= int(np.min(ids)) <= int(np.max(ids)) < len(names):
                advice = "give the number of names that the ids need"
                raise GraphError(f"a {what} id lies outside [0, {len(names)}): {advice}")
        heads, relations, tails = (np.asarray(a, np.int32) for a in (heads, relations, tails))
        if not len(heads) == len(relations) == len(tails) or not len(heads):
            counts = f"{len(heads)} heads, {len(relations)} relations and {len(tails)} tails"
            raise GraphError(f"{counts} form no graph: give as many of each, at least one")
        sources = np.concatenate([heads, tails])
        targets = np.concatenate([tails, heads])
        kinds = np.concatenate([relations, inverse(relations, len(relation_names))]).astype(np.int32, copy=False)
        edges = sorted_unique(sources, kinds, targets, len(entities), 2 * len(relation_names))
        return cls(*edges, entities, relation_names)

    @property
    def num_entities(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_relations(self) -> int:
        """How many relations there are, inverses not counted."""
        return len(self.relations)

    @property
    def num_triples(self) -> int:
        return len(self.sources) // 2

    def _repr_html_(self) -> str:
        """For notebooks: its size, and its largest relations."""
        counts = np.bincount(self.triples[:, 1], minlength=self.num_relations)
        largest = np.argsort(-counts, kind="stable")[:10]
        named = zip(self.relations.shown(largest), counts[largest].tolist(), strict=True)
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{count:,}</td></tr>" for name, count in named)
        size = f"{self.num_triples:,} facts, {self.num_entities:,} entities, {self.num_relations:,} relations"
        return f"<table><caption>{size}</caption><tr><th>relation</th><th>facts</th></tr>{rows}</table>"

    @cached_property
    def triples(self) -> IntArray:
        """``[num_triples, 3]`` ids (head, relation, tail), sorted by (tail, relation, head)."""
        forward = self.edge_relations < self.num_relations
        targets = targets_of(self.offsets)
        return np.stack([self.sources[forward], self.edge_relations[forward], targets[forward]], axis=1)

    @cached_property
    def reflexive(self) -> frozenset[int]:
        """The relations that lead from some entity to itself."""
        count = self.num_relations
        return frozenset(
            kind
            for block in self.blocks()
            for kind in np.unique(block.relations[block.sources == block.targets]).tolist()
            if kind < count
        )

    def blocks(self) -> Iterator[Block]:
        """The edges in blocks, for passes that keep something of each; see `trivium.kernels.csr.blocks`."""
        return blocks(self.offsets, self.edge_relations, self.sources)

    @cached_property
    def twins(self) -> OffsetArray:
        """``[2 · num_relations]``: of each relation the least id of those that say the same, its own if none does.

        ``r`` and ``r + num_relations`` say the same where ``r`` holds both ways round, ``r`` and ``s`` where one is a
        copy of the other, ``r`` and ``s + num_relations`` where one is the other turned round. Two do if each holds
        `TWIN_SHARE` of the other's facts, beyond the share that it would hold of any facts between its entities
        (Cohen's kappa), and both hold of at least `TWIN_PAIRS` pairs of entities; and two that say the same as a third.
        A relation does not say the same as one that it implies and that holds of much else.

        Cost: as `coinciding`; relations that more than `MOST_JOINED` join are passed over.
        Source: shares both ways after Akrami et al., Realistic Re-evaluation of Knowledge Graph Completion Methods
        (2020), with thresholds of .8.
        """
        count = self.num_relations
        sizes, entities = np.zeros((2, count), np.int64)
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for block in self.blocks():
            *pairs_shared, joined = coinciding(block, self.num_entities, count, MOST_JOINED)
            found.append((pairs_shared[0], pairs_shared[1]))
            sizes += joined
            rows, kinds = incidence_rows(block.offsets, block.relations, count)
            ends = np.sort(targets_of(rows) * np.int64(count) + kinds % count)  # np.unique takes ten times longer
            entities += np.bincount(ends[np.diff(ends, prepend=-1) > 0] % count, minlength=count)
        keys, place = np.unique(np.concatenate([keys for keys, _ in found]), return_inverse=True)
        shared = np.bincount(place, np.concatenate([number for _, number in found]), len(keys)).astype(np.int64)
        pairs = np.stack(np.divmod(keys, 2 * count), 1)
        first, second = pairs[:, 0], pairs[:, 1] % count
        share = shared / np.maximum(sizes[first], sizes[second])
        chance = np.maximum(sizes[first] / entities[first] ** 2, sizes[second] / entities[second] ** 2)
        enough = shared >= np.where(first == second, 2 * TWIN_PAIRS, TWIN_PAIRS)
        same = pairs[enough & (share - chance >= TWIN_SHARE * (1 - chance))]
        a, b = np.concatenate([same, same[:, ::-1], turned := inverse(same, count), turned[:, ::-1]]).T
        least, before = np.arange(2 * count), None
        while before is None or (least != before).any():
            before = least.copy()
            np.minimum.at(least, a, before[b])
        return least

    def told(self, head: int, relation: int) -> IntArray:
        """The entities that the graph holds for ``(head, relation, ?)``, under the relation or a twin, ascending.

        Args:
            relation: an id over ``2 · num_relations``.
        """
        return np.unique(np.concatenate([self.answers(head, kind) for kind in self.alike(relation)]))

    def alike(self, relation: int) -> list[int]:
        """The relations that say the same as one, itself among them, by `twins`; ids over ``2 · num_relations``."""
        return np.flatnonzero(self.twins == self.twins[relation]).tolist()  # type: ignore[no-any-return]

    def keys(self, triples: IntArray) -> NDArray[np.uint64]:
        """A number of each of ``[n, 3]`` triples, the same for those alone that say the same, by `twins`; relation ids
        over ``2 · num_relations``."""
        heads, relations, tails = triples.T
        there, back = self.twins[relations], self.twins[inverse(relations, self.num_relations)]
        turned = (back < there) | ((back == there) & (tails < heads))
        first, last = np.where(turned, (tails, heads), (heads, tails))
        size, kinds = np.uint64(self.num_entities), np.minimum(there, back).astype(np.uint64)
        keys: NDArray[np.uint64] = (kinds * size + first.astype(np.uint64)) * size + last.astype(np.uint64)
        return keys

    def copies(self, triples: IntArray) -> tuple[OffsetArray, IntArray]:
        """What the graph holds that says the same as some of ``[n, 3]`` triples, by `twins`, besides these.

        Args:
            triples: relation ids over ``2 · num_relations``.

        Returns:
            ``[copies]`` places in ``triples``, ascending, and ``[copies, 3]`` triples, none of an inverse relation.
        """
        order = np.argsort(self.twins, kind="stable")
        sizes = np.bincount(self.twins, minlength=2 * self.num_relations)
        begins = np.cumsum(sizes) - sizes
        group = self.twins[triples[:, 1]]
        counts = np.where(sizes[group] > 1, sizes[group], 0)
        places = np.repeat(np.arange(len(triples)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        kinds = order[begins[group[places]] + within]
        found = self._forward(np.stack([triples[places, 0], kinds, triples[places, 2]], 1))
        held = self.contains(found) & (found != self._forward(triples)[places]).any(1)
        return places[held], found[held]

    def _forward(self, triples: IntArray) -> IntArray:
        """Triples ``[n, 3]`` with those of inverse relations turned round."""
        heads, relations, tails = triples.T
        turned = relations >= self.num_relations
        ends = np.where(turned, (tails, heads), (heads, tails))
        return np.stack([ends[0], relations % self.num_relations, ends[1]], 1).astype(np.int32)

    def knows(self, triples: IntArray) -> NDArray[np.bool_]:
        """Whether the graph holds each of ``[n, 3]`` triples, or a copy; relation ids over ``2 · num_relations``."""
        known = self.contains(triples)
        known[self.copies(triples)[0]] = True
        return known

    def less(self, triples: IntArray) -> Graph:
        """The graph on which ``[n, 3]`` triples are judged: without them and their copies, with the same `twins`."""
        rest = self.without(np.concatenate([self._forward(triples), self.copies(triples)[1]]))
        rest.twins = self.twins
        return rest

    def answers(self, head: int, relation: int) -> IntArray:
        """The entities that the graph already holds for ``(head, relation, ?)``, ascending.

        Args:
            relation: an id over ``2 · num_relations``.

        Cost: O(log degree + answers): an answer's edge arrives at the head with the inverse relation.
        """
        arriving = slice(self.offsets[head], self.offsets[head + 1])
        wanted = inverse(relation, self.num_relations)
        # in the edges' own type, else all of them are converted
        first, last = np.searchsorted(self.edge_relations[arriving], np.array([wanted, wanted + 1], np.int32))
        return self.sources[arriving][first:last]

    def outgoing(self, entities: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """``[n, 2 · num_relations]``, true where the graph holds an answer to ``(entity, relation, ?)``."""
        out = np.zeros((len(entities), 2 * self.num_relations), np.bool_)
        for row, entity in enumerate(entities):
            arriving = self.edge_relations[self.offsets[entity] : self.offsets[entity + 1]]
            out[row, inverse(arriving, self.num_relations)] = True
        return out

    def distances(self, start: int, max_steps: int) -> NDArray[np.int64]:
        """``[num_entities]``: steps from an entity over edges either way, ``max_steps + 1`` for what is farther.

        Cost: O(edges within ``max_steps`` steps).
        """
        out = np.full(self.num_entities, max_steps + 1)
        out[start] = 0
        frontier = np.array([start])
        for step in range(1, max_steps + 1):
            ends = self.offsets[frontier + 1]
            degrees = ends - self.offsets[frontier]
            places = np.arange(degrees.sum()) + np.repeat(ends - np.cumsum(degrees), degrees)
            near = np.unique(self.sources[places])
            frontier = near[out[near] > max_steps]
            out[frontier] = step
        return out

    def contains(self, triples: IntArray) -> NDArray[np.bool_]:
        """Whether the graph holds each of ``[n, 3]`` triples (relation ids over ``2 · num_relations``)."""
        return self._places(triples) >= 0

    def _places(self, triples: IntArray) -> OffsetArray:
        """Where each of ``[n, 3]`` triples stands among the edges, -1 if it does not."""
        return find_edges(self.offsets, self.edge_relations, self.sources, np.asarray(triples).reshape(-1, 3))  # type: ignore[no-any-return]

    def without(self, triples: IntArray) -> Graph:
        """The graph less ``[n, 3]`` triples and their inverses; names and ids stay."""
        keep = np.ones(len(self.sources), np.bool_)
        places = self._places(triples)
        heads, relations, tails = triples[places >= 0].T
        back = np.stack([tails, inverse(relations, self.num_relations), heads], axis=1)
        keep[places[places >= 0]] = False
        keep[self._places(back)] = False
        offsets = np.concatenate([[0], np.cumsum(keep)])[self.offsets].astype(np.int64)
        return Graph(self.sources[keep], self.edge_relations[keep], offsets, self.entities, self.relations)

    def both_ways(self, relations: NDArray[np.integer[Any]]) -> Graph:
        """The graph with the facts of some relations turned round too; names and ids stay."""
        facts = self.triples[np.isin(self.triples[:, 1], relations)]
        return replace(self.with_triples(facts[:, ::-1]), left_out=self.left_out)

    def with_triples(self, triples: IntArray) -> Graph:
        """The graph and ``[n, 3]`` triples more; names and ids stay."""
        facts = np.concatenate([self.triples, triples])
        return Graph.from_ids(*facts.T, entities=self.entities, relation_names=self.relations)

    def with_changes(self, add: Any = (), remove: Any = (), *, labels: bool = True) -> Graph:
        """The graph with facts more and facts less, as `from_triples` makes it of all that is then known; labels stay.

        Ids follow the sorted order of names again, so new names come in between and those without a fact go. What is
        removed and added stays.

        Args:
            add, remove: facts by name (or by what one alone is called), as `from_triples` takes them. An added one may
                name new entities and relations; one that the graph holds changes nothing.
            labels: whether they may be named by labels; else what is no name is a new one.

        Raises:
            GraphError: a row is none of three names, a fact to remove is not there, or none is left.

        Cost: O(triples + entities · log entities).
        """
        gone = self.ids(*(columns := _columns(remove)), labels=labels)
        if (places := self._places(gone)).min(initial=0) < 0:
            fact = " ".join(str(column[int(places.argmin())]) for column in columns)
            raise GraphError(f"{fact!r} is not in the graph, so it cannot be removed")
        heads, relations, tails = _columns(add)
        entities, (head_ids, tail_ids) = self.entities.with_all(heads, tails, labels=labels)
        kinds, (relation_ids,) = self.relations.with_all(relations, labels=labels)
        numbers = np.cumsum(self.edge_relations < self.num_relations) - 1  # of the triples, by place of their edge
        kept = np.delete(self.triples, numbers[places], axis=0)
        heads, relations, tails = np.concatenate([kept, np.stack([head_ids, relation_ids, tail_ids], 1)]).T
        if not len(heads):
            raise GraphError("no fact of the graph is left: all are removed, or were rejected")
        entities, moved = entities.sorted(np.concatenate([heads, tails]))
        kinds, moved_kinds = kinds.sorted(relations)
        ids = moved[heads], moved_kinds[relations], moved[tails]
        return Graph.from_ids(*ids, entities=entities, relation_names=kinds)

    def with_relation(self, name: str) -> Graph:
        """The graph with one relation more, which has no edge; its id is ``num_relations``, inverses move up by one."""
        kinds = self.edge_relations + (self.edge_relations >= self.num_relations).astype(np.int32)
        return Graph(self.sources, kinds, self.offsets, self.entities, self.relations.with_all([name])[0])

    def ids(self, heads: Column, relations: Column, tails: Column, *, labels: bool = True) -> IntArray:
        """``[n, 3]`` ids of triples by name; -1 where a name is not held, see `Names.ids`."""
        entities, kinds = self.entities, self.relations
        columns = entities.ids(heads, labels), kinds.ids(relations, labels), entities.ids(tails, labels)
        return np.stack(columns, axis=1)

    def named(self, triples: IntArray) -> pl.DataFrame:
        """The names of ``[n, 3]`` triples: columns ``head``, ``relation``, ``tail``."""
        heads, relations, tails = triples.T
        names = {"head": self.entities.take(heads), "relation": self.relations.take(relations)}
        return pl.DataFrame(names | {"tail": self.entities.take(tails)})

    def renamed(self, entities: Names, relations: Names) -> Graph:
        """The same graph with other labels or texts beside the names, which stay; so does what is known of it."""
        other = copy(self)
        other.entities, other.relations = entities, relations
        return other

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the sorted triples by name, one ``head<TAB>relation<TAB>tail`` line each.

        Cost: O(triples); in blocks where ids follow the order of the names.
        """
        both = self.entities, self.relations
        if any(names.by_name is not None or names.names.str.contains("[\\x00-\\x09]").any() for names in both):
            return triples_sha256(self.named(self.triples))
        digest = hashlib.sha256()
        for block in self.blocks():  # an edge of an inverse relation, from the tail: by head, relation and tail
            turned = block.relations >= self.num_relations
            kinds = block.relations[turned] - np.int32(self.num_relations)
            facts = np.stack([block.targets[turned], kinds, block.sources[turned]], 1)
            _update(digest, _lines(self.named(facts)))
        return digest.hexdigest()


def _columns(triples: Any, columns: str | None = None, relation: str | None = None) -> list[pl.Series]:
    """The heads, relations and tails of rows or of a frame, as strings; see `Graph.from_triples`."""
    if hasattr(triples, "columns"):
        fields = [str(name) for name in triples.columns]
        found = recognised(fields, relation) if columns is None else chosen(columns, fields, relation)[0]
        if found is None or not found.places:
            has = ", ".join(map(repr, fields))
            raise GraphError(f"no columns that are head, relation and tail in {has}: columns='HEAD,RELATION,TAIL'")
        held = [triples[triples.columns[place]] if isinstance(place, int) else None for place in found.places]
        count = len(triples)
        parts = [[found.places[1]] * count if column is None else column.to_list() for column in held]
        rows = list(zip(*parts, strict=True))
    else:
        rows = [tuple(row) if isinstance(row, list | tuple | np.ndarray) else (row,) for row in triples]
        rows = [(row[0], relation, row[1]) if relation and len(row) == 2 else row for row in rows]
    for number, row in enumerate(rows):
        if len(row) != len(TRIPLE) or not all(isinstance(name, str | int | np.integer) and name != "" for name in row):
            raise GraphError(f"row {number} is {row!r}: give a head, a relation and a tail, each a name")
    try:
        return [pl.Series([str(row[i]) for row in rows], dtype=pl.String) for i in range(3)]
    except UnicodeEncodeError as reason:
        raise GraphError(f"{reason.object!a} is no text that UTF-8 can hold: give another name") from reason


def triples_sha256(triples: pl.DataFrame) -> str:
    """SHA-256 over the sorted, de-duplicated lines ``head<TAB>relation<TAB>tail``, each with its newline."""
    digest = hashlib.sha256()
    _update(digest, _lines(triples).unique().sort())
    return digest.hexdigest()


def _lines(triples: pl.DataFrame) -> pl.Series:
    return triples.select(pl.format("{}\t{}\t{}\n", "head", "relation", "tail")).to_series()


def _update(digest: Any, lines: pl.Series) -> None:
    """Adds lines to a digest, without an object for each."""
    for part in lines.to_frame().iter_slices(1 << 20):
        held = part.to_series().to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, data = held.buffers()
        bounds = np.frombuffer(offsets, np.int64)[held.offset : held.offset + len(held) + 1]
        digest.update(memoryview(data)[bounds[0] : bounds[-1]])
