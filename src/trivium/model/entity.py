"""The entity encoder: the query spreads from its head, and every entity gets a score."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from trivium.model.topology import Topology
from trivium.nn.propagate import propagate


class EntityLayer(nn.Module):
    """``x_t ← x_t + ReLU(LN(W [x_t ; Σ_(h,r,t) x_h ⊙ f(rel_r) + boundary_t]))``.

    Args:
        relation: ``f``.
    """

    def __init__(self, dim: int, relation: nn.Module) -> None:
        super().__init__()
        self.relation = relation
        self.linear = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        topology: Topology,
        state: Float[Tensor, "batch entities dim"],
        relation: Float[Tensor, "batch relations dim"],
        boundary: Float[Tensor, "batch entities dim"] | None = None,
        weight: Float[Tensor, " edges"] | None = None,
    ) -> Float[Tensor, "batch entities dim"]:
        message = propagate(state, self.relation(relation), topology.edges, weight)
        message = message if boundary is None else message + boundary
        return state + functional.relu(self.norm(self.linear(torch.cat([state, message], -1))))


class EntityEncoder(nn.Module):
    """NBFNet over the graph's entities, with relation representations in place of embeddings.

    The boundary is the asked relation's representation at the head, else 0. An MLP scores each final state beside
    the asked relation's representation.

    Args:
        dim: numbers in a state.
        layers: rounds of message passing.
        reversed_messages: an edge carries the representation of its inverse relation (ULTRA's kernel does).

    Source: Zhu et al., Neural Bellman-Ford Networks (2021), equation 6; as in ULTRA, section 4.3.
    """

    def __init__(self, dim: int, layers: int, reversed_messages: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.reversed_messages = reversed_messages
        mlps = (nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)) for _ in range(layers))
        self.layers = cast(Sequence[EntityLayer], nn.ModuleList(EntityLayer(dim, mlp) for mlp in mlps))
        self.score = nn.Sequential(nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 1))

    def forward(
        self,
        topology: Topology,
        representations: Float[Tensor, "batch relations dim"],
        head: Int[Tensor, " batch"],
        relation: Int[Tensor, " batch"],
        weights: Sequence[Float[Tensor, " edges"]] | None = None,
    ) -> Float[Tensor, "batch entities"]:
        """Scores every entity as the answer to ``(head, relation, ?)``.

        Args:
            weights: of the edges, by layer; ``None`` means 1. Their gradients say which edges carried a score.
        """
        batch = torch.arange(len(head))
        asked = representations[batch, relation]
        carried = representations.roll(topology.num_relations, 1) if self.reversed_messages else representations
        boundary = asked.new_zeros(len(head), topology.num_entities, asked.shape[1])
        boundary = boundary.index_put((batch, head), asked)
        state = boundary
        for place, layer in enumerate(self.layers):
            state = layer(topology, state, carried, boundary, None if weights is None else weights[place])
        first, last = cast(nn.Linear, self.score[0]), self.score[2]
        own, other = first.weight.chunk(2, 1)  # W [x ; q] = W₁ x + W₂ q: the relation's half once, not per entity
        hidden = functional.linear(state, own) + functional.linear(asked, other, first.bias)[:, None]
        scores: Tensor = last(functional.relu(hidden)).squeeze(-1)
        return scores
