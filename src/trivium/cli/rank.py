"""Ask a graph: rank, score, complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trivium.calibration import Calibration
from trivium.cli.options import DEFAULT, CalibrationFile, Checkpoint, Columns, Count, Force, Output, Required, Strict
from trivium.errors import InputError
from trivium.files import check_output, check_tsv
from trivium.graph.graph import Graph, inverse
from trivium.graph.names import Names
from trivium.graph.read import read_queries, read_triples
from trivium.inference.answers import Confidence, Ids
from trivium.inference.complete import complete as complete_graph
from trivium.inference.complete import plan_completion
from trivium.inference.parts import digest, write_in_parts
from trivium.inference.ranker import Ranker
from trivium.report import progress, show_frame, warn

BLOCK_QUERIES = 50_000  # of a file: those whose answers are held in memory together
PART_QUERIES = 2_000  # between two parts on disk: what an interruption costs at most
PART_FACTS = 20  # the same for triples that the graph holds: each takes a fresh pass over the graph
MAX_REPORTED = 20  # lines with unknown names that are named
HOUR = 3600.0


def rank(
    graph: Path,
    /,
    *,
    head: str | None = None,
    relation: str | None = None,
    relation_text: str | None = None,
    tail: str | None = None,
    queries: Path | None = None,
    k: Count = 10,
    include_known: bool = False,
    candidates: Path | None = None,
    output: Output = None,
    calibration: CalibrationFile = None,
    checkpoint: Checkpoint = DEFAULT,
    columns: Columns = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Answers questions: (head, relation, ?) or (?, relation, tail), with what the graph does not already hold.

    Parameters
    ----------
    graph
        TSV, CSV, Parquet, N-Triples, Turtle (also gzipped), or an index.
    head
        The entity that is asked about; its answers are tails.
    relation
        The relation that is asked.
    relation_text
        Instead of a relation of the graph: one that it does not hold, in words ("is the capital of").
    tail
        Instead of a head: answers are heads.
    queries
        A file of questions instead: (head, relation) or (relation, tail).
    k
        Answers for each question.
    include_known
        Also show answers that the graph holds, marked.
    candidates
        A file with one name a line, to which the answers are narrowed.
    """
    if output is not None:
        check_output(output, force)
    if queries is not None and any(name is not None for name in (head, relation, relation_text, tail)):
        raise InputError("give --queries FILE or one question (--head and --relation), not both")
    if queries is None and ((relation is None) == (relation_text is None) or (head is None) == (tail is None)):
        raise InputError("give --relation (or --relation-text) and one of --head and --tail, or --queries FILE")
    ranker = Ranker.open(graph, checkpoint, columns=columns, relation_text=relation_text)
    entities = ranker.graph.entities
    confidence, calibrated = _confidence(calibration, ranker, checkpoint)
    chosen = None if candidates is None else entities.each(_lines(candidates), "candidate")
    if queries is None:
        heads, relations = _question(ranker.graph, head, relation or relation_text or "", tail)
    else:
        heads, relations = _read_questions(ranker.graph, queries, strict)

    how: dict[str, Any] = {"include_known": include_known, "candidates": chosen, "confidence": confidence}

    def answers(part: Ids) -> pl.DataFrame:
        return ranker.rank_ids(heads[part], relations[part], k, numbers=part, **how)

    if output is None:
        drop = (["query"] if len(heads) == 1 else []) + ([] if include_known else ["known"])
        _show(ranker.graph, answers(np.arange(len(heads))).drop(drop))
        return
    blocks = [
        _split(block[np.argsort(relations[block], kind="stable")], PART_QUERIES)
        for block in _split(np.arange(len(heads)), BLOCK_QUERIES)
    ]
    asked = (
        calibrated,
        k,
        include_known,
        None if chosen is None else chosen.tolist(),
        entities.take(heads).to_list(),
        relations,
    )
    _write(ranker, asked, output, force, blocks, answers, lambda rows: rows.sort("query", maintain_order=True))


def score(
    graph: Path,
    triples: Path,
    /,
    *,
    output: Output = None,
    calibration: CalibrationFile = None,
    checkpoint: Checkpoint = DEFAULT,
    columns: Columns = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Scores given triples: score, filtered rank in both directions, and whether the graph holds it.

    A triple that the graph holds is judged with itself and its inverse taken out.

    Parameters
    ----------
    graph
        The graph.
    triples
        A file of triples.
    """
    if output is not None:
        check_output(output, force)
    ranker = Ranker.open(graph, checkpoint, columns=columns)
    confidence, calibrated = _confidence(calibration, ranker, checkpoint)
    asked = _read_triples(ranker.graph, triples, strict)

    def scored(part: Ids) -> pl.DataFrame:
        return ranker.score_ids(asked[part], confidence)

    if output is None:
        _show(ranker.graph, scored(np.arange(len(asked))))
        return
    known = ranker.graph.contains(asked.astype(np.int32))
    new = np.flatnonzero(~known)[np.argsort(asked[~known, 1], kind="stable")]
    parts = [*_split(new, PART_QUERIES), *_split(np.flatnonzero(known), PART_FACTS)]
    back = np.argsort(np.concatenate(parts))
    names = [ids.take(asked[:, i]).to_list() for i, ids in enumerate(_names(ranker.graph))]
    _write(ranker, [calibrated, *names], output, force, [parts], scored, lambda rows: rows[back])


def complete(
    graph: Path,
    /,
    *,
    output: Required,
    relation: list[str] | None = None,
    k: Count = 10,
    calibration: CalibrationFile = None,
    min_confidence: float | None = None,
    checkpoint: Checkpoint = DEFAULT,
    columns: Columns = None,
    yes: bool = False,
    force: Force = False,
) -> None:
    """Writes the most plausible links that are not there, asking each relation of the heads that occur with it.

    Says first how many questions that is and how long it takes. Interrupted, the same command goes on.

    Parameters
    ----------
    graph
        The graph.
    output
        The table to write (.tsv, .csv, .parquet, .jsonl).
    relation
        Relations to complete (repeatable); all by default.
    k
        Links for each head and relation.
    min_confidence
        Write only links with as much confidence, from 0 to 1; needs --calibration. Most questions asked here lack no
        answer, so fewer links are true than it says; see `trivium calibrate`.
    yes
        Begin even if it takes more than an hour.
    """
    check_output(output, force)
    if min_confidence is not None and calibration is None:
        raise InputError("--min-confidence needs --calibration FILE: trivium calibrate makes one")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise InputError(f"--min-confidence is {min_confidence}: give a number from 0 to 1")
    ranker = Ranker.open(graph, checkpoint, columns=columns)
    confidence, calibrated = _confidence(calibration, ranker, checkpoint)
    _check_names(ranker.graph, output)
    plan = plan_completion(ranker, relation, k)
    warn(f"{len(plan.heads):,} questions, about {_duration(plan.seconds)}")
    if plan.seconds > HOUR and not yes:
        raise InputError(f"this takes about {_duration(plan.seconds)}: add --yes, or choose relations with --relation")
    with progress("completing") as update:
        count = complete_graph(
            ranker,
            plan,
            output,
            k=k,
            confidence=confidence,
            min_confidence=min_confidence,
            calibration=calibrated,
            force=force,
            progress=update,
        )
    warn(f"{output}: {count:,} links")


def _confidence(path: Path | None, ranker: Ranker, checkpoint: str) -> tuple[Confidence | None, str]:
    """What a calibration that serves this graph and checkpoint gives, and its SHA-256; none and nothing of none."""
    if path is None:
        return None, ""
    calibration = Calibration.load(path, ranker.graph, checkpoint)
    return calibration.confidence, calibration.sha256


def _question(graph: Graph, head: str | None, relation: str, tail: str | None) -> tuple[Ids, Ids]:
    """One question by id, ``[1]`` each; one for heads becomes one of the inverse relation."""
    given, what = (head, "head") if head is not None else (tail, "tail")
    ids, kinds = graph.entities.each([str(given)], what), graph.relations.each([relation], "relation")
    return ids, kinds if head is not None else inverse(kinds, graph.num_relations)


def _read_questions(graph: Graph, path: Path, strict: bool) -> tuple[Ids, Ids]:
    """Heads and relations of a file's questions by id, ``[queries]``; see `_question` and `_known_ids`."""
    table = read_queries(path)
    entity = table.select(pl.coalesce("head", "tail").alias("entity"))["entity"]
    columns = [(graph.entities, entity, "entity"), (graph.relations, table["relation"], "relation")]
    (ids, kinds), keep = _known_ids(columns, table["line"], path, strict)
    turned = table["head"].is_null().to_numpy()
    return ids[keep], np.where(turned, inverse(kinds, graph.num_relations), kinds)[keep]


def _read_triples(graph: Graph, path: Path, strict: bool) -> Ids:
    """A file's triples by id, ``[n, 3]``; see `_known_ids`."""
    table = read_triples(path)
    kinds = ("head", "relation", "tail")
    columns = [(names, table[kind], kind) for names, kind in zip(_names(graph), kinds, strict=True)]
    ids, keep = _known_ids(columns, table["line"], path, strict)
    return np.stack(ids, 1)[keep]


def _names(graph: Graph) -> tuple[Names, Names, Names]:
    """The names of a triple's columns."""
    return graph.entities, graph.relations, graph.entities


def _known_ids(
    columns: Sequence[tuple[Names, pl.Series, str]], lines: pl.Series, path: Path, strict: bool
) -> tuple[list[Ids], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Ids of each column, and which rows the graph knows whole; the others are reported, or, ``strict``, stop."""
    all_ids = [names.ids(column).astype(np.int64) for names, column, _ in columns]
    keep = np.all([ids >= 0 for ids in all_ids], axis=0)
    for place in np.flatnonzero(~keep)[:MAX_REPORTED].tolist():
        names, column, what = columns[[ids[place] < 0 for ids in all_ids].index(True)]
        message = f"{path} line {lines[place]}: {names.unknown(column[place], what)}"
        if strict:
            raise InputError(message)
        warn(f"{message}: skipped")
    if (more := int((~keep).sum()) - MAX_REPORTED) > 0:
        warn(f"{path}: {more:,} more lines with unknown names: skipped")
    if not keep.any():
        raise InputError(f"{path}: no line has only names that the graph knows")
    return all_ids, keep


def _lines(path: Path) -> list[str]:
    """The lines of a file of names that are not empty."""
    try:
        return [line for line in path.read_text("utf-8-sig").splitlines() if line]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error


def _show(graph: Graph, table: pl.DataFrame) -> None:
    """Prints answers, by their labels where there are any."""
    columns = zip(("head", "relation", "tail"), _names(graph), strict=True)
    show_frame(table.with_columns(names.shown(names.ids(table[c])).alias(c) for c, names in columns))
    if table.is_empty():
        warn("no answer is left")


def _write(
    ranker: Ranker,
    asked: Sequence[object],
    output: Path,
    force: bool,
    blocks: Sequence[Sequence[Ids]],
    compute: Callable[[Ids], pl.DataFrame],
    arrange: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    """Writes what was asked in parts; see `write_in_parts`."""
    _check_names(ranker.graph, output)
    request = digest(ranker.sha256, ranker.graph.relations.names.to_list(), *asked)
    with progress("answering") as update:
        write_in_parts(output, force, request, blocks, compute, arrange, update)


def _check_names(graph: Graph, output: Path) -> None:
    """Refuses names that the output's format cannot hold, before any question is answered."""
    if output.suffix.lower() == ".tsv":
        for names in (graph.entities, graph.relations):
            check_tsv(names.names, output)


def _split(places: Ids, size: int) -> list[Ids]:
    """Runs of ``size`` places and a rest; none of none."""
    return [places[begin : begin + size] for begin in range(0, len(places), size)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} hours"
