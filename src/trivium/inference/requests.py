"""What the command line asks of a ranker: questions and triples by name, from arguments or files; answers go out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.files import TableWriter, check_output, check_tsv, write_table
from trivium.graph.graph import inverse
from trivium.graph.names import Names
from trivium.graph.read import read_queries, read_triples
from trivium.inference.answers import Ids
from trivium.inference.complete import complete, plan_completion
from trivium.inference.ranker import Ranker
from trivium.inference.tables import Confidence, candidate_ids, check_k, rank_chunks, score_ids
from trivium.model.checkpoint import checkpoint_sha256
from trivium.report import progress, show_frame, warn

if TYPE_CHECKING:
    from trivium.calibration.calibration import Calibration

HOUR = 3600.0
REPORTED = 20  # lines with unknown names that are named


def check_table(output: Path | None, force: bool) -> None:
    """Refuses an output that could not be written, before any work is done for it."""
    if output is not None:
        check_output(output, force)


def check_rank(
    head: str | None,
    relation: str | None,
    relation_text: str | None,
    tail: str | None,
    queries: Path | None,
    k: int,
    output: Path | None,
    force: bool,
) -> str | None:
    """Refuses a question that is none, before any work is done for it. Returns the name of the asked relation."""
    check_k(k)
    check_table(output, force)
    if queries is not None:
        if any(name is not None for name in (head, relation, relation_text, tail)):
            raise InputError("give --queries FILE or one question (--head and --relation), not both")
    elif (relation is None) == (relation_text is None) or (head is None) == (tail is None):
        raise InputError("give --relation (or --relation-text) and one of --head and --tail, or --queries FILE")
    return relation if relation_text is None else relation_text


def read_candidates(ranker: Ranker, path: Path | None) -> Ids | None:
    """The ids of a file of names, one a line."""
    if path is None:
        return None
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    names = [line for line in lines if line]
    if not names:
        raise InputError(f"{path} holds no name: give one a line")
    return candidate_ids(ranker.graph.entities, names)


def read_questions(
    ranker: Ranker, head: str | None, relation: str | None, tail: str | None, path: Path | None, strict: bool
) -> tuple[Ids, Ids]:
    """Heads and relations by id, ``[queries]``; a question for heads becomes one of the inverse relation.

    An unknown name in a file is reported with its line and skipped, or, ``strict``, stops.
    """
    graph = ranker.graph
    if path is None:
        given = head if head is not None else tail
        ids = np.array([graph.entities.id(str(given), "head" if tail is None else "tail")], np.int64)
        kinds = np.array([graph.relations.id(str(relation), "relation")], np.int64)
        return ids, kinds if tail is None else inverse(kinds, graph.num_relations)
    table = read_queries(path)
    turned = table["head"].is_null().to_numpy()
    entity = table.select(pl.coalesce("head", "tail").alias("entity"))["entity"]
    columns = [(graph.entities, entity, "entity"), (graph.relations, table["relation"], "relation")]
    (ids, kinds), keep = _known(columns, table["line"], path, strict)
    return ids[keep], np.where(turned, inverse(kinds, graph.num_relations), kinds)[keep]


def answer(
    ranker: Ranker,
    heads: Ids,
    relations: Ids,
    k: int,
    include_known: bool,
    candidates: Ids | None,
    confidence: Confidence | None,
    output: Path | None,
    force: bool,
) -> None:
    """Shows the answers, or streams them to a file."""
    chunks = rank_chunks(
        ranker, heads, relations, k=k, include_known=include_known, candidates=candidates, confidence=confidence
    )
    drop = ["query"] if len(heads) == 1 else []
    drop += [] if include_known else ["known"]
    if output is None:
        for chunk in chunks:
            _show(ranker, chunk.drop(drop))
        return
    with TableWriter(output, force) as writer, progress("answering") as update:
        done = 0
        for chunk in chunks:
            writer.write(chunk)
            done = min(len(heads), done + 50_000)
            update(done, len(heads))


def _show(ranker: Ranker, table: pl.DataFrame) -> None:
    """Prints answers, by their labels where there are any."""
    entities, relations = ranker.graph.entities, ranker.graph.relations
    columns = {"head": entities, "relation": relations, "tail": entities}
    show_frame(table.with_columns(names.shown(names.ids(table[c])).alias(c) for c, names in columns.items()))
    if table.is_empty():
        warn("no answer is left")


def judge(
    ranker: Ranker, path: Path, strict: bool, confidence: Confidence | None, output: Path | None, force: bool
) -> None:
    """Scores a file's triples, and shows or writes them."""
    graph = ranker.graph
    table = read_triples(path)
    columns = [
        (graph.entities, table["head"], "head"),
        (graph.relations, table["relation"], "relation"),
        (graph.entities, table["tail"], "tail"),
    ]
    ids, keep = _known(columns, table["line"], path, strict)
    scored = score_ids(ranker, np.stack(ids, 1)[keep], confidence)
    if output is None:
        _show(ranker, scored)
    else:
        write_table(scored, output, force)


def check_complete(k: int, calibration: Path | None, least_confidence: float | None, output: Path, force: bool) -> None:
    """Refuses a completion that makes no sense, before any work is done for it."""
    check_k(k)
    check_table(output, force)
    if least_confidence is not None and calibration is None:
        raise InputError("--min-confidence needs --calibration FILE: trivium calibrate makes one")
    if least_confidence is not None and not 0 <= least_confidence <= 1:
        raise InputError(f"--min-confidence is {least_confidence}: give a number from 0 to 1")


def complete_graph(
    ranker: Ranker,
    output: Path,
    relations: list[str] | None,
    k: int,
    checkpoint: str,
    calibration: Calibration | None,
    least_confidence: float | None,
    yes: bool,
    force: bool,
) -> None:
    """Plans, says what it will take, and completes."""
    if output.suffix.lower() == ".tsv":
        for names in (ranker.graph.entities.names, ranker.graph.relations.names):
            check_tsv(names, output)
    plan = plan_completion(ranker, relations, k)
    warn(f"{len(plan.heads):,} questions, about {_duration(plan.seconds)}")
    if plan.seconds > HOUR and not yes:
        raise InputError(f"this takes about {_duration(plan.seconds)}: add --yes, or choose relations with --relation")
    with progress("completing") as update:
        count = complete(
            ranker,
            plan,
            output,
            k=k,
            checkpoint=checkpoint_sha256(checkpoint),
            confidence=calibration.confidence if calibration else None,
            least_confidence=least_confidence,
            calibration=calibration.sha256 if calibration else "",
            force=force,
            progress=update,
        )
    warn(f"{output}: {count:,} links")


def _known(
    columns: list[tuple[Names, pl.Series, str]], lines: pl.Series, path: Path, strict: bool
) -> tuple[list[Ids], NDArray[np.bool_]]:
    """Ids of each column, and which rows are known whole; the others are reported."""
    all_ids = [names.ids(column).astype(np.int64) for names, column, _ in columns]
    keep = np.all([ids >= 0 for ids in all_ids], axis=0)
    for place in np.flatnonzero(~keep)[:REPORTED].tolist():
        names, column, what = columns[[ids[place] < 0 for ids in all_ids].index(True)]
        message = f"{path} line {lines[place]}: {names.unknown(column[place], what)}"
        if strict:
            raise InputError(message)
        warn(f"{message}: skipped")
    if (more := int((~keep).sum()) - REPORTED) > 0:
        warn(f"{path}: {more:,} more lines with unknown names: skipped")
    if not keep.any():
        raise InputError(f"{path}: no line has only names that the graph knows")
    return all_ids, keep


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} hours"
