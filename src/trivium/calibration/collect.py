"""Answers with their truth: the questions of hidden facts, asked of the graph that is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivium.errors import GraphError
from trivium.graph.graph import Graph
from trivium.graph.hold_out import hold_out
from trivium.inference.answers import Ids, best_answers, both_directions, ranks_and_margins
from trivium.inference.ranker import Ranker

PLACES = np.array([*range(10), 11, 14, 19, 29, 49, 99])
"""Which of a question's answers are used, by their place: chosen blindly, so that none is favoured."""

MIN_HIDDEN = 30
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Answers:
    """Answers to questions, ``[answers]`` each.

    Attributes:
        queries: the number of each answer's question.
        relations: what was asked, ids over ``2 · num_relations``.
        scores, margins, ranks: see `trivium.inference.answers.best_answers`; among answers of all kinds.
        true: whether the answer is a hidden fact.
    """

    queries: Ids
    relations: Ids
    scores: Floats
    margins: Floats
    ranks: Ids
    true: NDArray[np.bool_]


def hide(graph: Graph, share: float, max_hidden: int, seed: int) -> tuple[Graph, Graph]:
    """The graph without some of its facts and their copies (`Graph.copies`), and these as a graph over the same ids.

    A fact whose entity or relation would lose its last fact stays.

    Args:
        share: of the facts, in (0, 1); at most ``max_hidden`` facts.

    Raises:
        GraphError: fewer than `MIN_HIDDEN` facts can be hidden.
    """
    triples = graph.triples
    count = min(max_hidden, round(share * len(triples)))
    facts = hold_out(graph, triples[np.random.default_rng(seed).permutation(len(triples))], count)
    if len(facts) < MIN_HIDDEN:
        raise GraphError(
            f"only {len(facts)} of {len(triples)} facts can be hidden, and a calibration needs {MIN_HIDDEN}: "
            "take a larger graph, or a larger --share"
        )
    hidden = Graph.from_ids(*facts.T, entities=graph.entities, relation_names=graph.relations)
    return graph.less(facts), hidden


def ask(
    ranker: Ranker, hidden: Graph, known: Graph | None = None, progress: Callable[[int, int], None] | None = None
) -> Answers:
    """Asks for every hidden fact in both directions, and takes the answers at `PLACES`.

    Args:
        hidden: the facts, over the ids of the ranker's graph.
        known: more facts over the same ids; those that are not hidden are filtered too.
        progress: called with the questions done and in all.

    Cost: a query for each pair of an entity and a relation that occurs among the hidden facts.
    """
    queries = np.stack(both_directions(hidden.triples, hidden.num_relations)[:2], axis=1)
    heads, relations = np.unique(queries, axis=0).T
    known = None if known is None else known.without(hidden.triples)
    parts: list[tuple[Any, ...]] = []
    for done, (place, head, relation, scores) in enumerate(ranker.each(heads, relations), 1):
        filtered = ranker.filtered(head, relation, known)
        best = best_answers(scores, int(PLACES[-1]) + 1, filtered, ranker.candidates(relation))[0]
        ids = best[PLACES[len(best) > PLACES]]
        ranks, margins = ranks_and_margins(scores, filtered, ids)
        true = np.isin(ids, hidden.answers(head, relation))
        parts.append((np.full(len(ids), place), np.full(len(ids), relation), scores[ids], margins, ranks, true))
        if progress is not None:
            progress(done, len(heads))
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))
