"""Chains of relations that lead to a relation's answers: found in its facts, counted on the graph, added to scores."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from trivium.kernels.chains import chain_counts, joining_chains, spread_chains
from trivium.kernels.csr import Edges, IntArray, Scratch, order_by
from trivium.kernels.neighbourhoods import hashed

GAIN, SCALE = 2.0, 0.003  # that training starts from
FACTS = 100  # of the asked relation, in which chains are found
STARTS = 100  # from which a chain's confidence is counted
KEPT = 60  # chains of a relation
ROOM = 2_000  # entities that a step may lead to from one start; where it leads to more the chain says nothing
CODES = 200_000  # chains that join the facts, each counted once a fact
PRIOR = 5.0  # wrong answers that every chain is charged with
LONGER = 0.1  # of its confidence that counts, of a chain of more than one relation

Mined = tuple[NDArray[np.int64], NDArray[np.float32]]
Evidence = tuple[IntArray, NDArray[np.float32]]


class ChainIndex:
    """What chains are found by in a graph, and those that were found, by relation.

    Facts and starts are chosen by structure, equal ones by name, so that ids and the order of triples change nothing.

    Args:
        edges: entity to entity, inverse relations included.
        heads: relation to its distinct heads: edges whose targets are relations.
        draws: ``[entities]`` in which order they are chosen.

    Cost: O(edges), once.
    """

    def __init__(self, edges: Edges, heads: Edges, draws: IntArray) -> None:
        self.edges, self.heads, self.draws = edges, heads, draws
        order, _ = order_by(edges.sources, edges.num_sources)
        order, _ = order_by(edges.targets, edges.num_targets, order)
        self.by_source = edges.sources[order], edges.relations[order]
        count = edges.num_targets
        self._scratch = Scratch(lambda: (np.zeros(count, np.int64), np.zeros(1, np.int64), np.zeros(count, np.float32)))
        self._starts: dict[int, IntArray] = {}
        self._mined: dict[tuple[int, int], Mined] = {}

    def starts(self, relation: int) -> IntArray:
        """``[STARTS]`` heads of a relation, -1 where there are no more."""
        if relation not in self._starts:
            heads = self.heads.sources[self.heads.offsets[relation] : self.heads.offsets[relation + 1]]
            if len(heads) > STARTS:
                heads = heads[np.argpartition(self.draws[heads], STARTS)[:STARTS]]
            self._starts[relation] = np.pad(heads, (0, STARTS - len(heads)), constant_values=-1)
        return self._starts[relation]

    def mined(self, relation: int, length: int) -> Mined:
        """The codes of the chains that lead to answers of a relation, ``[chains]``, and their confidences, best first.

        A confidence is the share of what a chain leads to that the relation leads to as well, counted from a sample of
        starts, with `PRIOR` wrong ones more.
        """
        if (relation, length) not in self._mined:
            self._mined[relation, length] = self._mine(relation, length)
        return self._mined[relation, length]

    def _mine(self, relation: int, length: int) -> Mined:
        edges, relations = self.edges, self.edges.num_relations
        facts = edges.by_relation
        some = slice(facts.offsets[relation], facts.offsets[relation + 1])
        heads, tails = facts.first[some], facts.second[some]
        if len(heads) > FACTS:
            keys = hashed(
                self.draws[heads].astype(np.uint64) * np.uint64(edges.num_sources) + self.draws[tails].astype(np.uint64)
            )
            chosen = np.argpartition(keys, FACTS)[:FACTS]
            heads, tails = heads[chosen], tails[chosen]
        room = np.empty(CODES, np.int64)
        runs = edges.by_target[:3]
        found = joining_chains(runs, self.by_source, relations, relation, heads, tails, length, room)
        codes, support = np.unique(room[:found], return_counts=True)
        digits = np.stack([codes // (relations + 1) ** place % (relations + 1) for place in (2, 1, 0)], 1)
        sizes = np.concatenate([[0], np.diff(facts.offsets)]).astype(np.uint64)
        colours = hashed(hashed(hashed(sizes[digits[:, 0]]) + sizes[digits[:, 1]]) + sizes[digits[:, 2]])
        best = np.lexsort((colours, -support))[:KEPT]
        codes, digits = codes[best], digits[best]
        first = digits[np.arange(len(digits)), (digits > 0).argmax(1)] - 1
        starts = np.stack([self.starts(int(r)) for r in first]) if len(first) else np.empty((0, STARTS), np.int32)
        led, right = chain_counts(runs, relations, relation, codes, starts, edges.num_sources, ROOM)
        confidences = (right / (led + PRIOR)).astype(np.float32)
        order = np.lexsort((colours[best], -confidences))
        order = order[confidences[order] > 0]
        return codes[order], confidences[order]

    def leading(self, head: int, relation: int, tail: int, length: int) -> list[tuple[list[int], float]]:
        """The chains that lead from one entity to another, as relations, and their confidences, best first."""
        codes, confidences = self.mined(relation, length)
        base, found = self.edges.num_relations + 1, []
        for place in range(len(codes)):
            one = slice(place, place + 1)
            if tail in self._spread(head, codes[one], confidences[one])[0]:
                digits = [int(codes[place]) // base**power % base for power in (2, 1, 0)]
                found.append(([digit - 1 for digit in digits if digit], float(confidences[place])))
        return found

    def evidence(
        self, heads: NDArray[np.int64], relation: int, length: int
    ) -> Float[NDArray[np.float32], "batch entities"]:
        """How sure the chains are of each entity as an answer to ``(head, relation, ?)``, in [0, 1)."""
        out = np.zeros((len(heads), self.edges.num_targets), np.float32)
        for row, head in zip(out, heads.tolist(), strict=True):
            found, values = self.led_to(head, relation, length)
            row[found] = values
        return out

    def led_to(self, head: int, relation: int, length: int) -> Evidence:
        """The entities that chains lead to, each once, and how sure they are of each, in (0, 1).

        ``1 - Π (1 - w · confidence)`` over the chains that lead from the head to it, where ``w`` is 1 for a chain of
        one relation and `LONGER` for others: these come in crowds that say the same.
        """
        codes, confidences = self.mined(relation, length)
        base = self.edges.num_relations + 1
        weights = np.where(codes < base, confidences, confidences * np.float32(LONGER))
        return self._spread(head, codes, weights)

    def _spread(self, head: int, codes: NDArray[np.int64], weights: NDArray[np.float32]) -> Evidence:
        runs, relations = self.edges.by_target[:3], self.edges.num_relations
        found = np.empty(min(self.edges.num_targets, len(codes) * ROOM), np.int32)
        with self._scratch.lent() as (marks, stamp, out):
            count, stamp[0] = spread_chains(runs, relations, head, codes, weights, ROOM, marks, stamp[0], found, out)
            values = out[found[:count]]
            out[found[:count]] = 0
        return found[:count], values


class Chains(nn.Module):
    """Raises the score of what chains lead to, by ``gain · log(1 + evidence / ε)``; gain and ``ε`` are learned.

    What no chain leads to keeps its score. Evidence is counted, not learned: see `ChainIndex`.

    Source: the idea of weighing rules by counted confidences from Meilicke et al., AnyBURL (2019).
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.log_gain = nn.Parameter(torch.tensor(float(np.log(GAIN))))
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(SCALE))))

    def forward(
        self, index: ChainIndex, head: Int[Tensor, " batch"], relation: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch entities"]:
        """What is added to the scores of all entities as answers to each ``(head, relation, ?)``."""
        evidence = np.zeros((len(head), index.edges.num_targets), np.float32)
        heads, relations = (ids.cpu().numpy().astype(np.int64) for ids in (head, relation))
        for query in np.unique(relations).tolist():
            evidence[relations == query] = index.evidence(heads[relations == query], query, self.length)
        found = torch.from_numpy(evidence).to(head.device)
        return self.log_gain.exp() * torch.log1p(found / self.log_scale.exp())
