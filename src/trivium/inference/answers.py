"""Answers as tables with names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.graph.graph import inverse
from trivium.inference.ranker import TIE_TOLERANCE, Ids, Ranker

if TYPE_CHECKING:
    from trivium.graph.graph import Graph
    from trivium.graph.names import Names

Confidence = Callable[[Ids, NDArray[np.float32], NDArray[np.float32], Ids], NDArray[np.float64]]
"""Of answers ``[n]``, from relations, scores, margins and ranks; see `trivium.calibration.calibration`."""

FAR = 100.0  # the margin of an answer without rivals
CHUNK = 50_000  # queries whose answers are held before they are written


def top(
    scores: NDArray[np.float32], k: int, left_out: NDArray[np.integer[Any]], candidates: Ids | None
) -> tuple[Ids, Ids]:
    """The best ``k`` of one query's scores ``[entities]`` and their ranks; ties share a rank, in the order of ids.

    Args:
        left_out: entities that are no answers.
        candidates: the entities to choose from; ``None`` means all.
    """
    ids = np.arange(len(scores)) if candidates is None else candidates
    if len(left_out):
        ids = ids[~np.isin(ids, left_out)]
    values = scores[ids]
    if k < len(ids):
        least = np.partition(values, len(ids) - k)[len(ids) - k]
        near = values >= least - TIE_TOLERANCE
        ids, values = ids[near], values[near]
    order = np.lexsort((ids, -values))
    ids, values = ids[order], values[order]
    ranks = np.arange(1, len(ids) + 1)
    if len(ids) > 1 and (values[:-1] - values[1:]).min() <= TIE_TOLERANCE:
        first = 0
        for i in range(1, len(ids)):
            if values[first] - values[i] > TIE_TOLERANCE:
                first = i
            ranks[i] = ranks[first]
        ids = ids[np.lexsort((ids, ranks))]
    return ids[:k], ranks[:k]


def no_answers(graph: Graph, head: int, relation: int) -> NDArray[np.integer[Any]]:
    """What is no new answer to ``(head, relation, ?)``: what the graph holds, and, as a rule, the head itself.

    The head is an answer where the graph holds a fact of that kind with the relation (ids over ``2 · num_relations``).
    """
    held = graph.answers(head, relation)
    return held if relation % graph.num_relations in graph.reflexive else np.append(held, head)


def standing(
    scores: NDArray[np.float32], left_out: NDArray[np.integer[Any]], ids: Ids
) -> tuple[Ids, NDArray[np.float32]]:
    """How entities stand among one query's answers: their ranks (ties share one) and their margins.

    A *margin* is the score less the best score of the other answers: the lead of the best one, below 0 for the rest.

    Args:
        scores: ``[entities]``.
        left_out: entities that are no answers, see `no_answers`; one of ``ids`` that is among them is compared with
            the answers.
        ids: ``[n]``.
    """
    rivals = scores.copy()
    rivals[left_out] = -np.inf
    second, first = np.sort(rivals[np.argpartition(rivals, -2)[-2:]]) if len(rivals) > 1 else (-np.inf, rivals[0])
    own = scores[ids]
    margins = own - np.where(rivals[ids] == first, second, first)
    limit = own.min(initial=np.inf) + TIE_TOLERANCE
    ahead = np.sort(rivals[rivals > limit])
    ranks = 1 + len(ahead) - np.searchsorted(ahead, own + TIE_TOLERANCE, "right")
    return ranks, np.clip(margins, -FAR, FAR).astype(np.float32)


def answer_table(
    ranker: Ranker,
    heads: Ids,
    relations: Ids,
    *,
    k: int,
    include_known: bool = False,
    candidates: Ids | None = None,
    confidence: Confidence | None = None,
    first_query: int = 0,
) -> pl.DataFrame:
    """The best answers to queries by id, sorted by query and rank.

    An entity is no answer to a question about itself, unless the graph holds a fact of that kind with the relation.
    A query of an inverse relation is shown the way round that its relation's name reads, so its answers are heads.

    Args:
        heads, relations: ``[queries]`` ids; relations over ``2 · num_relations``.
        confidence: adds a column; an answer that the graph holds has none. Where candidates are given, an answer
            still stands among all.
        first_query: the number of the first query in the column ``query``.

    Returns:
        Columns query, head, relation, tail, rank, score, (confidence,) known.
    """
    parts: list[tuple[Any, ...]] = []
    graph = ranker.graph
    for places, rows, scores in ranker.blocks(heads, relations):
        table = scores.numpy()
        for place, row in zip(places, rows, strict=True):
            held = graph.answers(int(heads[place]), int(relations[place]))
            left_out = no_answers(graph, int(heads[place]), int(relations[place]))
            shown = left_out[~np.isin(left_out, held)] if include_known else left_out
            ids, ranks = top(table[row], k, shown, candidates)
            part = np.full(len(ids), place), ids, ranks, table[row][ids], np.isin(ids, held)
            parts.append(part if confidence is None else (*part, *standing(table[row], left_out, ids)))
    query, answers, ranks, values, known, *among = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(query, kind="stable")
    query, answers, ranks, values, known, *among = (a[order] for a in (query, answers, ranks, values, known, *among))
    turned = relations[query] >= graph.num_relations
    asked = heads[query]
    frame = pl.DataFrame(
        {
            "query": query + first_query,
            "head": graph.entities.take(np.where(turned, answers, asked)),
            "relation": graph.relations.take(relations[query] % graph.num_relations),
            "tail": graph.entities.take(np.where(turned, asked, answers)),
            "rank": ranks,
            "score": values,
            "known": known,
        }
    )
    if confidence is None:
        return frame
    found = pl.Series("confidence", confidence(relations[query], values, among[1], among[0]))
    return frame.insert_column(6, found.set(frame["known"], None))


def rank_table(
    ranker: Ranker,
    head: str | Sequence[str] | None,
    relation: str | Sequence[str],
    tail: str | Sequence[str] | None,
    *,
    k: int,
    include_known: bool,
    candidates: Sequence[str] | None,
    confidence: Confidence | None = None,
) -> pl.DataFrame:
    """See `Ranker.rank`."""
    if (head is None) == (tail is None):
        raise InputError("give a head or a tail, not both: the other one is the question")
    check_k(k)
    given = tail if head is None else head
    assert given is not None
    names = [given] if isinstance(given, str) else list(given)
    kinds = [relation] * len(names) if isinstance(relation, str) else list(relation)
    if len(names) != len(kinds):
        raise InputError(f"{len(names)} entities for {len(kinds)} relations: give one relation, or one for each")
    if not names:
        raise InputError("there is no question: give a head or a tail")
    graph = ranker.graph
    heads, relations = graph.entities.each(names, "entity"), graph.relations.each(kinds, "relation")
    if head is None:
        relations = inverse(relations, graph.num_relations)
    chosen = None if candidates is None else candidate_ids(graph.entities, candidates)
    return answer_table(
        ranker, heads, relations, k=k, include_known=include_known, candidates=chosen, confidence=confidence
    )


def candidate_ids(entities: Names, candidates: Iterable[str]) -> Ids:
    """The ids of candidates, ascending, each once; an unknown name is an error."""
    return np.unique(entities.each(list(candidates), "candidate"))


def check_k(k: int) -> None:
    """Refuses a number of answers below 1."""
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 answer")


def rank_chunks(
    ranker: Ranker,
    heads: Ids,
    relations: Ids,
    *,
    k: int,
    include_known: bool,
    candidates: Ids | None,
    confidence: Confidence | None = None,
) -> Iterator[pl.DataFrame]:
    """`answer_table` for many queries, a bounded number at a time, in the order asked."""
    for begin in range(0, len(heads), CHUNK):
        part = slice(begin, begin + CHUNK)
        yield answer_table(
            ranker,
            heads[part],
            relations[part],
            k=k,
            include_known=include_known,
            candidates=candidates,
            confidence=confidence,
            first_query=begin,
        )


def score_table(ranker: Ranker, triples: Sequence[tuple[str, str, str]]) -> pl.DataFrame:
    """See `Ranker.score`."""
    if odd := [triple for triple in triples if len(triple) != 3]:
        raise InputError(f"{odd[0]!r} is no triple: give head, relation and tail")
    entities, relations = ranker.graph.entities, ranker.graph.relations
    heads, kinds, tails = [list(column) for column in zip(*triples, strict=True)] or ([], [], [])
    ids = entities.each(heads, "entity"), relations.each(kinds, "relation"), entities.each(tails, "entity")
    return score_ids(ranker, np.stack(ids, 1))


def score_ids(ranker: Ranker, triples: Ids, confidence: Confidence | None = None) -> pl.DataFrame:
    """Scores and realistic filtered ranks of ``[n, 3]`` triples; see `Ranker.score`.

    Args:
        confidence: adds a column, of each triple as an answer to its tail question.
    """
    graph = ranker.graph
    ids = triples.astype(np.int32)  # as the graph holds them
    known = graph.contains(ids)
    score, sure = np.zeros((2, len(triples)), np.float32)
    ranks = np.zeros((2, len(triples)))
    groups = [np.flatnonzero(~known), *np.flatnonzero(known)[:, None]]
    for chosen in (group for group in groups if len(group)):
        judge = ranker.over(graph.without(ids[chosen])) if known[chosen[0]] else ranker
        score[chosen], ranks[:, chosen] = _judge(judge, triples[chosen])
        if confidence is not None:
            sure[chosen] = _confidence(judge, triples[chosen], confidence)
    columns = {
        "head": graph.entities.take(triples[:, 0]),
        "relation": graph.relations.take(triples[:, 1]),
        "tail": graph.entities.take(triples[:, 2]),
        "score": score,
    }
    if confidence is not None:
        columns["confidence"] = sure
    return pl.DataFrame({**columns, "tail_rank": ranks[0], "head_rank": ranks[1], "known": known})


def _confidence(ranker: Ranker, triples: Ids, confidence: Confidence) -> NDArray[np.float64]:
    """``[n]``, of triples that the graph does not hold."""
    ranks = np.zeros(len(triples), np.int64)
    values, margins = np.zeros((2, len(triples)), np.float32)
    for places, rows, scores in ranker.blocks(triples[:, 0], triples[:, 1]):
        table = scores.numpy()
        for place, row in zip(places, rows, strict=True):
            head, relation, tail = triples[place]
            found = standing(table[row], no_answers(ranker.graph, int(head), int(relation)), triples[place, 2:])
            values[place], ranks[place], margins[place] = table[row, tail], found[0][0], found[1][0]
    return confidence(triples[:, 1], values, margins, ranks)


def _judge(ranker: Ranker, triples: Ids) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The score of each triple as an answer to its tail question, and its realistic ranks in both directions."""
    h, r, t = triples.T
    turned = inverse(r, ranker.graph.num_relations)
    heads, relations, answers = np.concatenate([h, t]), np.concatenate([r, turned]), np.concatenate([t, h])
    values = np.zeros(len(heads), np.float32)
    ranks = np.zeros(len(heads))
    for places, judged, scores in ranker.ranks(heads, relations, answers):
        ranks[places], values[places] = judged.realistic, scores
    return values[: len(triples)], ranks.reshape(2, -1)
