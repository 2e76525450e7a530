"""Ask a graph: rank, score, relate; and what each verb that asks shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
    Sharing,
)
from trivium.errors import InputError
from trivium.files import check_output, check_tsv, digest
from trivium.graph.formats import TRIPLE
from trivium.graph.graph import Graph, inverse
from trivium.graph.read import read_entities, read_queries, read_triples
from trivium.inference.answers import Confidence, Ids, both_directions, split
from trivium.inference.complete import estimate_seconds
from trivium.inference.parts import write_in_parts
from trivium.inference.ranker import Ranker
from trivium.inference.relate import PAIRS, relate_ids
from trivium.report import progress, show, warn, warn_of_duration

BLOCK = 50_000  # of a file: those whose answers are held in memory together
PART_QUERIES = 2_000  # between two parts on disk, at most: what an interruption costs
PART_FACTS = 20  # a part of triples that the graph holds: each takes a fresh pass over the graph
MAX_REPORTED = 20  # lines with unknown names that are named


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
    ranker, confidence, calibrated = open_ranker(
        graph, opening, answering, calibration, output, force, sharing, relation_text, relation
    )
    if queries is not None and relation is not None and ranker.graph.relations.names.to_list() != [relation]:
        raise InputError(one)
    chosen = named_in(ranker.graph, candidates, opening, heads=tail is not None)
    if queries is None:
        (heads, relations), places = _question(ranker.graph, head, relation or relation_text or "", tail), None
        warn_of_duration(ranker.expected_seconds(1, 1))
    else:
        heads, relations, places = _read_questions(ranker.graph, queries, opening, strict)
        warn_of_duration(estimate_seconds(ranker, heads, relations, k))
    how: dict[str, Any] = {"include_known": include_known, "candidates": chosen, "confidence": confidence}

    def answers(part: Ids) -> pl.DataFrame:
        return _placed(ranker.rank_ids(heads[part], relations[part], k, **how), part, places)

    size = ranker.part_size(heads, PART_QUERIES)
    blocks = [
        split(block[np.argsort(relations[block], kind="stable")], size) for block in split(np.arange(len(heads)), BLOCK)
    ]
    names = chosen is None or chosen.tolist()
    asked = "rank", calibrated, k, include_known, names, heads, relations, _lines(places)
    hidden = (["query"] if len(heads) == 1 else []) + ([] if include_known else ["known"])

    def arrange(table: pl.DataFrame) -> pl.DataFrame:
        return table.sort("query", maintain_order=True)

    give(ranker, asked, output, force, sharing, blocks, answers, arrange, hidden)


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
    ranker, confidence, calibrated = open_ranker(graph, opening, answering, calibration, output, force, sharing)
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
    size = ranker.part_size(asked[new, 0], PART_QUERIES)
    parts = [*split(new, size), *split(np.flatnonzero(known), PART_FACTS)]
    back = np.argsort(np.concatenate(parts))
    warn_of_duration(_scoring_seconds(ranker, asked, known))
    request = "score", calibrated, asked, _lines(places)
    give(ranker, request, output, force, sharing, [parts], scored, lambda rows: rows[back])


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
    ranker, *_ = open_ranker(graph, opening, Answering(), None, output, force, Sharing())
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
    give(ranker, asked, output, force, Sharing(), blocks, answers, lambda rows: rows, hidden)


def open_ranker(
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
        ranker = answering.applied(ranker, opening, asked)
    if output is not None and output.suffix.lower() == ".tsv":
        for names in (ranker.graph.entities, ranker.graph.relations):
            check_tsv(names.names, output)
    if calibration is None:
        return ranker, None, ""
    held = Calibration.load(calibration, ranker, opening.checkpoint)
    return ranker, held.confidence, held.sha256


def named_in(graph: Graph, path: Path | None, reading: Reading, heads: bool = False) -> Ids | None:
    """The ids of the entities that a file names, if there is one; of a table with both ends its tails, or ``heads``."""
    if path is None:
        return None
    return read_entities(path, graph, reading.columns, skip_bad=reading.skip_bad, heads=heads)


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
    shown = shown.drop(name for name in shown.columns if name.endswith("tied") and shown[name].max() in (None, 1))
    if "reversed" in shown.columns and not shown["reversed"].any():
        shown = shown.drop("reversed")
    show(shown.columns, shown.rows())
    if table.is_empty():
        warn("no answer is left")


def give(
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
