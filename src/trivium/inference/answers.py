"""What counts as an answer, and how answers compare: the one place that decides about ties, ranks and filters.

Arrays in, arrays out. **The rank of an answer is 1 + the number of answers whose score exceeds its own by more than**
`TIE_TOLERANCE`. For the scores 1, 1 - .8e-5 and 1 - 1.6e-5 that is 1, 1 and 2. Answers are ordered by rank, then by id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivium.graph.graph import Graph, inverse
from trivium.kernels.layer import count_rivals

TIE_TOLERANCE = 1e-5
"""Scores this close are tied. Regrouping or renaming moves a score by about 1e-6, so ranks do not depend on it."""

MAX_MARGIN = 100.0
"""Margins are cut there; it is also the margin of an answer without rivals."""

Ids = NDArray[np.int64]
EntityIds = NDArray[np.integer[Any]]
Scores = NDArray[np.float32]
Confidence = Callable[[Ids, Scores, Scores, Ids], NDArray[np.float64]]
"""Of answers ``[n]``, from relations, scores, margins and ranks; see `trivium.calibration.calibration`."""


@dataclass(frozen=True)
class Ranks:
    """Filtered ranks of answers, ``[answers]`` each; best is 1.

    ``better`` entities score above the answer, ``tied`` others score the same: the optimistic rank counts the answer
    before those that tie, the pessimistic one after, the realistic one in the middle.
    """

    better: Ids
    tied: Ids

    @property
    def optimistic(self) -> NDArray[np.floating]:
        return 1.0 + self.better

    @property
    def realistic(self) -> NDArray[np.floating]:
        return 1.0 + self.better + self.tied / 2

    @property
    def pessimistic(self) -> NDArray[np.floating]:
        return 1.0 + self.better + self.tied


def split(places: Ids, size: int) -> list[Ids]:
    """Runs of ``size`` places, and a rest; none of none."""
    return [places[begin : begin + size] for begin in range(0, len(places), size)]


def both_directions(triples: EntityIds, num_relations: int) -> tuple[Ids, Ids, Ids]:
    """Heads, relations and answers of the two queries of each triple ``[n, 3]``, ``[2 · n]`` each.

    All queries for tails come first, then, in the same order, those for heads: of the inverse relation.
    """
    h, r, t = np.asarray(triples, np.int64).T
    return np.concatenate([h, t]), np.concatenate([r, inverse(r, num_relations)]), np.concatenate([t, h])


def filtered_ranks(table: Scores, rows: Ids, answers: Ids, known: Sequence[EntityIds]) -> Ranks:
    """Filtered ranks of answers, ``[answers]``.

    Args:
        table: scores ``[rows, entities]``.
        rows, answers: ``[answers]``, the row of each answer's question, and the entity.
        known: the entities that do not count, for each answer; its own is skipped.
    """
    starts = np.cumsum([0, *map(len, known)])
    better, tied = np.zeros((2, len(rows)), np.int64)
    held = np.concatenate(known).astype(np.int32, copy=False)
    count_rivals(table, rows, answers, starts, held, np.float32(TIE_TOLERANCE), better, tied)
    return Ranks(better, tied)


def filtered_entities(graph: Graph, head: int, relation: int, *others: Graph | None) -> EntityIds:
    """The entities that are no new answer to ``(head, relation, ?)``: what is known already, and the head itself.

    Known is, too, what the graph holds under a twin of the relation (`Graph.twins`). The head is an answer where the
    graph holds a triple of an entity with itself and this relation.

    Args:
        relation: an id over ``2 · num_relations``.
        others: graphs over the same ids that hold more that is no new answer.
    """
    more = (held.answers(head, relation) for held in others if held is not None)
    filtered = [graph.told(head, relation), *more]
    if relation % graph.num_relations not in graph.reflexive:
        filtered.append(np.array([head]))
    return np.concatenate(filtered)


def ranks_and_margins(
    scores: Scores, filtered: EntityIds, ids: EntityIds, candidates: EntityIds | None = None
) -> tuple[Ids, Scores]:
    """The ranks and the margins of entities among one query's answers, ``[n]`` each.

    A *margin* is the score less the best score of the other answers: the lead of the best one, below 0 for the rest.

    Args:
        scores: ``[entities]``.
        filtered: entities that are no answers; one of ``ids`` that is among them is compared with the answers.
        ids: ``[n]``.
        candidates: the entities among which ranks and margins count; ``None`` means all.
    """
    return _compare(_rivals(scores, filtered, candidates), scores[ids], ids)


def best_answers(
    scores: Scores, k: int, filtered: EntityIds, candidates: EntityIds | None = None
) -> tuple[Ids, Ids, Scores, Ids]:
    """The ids of the ``k`` best answers to one query, by rank and then by id, their ranks and margins.

    With them comes how many answers, shown or not, share the rank of each.

    Args:
        scores: ``[entities]``.
        filtered: entities that are no answers.
        candidates: the entities to choose from, among which ranks and margins count then; ``None`` means all.
    """
    rivals = _rivals(scores, filtered, candidates)
    count = min(k, int((rivals > -np.inf).sum()))
    last = np.partition(rivals, -count)[-count] if count else np.inf
    ids = np.flatnonzero(rivals + TIE_TOLERANCE >= last)  # at least `count`: all whose rank is not beyond it
    ranks, margins = _compare(rivals, rivals[ids], ids)
    first = np.argsort(ranks, kind="stable")[:count]
    _, places, counts = np.unique(ranks, return_inverse=True, return_counts=True)
    return ids[first], ranks[first], margins[first], counts[places][first]


def sharing(scores: Scores, filtered: EntityIds, id: int, candidates: EntityIds | None = None) -> int:
    """How many of one query's answers share the rank of one entity, which is counted.

    Args:
        scores, filtered, candidates: see `ranks_and_margins`.
    """
    rivals = _rivals(scores, filtered, candidates)
    rivals[id] = scores[id]
    near = np.flatnonzero(np.abs(rivals - scores[id]) <= TIE_TOLERANCE)
    ranks, _ = _compare(rivals, scores[near], near)
    return int((ranks == ranks[near == id]).sum())


def _rivals(scores: Scores, filtered: EntityIds, candidates: EntityIds | None = None) -> Scores:
    """The scores ``[entities]``, with -∞ for what is filtered or no candidate."""
    if candidates is None:
        rivals = scores.copy()
    else:
        rivals = np.full_like(scores, -np.inf)
        rivals[candidates] = scores[candidates]
    rivals[filtered] = -np.inf
    return rivals


def _compare(rivals: Scores, own: Scores, ids: EntityIds) -> tuple[Ids, Scores]:
    """Ranks and margins of the scores ``own`` of the entities ``ids`` among the rivals ``[entities]``."""
    ahead = np.sort(rivals[rivals > own.min(initial=np.inf) + TIE_TOLERANCE])
    ranks = 1 + len(ahead) - np.searchsorted(ahead, own + TIE_TOLERANCE, "right")
    second, first = np.sort(np.partition(rivals, -2)[-2:]) if len(rivals) > 1 else (-np.inf, rivals[0])
    margins = own - np.where(rivals[ids] == first, second, first)
    return ranks, np.clip(margins, -MAX_MARGIN, MAX_MARGIN).astype(np.float32)
