"""Training examples: a connected piece of a graph, and questions about facts taken out of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trivium.datasets.leakage import SYNTHETIC
from trivium.datasets.synthetic import synthesize
from trivium.graph.graph import Graph, inverse
from trivium.kernels.csr import IntArray
from trivium.kernels.sampling import grow, induced
from trivium.training.config import TrainingConfig

MOST_ALIKE = 10  # facts with its relation and answer that a question of `half_share` takes out
FAN_OUTS = (2, 4, 8, 20, 50)


@dataclass(frozen=True, eq=False)
class Example:
    """One subgraph and its questions.

    Attributes:
        graph: what message passing may see; the questions' own facts are not in it.
        head, query, answer: ``[questions]`` ids; ``query`` over ``2 · num_relations``.
        known: ``[questions, entities]``, true where an entity is known to answer, the answer itself included.
        relations: ``[num_relations]``, the ids that the subgraph's relations have in the source.
    """

    graph: Graph
    head: Tensor
    query: Tensor
    answer: Tensor
    known: Tensor
    relations: IntArray


class Batches:
    """Batch k of a run, as a pure function of the seed and k: subgraphs from a weighted mixture of graphs.

    Args:
        graphs: by source name, for every source but ``synthetic``.
    """

    def __init__(self, config: TrainingConfig, graphs: Mapping[str, Graph]) -> None:
        self.config = config
        self.graphs = dict(graphs)
        weights = np.array([source.weight for source in config.sources], np.float64)
        self.shares = weights / weights.sum()

    def subgraph(self, k: int) -> tuple[str, Example]:
        """Subgraph ``k`` of the run and the name of its source."""
        config = self.config
        rng = np.random.default_rng([config.seed, k])
        name = config.sources[int(rng.choice(len(self.shares), p=self.shares))].name
        graph = synthesize([config.seed, k, 1]) if name == SYNTHETIC else self.graphs[name]
        sparse = config.sparse_share > 0 and rng.random() < config.sparse_share
        unseen = config.unseen_share > 0 and rng.random() < config.unseen_share
        return name, example(graph, rng, config, sparse, unseen and name != SYNTHETIC)

    def step(self, step: int, first: int = 0, each: int = 1) -> list[tuple[str, Example]]:
        """The subgraphs of one step, or each so-many-th of them from the ``first`` on."""
        count = self.config.subgraphs_per_step
        return [self.subgraph(step * count + i) for i in range(first, count, each)]


def example(
    graph: Graph, rng: np.random.Generator, config: TrainingConfig, sparse: bool = False, unseen: bool = False
) -> Example:
    """Draws a connected subgraph and takes some of its facts out as questions.

    Breadth-first from a random triple's head with a random fan-out, then, where that ends early, by random edges. The
    number of entities is log-uniform. The induced triples are thinned to at most
    ``max(5,000, min(max_triples, triples_per_entity · entities))``.

    Args:
        config: sizes; its ``work`` is what ``questions · (.6 · entities + .1 · edges)`` should come to, so that every
            step costs alike.
        sparse: thin to a log-uniform density; entities that lose their last triple leave.
        unseen: all facts of one relation are taken out, and those of each other with a chance uniform between 0 and
            ``unseen_others``; only these are asked for: their texts are then the only evidence.

    Cost: O(triples of the subgraph).
    Source: sizes in training must span sizes in use (docs/training.md).
    """
    size = int(np.exp(rng.uniform(np.log(config.min_entities), np.log(config.max_entities))))
    start = int(graph.sources[int(rng.integers(len(graph.sources)))])
    visited = grow(graph.offsets, graph.sources, start, size, int(rng.choice(FAN_OUTS)), rng)
    heads, relations, tails = induced(graph.offsets, graph.sources, graph.edge_relations, graph.num_relations, visited)
    cap = max(5000, min(config.max_triples, int(config.triples_per_entity * len(visited))))
    if sparse:
        density = np.exp(rng.uniform(np.log(config.min_density), np.log(config.max_density)))
        cap = min(cap, int(len(visited) * density) + 2)
    seen = np.sort(rng.permutation(len(heads))[:cap]).astype(np.int32)
    size = len(visited)
    if sparse:
        heads, relations, tails, seen, size = _kept(heads, relations, tails, seen, size)
    present, compact = np.unique(relations, return_inverse=True)
    ids = np.stack([heads, compact.astype(np.int32), tails], 1)
    work = 0.6 * size + 0.2 * len(seen)  # of a question
    count = int(np.clip(config.work / work, config.min_questions, config.max_questions))
    asked = rng.permutation(seen)[: min(count, max(1, len(seen) // 2))]
    hidden = asked
    if unseen:
        gone = np.arange(len(present)) == compact[asked[0]]
        if config.unseen_others > 0:
            gone |= rng.random(len(present)) < rng.uniform(0, config.unseen_others)
        hidden = seen[gone[compact[seen]]]
        asked = rng.permutation(hidden)[:count]
    full, shown = (Graph.from_ids(*part.T, entities=size, relation_names=len(present)) for part in (ids, ids[seen]))
    h, r, t = ids[asked].astype(np.int64).T
    turned = rng.random(len(asked)) < 0.5
    if config.half_share > 0 and not unseen:
        shown_ids = ids[seen]
        alone = rng.random(len(asked)) < config.half_share
        for fact, back in zip(ids[asked[alone]].tolist(), turned[alone].tolist(), strict=True):
            end = 0 if back else 2  # the answer's
            same = np.flatnonzero((shown_ids[:, 1] == fact[1]) & (shown_ids[:, end] == fact[end]))
            if len(same) <= MOST_ALIKE:
                hidden = np.union1d(hidden, seen[same])
    head, answer = np.where(turned, (t, h), (h, t))
    query = np.where(turned, inverse(r, len(present)), r)
    known = np.zeros((len(asked), size), np.bool_)
    for row, (h, q) in enumerate(zip(head.tolist(), query.tolist(), strict=True)):
        known[row, full.answers(h, q)] = True
    h, q, a, k = (torch.from_numpy(array) for array in (head, query, answer, known))
    return Example(shown.without(ids[hidden]), h, q, a, k, present)


def _kept(
    heads: IntArray, relations: IntArray, tails: IntArray, seen: IntArray, size: int
) -> tuple[IntArray, IntArray, IntArray, IntArray, int]:
    """The triples among the entities that a seen triple touches, entities renumbered."""
    touched = np.zeros(size, np.bool_)
    touched[heads[seen]] = touched[tails[seen]] = True
    place = np.cumsum(touched, dtype=np.int32) - 1
    both = touched[heads] & touched[tails]
    row = np.cumsum(both, dtype=np.int32) - 1
    return place[heads[both]], relations[both], place[tails[both]], row[seen], int(touched.sum())
