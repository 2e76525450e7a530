"""The model without gradients, as fast as the machine allows, and exactly what it computes.

Relation representations are kept, as long as a budget of bytes allows.

What it saves, beside `trivium.model.encoders` (figures in docs/benchmarks.md):

- *Base trajectory.* Without its head a query's states depend on the relation alone. Those base states are computed once
  per relation; a query computes only the entities that its head has reached so far, each from its full sum of messages,
  so the result is the same to the bit. Where most entities are reached it goes on with all of them.
- *Entities with the same edges are one* (`trivium.kernels.csr.Distinct`), but for the head among them.
- *One pass a layer.* A few rows at a time, messages are summed, multiplied, normalised and added to the state while
  they are in the first cache.
- The asked relation's half of the scoring MLP is one vector per relation.

On another device than the CPU nothing of this is done: `DeviceEngine` runs the model as it is, in blocks.

Every state is computed in the same order of operations whatever is computed with it, so scores do not depend on
batching, on the shortcut or on the number of threads, to the bit. Relation representations do, in their last bits,
unless they are computed one at a time on one thread; see `trivium.inference.ranker.Ranker.reproduce`.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trivium.errors import CheckpointError, ConfigError
from trivium.inference.answers import Answerable, Beyond, Reached, Scores
from trivium.kernels.chains import raise_scores
from trivium.kernels.csr import Asked, Distinct, Scratch
from trivium.kernels.layer import cut, push_ranks, reach, run_layer, score_rows
from trivium.kernels.vector import LANES
from trivium.model.chains import Chains
from trivium.model.encoders import EntityEncoder
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium

BATCH_PAIRS = 12_000  # (query, entity) pairs that are computed together: 6 MB of states, near the cache
CHUNK_BYTES = 64 << 20  # of states while a chunk of relations is encoded
BASE_BYTES = 1 << 30  # of base states of one relation that are held
SCATTERED = 8  # where at least one in so many entities is reached, the scores of all are written out
NEAR = 16  # a question gets a graph of its own where at most one in so many entities matters to it
QUERIES = 256  # that a device computes together, at most
LINE = 16  # numbers in a line of the processor's cache
PROBED = 200_000  # entities by which a layer's time is judged: more than the cache holds
ALONE = np.full(1, -1)  # `Asked.apart` of one question whose head has no twins, and the head of one that has none
ROW, EDGE, EDGE_AMONG = 25, 1, 3  # what a pair costs, and an edge to it where all pairs are computed, or some are

Floats = NDArray[np.float32]
Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Near = tuple[NDArray[np.int32] | None, Floats]  # as `Engine._spread` gives it


class Blocks:
    """Work in blocks of a size that fits into a device's memory: out of memory halves the size, for good, and goes on.

    Args:
        each: bytes that one item takes.
        most: items of a block.
    """

    def __init__(self, device: torch.device, each: int, most: int) -> None:
        free = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CHUNK_BYTES
        self.device, self.size = device, max(1, min(most, free // each))

    def run(self, work: Callable[[Any], Tensor], items: Any) -> Tensor:
        """What ``work`` makes of a sequence, joined.

        Raises:
            ConfigError: not even one item fits.
        """
        parts: list[Tensor] = []
        done = 0
        while done < len(items):
            size = min(self.size, len(items) - done)
            try:
                parts.append(work(items[done : done + size]))
                done += size
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise ConfigError(f"the graph does not fit into the memory of {self.device}: use cpu") from error
                self.size = size // 2
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class Representations:
    """The relation representations of one graph, conditioned on each asked relation: ``[2 · num_relations, dim]`` each.

    All of them would take memory in proportion to the square of the relations (26 GB at 5,000), so the least recently
    used go when the budget is full.

    Args:
        cache_bytes: the budget.
        disabled: parts of the model that are switched off (F9).
    """

    def __init__(self, model: Trivium, topology: Topology, cache_bytes: int, disabled: Collection[str] = ()) -> None:
        self.model = model
        self.topology = topology
        self.cache_bytes = cache_bytes
        self.disabled = disabled
        self.cache: OrderedDict[int, Tensor] = OrderedDict()
        relations, dim = 2 * topology.num_relations, model.config.dim
        self.entry_bytes = relations * dim * 4
        per_relation = 8 * self.entry_bytes + 6 * topology.num_entities * model.config.structure_dim * 4
        self.text = model.encoded_texts(topology)  # depends on no query: once for the graph
        self.alone = False
        self.blocks = Blocks(topology.device, per_relation, 64)

    def each(self, relations: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Every asked relation with its representations, in the given order; what is missing is computed in chunks."""
        chunk = 1 if self.alone else self.blocks.size
        for begin in range(0, len(relations), chunk):
            part = relations[begin : begin + chunk]
            keys = {relation: self.model.conditioned_on(relation, self.topology.num_relations) for relation in part}
            held = {key: self.cache[key] for key in keys.values() if key in self.cache}
            missing = [key for key in dict.fromkeys(keys.values()) if key not in held]
            if missing:
                held |= zip(missing, self.blocks.run(self._computed, missing), strict=True)
            for relation in part:
                yield relation, held[keys[relation]]
            for key, value in held.items():
                if key not in self.cache:
                    self.cache[key] = value.clone()  # a view would keep its whole chunk alive
                self.cache.move_to_end(key)
                while len(self.cache) * self.entry_bytes > self.cache_bytes:
                    self.cache.popitem(last=False)

    @torch.no_grad()
    def _computed(self, relations: list[int]) -> Tensor:
        asked = torch.tensor(relations, device=self.topology.device)
        with _threads(self.alone):
            return self.model.relation_representations(self.topology, asked, disabled=self.disabled, text=self.text)

    def reproduce(self) -> None:
        """From now on computes each alone and on one thread, so that no bit depends on what else is asked or when."""
        self.alone = True
        self.cache.clear()
        with _threads(self.alone):
            self.text = self.model.encoded_texts(self.topology)


@contextmanager
def _threads(alone: bool) -> Iterator[None]:
    """One thread of torch where ``alone``, else as many as there are."""
    if not alone:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Base:
    """What the queries of one relation share.

    Attributes:
        asked: ``[dim]``, the relation's own representation.
        relations: by layer, the projected relation representations, flat.
        states: by layer, the base states *before* it, flat; the first two are one for all entities.
        score_bias: ``[2 · dim]``, the query's half of the scoring MLP's first layer.
        relation: its id.
        scores: ``[num_entities]``, of the base states after the last layer, where they were needed.
        beyond: what was made of them, and how much of them was taken off.
    """

    asked: Floats
    relations: list[Floats]
    states: list[Floats]
    score_bias: Floats
    relation: int
    scores: Floats | None = None
    beyond: tuple[float, Beyond] | None = None

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        held = [*self.relations, *self.states, *(() if self.scores is None else (self.scores,) * 3)]
        return sum(array.nbytes for array in held)


class Pairs(NamedTuple):
    """Pairs of a query and an entity, numbered in the order in which they are reached.

    Attributes:
        entities, queries: ``[pairs]``.
        before: pairs from this number on had the base's state until now.
        states: the other pairs' states, ``dim`` numbers each, flat.
    """

    entities: NDArray[np.int32]
    queries: NDArray[np.int32]
    before: int
    states: Floats

    @classmethod
    def of_base(cls, num_entities: int) -> "Pairs":
        """Every entity once, for a query without a head; none has a state of its own."""
        entities = np.arange(num_entities, dtype=np.int32)
        return cls(entities, np.zeros_like(entities), 0, np.zeros(1, np.float32))

    @classmethod
    def of_all(cls, num_entities: int, states: Floats) -> "Pairs":
        """All pairs, in order of query and entity, with their states."""
        entities = np.arange(num_entities, dtype=np.int32)
        return cls(entities, entities, len(states), states)


class Engine:
    """Scores all entities for queries of one relation at a time.

    Args:
        encoder: the entity encoder; its weights are read once.
        topology: the graph.
        base_trajectory: whether queries share base states; off only to measure what it saves.
        chains: what adds to the scores.
    """

    def __init__(
        self, encoder: EntityEncoder, topology: Topology, base_trajectory: bool = True, chains: Chains | None = None
    ) -> None:
        self.chains = chains
        self.debias = 0.0  # of the score that an answer has without a head, what is taken off; see `Ranker.debiased`
        self.encoder = encoder
        self.topology = topology
        self.base_trajectory = base_trajectory
        self.base_bytes = BASE_BYTES
        self.within = 0  # entities to which a question is kept, 0 for no limit; see `Ranker.within`
        count = topology.num_entities
        self.places = Scratch(lambda: _nowhere(count + 1))
        self.rooms = Scratch(lambda: (self._room(), self._room()))
        self.ranks = Scratch(
            lambda: (
                *np.zeros((2, count)),
                np.empty(count, np.int32),
                np.zeros(count, np.bool_),
                np.empty(count, np.int32),
            )
        )
        self.edges: Arrays = topology.edges.by_target[:3]
        self.dim = encoder.dim
        self.layers = []
        for layer in encoder.layers:
            linear, norm = layer.linear, layer.norm
            weights = packed(linear.weight), _array(linear.bias), _array(norm.weight), _array(norm.bias)
            self.layers.append((*weights, np.float32(norm.eps)))
        first, last = cast(nn.Linear, encoder.score[0]), cast(nn.Linear, encoder.score[2])
        self.score = packed(first.weight[:, : self.dim]), _array(last.weight.view(-1)), np.float32(last.bias.item())

    @cached_property
    def distinct(self) -> Distinct:
        """The graph of all questions that are not kept to a part of it."""
        return Distinct.of(self.topology.edges)

    def _room(self) -> Floats:
        return _rows(_count(self.distinct.edges) * self.dim)

    def batch_size(self) -> int:
        """Queries that are best computed together."""
        return max(1, BATCH_PAIRS // max(1, _count(self.distinct.edges)))

    def layer_seconds(self) -> float:
        """About how long a layer over all entities takes: measured over at most `PROBED`, joined at random as often."""
        every = _count(self.distinct.edges)
        count = min(PROBED, every)
        each = len(self.distinct.edges[1]) // every
        sources = np.random.default_rng(0).integers(0, count, count * each, np.int32)
        edges = np.arange(count + 1) * each, sources, np.zeros_like(sources)
        states, out = _rows(count * self.dim), _rows(count * self.dim)
        states[:] = out[:] = 0
        base = Base(states[: self.dim], [states], [states], states, 0)
        asked, pairs = _asked_by_none(edges), Pairs.of_all(count, states)
        self._layer(0, asked, base, states, pairs, None, out[: self.dim])  # compiles
        started = time.monotonic()
        self._layer(0, asked, base, states, pairs, None, out)
        return (time.monotonic() - started) * every / count

    @torch.no_grad()
    def prepare(self, representations: Tensor, relation: int, alone: bool = False) -> Base:
        """What the queries of one relation share.

        Args:
            representations: ``[2 · num_relations, dim]``, conditioned on ``relation``.
            alone: on one thread, as `Representations.reproduce` says.
        """
        with _threads(alone):
            return self._prepared(representations, relation)

    def _prepared(self, representations: Tensor, relation: int) -> Base:
        carried = representations
        if self.encoder.reversed_messages:
            carried = representations.roll(self.topology.num_relations, 0)
        relations = [_array(layer.relation(carried)).reshape(-1) for layer in self.encoder.layers]
        asked, first = representations[relation], cast(nn.Linear, self.encoder.score[0])
        bias = functional.linear(asked, first.weight[:, self.dim :], first.bias)
        base = Base(_array(asked), relations, [np.zeros(self.dim, np.float32)], _array(bias), relation)
        # no entity has a state before the first layer, so one entity without edges shows the base after it
        alone = _asked_by_none((np.zeros(2, np.int64), *self.edges[1:]))
        base.states.append(self._layer(0, alone, base, base.states[0], Pairs.of_base(1), _nowhere(1), _rows(self.dim)))
        return base

    @torch.no_grad()
    def scores(self, base: Base, heads: NDArray[np.int64], remaining: int = 0) -> Tensor:
        """Scores of all entities.

        Args:
            base: from `prepare`.
            heads: ``[batch]`` entity ids.
            remaining: how many more queries of this relation will come, which may share what is computed now.

        Returns:
            ``[batch, num_entities]``.

        Raises:
            CheckpointError: a score is not finite, as weights beyond all measure make it.
        """
        if self.within:
            rows = (self.answered(base, head, remaining) for head in heads.tolist())
            return torch.from_numpy(np.stack([row if isinstance(row, np.ndarray) else row.every() for row in rows]))
        places = _nowhere(len(heads) * _count(self.distinct.edges))
        with self.distinct.asked(heads) as asked:
            return self._table(base, heads, *self._spread(asked, base, remaining, places))

    def _table(self, base: Base, heads: NDArray[np.int64], reached: NDArray[np.int32] | None, own: Floats) -> Tensor:
        """The scores of all entities, ``[batch, num_entities]``, from what `_spread` gives."""
        shape = len(heads), _count(self.distinct.edges)
        if reached is None:
            table = own.reshape(shape)
        else:
            table = np.empty(shape, np.float32)
            if len(own) < table.size:
                table[:] = self._headless(base)
            table[reached[1], reached[0]] = own
        table = self.distinct.by_entity(table, heads)
        if self.debias:
            table = table - self.debias * self._headless_of_entities(base)
        return _raised(torch.from_numpy(table), self.topology, self.chains, base.relation, heads)

    @torch.no_grad()
    def answered(self, base: Base, head: int, remaining: int = 0) -> Answerable:
        """Scores of all entities for one query, equal to those of `scores`.

        What the head does not reach has the base's scores, which are computed and sorted once; nothing of the graph's
        size is touched besides where fewer are reached.

        Args:
            base, remaining: as for `scores`.

        Raises:
            CheckpointError: as `scores`.
        """
        edges = self.distinct.edges
        near: NDArray[np.int32] | None = None
        if self.within:
            near = self.nearest(head)
        elif (remaining or base.scores is not None) and self._held(edges) < len(self.layers) - 1:
            near = self._around(head)
        if near is not None:
            ids, own = self._among(base, near)
        else:
            heads = np.array([head])
            with self.places.lent() as places, self.distinct.asked(heads) as asked:
                reached, own = self._spread(asked, base, remaining, places)
                places[slice(None) if reached is None else reached[0]] = -1
            if reached is None or SCATTERED * len(own) > _count(edges):
                return cast(Scores, self._table(base, heads, reached, own)[0].numpy())
            ids, at = self.distinct.entities(reached[0], head)
            own = own[at]
        beyond = self._beyond(base)
        if self.debias:
            own = own - self.debias * self._headless_of_entities(base)[ids]
        order = np.argsort(ids)
        ids, own = ids[order], own[order]
        if self.chains is not None:
            led, evidence = self.topology.chain_index.led_to(head, base.relation, self.chains.length)
            every = np.union1d(ids, led)
            raised = Reached(ids, own, beyond)[every]
            said = np.zeros_like(raised)
            said[np.searchsorted(every, led)] = evidence
            raise_scores(raised[None], said[None], *_learned(self.chains))
            ids, own = every, raised
        _check_finite(own)
        return Reached(ids, own, beyond)

    def _around(self, head: int) -> NDArray[np.int32] | None:
        """What the scores of all that a head reaches rest on, the head first; ``None`` where that is too much.

        L layers reach L steps far, and a state after them rests on what is L - 1 steps further out.
        """
        with self.places.lent() as places:
            most = len(places) // NEAR
            entities = _steps(self.edges, head, 2 * len(self.layers) - 1, places, most)
            places[entities] = -1
        return None if len(entities) > most else entities

    def _among(self, base: Base, entities: NDArray[np.int32]) -> tuple[NDArray[np.int32], Floats]:
        """What a head, the first of some entities, reaches by edges between them, and the scores in that graph."""
        with self.places.lent() as places:
            places[entities] = np.arange(len(entities), dtype=np.int32)
            edges = cut(*self.edges, entities, places)
            places[entities] = -1
        count = len(entities)
        within = replace(base, states=base.states[:2], scores=None)
        asked = Asked(edges, None, np.zeros(1, np.int64), ALONE)
        found, scores = self._spread(asked, within, 0, _nowhere(count))
        if found is not None:
            return entities[found[0]], scores
        reached = _steps(edges, 0, len(self.layers), _nowhere(count), count)
        return entities[reached], scores[reached]

    def nearest(self, head: int) -> NDArray[np.int32]:
        """A head, and the entities nearest to it by personalised PageRank, `within` of them in all."""
        with self.ranks.lent() as (ranks, left, queue, waiting, found):
            count = push_ranks(*self.edges[:2], head, self.within, ranks, left, queue, waiting, found)
            near = found[:count].copy()
            order = np.lexsort((near, -ranks[near], near != head))[: self.within]
            ranks[near] = left[near] = 0
        nearest: NDArray[np.int32] = near[order]
        return nearest

    def _spread(self, asked: Asked, base: Base, remaining: int, places: NDArray[np.int32]) -> Near:
        """``[2, pairs]``, row and query of each pair that the heads reach, these first, and their scores; ``None`` and
        those of all pairs in order, where that costs less.

        Args:
            places: ``[pairs]``, all -1; that of each reached pair is filled in.
        """
        edges, _, heads, _ = asked
        batch, num_entities = len(heads), _count(edges)
        entities, queries = reached = np.empty((2, batch * num_entities), np.int32)
        entities[:batch], queries[:batch] = heads, np.arange(batch)
        places[np.arange(batch) * num_entities + heads] = np.arange(batch)
        states, frontier, count = np.tile(base.asked, batch), 0, batch
        for layer in range(len(self.layers)):
            before = count
            count = reach(edges, asked.own, asked.apart, entities, queries, frontier, count, places, len(entities))
            frontier, pairs = before, Pairs(entities, queries, before, states)
            if not self._stays_partial(edges, base, layer, count, batch, remaining):
                return None, self._everywhere(asked, base, layer, pairs)
            shared, out = self._before(edges, base, layer), _rows(count * self.dim)
            states = self._layer(layer, asked, base, shared, pairs, places, out)
        return reached[:, :count], self._score(states, base)

    def _everywhere(self, asked: Asked, base: Base, layer: int, pairs: Pairs) -> Floats:
        """The scores of all pairs in order, for a question that goes on with all of them from a layer on.

        States go from one array into another and back: no more than two are there at once, besides what is held.
        """
        edges, batch = asked.edges, len(asked.heads)
        with self._rooms(edges, batch) as rooms:
            shared = self._before(edges, base, layer, rooms if batch == 1 else ())
            states = rooms[layer % 2]
            if shared is not states:
                states.reshape(batch, -1, self.dim)[:] = shared.reshape(-1, self.dim)
            own = pairs.queries[: pairs.before], pairs.entities[: pairs.before]
            states.reshape(batch, -1, self.dim)[own] = pairs.states.reshape(-1, self.dim)
            for done in range(layer, len(self.layers)):
                every = Pairs.of_all(_count(edges), states)
                states = self._layer(done, asked, base, base.states[0], every, None, rooms[(done + 1) % 2])
            return self._score(states, base)

    @contextmanager
    def _rooms(self, edges: Arrays, batch: int = 1) -> Iterator[tuple[Floats, Floats]]:
        """Two arrays for the states of all pairs; those of a question to the whole graph are kept for the next."""
        if batch == 1 and edges[0] is self.distinct.edges[0]:
            with self.rooms.lent() as rooms:
                yield rooms
        else:
            size = batch * _count(edges) * self.dim
            yield _rows(size), _rows(size)

    def _headless(self, base: Base) -> Floats:
        """``[rows]``, the scores that answers to the relation's questions have without a head."""
        if base.scores is None:
            edges = self.distinct.edges
            with self._rooms(edges) as rooms:
                last = self._before(edges, base, len(self.layers), rooms)
                scores = self._score(last, base)  # of a model of one layer the same for all
            base.scores = np.broadcast_to(scores, _count(edges)).copy()
            _check_finite(base.scores)
        return base.scores

    def _headless_of_entities(self, base: Base) -> Floats:
        scores, row_of = self._headless(base), self.distinct.row_of
        return scores if row_of is None else scores[row_of]

    def _beyond(self, base: Base) -> Beyond:
        if base.beyond is None or base.beyond[0] != self.debias:
            scores = self._headless_of_entities(base)
            base.beyond = self.debias, Beyond(scores - self.debias * scores if self.debias else scores)
        return base.beyond[1]

    def _stays_partial(self, edges: Arrays, base: Base, layer: int, reached: int, batch: int, remaining: int) -> bool:
        """Whether the reached pairs, and the base where it is missing, cost less than all pairs."""
        every = _count(edges) * batch
        if layer < 2:
            return True  # the base is one state for all
        if not self.base_trajectory or layer > self._held(edges):
            return False
        each = len(edges[1]) / max(1, _count(edges))
        share = (ROW + EDGE * each) / (ROW + EDGE_AMONG * each)
        missing = max(0, layer + 2 - len(base.states) - (base.scores is not None)) * every / (batch + remaining)
        return reached + missing < share * every

    def _held(self, edges: Arrays) -> int:
        """How many layers' base states the budget holds beside the scores, after those that are one for all."""
        each = 4 * self.dim * _count(edges)
        return min(len(self.layers) - 1, (self.base_bytes - 3 * each // self.dim) // each)

    def _before(self, edges: Arrays, base: Base, layer: int, rooms: Sequence[Floats] = ()) -> Floats:
        """The base states before ``layer``; those that are missing are computed, and held if there is room.

        Args:
            rooms: two arrays to write to what is not held.
        """
        if edges[0] is self.distinct.edges[0]:
            edges = self.distinct.edges  # where no head is apart from its twins
        count = _count(edges)
        known = base.states[min(layer, len(base.states) - 1)]
        for done in range(len(base.states), layer + 1):
            if len(known) == self.dim:
                pairs, places = Pairs.of_base(count), _nowhere(count)
            else:
                pairs, places = Pairs.of_all(count, known), None
            held = done < len(self.layers) and done <= self._held(edges) + 1
            out = rooms[done % 2] if rooms and not held else _rows(count * self.dim)
            known = self._layer(done - 1, _asked_by_none(edges), base, known, pairs, places, out)
            if held:
                base.states.append(known)
        return known

    def _layer(
        self,
        layer: int,
        asked: Asked,
        base: Base,
        shared: Floats,
        pairs: Pairs,
        places: NDArray[np.int32] | None,
        out: Floats,
    ) -> Floats:
        """The states of the first pairs after a layer, flat: as many as ``out`` holds, which is filled in.

        Args:
            shared: the base states before it, of all entities or one for all; not read where every pair is there.
            places: each query's pair of each entity, -1 where it is not reached; ``None`` where every pair is there.
        """
        given, count = (shared, base.relations[layer], base.asked), len(out) // self.dim
        edges, own, heads, apart = asked
        reached = pairs.entities, pairs.queries, heads, apart, pairs.before, pairs.states
        run_layer(edges, own, reached, places, given, self.layers[layer], out, count, torch.get_num_threads())
        return out

    def _score(self, states: Floats, base: Base) -> Floats:
        weight, last_weight, last_bias = self.score
        count = len(states) // self.dim
        out = np.empty(count, np.float32)
        score_rows(states, count, self.dim, weight, base.score_bias, last_weight, last_bias, len(last_weight), out)
        return out


class DeviceBase(NamedTuple):
    """What the queries of one relation share on a device: its id, and the relation representations, ``[1, …]``."""

    relation: int
    relations: tuple[Tensor]

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.relations[0].nbytes


class DeviceEngine:
    """What `Engine` does, by the model itself, where its weights are; scores come back into the processor's memory."""

    debias = 0.0
    within = base_bytes = 0

    def __init__(self, encoder: EntityEncoder, topology: Topology, chains: Chains | None = None) -> None:
        self.encoder, self.topology, self.chains = encoder, topology, chains
        self.blocks = Blocks(topology.device, 40 * encoder.dim * topology.num_entities, QUERIES)

    def batch_size(self) -> int:
        """Queries that fit into the device's memory together."""
        return self.blocks.size

    def prepare(self, representations: Tensor, relation: int, alone: bool = False) -> Any:
        """As `Engine.prepare`: a `DeviceBase`."""
        return DeviceBase(relation, (representations[None],))

    @torch.no_grad()
    def scores(self, base: Any, heads: NDArray[np.int64], remaining: int = 0) -> Tensor:
        """As `Engine.scores`; nothing is kept for the queries that remain."""

        def run(part: NDArray[np.int64]) -> Tensor:
            head = torch.from_numpy(part).to(self.topology.device)
            scores: Tensor = self.encoder(self.topology, *base.relations, head, torch.full_like(head, base.relation))
            return scores.cpu()

        return _raised(self.blocks.run(run, heads), self.topology, self.chains, base.relation, heads)

    def answered(self, base: Any, head: int, remaining: int = 0) -> Answerable:
        """As `Engine.answered`, always of all entities."""
        return cast(Scores, self.scores(base, np.array([head]))[0].numpy())


def _raised(
    scores: Tensor, topology: Topology, chains: Chains | None, relation: int, heads: NDArray[np.int64]
) -> Tensor:
    """Scores with what chains add to them; a CheckpointError if one is not finite."""
    if chains is not None:
        evidence = topology.chain_index.evidence(heads, relation, chains.length)
        raise_scores(scores.numpy(), evidence, *_learned(chains))
    _check_finite(scores.numpy())
    return scores


def _learned(chains: Chains) -> tuple[np.float32, np.float32]:
    """Gain and ε."""
    return np.float32(chains.log_gain.exp().item()), np.float32(chains.log_scale.exp().item())


def _check_finite(scores: Floats) -> None:
    if not np.isfinite(scores).all():
        raise CheckpointError("the checkpoint gives scores that are not finite: use another one")


def packed(weight: Tensor) -> Floats:
    """A linear map's ``[out, in]`` weight as the kernels read it: panels of 16 outputs, each ``[in, 16]``, flat."""
    outside, inside = weight.shape
    return _array(weight.reshape(outside // LANES, LANES, inside).transpose(1, 2)).reshape(-1)


def _steps(edges: Arrays, head: int, steps: int, places: NDArray[np.int32], most: int) -> NDArray[np.int32]:
    """The entities that a head reaches in so many steps, by distance; some of more than ``most`` if there are more.

    Args:
        places: ``[num_entities]``, all -1; those of the entities are filled in.
    """
    entities, queries = np.empty((2, len(places)), np.int32)
    entities[0], queries[0], places[head] = head, 0, 0
    frontier, count = 0, 1
    for _ in range(steps):
        if count <= most:
            before = count
            count = reach(edges, None, ALONE, entities, queries, frontier, count, places, most)
            frontier = before
    reached: NDArray[np.int32] = entities[:count]
    return reached


def _asked_by_none(edges: Arrays) -> Asked:
    """The question of the base, which has no head."""
    return Asked(edges, None, ALONE, ALONE)


def _count(edges: Arrays) -> int:
    """Rows, each with its run of edges."""
    return len(edges[0]) - 1


def _rows(count: int) -> Floats:
    """Room for states, ``count`` numbers that begin with a line of the cache: 86 ms a layer without that, and 54."""
    room = np.empty(count + LINE, np.float32)
    begin = -room.ctypes.data // room.itemsize % LINE
    return room[begin : begin + count]


def _nowhere(count: int) -> NDArray[np.int32]:
    return np.full(count, -1, np.int32)


def _array(tensor: Tensor) -> Floats:
    return cast(Floats, tensor.detach().contiguous().numpy())
