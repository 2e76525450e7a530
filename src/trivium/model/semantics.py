"""What relation texts add: an encoder over the textual relation graph, and the combiner with the structural stream."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trivium.nn.propagate import propagate
from trivium.text.graph import NEAREST, TIE, TextGraph

TEMPERATURE = 0.1  # of the text similarity of the relations nearest to one without edges


def kept_texts(
    num_relations: int, relation_rate: float, graph_rate: float, generator: torch.Generator
) -> Bool[Tensor, " nodes"]:
    """Text dropout: which nodes keep their text in one training step.

    Args:
        relation_rate: the share of relations that lose theirs, inverse and all.
        graph_rate: how often all do.

    Returns:
        ``[2 · num_relations]``.
    """
    alone = torch.rand(1, generator=generator) < graph_rate
    kept = (torch.rand(num_relations, generator=generator) >= relation_rate) & ~alone
    return kept.repeat(2)


def known_texts(texts: TextGraph, kept: Bool[Tensor, " nodes"] | None = None) -> Bool[Tensor, " nodes"]:
    """Which nodes have a text that counts: all that have one, or those of them in ``kept``."""
    return texts.has_text if kept is None else texts.has_text & kept


def text_nearest(
    texts: TextGraph,
    relation: Int[Tensor, " batch"],
    has_edges: Bool[Tensor, " nodes"],
    kept: Bool[Tensor, " nodes"] | None = None,
) -> Float[Tensor, "batch nodes"] | None:
    """For asked relations without edges, the `NEAREST` by text among those that have edges.

    Args:
        relation: ids over ``2 · num_relations``.
        has_edges: the nodes that have an edge in the graph.
        kept: the nodes whose text counts; ``None`` means all that have one.

    Returns:
        Weights, ``softmax(similarity / TEMPERATURE)`` over the nearest (what ties with the last is one too), zeros
        for relations that need none or have none; ``None`` where no relation has any. Text similarity is the mean of
        two cosines: of the whole texts, and of the words for what both relations lead to, or else for what they come
        from (docs/how-it-works.md).
    """
    known = known_texts(texts, kept)
    unseen = ~has_edges[relation] & known[relation]
    choice = has_edges & known
    if not unseen.any() or not choice.any():
        return None
    vectors, ends = texts.vectors, texts.ends
    begins, has_end = ends.roll(len(known) // 2, 0), ends.any(1)
    types = torch.where(has_end[relation, None] & has_end, ends[relation] @ ends.T, begins[relation] @ begins.T)
    similarity = (vectors[relation] @ vectors.T + types) / 2
    similarity = similarity.masked_fill(~choice, -1)
    last = similarity.topk(min(NEAREST, int(choice.sum())), 1).values[:, -1:]
    weights = (similarity / TEMPERATURE).masked_fill((similarity < last - TIE) | ~choice, -torch.inf).softmax(1)
    return torch.where(unseen[:, None], weights, torch.zeros_like(weights))


class SemanticEncoder(nn.Module):
    """Relation representations from texts alone; the query plays no part, so one pass serves a graph.

    ``x⁰ = LN(P v)`` for a node with text, else 0. A round takes the weighted mean of the neighbours, and the state of
    the node's own inverse (which is no neighbour)::

        m_i = Σ_j c_ij x_j / Σ_j c_ij          x_i ← x_i + ReLU(LN(W [x_i ; m_i ; x_ī]))

    over neighbours with text, ``c`` their cosines; a node without text stays 0.

    Args:
        text_dim: numbers in a text vector.
        dim: numbers in a representation.
        rounds: rounds of message passing.

    Cost: O(edges · dim + nodes · text_dim · dim).
    Source: after the semantic stream of Arun et al., SEMMA (2025).
    """

    def __init__(self, text_dim: int, dim: int, rounds: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(text_dim, dim, bias=False)
        self.start = nn.LayerNorm(dim)
        self.linear = nn.ModuleList(nn.Linear(3 * dim, dim) for _ in range(rounds))
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(rounds))

    def forward(self, texts: TextGraph, kept: Bool[Tensor, " nodes"] | None = None) -> Float[Tensor, "1 nodes dim"]:
        """
        Args:
            kept: the nodes whose text counts; ``None`` means all that have one.
        """
        known = known_texts(texts, kept)[None, :, None]
        state = self.start(self.project(texts.vectors))[None]
        state = torch.where(known, state, torch.zeros_like(state))
        total = propagate(known.to(state.dtype), None, texts.edges, texts.weight)
        for linear, norm in zip(self.linear, self.norm, strict=True):
            mean = propagate(state, None, texts.edges, texts.weight) / total.clamp(min=1e-6)
            inverse = state.roll(state.shape[1] // 2, 1)
            change = nn.functional.relu(norm(linear(torch.cat([state, mean, inverse], -1))))
            state = torch.where(known, state + change, state)
        return state


class Combiner(nn.Module):
    """``r = r_struct + gate ⊙ (W [r_struct ; r_text] + b)`` where there is a text, ``r = r_struct`` where
    there is none.

    ``W`` and ``b`` start at 0 and the gate at 1: training starts from the structural model, bit for bit, and
    the first step moves ``W`` at the full rate. (A gate that started at 0 beside a random ``W`` would hold
    back all but itself.)

    Source: requirement of the fusion specification (docs/how-it-works.md).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim, dim)
        self.gate = nn.Parameter(torch.ones(dim))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self,
        structure: Float[Tensor, "batch nodes dim"],
        text: Float[Tensor, "1 nodes dim"],
        known: Bool[Tensor, " nodes"],
    ) -> Float[Tensor, "batch nodes dim"]:
        """
        Args:
            known: the nodes whose text counts.
        """
        own, other = self.linear.weight.chunk(2, 1)  # the text's half once, not per query
        change = nn.functional.linear(structure, own) + nn.functional.linear(text, other, self.linear.bias)
        return torch.where(known[None, :, None], structure + self.gate * change, structure)


class Semantics(nn.Module):
    """Encoder and combiner: adds texts to structural representations.

    Args:
        text_dim: numbers in a text vector.
        dim: numbers in a relation representation.
        rounds: rounds of message passing between texts.
    """

    def __init__(self, text_dim: int, dim: int, rounds: int = 2) -> None:
        super().__init__()
        self.encoder = SemanticEncoder(text_dim, dim, rounds)
        self.combiner = Combiner(dim)

    def forward(
        self,
        structure: Float[Tensor, "batch nodes dim"],
        texts: TextGraph | None,
        kept: Bool[Tensor, " nodes"] | None = None,
        text: Float[Tensor, "1 nodes dim"] | None = None,
    ) -> Float[Tensor, "batch nodes dim"]:
        """
        Args:
            texts: the graph's texts; ``None``, or texts none of which counts, gives ``structure`` itself.
            kept: the nodes whose text counts, for text dropout; ``None`` means all that have one.
            text: what the encoder makes of ``texts``, where it is held already.
        """
        if texts is None or not (known := known_texts(texts, kept)).any():
            return structure
        if text is None:
            text = self.encoder(texts, kept)
        combined: Tensor = self.combiner(structure, text, known)
        return combined
