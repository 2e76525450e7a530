"""Complete a graph: the links that seem to be missing, of many questions at once."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from json import dumps
from pathlib import Path

import numpy as np
import polars as pl

from trivium.cli.options import Answering, Asking, Calibrated, Count, Force, Required, Sharing
from trivium.cli.rank import PART_QUERIES, give, named_in, open_ranker
from trivium.errors import InputError
from trivium.files import check_place, write_whole
from trivium.graph.graph import Graph
from trivium.inference.answers import Ids, split
from trivium.inference.complete import Appearance, estimate_seconds, open_questions
from trivium.report import duration, show, warn

MAX_SHOWN = 5  # entities that come up for most questions
HOUR = 3600.0


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
        Ask for heads too, (?, relation, tail), where that is another question; the column asked says which end was.
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
    ranker, confidence, calibrated = open_ranker(
        graph, opening, answering, calibration, output, force, sharing, asked=relation[0] if relation else None
    )
    chosen, narrowed = (named_in(ranker.graph, file, opening, file is heads) for file in (candidates, heads))
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
    parts = split(np.arange(len(asked_of)), ranker.part_size(asked_of, PART_QUERIES))
    give(ranker, asked, output, force, sharing, [parts], links, arrange)
    _show_appearance(found[0], k, ranker.graph)
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


def _show_appearance(found: Appearance, k: int, graph: Graph) -> None:
    """Prints the entities that come up for most questions, by their labels where there are any."""
    if not found.shares:
        return
    most = dict(islice(found.shares.items(), MAX_SHOWN))
    rows = list(zip(graph.entities.shown(graph.entities.ids(most, labels=False)), most.values(), strict=True))
    show(["comes up for most questions", f"appearance@{k}"], rows)
    spread = f"{2**found.entropy:,.0f} entities that come up alike"
    warn(f"the answers to {found.questions:,} questions spread like {spread} (entropy {found.entropy:.1f} bits)")
