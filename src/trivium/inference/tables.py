"""Answers as tables with names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.graph.graph import inverse
from trivium.inference.answers import Ids, best_answers, both_directions, filtered_entities, ranks_and_margins
from trivium.inference.ranker import Ranker

if TYPE_CHECKING:
    from trivium.graph.names import Names

Confidence = Callable[[Ids, NDArray[np.float32], NDArray[np.float32], Ids], NDArray[np.float64]]
"""Of answers ``[n]``, from relations, scores, margins and ranks; see `trivium.calibration.calibration`."""

CHUNK = 50_000  # queries whose answers are held before they are written


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
            filtered = filtered_entities(graph, int(heads[place]), int(relations[place]))
            hidden = np.setdiff1d(filtered, held) if include_known else filtered
            ids, ranks, _ = best_answers(table[row], k, hidden, candidates)
            part = np.full(len(ids), place), ids, ranks, table[row][ids], np.isin(ids, held)
            parts.append(part if confidence is None else (*part, *ranks_and_margins(table[row], filtered, ids)))
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
    """Scores and filtered ranks of ``[n, 3]`` triples; see `Ranker.score`.

    Args:
        confidence: adds a column, of each triple as an answer to its tail question.
    """
    graph = ranker.graph
    ids = triples.astype(np.int32)  # as the graph holds them
    known = graph.contains(ids)
    scores, margins = np.zeros((2, len(triples)), np.float32)
    ranks = np.zeros((2, len(triples)), np.int64)
    groups = [np.flatnonzero(~known), *np.flatnonzero(known)[:, None]]
    for chosen in (group for group in groups if len(group)):
        rest = ranker.over(graph.without(ids[chosen])) if known[chosen[0]] else ranker
        scores[chosen], ranks[:, chosen], margins[chosen] = _compare(rest, triples[chosen])
    columns = {
        "head": graph.entities.take(triples[:, 0]),
        "relation": graph.relations.take(triples[:, 1]),
        "tail": graph.entities.take(triples[:, 2]),
        "score": scores,
    }
    if confidence is not None:
        columns["confidence"] = confidence(triples[:, 1], scores, margins, ranks[0]).astype(np.float32)
    tail_ranks, head_ranks = ranks.astype(np.float64)
    return pl.DataFrame({**columns, "tail_rank": tail_ranks, "head_rank": head_ranks, "known": known})


def _compare(ranker: Ranker, triples: Ids) -> tuple[NDArray[np.float32], Ids, NDArray[np.float32]]:
    """Of triples that the graph does not hold: scores as answers to their tail queries, ranks ``[2, n]``, margins."""
    heads, relations, answers = both_directions(triples, ranker.graph.num_relations)
    found, margins = np.zeros((2, len(heads)), np.float32)
    ranks = np.zeros(len(heads), np.int64)
    for places, rows, scores in ranker.blocks(heads, relations):
        table = scores.numpy()
        for place, row in zip(places, rows, strict=True):
            filtered = filtered_entities(ranker.graph, int(heads[place]), int(relations[place]))
            answer = answers[place : place + 1]
            found[place] = table[row, answer[0]]
            ranks[place : place + 1], margins[place : place + 1] = ranks_and_margins(table[row], filtered, answer)
    return found[: len(triples)], ranks.reshape(2, -1), margins[: len(triples)]
