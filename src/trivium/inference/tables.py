"""Answers as tables: the one place where ids become names in columns."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.graph.graph import Graph
from trivium.inference.answers import Ids, Scores


def answer_table(
    graph: Graph,
    queries: Ids,
    heads: Ids,
    relations: Ids,
    answers: Ids,
    ranks: Ids,
    scores: Scores,
    known: NDArray[np.bool_],
    confidences: NDArray[np.float64] | None = None,
) -> pl.DataFrame:
    """Answers to queries by id, ``[answers]`` each.

    A query of an inverse relation is shown the way round that its relation's name reads, so its answers are heads.

    Args:
        relations: ids over ``2 · num_relations``.
        confidences: adds a column; an answer that is known has none.

    Returns:
        Columns query, head, relation, tail, rank, score, (confidence,) known.
    """
    turned = relations >= graph.num_relations
    table = pl.DataFrame(
        {
            "query": queries,
            "head": graph.entities.take(np.where(turned, answers, heads)),
            "relation": graph.relations.take(relations % graph.num_relations),
            "tail": graph.entities.take(np.where(turned, heads, answers)),
            "rank": ranks,
            "score": scores,
            "known": known,
        }
    )
    if confidences is not None:
        table.insert_column(6, pl.Series("confidence", confidences).set(table["known"], None))
    return table


def triple_table(
    graph: Graph,
    triples: Ids,
    scores: Scores,
    ranks: Ids,
    known: NDArray[np.bool_],
    confidences: NDArray[np.float64] | None = None,
) -> pl.DataFrame:
    """Scored triples ``[n, 3]`` by id.

    Args:
        ranks: ``[2, n]``, as tails and as heads.

    Returns:
        Columns head, relation, tail, score, (confidence,) tail_rank, head_rank, known. Ranks are floats, as files have
        had them.
    """
    columns = {
        "head": graph.entities.take(triples[:, 0]),
        "relation": graph.relations.take(triples[:, 1]),
        "tail": graph.entities.take(triples[:, 2]),
        "score": scores,
    }
    if confidences is not None:
        columns["confidence"] = confidences.astype(np.float32)
    tail_ranks, head_ranks = ranks.astype(np.float64)
    return pl.DataFrame({**columns, "tail_rank": tail_ranks, "head_rank": head_ranks, "known": known})
