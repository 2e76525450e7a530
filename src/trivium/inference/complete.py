"""Which questions complete a graph, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from trivium.errors import InputError
from trivium.inference.answers import Ids
from trivium.inference.ranker import Ranker


def open_questions(ranker: Ranker, relations: Sequence[str] | None = None) -> tuple[Ids, Ids]:
    """Heads and relations ``[queries]`` of ``(head, relation, ?)`` of every head that the relation has already.

    Args:
        relations: names of the relations to complete; all by default.

    Returns:
        Ids, sorted by relation.
    """
    graph = ranker.graph
    pairs = np.unique(graph.triples[:, [1, 0]].astype(np.int64), axis=0)
    if relations is not None:
        pairs = pairs[np.isin(pairs[:, 0], graph.relations.each(relations, "relation"))]
    if not len(pairs):
        raise InputError("the chosen relations have no triple, so there is no head to ask about: choose others")
    return pairs[:, 1], pairs[:, 0]


def estimate_seconds(ranker: Ranker, heads: Ids, relations: Ids, k: int = 10) -> float:
    """How long so many queries will take, judged by twenty of them."""
    sample = np.random.default_rng(0).permutation(len(heads))[:20]
    ranker.rank_ids(heads[sample[:1]], relations[sample[:1]], k)  # compiles
    started = time.monotonic()
    ranker.rank_ids(heads[sample], relations[sample], k)
    return (time.monotonic() - started) * len(heads) / len(sample)
