"""The model without gradients, as fast as the machine allows, and exactly what it computes.

Relation representations are kept, as long as a budget of bytes allows.

What it saves, beside `trivium.model.encoders` (figures in docs/benchmarks.md):

- *Base trajectory.* Without its head a query's states depend on the relation alone. Those base states are computed once
  per relation; a query computes only the entities that its head has reached so far, each from its full sum of messages,
  so the result is the same to the bit. Where most entities are reached it goes on with all of them.
- *One pass a layer.* A few rows at a time, messages are summed, multiplied, normalised and added to the state while
  they are in the first cache.
- The asked relation's half of the scoring MLP is one vector per relation.

On another device than the CPU nothing of this is done: `DeviceEngine` runs the model as it is, in blocks.

Every state is computed in the same order of operations whatever is computed with it, so scores do not depend on
batching, on the shortcut or on the number of threads, to the bit. Relation representations do, in their last bits,
unless they are computed one at a time on one thread; see `trivium.inference.ranker.Ranker.reproduce`.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trivium.errors import CheckpointError, ConfigError
from trivium.kernels.chains import raise_scores
from trivium.kernels.layer import reach, run_layer, score_rows
from trivium.kernels.vector import LANES
from trivium.model.chains import Chains
from trivium.model.encoders import EntityEncoder
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium

BATCH_PAIRS = 12_000  # (query, entity) pairs that are computed together: 6 MB of states, near the cache
CHUNK_BYTES = 64 << 20  # of states while a chunk of relations is encoded
QUERIES = 256  # that a device computes together, at most
PARTIAL_SHARE = 0.9  # of all pairs; where more are reached, the base is not worth computing

Floats = NDArray[np.float32]
Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


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
    """

    asked: Floats
    relations: list[Floats]
    states: list[Floats]
    score_bias: Floats
    relation: int
    scores: Floats | None = None


class Pairs(NamedTuple):
    """Pairs of a query and an entity, numbered in the order in which they are reached.

    Attributes:
        entities, queries: ``[pairs]``.
        heads: ``[batch]``, the entity that each query starts from, -1 for none.
        before: pairs from this number on had the base's state until now.
        states: the other pairs' states, ``dim`` numbers each, flat.
    """

    entities: NDArray[np.int32]
    queries: NDArray[np.int32]
    heads: NDArray[np.int64]
    before: int
    states: Floats

    @classmethod
    def of_base(cls, num_entities: int) -> "Pairs":
        """Every entity once, for a query without a head; none has a state of its own."""
        entities = np.arange(num_entities, dtype=np.int32)
        return cls(entities, np.zeros_like(entities), np.full(1, -1), 0, np.zeros(1, np.float32))


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
        self.edges = topology.edges.by_target[:3]
        self.dim = encoder.dim
        self.layers = []
        for layer in encoder.layers:
            linear, norm = layer.linear, layer.norm
            weights = packed(linear.weight), _array(linear.bias), _array(norm.weight), _array(norm.bias)
            self.layers.append((*weights, np.float32(norm.eps)))
        first, last = cast(nn.Linear, encoder.score[0]), cast(nn.Linear, encoder.score[2])
        self.score = packed(first.weight[:, : self.dim]), _array(last.weight.view(-1)), np.float32(last.bias.item())

    def batch_size(self) -> int:
        """Queries that are best computed together."""
        return max(1, BATCH_PAIRS // max(1, self.topology.num_entities))

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
        alone = np.zeros(2, np.int64), *self.edges[1:]
        base.states.append(self._layer(0, alone, base, Pairs.of_base(1), 1, _nowhere(1)))
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
        scores = self._spread(base, heads, remaining)
        if self.debias:
            scores = scores - self.debias * torch.from_numpy(self._headless(base))
        return _raised(scores, self.topology, self.chains, base.relation, heads)

    def _spread(self, base: Base, heads: NDArray[np.int64], remaining: int) -> Tensor:
        batch, num_entities = len(heads), self.topology.num_entities
        every = batch * num_entities
        entities, queries = np.empty((2, every), np.int32)
        entities[:batch], queries[:batch] = heads, np.arange(batch)
        places = _nowhere(every)
        places[np.arange(batch) * num_entities + heads] = np.arange(batch)
        states = np.tile(base.asked, batch)
        heads = np.ascontiguousarray(heads, np.int64)
        frontier, count = 0, batch
        for layer in range(len(self.layers)):
            before = count
            if count < every:
                count = reach(*self.edges[:2], num_entities, entities, queries, frontier, count, places)
                if not self._stays_partial(base, layer, count, batch, remaining):
                    missing = np.flatnonzero(places < 0)
                    places[missing] = np.arange(count, every)
                    queries[count:], entities[count:] = np.divmod(missing, num_entities)
                    count = every
                self._extend(base, layer)
            frontier = before
            # once every pair is there they stand in order, so that later layers need not look their places up
            known = places if before < every else None
            pairs = Pairs(entities, queries, heads, before, states)
            states = self._layer(layer, self.edges, base, pairs, count, known)
        own = self._score(states, count, base)
        if count == every:
            return torch.from_numpy(own).view(batch, num_entities)
        every_score = np.where(places < 0, np.tile(self._headless(base), batch), own[places])
        return torch.from_numpy(every_score).view(batch, num_entities)

    def _headless(self, base: Base) -> Floats:
        """``[num_entities]``, the scores that answers to the relation's questions have without a head."""
        if base.scores is None:
            self._extend(base, len(self.layers))
            last = base.states[-1]  # of a model of one layer the same for all entities
            scores = self._score(last, len(last) // self.dim, base)
            base.scores = np.broadcast_to(scores, self.topology.num_entities).copy()
        return base.scores

    def _stays_partial(self, base: Base, layer: int, reached: int, batch: int, remaining: int) -> bool:
        """Whether the reached pairs, and the base where it is missing, cost less than all pairs."""
        num_entities = self.topology.num_entities
        if layer == 0:
            return reached < num_entities * batch
        if not self.base_trajectory:
            return False
        missing = max(0, layer + 2 - len(base.states)) * num_entities * batch / (batch + remaining)
        return reached + missing < PARTIAL_SHARE * num_entities * batch

    def _extend(self, base: Base, layer: int) -> None:
        """Computes the base states before ``layer``, where they are missing."""
        count = self.topology.num_entities
        while (done := len(base.states)) <= layer:
            base.states.append(self._layer(done - 1, self.edges, base, Pairs.of_base(count), count, _nowhere(count)))

    def _layer(
        self, layer: int, edges: Arrays, base: Base, pairs: Pairs, count: int, places: NDArray[np.int32] | None
    ) -> Floats:
        """The states of the first ``count`` pairs after a layer, flat.

        Args:
            places: each query's pair of each entity, -1 where it is not reached; ``None`` where every pair is there.
        """
        out = np.empty(count * self.dim, np.float32)
        states = base.states[layer] if layer < len(base.states) else base.states[0]  # not read where it is missing
        shared = states, base.relations[layer], base.asked
        run_layer(edges, pairs, places, shared, self.layers[layer], out, torch.get_num_threads())
        return out

    def _score(self, states: Floats, count: int, base: Base) -> Floats:
        weight, last_weight, last_bias = self.score
        out = np.empty(count, np.float32)
        score_rows(states, count, self.dim, weight, base.score_bias, last_weight, last_bias, len(last_weight), out)
        return out


class DeviceBase(NamedTuple):
    """What the queries of one relation share on a device: its id, and the relation representations, ``[1, …]``."""

    relation: int
    relations: tuple[Tensor]
    states: tuple[Tensor, ...] = ()


class DeviceEngine:
    """What `Engine` does, by the model itself, where its weights are; scores come back into the processor's memory."""

    debias = 0.0

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


def _raised(
    scores: Tensor, topology: Topology, chains: Chains | None, relation: int, heads: NDArray[np.int64]
) -> Tensor:
    """Scores with what chains add to them; a CheckpointError if one is not finite."""
    if chains is not None:
        evidence = topology.chain_index.evidence(heads, relation, chains.length)
        gain, scale = (np.float32(value.exp().item()) for value in (chains.log_gain, chains.log_scale))
        raise_scores(scores.numpy(), evidence, gain, scale)
    if not np.isfinite(scores.numpy()).all():
        raise CheckpointError("the checkpoint gives scores that are not finite: use another one")
    return scores


def packed(weight: Tensor) -> Floats:
    """A linear map's ``[out, in]`` weight as the kernels read it: panels of 16 outputs, each ``[in, 16]``, flat."""
    outside, inside = weight.shape
    return _array(weight.reshape(outside // LANES, LANES, inside).transpose(1, 2)).reshape(-1)


def _nowhere(count: int) -> NDArray[np.int32]:
    return np.full(count, -1, np.int32)


def _array(tensor: Tensor) -> Floats:
    return cast(Floats, tensor.detach().contiguous().numpy())
