"""Why an answer has its score."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trivium.cli.opening import open_ranker
from trivium.cli.options import DEFAULT, Checkpoint, Columns, Force


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
