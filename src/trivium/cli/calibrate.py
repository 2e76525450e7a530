"""What a score is worth on a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt
from cyclopts.validators import Number

from trivium.calibration import Calibration
from trivium.calibration.reliability import draw_curve
from trivium.cli.options import Answering, Force, Opening, Required, Sharing
from trivium.files import check_place, save_figure
from trivium.graph.formats import TRIPLE
from trivium.inference.answers import both_directions
from trivium.inference.complete import estimate_seconds
from trivium.inference.parts import parts_for
from trivium.inference.ranker import Ranker
from trivium.report import progress, show, warn_of_duration
from trivium.review.decisions import Decisions


def calibrate(
    graph: Path,
    /,
    *,
    output: Required,
    share: Annotated[float, Parameter(validator=Number(gt=0, lte=0.5))] = 0.1,
    max_hidden: Annotated[PositiveInt, Parameter(name=["--max-hidden", "--most"])] = 5000,
    seed: NonNegativeInt = 0,
    png: Path | None = None,
    opening: Opening = Opening(),
    answering: Answering = Answering(),
    sharing: Sharing = Sharing(),
    force: Force = False,
) -> None:
    """Learns what a score is worth on this graph: hides some of its facts, asks for them, and fits confidences.

    A confidence is the estimated chance that an answer with this score, margin and rank is among the hidden true ones.
    True answers that the graph lacks count as wrong, so on an incomplete graph it is too low. Every question that is
    asked here lacks an answer, so for a question whose answers are all in the graph it is too high: what people
    accepted and rejected, in the file of decisions, moves it to what they accept of links that are suggested.

    Interrupted, the same command goes on.

    Parameters
    ----------
    graph
        The graph.
    output
        The .json file to write. It serves this graph and this checkpoint, and refuses others.
    share
        Of the facts to hide, at most 0.5.
    max_hidden
        Hide at most so many facts; it takes two questions for each.
    seed
        Of what is hidden.
    png
        Also draw the reliability curve there.
    """
    check_place(output, force, ".json")
    if png is not None:
        check_place(png, force, ".png")
    sharing.check()
    log = Decisions.of(graph, opening.decisions)
    ranker = answering.applied(Ranker.open(graph, **vars(opening) | {"decisions": False}), opening)
    hidden = int(min(max_hidden, share * ranker.graph.num_triples))
    sample = np.random.default_rng(seed).choice(ranker.graph.triples, hidden, replace=False)
    heads, relations, _ = both_directions(sample, ranker.graph.num_relations)
    warn_of_duration(estimate_seconds(ranker, heads, relations))
    how: dict[str, Any] = {"share": share, "max_hidden": max_hidden, "seed": seed}
    with sharing.each() as each, parts_for(output, each) as parts, progress("asking for hidden facts") as update:
        calibration = Calibration.fit(ranker, opening.checkpoint, **how, progress=update, parts=parts)
        state = log.state().filter(pl.col("verdict") != "undecided")
        links = ranker.graph.ids(*state.select(TRIPLE), labels=False).astype(np.int64)
        new = np.flatnonzero((links >= 0).all(1))
        new = new[~ranker.graph.knows(links[new].astype(np.int32))]
        calibration.learn(ranker, links[new], (state["verdict"] == "accepted").to_numpy()[new])
        calibration.save(output, force)
    record = calibration.record
    if png is not None:
        save_figure(draw_curve(record.reliability, f"expected calibration error {record.error:.3f}"), png, force)
    rows = [
        ("facts hidden", f"{record.hidden:,}"),
        ("questions", f"{record.questions:,}"),
        ("decisions that moved the confidences", f"{record.decided:,}"),
        ("expected calibration error, cross-validated", f"{record.error:.3f}"),
        ("relations with a correction of their own", f"{len(record.relations):,}"),
        ("relations judged by the global fit", f"{record.fallback:,}"),
    ]
    show([str(output), ""], rows)
