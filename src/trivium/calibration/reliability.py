"""Whether confidences keep what they promise: bins of equal mass, their error, and the curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence: mean confidence, share that was true, and number."""

    confidence: float
    true: float
    answers: int


def reliability(confidence: NDArray[np.floating[Any]], true: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Answers sorted by confidence and cut into bins of equal mass; ``[answers]`` each."""
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [Bin(float(confidence[part].mean()), float(true[part].mean()), len(part)) for part in parts]


def expected_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error in [0, 1]: the mean over answers of ``|confidence − share of true ones|`` by bin.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning (2015).
    """
    answers = sum(part.answers for part in bins)
    return sum(part.answers * abs(part.confidence - part.true) for part in bins) / answers


def draw_curve(bins: Sequence[Bin], title: str, share: str = "share of hidden facts") -> Any:
    """The reliability curve, a matplotlib figure: the share of true answers, in words, over the confidence.

    The diagonal is where the two agree.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([part.confidence for part in bins], [part.true for part in bins], marker="o", color="#1f5a96")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel=share, aspect="equal")
    axes.set_title(title, fontsize=9, parse_math=False)
    return figure
