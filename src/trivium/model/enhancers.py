"""The enhancers: what the relations most like the asked one, and a few of its example facts, change about it.

Each is a branch of `trivium.model.fusion`. Examples are chosen in `trivium.model.topology`, their neighbours in
`trivium.kernels.neighbourhoods`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from trivium.graph.graph import inverse
from trivium.kernels.csr import Edges, IntArray, order_by
from trivium.kernels.neighbourhoods import FAR, neighbourhoods
from trivium.model.config import ModelConfig
from trivium.model.topology import Topology
from trivium.nn.propagate import propagate

EPSILON = 0.05  # of the similarity enhancer's mean
START = 0.02  # of the last weights: Δ begins at about a tenth of r
LABELS = (FAR + 1) ** 2  # pairs of distances 0 to FAR
ALONE = np.array([FAR, FAR * (FAR + 1), 0], np.int32)  # labels of a head, a tail and both in one, far from all


class SimilarityEnhancer(nn.Module):
    """A branch: moves the asked relation's representation towards its neighbours by cosine, and no other one.

    With ``s_j`` the cosine of ``q``'s and ``j``'s representations, threshold ``τ`` and temperature ``T`` learned::

        g_j = relu(s_j - τ) · exp((s_j - 1) / T)
        Δ[q] = Σ_{j≠q} g_j (x_j - x_q) / (ε + Σ_{j≠q} g_j)        ε = .05

    Continuous; exactly 0 where no relation is above the threshold; near the weighted mean of several
    neighbours where ``Σ g`` is well above ε. With ε, unlike in a plain mean, ``τ`` has a gradient.

    Args:
        threshold: where ``τ`` starts; see `cosine_quantile`.
        temperature: where ``T`` starts; its logarithm is what is learned, so it stays positive.

    Cost: O(batch · relations · dim).
    """

    def __init__(self, threshold: float = 0.7, temperature: float = 0.5) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(
        self,
        topology: Topology,
        relation: Int[Tensor, " batch"],
        r: Float[Tensor, "batch relations dim"],
        rng: np.random.Generator | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Δ, zero but for the asked relation. Neither the graph nor chance is asked."""
        gains = self.gains(relation, r)
        place = torch.arange(len(relation), device=r.device), relation
        total = gains.sum(1, keepdim=True)
        towards = torch.einsum("bj,bjd->bd", gains, r) - total * r[place]
        return torch.zeros_like(r).index_put(place, towards / (EPSILON + total))

    def gains(
        self, relation: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]
    ) -> Float[Tensor, "batch relations"]:
        """``g``, 0 for the asked relation itself."""
        similar = cosines(relation, r)
        gain = torch.relu(similar - self.threshold) * ((similar - 1) / self.log_temperature.exp()).exp()
        return gain.scatter(1, relation.long()[:, None], 0.0)

    @torch.no_grad()
    def neighbours(
        self, relation: int, r: Float[Tensor, "relations dim"], count: int | None = None
    ) -> list[tuple[int, float]]:
        """The relations that one relation moves towards, each with its gain ``g_j``, highest first.

        Args:
            r: relation representations conditioned on ``relation``.
            count: how many to give; ``None`` gives all.
        """
        gains = self.gains(torch.tensor([relation], device=r.device), r[None])[0]
        found = [(j, gain) for j, gain in enumerate(gains.tolist()) if gain > 0]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:count]


def cosines(
    relation: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]
) -> Float[Tensor, "batch relations"]:
    """The cosine of the asked relation's representation with every one; 0 for zeros."""
    unit = nn.functional.normalize(r, dim=-1)
    return torch.einsum("bd,bjd->bj", unit[torch.arange(len(relation), device=r.device), relation], unit)


@torch.no_grad()
def cosine_quantile(seen: Iterable[tuple[Tensor, Tensor]], quantile: float = 0.9) -> float:
    """A quantile of the cosines between asked relations and all others: where the threshold should start.

    Args:
        seen: pairs of asked relations ``[batch]`` and ``[batch, relations, dim]`` representations conditioned on them.
        quantile: in [0, 1].
    """
    parts = []
    for relation, r in seen:
        others = torch.ones(r.shape[:2], dtype=torch.bool, device=r.device).scatter(1, relation.long()[:, None], False)
        parts.append(cosines(relation, r)[others])
    values = torch.cat(parts).sort().values
    return float(values[round(quantile * (len(values) - 1))])  # torch.quantile refuses more than 16 million


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of a batch of asked relations, as one graph whose parts are not joined.

    A *pair* is a relation that occurs in an asked relation's prompts: the edges' relations are pairs.

    Attributes:
        examples: ``[examples, 3]``: place in the batch, head and tail (entity ids), sorted by place.
        ends: ``[examples, 2]``, the nodes of the head and the tail.
        entities: ``[nodes]`` entity ids.
        node_examples: ``[nodes]``, the example of each node, ascending.
        labels: ``[nodes + 3]``, ``(FAR + 1) · (distance to the head) + (distance to the tail)``; distances are
            counted within the prompt and without the example's own fact, `FAR` stands for all beyond. The last
            three are `ALONE`: ends that nothing surrounds, for comparison.
        edges: node to node, inverses included; the example's own fact is left out.
        pairs: ``[pairs, 2]``: place in the batch and relation.
        marks: ``[pairs]``: 1 where the relation is the asked one, 2 where it is its inverse, else 0.
    """

    examples: IntArray
    ends: IntArray
    entities: IntArray
    node_examples: IntArray
    labels: IntArray
    edges: Edges
    pairs: IntArray
    marks: IntArray

    @cached_property
    def to_pairs(self) -> Edges:
        """The same edges by the pair they carry: from their source node, with their target node as the relation."""
        runs, nodes = self.edges.by_relation, len(self.labels)
        return Edges(runs.offsets, runs.first, runs.second, nodes, nodes)

    @cached_property
    def example_edges(self) -> NDArray[np.int64]:
        """``[examples]``: how many edges each example's neighbourhood has."""
        return np.bincount(self.node_examples[self.edges.targets], minlength=len(self.examples))


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
            prompts = extract(topology, relation.cpu().numpy().astype(np.int64), self.config, rng)
        delta = torch.zeros_like(r)
        if not len(prompts.pairs):
            return delta
        pairs = _long(prompts.pairs, r).unbind(1)
        states = self.encode(prompts, r[pairs])
        asked = torch.arange(len(relation), device=r.device), relation.long()
        delta = delta.index_put(asked, self.asked(self._moved(prompts, states, len(relation))))
        source, target = self.meet(states)[None].chunk(2, -1)
        together = propagate(source, target, prompts.to_pairs)[0]
        count = _long(np.diff(prompts.to_pairs.offsets), r)[:, None]
        summed = torch.cat([together / count, together.sign() * together.abs().log1p()], 1)
        return delta.index_put(pairs, self.occurring(summed), accumulate=True)

    def encode(self, prompts: Prompts, carried: Float[Tensor, "pairs dim"]) -> Float[Tensor, "nodes prompt_dim"]:
        """The states of the nodes and, behind them, of ends that nothing surrounds (`ALONE`).

        Args:
            carried: the representation of each pair's relation.
        """
        marks = _long(prompts.marks, carried)
        states = self.label[_long(prompts.labels, carried)]
        for layer in self.layers:
            states = layer(states, carried, marks, prompts.edges)
        return states

    def _moved(self, prompts: Prompts, states: Tensor, batch: int) -> Float[Tensor, "batch double"]:
        """How far the examples' ends are from where they would be alone, on average over each relation's examples."""
        first, second = _long(prompts.ends, states).unbind(1)
        head, tail, both = states[-len(ALONE) :]
        alone = torch.where((first == second)[:, None], torch.cat([both, both]), torch.cat([head, tail]))
        moved = torch.cat([states[first], states[second]], 1) - alone
        place = _long(prompts.examples[:, 0], states)
        share = (_long(prompts.example_edges, states) > 0) / torch.bincount(place)[place]
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


def _long(ids: NDArray[np.integer], like: Tensor) -> Tensor:
    """Ids as indices of a tensor, where that is."""
    return torch.from_numpy(ids).to(like.device).long()


def _readout(inside: int, hidden: int, dim: int) -> nn.Sequential:
    """Two linear maps without offsets, so that nothing stays nothing; a small Δ at the start."""
    last = nn.Linear(hidden, dim, bias=False)
    last.weight = nn.Parameter(torch.randn(dim, hidden).mul_(START))
    return nn.Sequential(nn.Linear(inside, hidden, bias=False), nn.ReLU(), last)


def extract(
    topology: Topology,
    relations: NDArray[np.int64],
    config: ModelConfig = ModelConfig(),  # noqa: B008
    rng: np.random.Generator | None = None,
) -> Prompts:
    """The prompts of a batch of relations.

    Example facts are chosen by structure: all facts of the relation are sorted by the degrees of head and tail (powers
    of two), then by the relations around both (hashed, two steps deep), then by name, and taken at even distances.
    Around each, entities that both ends reach come first, then neighbours, each relation in its turn.

    Args:
        relations: ``[batch]`` ids over ``2 · num_relations``.
        config: its ``prompt_...`` fields bound a prompt, whatever the degrees in the graph.
        rng: draws the examples and the neighbours at random instead, as training does.

    Cost: O(facts · log facts) a relation, and, for an example, O(degree of its ends + 64 · `EXPANDED_DEGREE`).
    """
    index, edges, num_relations = topology.fact_index, topology.edges, topology.num_relations
    ranks = index.name_ranks if rng is None else np.arange(topology.num_entities, dtype=np.int32)
    salt = np.uint64(0) if rng is None else rng.integers(2**63, dtype=np.uint64)
    count = config.prompt_examples if rng is not None else config.prompt_examples_asked or config.prompt_examples
    examples = index.examples(relations, count, rng)
    colours = index.entity_colours, index.relation_colours
    limits = config.prompt_hops, config.prompt_entities, config.prompt_edges // 2
    sizes, entities, distances, triples = neighbourhoods(
        edges.by_target[:3], num_relations, colours, ranks, salt, relations, examples, *limits
    )
    first = np.cumsum(sizes) - sizes
    ends = np.stack([first, first + (examples[:, 1] != examples[:, 2])], axis=1).astype(np.int32)
    node_examples = np.repeat(np.arange(len(examples), dtype=np.int32), sizes)
    labels = np.concatenate([distances @ np.array([FAR + 1, 1], np.int32), ALONE])
    heads, forward, tails = triples.T
    sources, targets = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    carried = np.concatenate([forward, inverse(forward, num_relations)])
    codes = examples[node_examples[sources], 0] * np.int64(2 * num_relations) + carried
    used = np.zeros(len(relations) * 2 * num_relations, np.bool_)
    used[codes] = True
    pairs = np.stack(np.divmod(np.flatnonzero(used), 2 * num_relations), axis=1).astype(np.int32)
    edge_pairs = (np.cumsum(used) - 1)[codes].astype(np.int32)
    order, offsets = order_by(targets, len(labels))
    asked = relations[pairs[:, 0]]
    marks = np.where(pairs[:, 1] == asked, 1, 2 * (pairs[:, 1] == inverse(asked, num_relations))).astype(np.int32)
    prompt_edges = Edges(offsets, sources[order], edge_pairs[order], len(labels), len(pairs))
    return Prompts(examples, ends, entities, node_examples, labels, prompt_edges, pairs, marks)
