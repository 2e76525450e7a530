"""Which relation joins two entities: ``(h, ?, t)``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.graph.graph import Graph
from trivium.inference.answers import Ids, Scores, best_answers
from trivium.inference.ranker import Ranker

PAIRS = 500  # scored together
NORMALISED, FREQUENT, MET = 0.25, 1.0, 2.0  # chosen on validation questions; docs/how-it-works.md


def relation_scores(ranker: Ranker, heads: Ids, tails: Ids, relations: Ids | None = None) -> Scores:
    """How well each relation joins each pair, ``[pairs, relations]``; more is better, comparable within a row.

    Scores of different relations do not compare as they are. With ``s`` a score, ``Z`` the logarithm of the sum over
    all entities of the exponentials of theirs, ``n_r`` the facts of the relation, and ``m`` from `further`, where
    ``(h, r, t)`` itself does not count::

        s(h, r, t) + s(t, r⁻¹, h) - .25 (Z(h, r) + Z(t, r⁻¹)) + log(1 + n_r) + 2 (m(h, r) + m(t, r⁻¹))

    Args:
        heads, tails: ``[pairs]`` ids.
        relations: ``[relations]`` ids, all of the graph's by default.

    Cost: two passes of message passing for each pair and relation; pairs with an end in common share one.
    """
    graph = ranker.graph
    if relations is None:
        relations = np.arange(graph.num_relations)
    count = len(relations)
    facts = np.bincount(graph.triples[:, 1], minlength=graph.num_relations)[relations]
    met = further(graph)
    total = np.tile(FREQUENT * np.log1p(facts), (len(heads), 1))
    for starts, ends, turned in ((heads, tails, False), (tails, heads, True)):
        asked = relations + graph.num_relations * turned
        for places, rows, scores in ranker.blocks(np.repeat(starts, count), np.tile(asked, len(starts))):
            pairs, columns = np.divmod(places, count)
            own = scores.numpy()[rows, ends[pairs]]
            total[pairs, columns] += own - NORMALISED * torch.logsumexp(scores, 1).numpy()[rows]
        has = graph.outgoing(starts)[:, asked]
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            for column in np.flatnonzero(has[row]).tolist():  # the fact in question says nothing of itself
                has[row, column] = (graph.answers(start, int(asked[column])) != end).any()
        total += MET * np.where(has, met[1, asked], met[0, asked])
    return total.astype(np.float32)


def further(graph: Graph) -> NDArray[np.float64]:
    """What it says for one more answer to ``(h, r, ?)`` that ``h`` has none yet, and that it has one: ``[2, 2R]``.

    The logarithm of how much more often that holds of a fact of ``r``, the fact aside, than of any fact's head; one is
    added to each count. Where every head has one answer, having one speaks against another; where heads have many, for
    it.

    Cost: O(triples · log triples).
    """
    count, triples = graph.num_relations, graph.triples.astype(np.int64)
    met = []
    for end in (0, 2):
        pairs, times = np.unique(triples[:, 1] * graph.num_entities + triples[:, end], return_counts=True)
        relations, entities = np.divmod(pairs, graph.num_entities)
        facts, single = (np.bincount(relations, of, minlength=count) for of in (times, times == 1))
        degrees = np.bincount(triples[:, end], minlength=graph.num_entities)
        usual = facts * np.bincount(relations, degrees[entities], minlength=count) / max(len(triples), 1)
        has = facts - single
        met.append([np.log((facts - has + 1) / (facts - usual + 1)), np.log((has + 1) / (usual + 1))])
    return np.concatenate(met, 1)


def known_relations(graph: Graph, heads: Ids, tails: Ids, twins: Ids | None = None) -> list[Ids]:
    """The relations of each pair's facts in a graph, by pair; with `Graph.twins` also those that say the same."""
    both = np.arange(2 * graph.num_relations)
    says = both if twins is None else twins
    triples = np.stack([np.repeat(heads, len(both)), np.tile(both, len(heads)), np.repeat(tails, len(both))], 1)
    held = graph.contains(triples.astype(np.int32)).reshape(len(heads), len(both))
    return [np.flatnonzero(np.isin(says[: graph.num_relations], says[row])) for row in held]


def no_answers(ranker: Ranker, heads: Ids, tails: Ids, include_known: bool) -> list[Ids]:
    """The relations of each pair that are no answers, by pair: those of facts that are excluded, or known, and those
    that say the same."""
    graphs = ranker.excluded, None if include_known else ranker.graph
    twins = ranker.graph.twins
    out = [known_relations(graph, heads, tails, twins) for graph in graphs if graph is not None]
    return [np.concatenate(pair) for pair in zip(*out, strict=True)] or [np.zeros(0, np.int64)] * len(heads)


def relate(
    ranker: Ranker,
    head: str | Sequence[str],
    tail: str | Sequence[str],
    k: int = 5,
    *,
    include_known: bool = False,
) -> pl.DataFrame:
    """The ``k`` relations that join two entities best, as a table with names.

    Args:
        head, tail: a name, or as many names of the one as of the other.
        include_known: relations that the graph already holds between the two are in the table too, marked.

    Returns:
        Columns query, head, relation, tail, rank, score, known; see `relation_scores`.

    Raises:
        GraphError: a name is unknown; the message names the nearest.
        InputError: there is no pair, or ``k`` is below 1.
    """
    heads, tails = ([names] if isinstance(names, str) else names for names in (head, tail))
    if len(heads) != len(tails) or not heads:
        raise InputError(f"{len(heads)} heads for {len(tails)} tails: give as many of each, at least one")
    entities = ranker.graph.entities
    return relate_ids(ranker, entities.each(heads, "head"), entities.each(tails, "tail"), k, include_known)


def relate_ids(ranker: Ranker, heads: Ids, tails: Ids, k: int = 5, include_known: bool = False) -> pl.DataFrame:
    """The best relations of pairs by id ``[pairs]``, sorted by pair and rank; see `relate`."""
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 relation")
    graph, parts = ranker.graph, []
    for begin in range(0, len(heads), PAIRS):
        some = slice(begin, begin + PAIRS)
        scores = relation_scores(ranker, heads[some], tails[some])
        known = known_relations(graph, heads[some], tails[some], graph.twins)
        hidden = no_answers(ranker, heads[some], tails[some], include_known)
        for place, (row, held, out) in enumerate(zip(scores, known, hidden, strict=True), begin):
            ids, ranks, _, tied = best_answers(row, k, out)
            parts.append((np.full(len(ids), place), ids, ranks, tied, row[ids], np.isin(ids, held)))
    query, relations, ranks, tied, values, known_too = (np.concatenate(column) for column in zip(*parts, strict=True))
    table = graph.named(np.stack([heads[query], relations, tails[query]], 1))
    table = table.insert_column(0, pl.Series("query", query)).with_columns(rank=ranks, tied=tied)
    return table.with_columns(score=values, known=known_too)
