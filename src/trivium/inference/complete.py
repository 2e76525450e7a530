"""The most plausible links that are not there, streamed to disk, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trivium.errors import InputError
from trivium.inference.answers import Confidence, Ids
from trivium.inference.parts import digest, write_in_parts
from trivium.inference.ranker import Ranker

PART_QUERIES = 2_000  # between two parts on disk: what an interruption costs at most


@dataclass(frozen=True)
class Plan:
    """What `complete` will ask.

    Attributes:
        heads, relations: ``[queries]`` ids, sorted by relation.
        seconds: how long all of them will take, judged by a sample.
    """

    heads: Ids
    relations: Ids
    seconds: float


def plan_completion(ranker: Ranker, relations: Sequence[str] | None = None, k: int = 10) -> Plan:
    """The queries ``(head, relation, ?)`` of every head that already occurs with the relation, and how long they take.

    Args:
        relations: names of the relations to complete; all by default.
    """
    graph = ranker.graph
    chosen = range(graph.num_relations) if relations is None else [graph.relations.id(r, "relation") for r in relations]
    pairs = np.unique(graph.triples[:, [1, 0]].astype(np.int64), axis=0)
    pairs = pairs[np.isin(pairs[:, 0], list(chosen))]
    if not len(pairs):
        raise InputError("the chosen relations have no triple, so there is no head to ask about: choose others")
    sample = pairs[np.random.default_rng(0).permutation(len(pairs))[:20]]
    ranker.rank_ids(sample[:1, 1], sample[:1, 0], k)  # compiles
    started = time.monotonic()
    ranker.rank_ids(sample[:, 1], sample[:, 0], k)
    seconds = (time.monotonic() - started) * len(pairs) / len(sample)
    return Plan(pairs[:, 1], pairs[:, 0], seconds)


def complete(
    ranker: Ranker,
    plan: Plan,
    path: str | Path,
    *,
    k: int = 10,
    confidence: Confidence | None = None,
    min_confidence: float | None = None,
    calibration: str = "",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes the ``k`` best unknown answers to every query of the plan, by relation and then by score.

    An interrupted call, made again, goes on where it stopped; see `trivium.inference.parts.write_in_parts`.

    Args:
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
        table = ranker.rank_ids(plan.heads[part], plan.relations[part], k, confidence=confidence)
        if min_confidence is not None:
            table = table.filter(pl.col("confidence") >= min_confidence)
        return table.drop("query", "known")

    def arrange(table: pl.DataFrame) -> pl.DataFrame:
        return table.sort("relation", pl.col("score").round(4), descending=[False, True], maintain_order=True)

    settings = "complete", k, confidence is not None, calibration, min_confidence
    names = ranker.graph.entities.take(plan.heads).to_list(), ranker.graph.relations.take(plan.relations).to_list()
    parts = np.split(np.arange(len(plan.heads)), range(PART_QUERIES, len(plan.heads), PART_QUERIES))
    return write_in_parts(path, force, digest(ranker.sha256, settings, names), [parts], links, arrange, progress)
