"""Ask a graph: rank, score, complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.calibration import Calibration
from trivium.cli.options import (
    Answering,
    Asking,
    Calibrated,
    Count,
    Force,
    Opening,
    Output,
    Reading,
    Required,
    Sharing,
)
from trivium.errors import InputError
from trivium.files import check_output, check_place, check_tsv, digest, write_whole
from trivium.graph.formats import TRIPLE
from trivium.graph.graph import Graph, inverse
from trivium.graph.read import read_names, read_queries, read_triples
from trivium.inference.answers import Confidence, Ids, both_directions, split
from trivium.inference.complete import Appearance, estimate_seconds, open_questions
from trivium.inference.parts import write_in_parts
from trivium.inference.ranker import Ranker
from trivium.inference.relate import PAIRS, relate_ids
from trivium.report import duration, progress, show, warn, warn_of_duration

BLOCK = 50_000  # of a file: those whose answers are held in memory together
PART_QUERIES = 2_000  # between two parts on disk: what an interruption costs at most
PART_FACTS = 20  # a part of triples that the graph holds: each takes a fresh pass over the graph
MAX_REPORTED = 20  # lines with unknown names that are named
MAX_SHOWN = 5  # entities that come up for most questions
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
    strict: bool = False,
    calibration: Calibrated = None,
    output: Output = None,
    opening: Asking = Asking(),
    answering: Answering = Answering(),
    sharing: Sharing = Sharing(),
    force: Force = False,
) -> None:
    """Answers questions: (head, relation, ?) or (?, relation, tail), with what the graph does not already hold.

    Parameters
    ----------
    graph
        A file of triples (a table, RDF, JSON; also compressed), or an index.
    head
        The entity that is asked about; its answers are tails.
    relation
        The relation that is asked; also what joins the pairs of a table of two columns.
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
        A file with one name a line, or a table with a column of names, to which the answers are narrowed.
    strict
        Stop at an unknown name in the file of questions, instead of skipping its line.
    """
    one = "give --queries FILE or one question (--head and --relation), not both"
    if queries is not None and any(name is not None for name in (head, relation_text, tail)):
        raise InputError(one)
    if head is not None and tail is not None:
        raise InputError("give --head or --tail, not both: the other is what is asked (`score`, `relate` take both)")
    if queries is None and ((relation is None) == (relation_text is None) or (head is None) == (tail is None)):
        raise InputError("give --relation (or --relation-text) and one of --head and --tail, or --queries FILE")
    ranker, confidence, calibrated = _open(
        graph, opening, answering, calibration, output, force, sharing, relation_text, relation
    )
    if queries is not None and relation is not None and ranker.graph.relations.names.to_list() != [relation]:
        raise InputError(one)
    chosen = _named_in(ranker.graph, candidates, opening)
    if queries is None:
        (heads, relations), places = _question(ranker.graph, head, relation or relation_text or "", tail), None
    else:
        heads, relations, places = _read_questions(ranker.graph, queries, opening, strict)
        warn_of_duration(estimate_seconds(ranker, heads, relations, k))
    how: dict[str, Any] = {"include_known": include_known, "candidates": chosen, "confidence": confidence}

    def answers(part: Ids) -> pl.DataFrame:
        return _placed(ranker.rank_ids(heads[part], relations[part], k, **how), part, places)

    blocks = [
        split(block[np.argsort(relations[block], kind="stable")], PART_QUERIES)
        for block in split(np.arange(len(heads)), BLOCK)
    ]
    names = chosen is None or chosen.tolist()
    asked = "rank", calibrated, k, include_known, names, heads, relations, _lines(places)
    hidden = (["query"] if len(heads) == 1 else []) + ([] if include_known else ["known"])

    def arrange(table: pl.DataFrame) -> pl.DataFrame:
        return table.sort("query", maintain_order=True)

    _give(ranker, asked, output, force, sharing, blocks, answers, arrange, hidden)


def score(
    graph: Path,
    triples: Path,
    /,
    *,
    strict: bool = False,
    calibration: Calibrated = None,
    output: Output = None,
    opening: Opening = Opening(),
    answering: Answering = Answering(),
    sharing: Sharing = Sharing(),
    force: Force = False,
) -> None:
    """Scores given triples: score, filtered rank in both directions, and whether the graph holds it.

    A triple that the graph holds, itself or as a copy by a twin of its relation (see `trivium info`), is judged with
    both taken out.

    Parameters
    ----------
    graph
        The graph.
    triples
        A file of triples.
    strict
        Stop at an unknown name in it, instead of skipping its line.
    """
    ranker, confidence, calibrated = _open(graph, opening, answering, calibration, output, force, sharing)
    asked, places = _known_ids(
        ranker.graph,
        triples,
        read_triples(triples, columns=opening.columns, relation=opening.relation, skip_bad=opening.skip_bad),
        strict,
    )

    def scored(part: Ids) -> pl.DataFrame:
        return ranker.score_ids(asked[part], confidence).insert_column(0, places["line"].gather(part))

    known = ranker.graph.knows(asked.astype(np.int32))
    new = np.flatnonzero(~known)[np.argsort(asked[~known, 1], kind="stable")]
    parts = [*split(new, PART_QUERIES), *split(np.flatnonzero(known), PART_FACTS)]
    back = np.argsort(np.concatenate(parts))
    warn_of_duration(_scoring_seconds(ranker, asked, known))
    request = "score", calibrated, asked, _lines(places)
    _give(ranker, request, output, force, sharing, [parts], scored, lambda rows: rows[back])


def _scoring_seconds(ranker: Ranker, triples: Ids, known: NDArray[np.bool_]) -> float:
    """How long triples take: two queries for each new one, and a pass over the graph for each known one."""
    heads, relations, _ = both_directions(triples[~known], ranker.graph.num_relations)
    seconds = estimate_seconds(ranker, heads, relations)
    if known.sum() > PART_FACTS:
        started = time.monotonic()
        ranker.score_ids(triples[known][:1])
        seconds += (time.monotonic() - started) * known.sum()
    return float(seconds)


def relate(
    graph: Path,
    /,
    *,
    head: str | None = None,
    tail: str | None = None,
    queries: Path | None = None,
    k: Count = 5,
    include_known: bool = False,
    strict: bool = False,
    output: Output = None,
    opening: Opening = Opening(),
    force: Force = False,
) -> None:
    """Says which relations join a head and a tail best, (head, ?, tail), beside those that the graph holds.

    Scores compare the relations of one pair, and no others.

    Parameters
    ----------
    graph
        The graph.
    head
        The head.
    tail
        The tail.
    queries
        A file of heads and tails instead.
    k
        Relations for each pair.
    include_known
        Also show relations that the graph holds between the two, marked.
    strict
        Stop at an unknown name in the file, instead of skipping its line.
    """
    if (queries is None) == (head is None) or (head is None) != (tail is None):
        raise InputError("give --head and --tail, or --queries FILE")
    ranker, *_ = _open(graph, opening, Answering(), None, output, force, Sharing())
    if queries is None:
        pairs, places = ranker.graph.entities.each([str(head), str(tail)], "entity")[None], None
    else:
        pairs, places = _known_ids(
            ranker.graph,
            queries,
            read_queries(queries, True, columns=opening.columns, skip_bad=opening.skip_bad).drop("relation"),
            strict,
        )

    def answers(part: Ids) -> pl.DataFrame:
        return _placed(relate_ids(ranker, pairs[part, 0], pairs[part, 1], k, include_known), part, places)

    asked = "relate", "", k, include_known, pairs, _lines(places)
    hidden = (["query"] if len(pairs) == 1 else []) + ([] if include_known else ["known"])
    blocks = [split(np.arange(len(pairs)), PAIRS)]
    _give(ranker, asked, output, force, Sharing(), blocks, answers, lambda rows: rows, hidden)


def complete(
    graph: Path,
    /,
    *,
    output: Required,
    relation: list[str] | None = None,
    heads: Path | None = None,
    both_directions: bool = False,
    also_second: bool = False,
    candidates: Path | None = None,
    k: Count = 10,
    min_confidence: float | None = None,
    json: Path | None = None,
    yes: bool = False,
    calibration: Calibrated = None,
    opening: Asking = Asking(),
    answering: Answering = Answering(),
    sharing: Sharing = Sharing(),
    force: Force = False,
) -> None:
    """Writes the most plausible links that are not there, asking each relation where links seem to be missing.

    First of the heads that have no answer and are like those that have one, by the relations they take part in; then of
    those that have one, unless nearly every head of the relation has exactly one. Says first how many questions that is
    and how long it takes. Interrupted, the same command goes on.

    Parameters
    ----------
    graph
        The graph.
    output
        The table to write (.tsv, .csv, .parquet, .jsonl). Its column held says how many answers to the same question
        the graph has.
    relation
        Relations to complete (repeatable), or what joins pairs; all by default.
    heads
        A file of names: ask these alone; with --relation each of them, whether like the others or not.
    both_directions
        Ask for heads too, (?, relation, tail); the column asked says which end was.
    also_second
        Ask for second answers also where nearly every head has exactly one.
    candidates
        A file of names, to which the answers are narrowed.
    k
        Links for each head and relation.
    min_confidence
        Write only links with as much confidence, from 0 to 1; needs --calibration. Most questions asked here lack no
        answer, so fewer links are true than it says; see `trivium calibrate`.
    json
        Also write there what was asked, and which entities come up for most questions.
    yes
        Begin even if it takes more than an hour.
    """
    if json is not None:
        check_place(json, force, ".json")
    if min_confidence is not None and calibration is None:
        raise InputError("--min-confidence needs --calibration FILE: trivium calibrate makes one")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise InputError(f"--min-confidence is {min_confidence}: give a number from 0 to 1")
    ranker, confidence, calibrated = _open(
        graph, opening, answering, calibration, output, force, sharing, asked=relation[0] if relation else None
    )
    chosen, narrowed = (_named_in(ranker.graph, file, opening) for file in (candidates, heads))
    questions = open_questions(
        ranker.graph, relation, narrowed, both_directions=both_directions, also_second=also_second
    )
    asked_of, relations = questions.heads, questions.relations
    seconds = estimate_seconds(ranker, asked_of, relations, k)
    single = np.unique(questions.single % ranker.graph.num_relations)
    if len(single):
        warn(f"{len(single):,} relations whose heads have one answer each get no second one (--also-second)")
    warn(
        f"{len(asked_of):,} questions, {(questions.held == 0).sum():,} of them without an answer yet, "
        f"about {duration(seconds)}"
    )
    if seconds > HOUR and not yes:
        raise InputError(f"this takes about {duration(seconds)}: add --yes, or choose relations with --relation")

    def links(part: Ids) -> pl.DataFrame:
        table = ranker.rank_ids(asked_of[part], relations[part], k, candidates=chosen, confidence=confidence)
        query = part[table["query"]]
        table = table.drop("query", "known").with_columns(held=questions.held[query])
        if both_directions:
            table = table.with_columns(asked=np.where(relations[query] < ranker.graph.num_relations, "tail", "head"))
        return table if min_confidence is None else table.filter(pl.col("confidence") >= min_confidence)

    def arrange(table: pl.DataFrame) -> pl.DataFrame:
        keys = "relation", pl.col("held") > 0, pl.col("score").round(4)
        found.append(Appearance.of(table))
        return table.sort(*keys, descending=[False, False, True], maintain_order=True)

    found: list[Appearance] = []
    names = chosen is None or chosen.tolist()
    asked = "complete", calibrated, k, min_confidence, names, both_directions, asked_of, relations
    parts = split(np.arange(len(asked_of)), PART_QUERIES)
    _give(ranker, asked, output, force, sharing, [parts], links, arrange)
    _show_appearance(found[0], k)
    if json is not None:
        facts = {
            "questions": len(asked_of),
            "without_an_answer": int((questions.held == 0).sum()),
            "single": sorted(ranker.graph.relations.take(single)),
            "k": k,
            "range": ranker.range,
            "appearance": asdict(found[0]),
        }
        write_whole(dumps(facts, indent=1).encode(), json, force)


def _show_appearance(found: Appearance, k: int) -> None:
    """Prints the entities that come up for most questions."""
    rows = [[name, share] for name, share in islice(found.shares.items(), MAX_SHOWN)]
    show(["comes up for most questions", f"appearance@{k}"], rows)
    spread = f"{2**found.entropy:,.0f} entities that come up alike"
    warn(f"the answers to {found.questions:,} questions spread like {spread} (entropy {found.entropy:.1f} bits)")


def _open(
    graph: Path,
    opening: Asking,
    answering: Answering,
    calibration: Path | None,
    output: Path | None,
    force: bool,
    sharing: Sharing,
    words: str | None = None,
    asked: str | None = None,
) -> tuple[Ranker, Confidence | None, str]:
    """A ranker, and what a calibration gives that serves it, with its SHA-256; none and nothing of none.

    Args:
        output: is checked first, and that its format can hold the graph's names.
        sharing: is checked too: that its cluster answers.
        words: the text of a relation that the graph does not hold.
        asked: the relation that is asked.
    """
    if output is not None:
        check_output(output, force)
    if sharing != Sharing():
        sharing.check()
        if output is None:
            raise InputError("--cluster and --workers compute the parts of a table: name it with --output")
    ranker = Ranker.open(graph, relation_text=words, asked=asked, **vars(opening))
    if answering != Answering():
        ranker = answering.applied(ranker, opening)
    if output is not None and output.suffix.lower() == ".tsv":
        for names in (ranker.graph.entities, ranker.graph.relations):
            check_tsv(names.names, output)
    if calibration is None:
        return ranker, None, ""
    held = Calibration.load(calibration, ranker, opening.checkpoint)
    return ranker, held.confidence, held.sha256


def _named_in(graph: Graph, path: Path | None, reading: Reading) -> Ids | None:
    """The ids of the entities that a file names, if there is one."""
    return None if path is None else graph.entities.each(read_names(path, reading.columns), "entity")


def _question(graph: Graph, head: str | None, relation: str, tail: str | None) -> tuple[Ids, Ids]:
    """One question by id, ``[1]`` each; one for heads becomes one of the inverse relation."""
    given, what = (head, "head") if head is not None else (tail, "tail")
    ids, kinds = graph.entities.each([str(given)], what), graph.relations.each([relation], "relation")
    return ids, kinds if head is not None else inverse(kinds, graph.num_relations)


def _read_questions(graph: Graph, path: Path, reading: Reading, strict: bool) -> tuple[Ids, Ids, pl.DataFrame]:
    """Heads and relations of a file's questions by id, ``[queries]``, and their places; see `_known_ids`."""
    table = read_queries(path, columns=reading.columns, skip_bad=reading.skip_bad)
    asked = table.select("relation", pl.coalesce("head", "tail").alias("entity"), "line")
    ids, places = _known_ids(graph, path, asked, strict)
    turned = table["head"].is_null().gather(places["query"]).to_numpy()
    return ids[:, 1], np.where(turned, inverse(ids[:, 0], graph.num_relations), ids[:, 0]), places


def _placed(table: pl.DataFrame, part: Ids, places: pl.DataFrame | None) -> pl.DataFrame:
    """Answers to a part of the questions, each with its question's number and line in the file, if there is one."""
    if places is None:
        return table
    asked = places[part][table["query"]]
    return table.with_columns(asked["query"]).insert_column(1, asked["line"])


def _lines(places: pl.DataFrame | None) -> Ids | None:
    """The lines of a file's questions, by which an interrupted table is told from one of another file."""
    return None if places is None else places["line"].to_numpy()


def _known_ids(graph: Graph, path: Path, table: pl.DataFrame, strict: bool) -> tuple[Ids, pl.DataFrame]:
    """Ids of the rows whose names the graph knows, and their places; others are reported or, ``strict``, stop.

    The places are ``query``, a row's number in the file from 0 on, and ``line``.

    Args:
        table: of the file ``path``: columns of names, of entities unless it is ``relation``; and ``line``.
    """
    columns = table.columns[:-1]
    held = [graph.relations if what == "relation" else graph.entities for what in columns]
    ids = np.stack([names.ids(table[what]) for names, what in zip(held, columns, strict=True)], 1).astype(np.int64)
    known: NDArray[np.bool_] = ids.min(1) >= 0
    unknown = np.flatnonzero(~known).tolist()
    for place in unknown[:MAX_REPORTED]:
        column = int((ids[place] < 0).argmax())
        reason = held[column].unknown(table[place, column], columns[column])
        message = f"{path} line {table[place, 'line']}: {reason}"
        if strict:
            raise InputError(message)
        warn(f"{message}: skipped")
    if len(unknown) > MAX_REPORTED:
        warn(f"{path}: {len(unknown) - MAX_REPORTED:,} more lines with unknown names: skipped")
    if not known.any():
        raise InputError(f"{path}: no line has only names that the graph knows")
    places = table.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("query"), "line")
    return ids[known], places.filter(known)


def _show(graph: Graph, table: pl.DataFrame) -> None:
    """Prints answers, by their labels where there are any."""
    heads, relations, tails = graph.ids(*(table[column] for column in TRIPLE)).T
    held = graph.entities.shown(heads), graph.relations.shown(relations), graph.entities.shown(tails)
    shown = table.with_columns(names.alias(column) for names, column in zip(held, TRIPLE, strict=True))
    if "tied" in shown.columns and shown["tied"].max() in (None, 1):
        shown = shown.drop("tied")
    if "reversed" in shown.columns and not shown["reversed"].any():
        shown = shown.drop("reversed")
    show(shown.columns, shown.rows())
    if table.is_empty():
        warn("no answer is left")


def _give(
    ranker: Ranker,
    asked: tuple[Any, ...],
    output: Path | None,
    force: bool,
    sharing: Sharing,
    blocks: Sequence[Sequence[Ids]],
    compute: Callable[[Ids], pl.DataFrame],
    arrange: Callable[[pl.DataFrame], pl.DataFrame],
    hidden: Sequence[str] = (),
) -> None:
    """Shows what was asked, without the hidden columns, or writes it in parts; see `write_in_parts`.

    Args:
        asked: the verb, the calibration's SHA-256, and whatever else the answers depend on.
    """
    if output is None:
        table = pl.concat([arrange(pl.concat(map(compute, block))) for block in blocks])
        _show(ranker.graph, table.drop(hidden))
        if "tied" in table.columns:
            _warn_of_ties(table)
        return
    request, made_by = digest(ranker.reproduce().sha256, *asked), ranker.provenance(*asked)
    with sharing.each() as each, progress("answering") as update:
        count = write_in_parts(output, force, request, blocks, compute, arrange, update, made_by, each)
    warn(f"{output}: {count:,} rows")


def _warn_of_ties(table: pl.DataFrame) -> None:
    """Says where more answers share a rank than are shown."""
    cut = table.group_by("query", "rank").agg(pl.len(), pl.first("tied")).filter(pl.col("len") < pl.col("tied"))
    if len(cut) == 1:
        warn(f"-k cuts a tie: {cut['tied'][0]:,} answers share rank {cut['rank'][0]:,}")
    elif len(cut):
        warn(f"-k cuts the ties of {len(cut):,} questions: the column tied says how many answers share a rank")
