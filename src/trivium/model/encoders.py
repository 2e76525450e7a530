"""The message-passing encoders: how relations share entities, and how a query spreads from its head to every entity."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from trivium.model.topology import Topology
from trivium.nn.propagate import layers_at_once, propagate

ROWS = 1 << 16  # entities whose states are computed together where no gradient is taken


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
        relation: Float[Tensor, "shared relations dim"],
        boundary: Float[Tensor, "batch entities dim"] | None = None,
        weight: Float[Tensor, " edges"] | None = None,
    ) -> Float[Tensor, "batch entities dim"]:
        factor = self.relation(relation)
        if weight is None and layers_at_once(state):
            from trivium.nn.gpu import run_layer

            return run_layer(state, factor, topology.edges, boundary, self.linear, self.norm)
        message = propagate(state, factor, topology.edges, weight)
        message = message if boundary is None else message + boundary
        return _by_rows(self._finished, message, state)

    def _finished(
        self, message: Float[Tensor, "batch some dim"], state: Float[Tensor, "batch some dim"]
    ) -> Float[Tensor, "batch some dim"]:
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
        representations: Float[Tensor, "shared relations dim"],
        head: Int[Tensor, " batch"],
        relation: Int[Tensor, " batch"],
        weights: Sequence[Float[Tensor, " edges"]] | None = None,
    ) -> Float[Tensor, "batch entities"]:
        """Scores every entity as the answer to ``(head, relation, ?)``.

        Args:
            representations: a first dimension of 1 serves the whole batch.
            weights: of the edges, by layer; ``None`` means 1. Their gradients say which edges carried a score.
        """
        batch = torch.arange(len(head), device=head.device)
        asked = representations.expand(len(head), -1, -1)[batch, relation]
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


class RelationGraphEncoder(nn.Module):
    """ULTRA's encoder: message passing over the graph of relations, from the asked relation.

    ``x⁰ = 1`` at the asked relation, else 0; ``x ← x + ReLU(LN(W [x ; Σ x_i ⊙ e_kind + x⁰]))``.

    Args:
        dim: numbers in a state.
        layers: rounds.

    Source: Galkin et al., Towards Foundation Models for Knowledge Graph Reasoning (2024), section 4.2.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.dim = dim
        self.kinds = nn.ParameterList(nn.Parameter(torch.randn(4, dim)) for _ in range(layers))
        self.linear = nn.ModuleList(nn.Linear(2 * dim, dim) for _ in range(layers))
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))

    def forward(self, topology: Topology, relation: Int[Tensor, " batch"]) -> Float[Tensor, "batch relations dim"]:
        boundary = _mark(relation, 2 * topology.num_relations, self.dim, self.kinds[0])
        state = boundary
        for kinds, linear, norm in zip(self.kinds, self.linear, self.norm, strict=True):
            message = propagate(state, kinds[None], topology.relation_graph) + boundary
            state = state + functional.relu(norm(linear(torch.cat([state, message], -1))))
        return state


class AlternatingEncoder(nn.Module):
    """Relation and entity states refine each other; exact, and linear in the triples, with no relation graph.

    Relations ``i`` run over forward and inverse ones; ``ī`` is the inverse of ``i``; ``P`` holds the pairs of an entity
    ``e`` and a relation it is a head of; ``c`` counts them. ``x⁰ = 1`` at the asked relation ``q``, else 0.
    A *relation step* sends relation states to the entities and back::

        S_e = c_e^-½ Σ_{i: (e,i) ∈ P} [V x_i ; V x_ī]                                 (V = 1 in the first step)
        G_e = u_e ⊙ [w_hh Sʰ + w_ht Sᵗ ; w_th Sʰ + w_tt Sᵗ]                           u_e = 1, later U y_e + U′ x_q + b
        m_i = Σ_{e: (e,i) ∈ P} G¹_e + Σ_{e: (e,ī) ∈ P} G²_e
        x_i ← x_i + ReLU(LN(W [x_i ; sgn(m_i) log(1 + |m_i|) + x⁰_i ; m_i / (c_i + c_ī)]))

    Between two steps entities pass messages, ``y_t ← y_t + ReLU(LN(W [y_t ; Σ_(h,r,t) y_h ⊙ V′ x_r]))``, from
    ``y⁰_e = W₀ S_e``. No entity is marked, so one result serves every query of a relation.

    Args:
        dim: numbers in a state.
        out: numbers in a relation representation.
        steps: relation steps.
        layers: entity layers between two steps.

    Source: the relation step follows Zhang et al., TRIX (2024), which keeps the entity that joins two relations.
    """

    def __init__(self, dim: int, out: int, steps: int, layers: int) -> None:
        super().__init__()
        self.dim = dim
        self.steps = nn.ModuleList(_RelationStep(dim, first=step == 0) for step in range(steps))
        self.start = nn.Linear(2 * dim, dim)
        self.between = nn.ModuleList(
            nn.ModuleList(EntityLayer(dim, nn.Linear(dim, dim, bias=False)) for _ in range(layers))
            for _ in range(steps - 1)
        )
        self.out = nn.Linear(dim, out)

    def forward(self, topology: Topology, relation: Int[Tensor, " batch"]) -> Float[Tensor, "batch relations out"]:
        boundary = _mark(relation, 2 * topology.num_relations, self.dim, self.out.weight)
        states = self.steps[0](topology, boundary, boundary, None, relation)
        entities: Tensor | None = None
        for step, layers in zip(self.steps[1:], self.between, strict=True):
            if entities is None:
                forth, back = self.start.weight.chunk(2, 1)
                started = functional.linear(states, forth) + _inverse(topology, functional.linear(states, back))
                entities = propagate(started, None, topology.to_entities) * topology.entity_scale + self.start.bias
            for layer in cast(nn.ModuleList, layers):
                entities = layer(topology, entities, states)
            states = step(topology, states, boundary, entities, relation)
        out: Tensor = self.out(states)
        return out


class _RelationStep(nn.Module):
    def __init__(self, dim: int, first: bool) -> None:
        super().__init__()
        self.value = nn.Identity() if first else nn.Linear(dim, dim, bias=False)
        self.gate = None if first else nn.Linear(2 * dim, dim)
        self.meet = nn.Parameter(torch.randn(4, dim).div_(2**0.5))  # rows: hh, ht, th, tt
        self.linear = nn.Linear(3 * dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        topology: Topology,
        states: Float[Tensor, "batch relations dim"],
        boundary: Float[Tensor, "batch relations dim"],
        entities: Float[Tensor, "batch entities dim"] | None,
        relation: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch relations dim"]:
        # what is linear is done on relations, before their sums over each entity: relations are fewer
        value = self.value(states)
        other_way = _inverse(topology, value)
        hh, ht, th, tt = self.meet
        sent = torch.cat([hh * value + ht * other_way, th * value + tt * other_way], -1)
        gathered = propagate(sent, None, topology.to_entities)
        if self.gate is None or entities is None:
            gathered = gathered * topology.entity_scale
        else:
            asked = states[torch.arange(len(relation), device=relation.device), relation]
            own, other = self.gate.weight.chunk(2, 1)
            bias, queried = self.gate.bias, functional.linear(asked, other)[:, None]

            def gated(some: Tensor, states: Tensor, scale: Tensor) -> Tensor:
                gate = functional.linear(states, own, bias) + queried
                return (some.reshape(*gate.shape[:2], 2, -1) * (gate * scale)[:, :, None]).flatten(2)

            gathered = _by_rows(gated, gathered, entities, topology.entity_scale[None])
        forward, backward = propagate(gathered, None, topology.to_relations).chunk(2, -1)
        total = forward + _inverse(topology, backward)
        flat = total.sign() * total.abs().log1p()
        mean = total / topology.relation_counts
        return states + functional.relu(self.norm(self.linear(torch.cat([states, flat + boundary, mean], -1))))


def _by_rows(work: Callable[..., Tensor], changed: Tensor, *others: Tensor) -> Tensor:
    """``work`` of arrays ``[batch, entities, …]``. Without gradients it is done a block of entities at a time, each in
    place of the first array's block, so that what is between takes the memory of a block."""
    if torch.is_grad_enabled() or changed.shape[1] <= ROWS:
        return work(changed, *others)
    for begin in range(0, changed.shape[1], ROWS):
        rows = slice(begin, begin + ROWS)
        changed[:, rows] = work(changed[:, rows], *(other[:, rows] for other in others))
    return changed


def _mark(relation: Int[Tensor, " batch"], count: int, dim: int, like: Tensor) -> Float[Tensor, "batch relations dim"]:
    """Ones at the asked relation, else zeros."""
    return functional.one_hot(relation.long(), count).to(like.dtype)[:, :, None].repeat(1, 1, dim)


def _inverse(topology: Topology, states: Float[Tensor, "batch relations dim"]) -> Float[Tensor, "batch relations dim"]:
    """Each relation has the state of its inverse."""
    return states.roll(topology.num_relations, 1)
