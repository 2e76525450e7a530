"""The prompt enhancer: what a few example facts of a relation show about it, read in context."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.errors import ConfigError
from trivium.model.prompt_graph import ALONE, LABELS, Bounds, Prompts, extract
from trivium.model.topology import Topology
from trivium.nn.edges import Edges
from trivium.nn.propagate import propagate

START = 0.02  # of the last weights: Δ begins at about a tenth of r


class PromptEnhancer(nn.Module):
    """A branch: encodes the neighbourhoods of a few example facts ``(a, q, b)`` of each query's relation ``q``.

    Nodes start from their distances to ``a`` and ``b``; edges carry what ``r``, seen from ``q``, says of their
    relation, and whether it is ``q``; the example's own edge is left out. After some rounds of messages
    ``x_t ← x_t + ReLU(LN(W [x_t ; Σ_(s,k,t) x_s ⊙ (V r_k + mark_k)]))``:

    - the asked row's Δ is read from how far ``a`` and ``b`` have moved from where they would be with nothing around
      them, on average over the examples;
    - with ``rows="prompt"`` every relation ``k`` that occurs in the prompts gets a Δ too, from ``A x_s ⊙ B x_t``
      over the edges that carry it: whether it leads from where ``a`` is to where ``b`` is.

    Without an example, or with nothing around the examples, Δ is exactly 0. It does not depend on a query's head, so
    one result per (graph, relation) serves all queries.

    Args:
        dim: numbers in a relation representation.
        prompt_dim: numbers in a node's state.
        layers: rounds of messages.
        rows: which rows change: ``"query"``, the query's only, or ``"prompt"``, those of every relation that occurs in
            its prompts.

    Raises:
        ConfigError: ``rows`` is neither.

    Source: the idea of prompts, and distances as labels, from Cui et al., KG-ICL (2024).
    """

    def __init__(
        self,
        dim: int,
        prompt_dim: int = 32,
        layers: int = 3,
        rows: str = "prompt",
        bounds: Bounds = Bounds(),  # noqa: B008
    ) -> None:
        super().__init__()
        if rows not in ("query", "prompt"):
            raise ConfigError(f"prompt rows are {rows!r}: give 'query' or 'prompt'")
        self.rows = rows
        self.bounds = bounds
        self.label = nn.Parameter(torch.randn(LABELS, prompt_dim))
        self.layers = nn.ModuleList(_PromptLayer(dim, prompt_dim) for _ in range(layers))
        self.asked = _readout(2 * prompt_dim, prompt_dim, dim)
        self.occurring = _readout(2 * prompt_dim, prompt_dim, dim) if rows == "prompt" else None
        self.meet = nn.Linear(prompt_dim, 2 * prompt_dim, bias=False) if rows == "prompt" else None

    def forward(
        self,
        topology: Topology,
        query: Int[Tensor, " batch"],
        r: Float[Tensor, "batch relations dim"],
        prompts: Prompts | None = None,
        rng: np.random.Generator | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Δ, zero but for the rows that `rows` names.

        Args:
            prompts: of these queries in this order, where they are made already.
            rng: draws examples at random, as training does; without it they are chosen by structure.

        Cost: a few milliseconds a query; see docs/benchmarks.md.
        """
        if prompts is None:
            prompts = extract(topology, query.numpy().astype(np.int64), self.bounds, rng)
        delta = torch.zeros_like(r)
        if not len(prompts.pairs):
            return delta
        place, relation = torch.from_numpy(prompts.pairs).long().unbind(1)
        rows = r[place, relation]
        states = self.encode(prompts, rows)
        asked = torch.arange(len(query)), query.long()
        delta = delta.index_put(asked, self.asked(self._moved(prompts, states)))
        if self.occurring is not None and self.meet is not None:
            before, after = self.meet(states)[None].chunk(2, -1)
            met = propagate(before, after, prompts.to_pairs)[0]
            count = prompts.to_pairs.offsets.diff()[:, None]
            seen = torch.cat([met / count, met.sign() * met.abs().log1p()], 1)
            delta = delta.index_put((place, relation), self.occurring(seen), accumulate=True)
        return delta

    def encode(self, prompts: Prompts, rows: Float[Tensor, "pairs dim"]) -> Float[Tensor, "nodes prompt_dim"]:
        """The states of the nodes and, behind them, of ends that nothing surrounds (`ALONE`)."""
        marks = torch.from_numpy(prompts.marks).long()
        states = self.label[torch.from_numpy(prompts.labels).long()]
        for layer in self.layers:
            states = layer(states, rows, marks, prompts.edges)
        return states

    def _moved(self, prompts: Prompts, states: Tensor) -> Float[Tensor, "batch double"]:
        """How far the examples' ends are from where they would be alone, on average over each query's examples."""
        first, second = torch.from_numpy(prompts.ends).long().unbind(1)
        same = first == second
        head, tail, both = states[-len(ALONE) :]
        alone = torch.where(same[:, None], torch.cat([both, both]), torch.cat([head, tail]))
        moved = torch.cat([states[first], states[second]], 1) - alone
        place = torch.from_numpy(prompts.examples[:, 0]).long()
        share = (torch.from_numpy(prompts.example_edges) > 0) / torch.bincount(place)[place]
        return moved.new_zeros(len(prompts.query), moved.shape[1]).index_add(0, place, share[:, None] * moved)


class _PromptLayer(nn.Module):
    def __init__(self, dim: int, prompt_dim: int) -> None:
        super().__init__()
        self.relation = nn.Linear(dim, prompt_dim)
        self.mark = nn.Parameter(torch.randn(3, prompt_dim))
        self.linear = nn.Linear(2 * prompt_dim, prompt_dim)
        self.norm = nn.LayerNorm(prompt_dim)

    def forward(
        self,
        states: Float[Tensor, "nodes prompt_dim"],
        rows: Float[Tensor, "pairs dim"],
        marks: Int[Tensor, " pairs"],
        edges: Edges,
    ) -> Float[Tensor, "nodes prompt_dim"]:
        carried = self.relation(rows) + self.mark[marks]
        message = propagate(states[None], carried[None], edges)[0]
        return states + torch.relu(self.norm(self.linear(torch.cat([states, message], 1))))


def _readout(inside: int, hidden: int, dim: int) -> nn.Sequential:
    """Two linear maps without offsets, so that nothing stays nothing; a small Δ at the start."""
    last = nn.Linear(hidden, dim, bias=False)
    nn.init.normal_(last.weight, std=START)
    return nn.Sequential(nn.Linear(inside, hidden, bias=False), nn.ReLU(), last)
