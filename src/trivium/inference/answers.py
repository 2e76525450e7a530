"""What counts as an answer, and how answers compare: the one place that decides about ties, ranks and filters.

Arrays in, arrays out. **The rank of an answer is 1 + the number of answers whose score exceeds its own by more than**
`TIE_TOLERANCE`. For the scores 1, 1 - .8e-5 and 1 - 1.6e-5 that is 1, 1 and 2. Answers are ordered by rank, then by id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
class Beyond:
    """The scores ``[entities]`` of what lies beyond a question's reach: the same for all questions of a relation."""

    scores: Scores

    @cached_property
    def order(self) -> EntityIds:
        """The entities, ascending by score; sorted once."""
        return np.argsort(self.scores, kind="stable").astype(np.int32)

    @cached_property
    def ascending(self) -> Scores:
        """The scores in that order."""
        return self.scores[self.order]

    def best(self, count: int, without: EntityIds) -> EntityIds:
        """At least ``count`` entities with the best scores, ties included; all if there are no more.

        Args:
            without: entities that are left out, ascending.
        """
        end = len(self.order)
        begin = max(0, end - count - len(without))
        lowest = self.ascending[begin] - 2 * TIE_TOLERANCE if end else np.float32(0)
        some = self.order[np.searchsorted(self.ascending, lowest) :]
        return some[~_held(without, some)]

    def near(self, score: np.float32) -> EntityIds:
        """Entities whose score is near to one, all that tie with it among them."""
        first = np.searchsorted(self.ascending, score - 2 * TIE_TOLERANCE)
        last = np.searchsorted(self.ascending, score + 2 * TIE_TOLERANCE, "right")
        return self.order[first:last]


@dataclass(frozen=True)
class Reached:
    """The scores of all entities for one question, of which only what its head reaches is held; read as an array is.

    Attributes:
        ids: the entities that are reached, ascending.
        scores: theirs.
        beyond: of the others.
    """

    ids: EntityIds
    scores: Scores
    beyond: Beyond

    def __getitem__(self, ids: EntityIds) -> Scores:
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        own: Scores = np.where(self.ids[places] == ids, self.scores[places], self.beyond.scores[ids])
        return own

    def every(self) -> Scores:
        """``[entities]``."""
        scores = self.beyond.scores.copy()
        scores[self.ids] = self.scores
        return scores


Answerable = Scores | Reached
"""The scores of all entities for one question."""


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


def filtered_entities(
    graph: Graph, head: int, relation: int, wrong: Graph | None = None, *others: Graph | None
) -> EntityIds:
    """The entities that are no new answer to ``(head, relation, ?)``: what is known already, and the head itself.

    Known, or wrong, is, too, what is so under a twin of the relation (`Graph.twins`). The head is an answer where the
    graph holds a triple of an entity with itself and this relation.

    Args:
        relation: an id over ``2 · num_relations``.
        wrong, others: graphs over the same ids that hold more that is no new answer.
    """
    kinds = graph.alike(relation)
    filtered = [held.answers(head, kind) for held in (graph, wrong) if held is not None for kind in kinds]
    filtered += [held.answers(head, relation) for held in others if held is not None]
    if relation % graph.num_relations not in graph.reflexive:
        filtered.append(np.array([head]))
    return np.concatenate(filtered)


def ranks_and_margins(
    scores: Answerable, filtered: EntityIds, ids: EntityIds, candidates: EntityIds | None = None
) -> tuple[Ids, Scores]:
    """The ranks and the margins of entities among one query's answers, ``[n]`` each.

    A *margin* is the score less the best score of the other answers: the lead of the best one, below 0 for the rest.

    Args:
        filtered: entities that are no answers; one of ``ids`` that is among them is compared with the answers.
        ids: ``[n]``.
        candidates: the entities among which ranks and margins count; ``None`` means all.
    """
    own = scores[ids]
    if isinstance(scores, Reached) and candidates is None:
        without = np.union1d(scores.ids, filtered)
        mine = np.sort(scores.scores[~np.isin(scores.ids, filtered)])
        beyond = scores.beyond
        lead = np.concatenate([mine[-2:], np.sort(beyond.scores[beyond.best(2, without)])[-2:]])
        ranks = 1 + _above(beyond.ascending, own) - _above(np.sort(beyond.scores[without]), own) + _above(mine, own)
        return ranks, _margins(lead, np.where(np.isin(ids, filtered), -np.inf, own), own)
    among, rivals = _rivals(scores, filtered, candidates)
    held = rivals[ids] if among is None else np.where(_held(among, ids), own, -np.inf)
    return _compare(rivals, held, own)


def best_answers(
    scores: Answerable, k: int, filtered: EntityIds, candidates: EntityIds | None = None
) -> tuple[Ids, Ids, Scores, Ids]:
    """The ids of the ``k`` best answers to one query, by rank and then by id, their ranks and margins.

    With them comes how many answers, shown or not, share the rank of each.

    Args:
        filtered: entities that are no answers.
        candidates: the entities to choose from, among which ranks and margins count then; ``None`` means all.
    """
    if isinstance(scores, Reached) and candidates is None:  # the best are among these
        candidates = np.union1d(scores.ids, scores.beyond.best(k + 1, np.union1d(scores.ids, filtered)))
    among, rivals = _rivals(scores, filtered, candidates)
    count = min(k, int((rivals > -np.inf).sum()))
    last = np.partition(rivals, -count)[-count] if count else np.inf
    places = np.flatnonzero(rivals + TIE_TOLERANCE >= last)  # at least `count`: all whose rank is not beyond it
    ranks, margins = _compare(rivals, rivals[places], rivals[places])
    first = np.argsort(ranks, kind="stable")[:count]
    _, groups, counts = np.unique(ranks, return_inverse=True, return_counts=True)
    ids = places if among is None else among[places].astype(np.int64)
    return ids[first], ranks[first], margins[first], counts[groups][first]


def sharing(scores: Answerable, filtered: EntityIds, id: int, candidates: EntityIds | None = None) -> int:
    """How many of one query's answers share the rank of one entity, which is counted.

    Args:
        filtered, candidates: see `ranks_and_margins`.
    """
    filtered = filtered[filtered != id]
    candidates = None if candidates is None else np.union1d(candidates, id)
    own = scores[np.array([id])]
    if candidates is not None:
        near = np.setdiff1d(candidates, filtered)
    elif isinstance(scores, Reached):
        near = np.setdiff1d(np.union1d(scores.ids, scores.beyond.near(own[0])), filtered)
    else:
        near = np.setdiff1d(np.flatnonzero(np.abs(scores - own) <= 2 * TIE_TOLERANCE), filtered)
    near = near[np.abs(scores[near] - own) <= 2 * TIE_TOLERANCE]  # all that share the rank, by rounding too, and more
    ranks, _ = ranks_and_margins(scores, filtered, near, candidates)
    return int((ranks == ranks[near == id]).sum())


def _rivals(scores: Answerable, filtered: EntityIds, candidates: EntityIds | None) -> tuple[EntityIds | None, Scores]:
    """The candidates, ascending, and their scores, with -∞ for what is filtered; ``None`` and those of all entities."""
    if candidates is None:
        assert not isinstance(scores, Reached)
        rivals = scores.copy()
        rivals[filtered] = -np.inf
        return None, rivals
    among = np.setdiff1d(candidates, filtered)
    return among, scores[among]


def _held(some: EntityIds, ids: EntityIds) -> NDArray[np.bool_]:
    """Whether each of ``ids`` is among ``some``, which ascend."""
    if not len(some):
        return np.zeros(len(ids), np.bool_)
    found: NDArray[np.bool_] = some[np.minimum(np.searchsorted(some, ids), len(some) - 1)] == ids
    return found


def _compare(rivals: Scores, held: Scores, own: Scores) -> tuple[Ids, Scores]:
    """Ranks and margins of the scores ``own`` among the rivals; ``held`` is the same for rivals, -∞ for others."""
    ahead = np.sort(rivals[rivals > own.min(initial=np.inf) + TIE_TOLERANCE])
    lead = np.partition(rivals, -2)[-2:] if len(rivals) > 1 else rivals
    return 1 + _above(ahead, own), _margins(lead, held, own)


def _above(ascending: Scores, own: Scores) -> Ids:
    """How many of some scores exceed each."""
    return len(ascending) - np.searchsorted(ascending, own + TIE_TOLERANCE, "right")


def _margins(lead: Scores, held: Scores, own: Scores) -> Scores:
    """The margins of scores, given some of the best scores of answers, the two best among them."""
    *_, second, first = np.sort(np.concatenate([np.full(2, -np.inf, np.float32), lead]))
    margins: Scores = own - np.where(held == first, second, first)
    return np.clip(margins, -MAX_MARGIN, MAX_MARGIN).astype(np.float32)
