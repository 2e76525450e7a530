"""The most plausible links that are not there, streamed to disk, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from trivium.errors import InputError
from trivium.inference.answers import Confidence, Ids
from trivium.inference.parts import digest, split, write_in_parts
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


def complete(
    ranker: Ranker,
    heads: Ids,
    relations: Ids,
    path: str | Path,
    k: int = 10,
    confidence: Confidence | None = None,
    min_confidence: float | None = None,
    calibration: str = "",
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes the ``k`` best unknown answers to every query, by relation and then by score.

    An interrupted call, made again, goes on where it stopped; see `trivium.inference.parts.write_in_parts`.

    Args:
        heads, relations: ``[queries]`` ids, from `open_questions`.
        confidence: adds a column.
        min_confidence: only links with as much confidence are written.
        calibration: what names the confidence, its SHA-256 say: parts with another are not taken up.
        progress: called with the queries done and in all.

    Returns:
        How many links were written.

    Raises:
        OutputError: the output exists or cannot be written.
    """

    def links(part: Ids) -> pl.DataFrame:
        table = ranker.rank_ids(heads[part], relations[part], k, confidence=confidence)
        if min_confidence is not None:
            table = table.filter(pl.col("confidence") >= min_confidence)
        return table.drop("query", "known")

    def arrange(table: pl.DataFrame) -> pl.DataFrame:
        return table.sort("relation", pl.col("score").round(4), descending=[False, True], maintain_order=True)

    settings = "complete", k, confidence is not None, calibration, min_confidence
    request = digest(ranker.sha256, settings, heads, relations)
    return write_in_parts(path, force, request, [split(np.arange(len(heads)))], links, arrange, progress)
