"""The prompt enhancer: what a few example facts of a relation show about it, read in context."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.kernels.csr import IntArray
from trivium.model.config import ModelConfig
from trivium.model.prompt_graph import ALONE, LABELS, Prompts, extract
from trivium.model.topology import Topology
from trivium.nn.edges import Edges
from trivium.nn.propagate import propagate

START = 0.02  # of the last weights: Δ begins at about a tenth of r


class PromptEnhancer(nn.Module):
    """A branch: encodes the neighbourhoods of a few example facts ``(a, q, b)`` of each asked relation ``q``.

    Nodes start from their distances to ``a`` and ``b``; edges carry what ``r``, conditioned on ``q``, says of their
    relation, and whether it is ``q``; the example's own edge is left out. After some rounds of messages
    ``x_t ← x_t + ReLU(LN(W [x_t ; Σ_(s,k,t) x_s ⊙ (V r_k + mark_k)]))``:

    - the asked relation's Δ is read from how far ``a`` and ``b`` have moved from where they would be with nothing
      around them, on average over the examples;
    - every relation ``k`` that occurs in the prompts gets a Δ too, from ``A x_s ⊙ B x_t`` over the edges that carry
      it: whether it leads from where ``a`` is to where ``b`` is.

    Without an example, or with nothing around the examples, Δ is exactly 0. It does not depend on a query's head, so
    one result per (graph, relation) serves all queries.

    Source: the idea of prompts, and distances as labels, from Cui et al., KG-ICL (2024).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dim, prompt_dim = config.dim, config.prompt_dim
        self.label = nn.Parameter(torch.randn(LABELS, prompt_dim))
        self.layers = nn.ModuleList(_PromptLayer(dim, prompt_dim) for _ in range(config.prompt_layers))
        self.asked = _readout(2 * prompt_dim, prompt_dim, dim)
        self.occurring = _readout(2 * prompt_dim, prompt_dim, dim)
        self.meet = nn.Linear(prompt_dim, 2 * prompt_dim, bias=False)

    def forward(
        self,
        topology: Topology,
        relation: Int[Tensor, " batch"],
        r: Float[Tensor, "batch relations dim"],
        prompts: Prompts | None = None,
        rng: np.random.Generator | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Δ, zero but for the relations that occur in the prompts and the asked ones.

        Args:
            prompts: of these relations in this order, where they are made already.
            rng: draws examples at random, as training does; without it they are chosen by structure.

        Cost: a few milliseconds a relation; see docs/benchmarks.md.
        """
        if prompts is None:
            prompts = extract(topology, relation.numpy().astype(np.int64), self.config, rng)
        delta = torch.zeros_like(r)
        if not len(prompts.pairs):
            return delta
        pairs = _long(prompts.pairs).unbind(1)
        states = self.encode(prompts, r[pairs])
        asked = torch.arange(len(relation)), relation.long()
        delta = delta.index_put(asked, self.asked(self._moved(prompts, states, len(relation))))
        source, target = self.meet(states)[None].chunk(2, -1)
        together = propagate(source, target, prompts.to_pairs)[0]
        count = torch.from_numpy(np.diff(prompts.to_pairs.offsets))[:, None]
        summed = torch.cat([together / count, together.sign() * together.abs().log1p()], 1)
        return delta.index_put(pairs, self.occurring(summed), accumulate=True)

    def encode(self, prompts: Prompts, carried: Float[Tensor, "pairs dim"]) -> Float[Tensor, "nodes prompt_dim"]:
        """The states of the nodes and, behind them, of ends that nothing surrounds (`ALONE`).

        Args:
            carried: the representation of each pair's relation.
        """
        marks = _long(prompts.marks)
        states = self.label[_long(prompts.labels)]
        for layer in self.layers:
            states = layer(states, carried, marks, prompts.edges)
        return states

    def _moved(self, prompts: Prompts, states: Tensor, batch: int) -> Float[Tensor, "batch double"]:
        """How far the examples' ends are from where they would be alone, on average over each relation's examples."""
        first, second = _long(prompts.ends).unbind(1)
        head, tail, both = states[-len(ALONE) :]
        alone = torch.where((first == second)[:, None], torch.cat([both, both]), torch.cat([head, tail]))
        moved = torch.cat([states[first], states[second]], 1) - alone
        place = _long(prompts.examples[:, 0])
        share = (torch.from_numpy(prompts.example_edges) > 0) / torch.bincount(place)[place]
        return moved.new_zeros(batch, moved.shape[1]).index_add(0, place, share[:, None] * moved)


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
        carried: Float[Tensor, "pairs dim"],
        marks: Int[Tensor, " pairs"],
        edges: Edges,
    ) -> Float[Tensor, "nodes prompt_dim"]:
        factor = self.relation(carried) + self.mark[marks]
        message = propagate(states[None], factor[None], edges)[0]
        return states + torch.relu(self.norm(self.linear(torch.cat([states, message], 1))))


def _long(ids: IntArray) -> Tensor:
    return torch.from_numpy(ids).long()


def _readout(inside: int, hidden: int, dim: int) -> nn.Sequential:
    """Two linear maps without offsets, so that nothing stays nothing; a small Δ at the start."""
    last = nn.Linear(hidden, dim, bias=False)
    nn.init.normal_(last.weight, std=START)
    return nn.Sequential(nn.Linear(inside, hidden, bias=False), nn.ReLU(), last)
