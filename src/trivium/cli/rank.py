"""Ask a graph: rank, score, complete."""

from __future__ import annotations

from pathlib import Path

from trivium.cli.opening import open_calibration, open_ranker
from trivium.cli.options import DEFAULT, CalibrationFile, Checkpoint, Columns, Count, Force, Output, Required, Strict


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
    from trivium.inference import requests

    relation = requests.check_rank(head, relation, relation_text, tail, queries, k, output, force)
    ranker = open_ranker(graph, checkpoint, columns, relation_text)
    sure = open_calibration(calibration, ranker, checkpoint)
    chosen = requests.read_candidates(ranker, candidates)
    heads, relations = requests.read_questions(ranker, head, relation, tail, queries, strict)
    requests.answer(
        ranker, heads, relations, k, include_known, chosen, sure.confidence if sure else None, output, force
    )


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
    from trivium.inference import requests

    requests.check_table(output, force)
    ranker = open_ranker(graph, checkpoint, columns)
    sure = open_calibration(calibration, ranker, checkpoint)
    requests.judge(ranker, triples, strict, sure.confidence if sure else None, output, force)


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
    from trivium.inference import requests

    requests.check_complete(k, calibration, min_confidence, output, force)
    ranker = open_ranker(graph, checkpoint, columns)
    sure = open_calibration(calibration, ranker, checkpoint)
    requests.complete_graph(ranker, output, relation, k, checkpoint, sure, min_confidence, yes, force)
