"""Answers with their truth: the questions of hidden facts, asked of the graph that is left."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import GraphError
from trivium.files import digest
from trivium.graph.graph import Graph
from trivium.graph.hold_out import hold_out
from trivium.inference.answers import Ids, best_answers, both_directions, ranks_and_margins, split
from trivium.inference.parts import Parts, Progress
from trivium.inference.ranker import Ranker

PLACES = np.array([*range(10), 11, 14, 19, 29, 49, 99])
"""Which of a question's answers are used, by their place: chosen blindly, so that none is favoured."""

MIN_HIDDEN = 30
PART_QUERIES = 500  # between two parts on disk, or of one worker, at most
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


COLUMNS = [field.name for field in fields(Answers)]


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
    ranker: Ranker,
    hidden: Graph,
    known: Graph | None = None,
    progress: Progress | None = None,
    parts: Parts | None = None,
) -> Answers:
    """Asks for every hidden fact in both directions, and takes the answers at `PLACES`.

    Args:
        hidden: the facts, over the ids of the ranker's graph.
        known: more facts over the same ids; those that are not hidden are filtered too.
        progress: called with the questions done and in all.
        parts: computes them, and keeps what is done; in this process and in memory by default.

    Returns:
        By asked relation.

    Cost: a query for each pair of an entity and a relation that occurs among the hidden facts.
    """
    queries = np.stack(both_directions(hidden.triples, hidden.num_relations)[:2], axis=1)
    heads, relations = np.unique(queries, axis=0).T
    others = None if known is None else known.without(hidden.triples)

    def asked(part: Ids) -> pl.DataFrame:
        found: list[tuple[Any, ...]] = []
        for place, head, relation, scores in ranker.each(heads[part], relations[part]):
            filtered = ranker.filtered(head, relation, others)
            best = best_answers(scores, int(PLACES[-1]) + 1, filtered, ranker.candidates(relation))[0]
            ids = best[PLACES[len(best) > PLACES]]
            ranks, margins = ranks_and_margins(scores, filtered, ids)
            true = np.isin(ids, hidden.answers(head, relation))
            every = np.full(len(ids), part[place]), np.full(len(ids), relation)
            found.append((*every, scores[ids], margins, ranks, true))
        columns = (np.concatenate(column) for column in zip(*found, strict=True))
        return pl.DataFrame(dict(zip(COLUMNS, columns, strict=True)))

    def request() -> str:
        return digest("calibrate", ranker.sha256, hidden.triples, *(() if others is None else (others.triples,)))

    parts = parts or Parts()
    if parts.exact:
        ranker.reproduce()
    order = split(np.lexsort((heads, relations)), ranker.part_size(heads, PART_QUERIES))
    table = pl.concat(parts.run(request, order, asked, progress))
    return Answers(*(table[name].to_numpy() for name in COLUMNS))
