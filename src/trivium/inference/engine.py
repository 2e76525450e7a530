"""The entity encoder without gradients, as fast as the machine allows, and exactly what the model computes.

What it saves, beside `trivium.model.entity` (figures in docs/benchmarks.md):

- *Base trajectory.* Without its head a query's states depend on the relation alone. Those base states are computed once
  per relation; a query computes only the entities that its head has reached so far, each from its full sum of messages,
  so the result is the same to the bit. Where most entities are reached it goes on with all of them.
- *One pass a layer.* A few rows at a time, messages are summed, multiplied, normalised and added to the state while
  they are in the first cache.
- The asked relation's half of the scoring MLP is one vector per relation.

Every row is computed in the same order of operations whatever stands beside it, so scores do not depend on batching, on
the shortcut or on the number of threads, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trivium.errors import ConfigError
from trivium.kernels.layer import reach, reach_all, run_layer, score_rows, spread_scores
from trivium.kernels.vector import LANES, WIDTH
from trivium.model.entity import EntityEncoder
from trivium.model.topology import Topology

BATCH_PAIRS = 12_000  # (query, entity) pairs that are computed together: 6 MB of states, near the cache
PARTIAL_SHARE = 0.9  # of all pairs; where more are reached, the base is not worth computing

Floats = NDArray[np.float32]


@dataclass
class Base:
    """What the queries of one relation share.

    Attributes:
        asked: ``[dim]``, the relation's own representation.
        rows: by layer, the projected relation rows, flat.
        states: by layer, the base states *before* it, flat; the first two are one row for all entities.
        score_bias: ``[2 · dim]``, the query's half of the scoring MLP's first layer.
        scores: ``[num_entities]``, of the base states after the last layer, where they were needed.
    """

    asked: Floats
    rows: list[Floats]
    states: list[Floats]
    score_bias: Floats
    scores: Floats | None = None


class Engine:
    """Scores all entities for queries of one relation at a time.

    Args:
        encoder: the entity encoder; its weights are read once.
        topology: the graph.
        base_trajectory: whether queries share base states; off only to measure what it saves.

    Raises:
        ConfigError: the encoder's width is not a multiple of 32.
    """

    def __init__(self, encoder: EntityEncoder, topology: Topology, base_trajectory: bool = True) -> None:
        self.encoder = encoder
        self.topology = topology
        self.base_trajectory = base_trajectory
        edges = topology.edges
        self.edges = edges.offsets, edges.sources, edges.relations
        self.dim = encoder.dim
        if self.dim % WIDTH:
            raise ConfigError(f"dim is {self.dim}: the engine needs a multiple of {WIDTH}")
        self.layers = [
            (
                packed(layer.linear.weight),
                _array(layer.linear.bias),
                _array(layer.norm.weight),
                _array(layer.norm.bias),
                np.float32(layer.norm.eps),
            )
            for layer in encoder.layers
        ]
        first, last = cast(nn.Linear, encoder.score[0]), cast(nn.Linear, encoder.score[2])
        self.score = packed(first.weight[:, : self.dim]), _array(last.weight.view(-1)), np.float32(last.bias.item())

    def batch_size(self) -> int:
        """Queries that are best computed together."""
        return max(1, BATCH_PAIRS // max(1, self.topology.num_entities))

    @torch.no_grad()
    def prepare(self, relation: Tensor, query: int) -> Base:
        """What the queries of one relation share.

        Args:
            relation: ``[2 · num_relations, dim]``, the relation representations seen from ``query``.
        """
        carried = relation.roll(self.topology.num_relations, 0) if self.encoder.reversed_messages else relation
        rows = [_array(layer.relation(carried)).reshape(-1) for layer in self.encoder.layers]
        first = cast(nn.Linear, self.encoder.score[0])
        bias = functional.linear(relation[query], first.weight[:, self.dim :], first.bias)
        base = Base(_array(relation[query]), rows, [np.zeros(self.dim, np.float32)], _array(bias))
        # no entity has a state before the first layer, so one entity without edges shows the base after it
        alone = np.zeros(2, np.int64), *self.edges[1:]
        base.states.append(self._layer(base, 0, alone, 1, *_nobody(1)))
        return base

    def scores(self, base: Base, heads: NDArray[np.int64], remaining: int = 0) -> Tensor:
        """Scores of all entities.

        Args:
            base: from `prepare`.
            heads: ``[batch]`` entity ids.
            remaining: how many more queries of this relation will come, which may share what is computed now.

        Returns:
            ``[batch, num_entities]``.
        """
        batch, num_entities = len(heads), self.topology.num_entities
        every = batch * num_entities
        entities, queries = np.empty((2, every), np.int32)
        entities[:batch], queries[:batch] = heads, np.arange(batch)
        places = np.full(every, -1, np.int32)
        places[np.arange(batch) * num_entities + heads] = np.arange(batch)
        states = np.tile(base.asked, batch)
        heads = np.ascontiguousarray(heads, np.int64)
        frontier, count = 0, batch
        for layer in range(len(self.layers)):
            before = count
            if count < every:
                count = reach(*self.edges[:2], num_entities, entities, queries, frontier, count, places)
                if not self._stays_partial(base, layer, count, batch, remaining):
                    count = reach_all(num_entities, entities, queries, count, places)
                self._extend(base, layer)
            frontier = before
            # once every pair is there they stand in order, so that later layers need not look their places up
            known = places if before < every else None
            states = self._layer(
                base, layer, self.edges, count, entities, queries, known, heads, before, states, count == every
            )
        own = self._score(states, count, base)
        if count == every:
            return torch.from_numpy(own).view(batch, num_entities)
        out = torch.empty(batch, num_entities)
        if base.scores is None:
            self._extend(base, len(self.layers))
            base.scores = self._score(base.states[-1], num_entities, base)
        spread_scores(places, base.scores, own, out.view(-1).numpy())
        return out

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
        num_entities = self.topology.num_entities
        while len(base.states) <= layer:
            base.states.append(
                self._layer(base, len(base.states) - 1, self.edges, num_entities, *_nobody(num_entities))
            )

    def _layer(
        self,
        base: Base,
        layer: int,
        edges: tuple[Any, Any, Any],
        count: int,
        entities: NDArray[np.int32],
        queries: NDArray[np.int32],
        places: NDArray[np.int32] | None,
        heads: NDArray[np.int64],
        before: int,
        states: Floats,
        in_order: bool = False,
    ) -> Floats:
        out = np.empty(count * self.dim, np.float32)
        shared = base.states[layer] if layer < len(base.states) else base.states[0]
        run_layer(
            *edges,
            self.topology.num_entities,
            self.dim,
            entities,
            queries,
            count,
            before,
            places,
            states,
            shared,
            0 if len(shared) == self.dim else self.dim,
            base.rows[layer],
            base.asked,
            heads,
            *self.layers[layer],
            out,
            in_order and places is not None,
            torch.get_num_threads(),
        )
        return out

    def _score(self, states: Floats, count: int, base: Base) -> Floats:
        weight, last_weight, last_bias = self.score
        out = np.empty(count, np.float32)
        score_rows(states, count, self.dim, weight, base.score_bias, last_weight, last_bias, len(last_weight), out)
        return out


def packed(weight: Tensor) -> Floats:
    """A linear map's ``[out, in]`` weight as the kernels read it: panels of 16 outputs, each ``[in, 16]``, flat."""
    outside, inside = weight.shape
    return _array(weight.reshape(outside // LANES, LANES, inside).transpose(1, 2)).reshape(-1)


def _nobody(num_entities: int) -> tuple[Any, ...]:
    """Arguments of a layer for the base: every entity once, no head, no state of its own."""
    entities = np.arange(num_entities, dtype=np.int32)
    nowhere = np.full(num_entities, -1, np.int32)
    return entities, np.zeros(num_entities, np.int32), nowhere, np.full(1, -1, np.int64), 0, np.zeros(1, np.float32)


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().contiguous().numpy()
    return array
