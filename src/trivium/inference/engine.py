"""The entity encoder without gradients, as fast as the machine allows, and exactly what the model computes.

What it saves, beside `trivium.model.entity` (figures in docs/benchmarks.md):

- *Base trajectory.* Without its head a query's states depend on the relation alone. Those base states are computed once
  per relation; a query computes only the entities that its head has reached so far, each from its full sum of messages,
  so the result is the same. Where most entities are reached it goes on with all of them.
- The state and the aggregate are halves of one buffer, so a layer's linear map is one matrix product; layer norm, ReLU and
  the residual are one pass.
- The asked relation's half of the scoring MLP is one vector per relation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from trivium.inference.kernels import finish_layer, gather_rows, grow_balls, last_layer, spread_rows
from trivium.model.entity import EntityEncoder
from trivium.model.topology import Topology
from trivium.nn.kernels import sum_products

BATCH_ROWS = 12_000  # (query, entity) pairs that are computed together: 6 MB of states and aggregates, near the cache
SCORE_ROWS = 32_768  # pairs that are scored together
LEAST_ROWS = 32  # a product of fewer rows differs in its last bits, so fewer are padded
SPARSE_SHARE = 0.8  # of the pairs; above it a layer over all of them costs less than gathering


@dataclass
class _Base:
    """One relation's projected rows and its base states, layer by layer, as far as they were needed."""

    asked: Tensor
    rows: list[Tensor]
    states: list[Tensor]
    score_bias: Tensor


class Engine:
    """Scores all entities for queries of one relation at a time.

    Args:
        encoder: the entity encoder; its weights are read once.
        topology: the graph.
        base_trajectory: whether queries share base states; off only to measure what it saves.
    """

    def __init__(self, encoder: EntityEncoder, topology: Topology, base_trajectory: bool = True) -> None:
        self.encoder = encoder
        self.topology = topology
        self.base_trajectory = base_trajectory
        edges = topology.edges
        self.edges = edges.offsets.numpy(), edges.sources.numpy(), edges.relations.numpy()
        self.dim = encoder.layers[0].norm.normalized_shape[0]
        self.weights = [
            (
                layer.linear.weight.detach().t(),
                layer.linear.bias.detach(),
                layer.norm.weight.detach().numpy(),
                layer.norm.bias.detach().numpy(),
                np.float32(layer.norm.eps),
            )
            for layer in encoder.layers
        ]

    def batch_size(self) -> int:
        """Queries that are best computed together."""
        return max(1, BATCH_ROWS // max(1, self.topology.num_entities))

    @torch.no_grad()
    def prepare(self, relation: Tensor, query: int) -> _Base:
        """What the queries of one relation share.

        Args:
            relation: ``[2 · num_relations, dim]``, the relation representations seen from ``query``.
        """
        asked = relation[query].contiguous()
        carried = relation.roll(self.topology.num_relations, 0) if self.encoder.reversed_messages else relation
        rows = [layer.relation(carried) for layer in self.encoder.layers]
        first = self.encoder.score[0]
        bias = F.linear(asked, first.weight[:, self.dim :], first.bias)
        # no entity has a state before the first layer, so the base after it is one row
        padded = _product(torch.zeros(1, 2 * self.dim), *self.weights[0][:2])
        start = torch.zeros(1, self.dim)
        self._finish(padded, 0, start, self.dim, start, self.dim, 1)
        return _Base(asked, rows, [start.expand(self.topology.num_entities, -1).contiguous()], bias)

    @torch.no_grad()
    def scores(self, base: _Base, heads: NDArray[np.int64], remaining: int = 0) -> Tensor:
        """Scores of all entities.

        Args:
            base: from `prepare`.
            heads: ``[batch]`` entity ids.
            remaining: how many more queries of this relation will come, which may share what is computed now.

        Returns:
            ``[batch, num_entities]``.
        """
        batch, num_entities, dim = len(heads), self.topology.num_entities, self.dim
        places = np.tile(np.arange(num_entities, dtype=np.int32), batch)
        rows, starts = heads.astype(np.int32), np.arange(batch + 1)
        seen = np.zeros(batch * num_entities, np.bool_)
        at_head = np.arange(batch) * num_entities + heads
        seen[at_head] = True
        places[at_head] = num_entities + np.arange(batch, dtype=np.int32)
        pool = torch.cat([torch.zeros(num_entities, dim), base.asked.expand(batch, -1)])
        buffer: Tensor | None = None
        for layer in range(len(self.weights)):
            if buffer is None:
                starts, rows = grow_balls(*self.edges[:2], starts, rows, seen, num_entities)
                if self._stays_sparse(base, layer, len(rows), batch, remaining):
                    pool, places = self._sparse_layer(base, layer, heads, starts, rows, places, pool)
                    continue
                buffer = torch.empty(batch, num_entities, 2 * dim)
                spread_rows(places, _flat(pool), _flat(buffer), 2 * dim, dim)
            self._dense_layer(buffer, base.rows[layer], layer, base.asked, heads)
        if buffer is not None:
            return self._scores(buffer.view(-1, 2 * dim)[:, :dim], base).view(batch, num_entities)
        return self._scores(pool, base)[torch.from_numpy(places).long()].view(batch, num_entities)

    def _stays_sparse(self, base: _Base, layer: int, reached: int, batch: int, remaining: int) -> bool:
        """Whether computing the reached pairs (and the base, where it is missing) costs less than computing all."""
        every = self.topology.num_entities * batch
        if layer == 0:
            return True
        if not self.base_trajectory:
            return False
        missing = max(0, layer + 1 - len(base.states)) * self.topology.num_entities * batch / (batch + remaining)
        return reached + missing < SPARSE_SHARE * every

    def _sparse_layer(
        self,
        base: _Base,
        layer: int,
        heads: NDArray[np.int64],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        places: NDArray[np.int32],
        pool: Tensor,
    ) -> tuple[Tensor, NDArray[np.int32]]:
        """The layer for the reached pairs; the others' states are the base's."""
        num_entities, dim = self.topology.num_entities, self.dim
        while len(base.states) <= layer:
            base.states.append(self._base_layer(base, len(base.states)))
        queries = np.repeat(np.arange(len(heads), dtype=np.int32), np.diff(starts))
        joined = torch.empty(max(len(rows), LEAST_ROWS), 2 * dim)
        joined[len(rows) :] = 0
        gather_rows(
            *self.edges,
            rows,
            queries,
            places,
            _flat(pool),
            _flat(base.rows[layer]),
            _flat(base.asked),
            heads,
            _flat(joined),
            num_entities,
            dim,
        )
        linear = torch.addmm(self.weights[layer][1], joined, self.weights[layer][0])
        after = torch.empty(num_entities + len(rows), dim)
        after[:num_entities] = base.states[layer]
        self._finish(linear, layer, joined, 2 * dim, after[num_entities:], dim, len(rows))
        places = places.copy()
        places[queries.astype(np.int64) * num_entities + rows] = num_entities + np.arange(len(rows), dtype=np.int32)
        return after, places

    def _base_layer(self, base: _Base, layer: int) -> Tensor:
        """The base states after ``layer``, from those before it."""
        buffer = torch.empty(1, self.topology.num_entities, 2 * self.dim)
        buffer[0, :, : self.dim] = base.states[layer - 1]
        self._dense_layer(buffer, base.rows[layer], layer, None, None)
        return buffer[0, :, : self.dim].contiguous()

    def _dense_layer(
        self, buffer: Tensor, rows: Tensor, layer: int, asked: Tensor | None, heads: NDArray[np.int64] | None
    ) -> None:
        """The layer for all entities of all queries, in place."""
        batch, num_entities, double = buffer.shape
        dim, flat = self.dim, _flat(buffer)
        sum_products(
            *self.edges,
            None,
            None,
            flat,
            num_entities * double,
            double,
            _flat(rows),
            0,
            dim,
            flat[dim:],
            double,
            batch,
            dim,
        )
        if heads is not None:
            buffer[torch.arange(batch), torch.from_numpy(heads), dim:] += asked
        linear = _product(buffer.view(-1, double), *self.weights[layer][:2])
        self._finish(linear, layer, buffer, double, buffer, double, batch * num_entities)

    def _finish(
        self, linear: Tensor, layer: int, state: Tensor, state_row: int, out: Tensor, out_row: int, rows: int
    ) -> None:
        _, _, gain, bias, epsilon = self.weights[layer]
        finish_layer(_flat(linear), gain, bias, epsilon, _flat(state), state_row, _flat(out), out_row, rows, self.dim)

    def _scores(self, states: Tensor, base: _Base) -> Tensor:
        """Scores of states ``[n, dim]``, a block at a time."""
        first, _, last = self.encoder.score
        weight = first.weight.detach()[:, : self.dim].t()
        out = torch.empty(len(states))
        for begin in range(0, len(states), SCORE_ROWS):
            hidden = _product(states[begin : begin + SCORE_ROWS], weight, base.score_bias)
            part = out[begin : begin + SCORE_ROWS]
            last_layer(_flat(hidden), _flat(last.weight), np.float32(last.bias.item()), part.numpy())
        return out


def _product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``rows · weight + bias``; few rows are padded, so that each row's result does not depend on their number."""
    if len(rows) >= LEAST_ROWS:
        return torch.addmm(bias, rows, weight)
    return torch.addmm(bias, F.pad(rows, (0, 0, 0, LEAST_ROWS - len(rows))), weight)[: len(rows)]


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().view(-1).numpy()
