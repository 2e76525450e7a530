"""The verbs that answer about a graph: rank, score, complete, explain, calibrate, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trivium.cli.opening import open_calibration, open_ranker
from trivium.cli.options import (
    DEFAULT,
    CalibrationFile,
    Checkpoint,
    Columns,
    Count,
    Force,
    Output,
    Required,
    Strict,
    app,
)
from trivium.errors import MissingPackageError
from trivium.service.settings import Limits

LIMITS = Limits()


@app.command
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


@app.command
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


@app.command
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


@app.command
def explain(
    graph: Path,
    /,
    *,
    head: str,
    relation: str,
    tail: str,
    asked: Literal["tail", "head"] = "tail",
    paths: int = 5,
    json: bool = False,
    png: Path | None = None,
    checkpoint: Checkpoint = DEFAULT,
    columns: Columns = None,
    force: Force = False,
) -> None:
    """Says why an answer has its score: the paths that carried it, each with its weight.

    A path's weight says how much of the score hangs on one of its facts. Where the checkpoint has enhancers, also what
    the relation's representation leaned on. A fact that the graph holds is judged with itself taken out.

    Parameters
    ----------
    graph
        The graph.
    head
        The fact's head.
    relation
        Its relation.
    tail
        Its tail.
    asked
        Which of the two ends is the answer.
    paths
        The most to show.
    json
        Print it as JSON.
    png
        Also draw it there.
    """
    from trivium.explanation import commands

    commands.check(paths, png, force)
    commands.tell(open_ranker(graph, checkpoint, columns), head, relation, tail, asked, paths, json, png, force)


@app.command
def calibrate(
    graph: Path,
    /,
    *,
    output: Required,
    share: float = 0.1,
    most: int = 5000,
    seed: int = 0,
    png: Path | None = None,
    checkpoint: Checkpoint = DEFAULT,
    columns: Columns = None,
    force: Force = False,
) -> None:
    """Learns what a score is worth on this graph: hides some of its facts, asks for them, and fits confidences.

    A confidence is the estimated chance that an answer with this score, margin and rank is among the hidden true ones.
    True answers that the graph lacks count as wrong, so on an incomplete graph it is too low. Every question that is
    asked here lacks an answer, so for a question whose answers are all in the graph it is too high.

    Parameters
    ----------
    graph
        The graph.
    output
        The .json file to write. It serves this graph and this checkpoint, and refuses others.
    share
        Of the facts to hide, at most 0.5.
    most
        Hide at most so many facts; it takes two questions for each.
    seed
        Of what is hidden.
    png
        Also draw the reliability curve there.
    """
    from trivium.calibration import commands

    commands.check(share, most, seed, output, png, force)
    commands.learn(open_ranker(graph, checkpoint, columns), checkpoint, output, share, most, seed, png, force)


@app.command
def serve(
    graph: Path,
    /,
    *,
    port: int = 8917,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    checkpoint: Checkpoint = DEFAULT,
    calibration: CalibrationFile = None,
    columns: Columns = None,
    limits: Annotated[Limits, Parameter(name="*")] = LIMITS,
) -> None:
    """Serves a graph over HTTP: ranked answers, scores, reasons, search, and at / a page for people.

    The graph is read anew on SIGHUP or when its file changes; until then, and if that fails, the old one answers.

    Parameters
    ----------
    graph
        The graph; an index is ready soonest.
    port
        Where to listen; 0 takes a free one.
    host
        Loopback by default; anything else needs a token.
    token_file
        A file with the token that clients must send (Authorization: Bearer TOKEN).
    """
    try:
        from trivium.service.loaded import Source
        from trivium.service.serve import run
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"serving needs {error.name}: pip install 'trivium[service]'") from error
    run(
        Source(lambda: open_ranker(graph, checkpoint, columns), graph, checkpoint, calibration),
        host,
        port,
        token_file,
        limits,
    )
