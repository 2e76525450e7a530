"""What a score is worth on a graph."""

from __future__ import annotations

from pathlib import Path

from trivium.cli.opening import open_ranker
from trivium.cli.options import DEFAULT, Checkpoint, Columns, Force, Required


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
