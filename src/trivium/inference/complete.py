"""The most plausible links that are not there, streamed to disk, resumable."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trivium.errors import InputError
from trivium.files import TableWriter, check_output, whole_file
from trivium.inference.answers import Ids
from trivium.inference.ranker import Ranker
from trivium.inference.tables import Confidence, answer_table

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
    answer_table(ranker, sample[:1, 1], sample[:1, 0], k=k)  # compiles
    started = time.monotonic()
    answer_table(ranker, sample[:, 1], sample[:, 0], k=k)
    seconds = (time.monotonic() - started) * len(pairs) / len(sample)
    return Plan(pairs[:, 1], pairs[:, 0], seconds)


def complete(
    ranker: Ranker,
    plan: Plan,
    path: str | Path,
    *,
    k: int = 10,
    checkpoint: str = "",
    confidence: Confidence | None = None,
    least_confidence: float | None = None,
    calibration: str = "",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes the ``k`` best unknown answers to every query of the plan, by relation and then by score.

    Finished parts wait in a folder beside the output; an interrupted call, made again, goes on from there.

    Args:
        checkpoint: what names the model; parts of another model or graph are not taken up.
        confidence: adds a column.
        least_confidence: only links with as much confidence are written.
        calibration: what names the confidence, as ``checkpoint`` the model.
        progress: called with the queries done and in all.

    Returns:
        How many links were written.

    Raises:
        OutputError: the output exists or cannot be written.
        InputError: the parts beside it belong to another graph, model or choice.
    """
    check_output(path, force)
    folder = Path(path).with_name(f".{Path(path).name}.parts")
    asked = hashlib.sha256(np.stack([plan.heads, plan.relations]).tobytes()).hexdigest()
    plan_note = {"graph": ranker.graph.sha256, "checkpoint": checkpoint, "questions": asked, "k": k}
    if confidence is not None:
        plan_note |= {"calibration": calibration, "least_confidence": least_confidence}
    _claim(folder, plan_note)
    for begin in range(0, len(plan.heads), PART_QUERIES):
        part = folder / f"{begin:012d}.parquet"
        if not part.exists():
            chosen = slice(begin, begin + PART_QUERIES)
            table = answer_table(ranker, plan.heads[chosen], plan.relations[chosen], k=k, confidence=confidence)
            if least_confidence is not None:
                table = table.filter(pl.col("confidence") >= least_confidence)
            with whole_file(part) as file:
                table.drop("query", "known").write_parquet(file)
        if progress is not None:
            progress(min(begin + PART_QUERIES, len(plan.heads)), len(plan.heads))
    order = pl.col("score").round(4)
    found = pl.read_parquet(folder / "*.parquet").sort("relation", order, descending=[False, True], maintain_order=True)
    with TableWriter(path, force) as writer:
        writer.write(found)
    shutil.rmtree(folder)
    return len(found)


def _claim(folder: Path, plan: dict[str, object]) -> None:
    """Makes the folder of parts, or takes up one that was made for the same plan."""
    note = folder / "plan.json"
    if note.exists():
        if json.loads(note.read_text()) != plan:
            raise InputError(f"{folder} holds parts of another graph, model or choice: delete it to begin anew")
        return
    folder.mkdir(exist_ok=True)
    with whole_file(note) as file:
        file.write(json.dumps(plan).encode())
