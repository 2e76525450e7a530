"""Why an answer has its score."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Literal

from cyclopts.types import PositiveInt

from trivium.cli.options import Answering, Asking, Force
from trivium.errors import InputError
from trivium.explanation import explain as explained
from trivium.explanation.picture import draw_reasons
from trivium.files import check_place, save_figure
from trivium.inference.ranker import Ranker
from trivium.report import printable, warn_of_duration


def explain(
    graph: Path,
    /,
    *,
    head: str,
    relation: str,
    tail: str,
    asked: Literal["tail", "head"] = "tail",
    paths: PositiveInt = 5,
    json: bool = False,
    png: Path | None = None,
    opening: Asking = Asking(),
    answering: Answering = Answering(),
    force: Force = False,
) -> None:
    """Says why an answer has its score: the paths that carried it, each with its weight.

    A path's weight says how much of the score depends on one of its facts. Where the checkpoint has enhancers, also
    what shaped the relation's representation. A fact that the graph holds is judged without itself and its
    copies.

    Parameters
    ----------
    graph
        The graph.
    head
        The fact's head.
    relation
        Its relation; also what joins the pairs of a table of two columns.
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
    if answering.reach is not None:
        raise InputError("an explanation is of the exact score: leave --reach out")
    if png is not None:
        check_place(png, force, ".png")
    ranker = answering.applied(Ranker.open(graph, asked=relation, **vars(opening)), opening, relation)
    warn_of_duration(ranker.expected_seconds(1, 1))
    explanation = explained(ranker, head, relation, tail, asked=asked, max_paths=paths)
    if png is not None:
        save_figure(draw_reasons(explanation), png, force)
    if json:
        print(dumps(explanation.as_dict(), indent=2, allow_nan=False))
    else:
        print("\n".join(printable(line) for line in explanation.words))
