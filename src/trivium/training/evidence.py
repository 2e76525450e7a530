"""What an ablation shows: paired differences with intervals, and the start that they suggest (F10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.model.fusion import start_weights

DEFAULTS = {"similarity": 0.2, "prompt": 0.8}
TOGETHER = sum(DEFAULTS.values())  # what the branches start with together, beside 1 for r
LEAST = 0.05  # start of a branch whose gain was not shown while the other's was: 0 has no logit


@dataclass(frozen=True, eq=False)
class Scores:
    """One arm with one seed on one graph.

    Attributes:
        relations: ``[questions]``, of each question.
        reciprocal: ``[questions]``, 1 / pessimistic filtered rank; the same questions for every arm and seed.
    """

    arm: str
    seed: int
    graph: str
    relations: NDArray[np.int64]
    reciprocal: NDArray[np.float64]


def differences(scores: Sequence[Scores], resamples: int = 10_000, seed: int = 0) -> pl.DataFrame:
    """Each arm's paired difference against the first, question by question, in the order of the arms.

    Every arm has a score for each seed and graph.

    The interval is a percentile bootstrap over all that varies by chance: each resample draws seeds, graphs, and
    within each graph relations (questions of one relation fail or succeed together), all with replacement. With three
    seeds and a handful of graphs such an interval is, if anything, too narrow: read one that barely leaves 0 out with
    caution.

    Returns:
        A row per arm: arm, MRR (mean over graphs and seeds), difference (the mean paired one), low and high (its 95 %
        interval), verdict (empty for the first), then the MRR by graph.

    Cost: O(resamples · relations) for each arm.
    """
    table = {(s.arm, s.seed, s.graph): s for s in scores}
    arms, seeds, graphs = (list(dict.fromkeys(names)) for names in zip(*table, strict=True))
    rows: list[dict[str, str | float]] = []
    for arm in arms:
        rng = np.random.default_rng(seed)  # the same draws for every arm
        seed_draws = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), resamples) / len(seeds)
        graph_draws = rng.multinomial(len(graphs), np.full(len(graphs), 1 / len(graphs)), resamples) / len(graphs)
        gain, resampled = 0.0, np.zeros(resamples)
        for place, graph in enumerate(graphs):
            relations = table[arm, seeds[0], graph].relations
            _, cluster, count = np.unique(relations, return_inverse=True, return_counts=True)
            paired = [table[arm, s, graph].reciprocal - table[arms[0], s, graph].reciprocal for s in seeds]
            sums = np.stack([np.bincount(cluster, row, len(count)) for row in paired])
            drawn = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), resamples)
            resampled += graph_draws[:, place] * (seed_draws @ sums * drawn).sum(1) / (drawn @ count)
            gain += float(np.mean(paired)) / len(graphs)
        low, high = np.quantile(resampled, [0.025, 0.975])
        verdict = "shown" if low > 0 else "shown, a loss" if high < 0 else "not shown"
        by_graph = {g: float(np.mean([table[arm, s, g].reciprocal for s in seeds])) for g in graphs}
        row = {"arm": arm, "MRR": float(np.mean(list(by_graph.values()))), "difference": gain}
        row |= {"low": float(low), "high": float(high), "verdict": "" if arm == arms[0] else verdict}
        rows.append(row | by_graph)
    return pl.DataFrame(rows)


def suggest(table: pl.DataFrame) -> tuple[dict[str, float], list[str]]:
    """The start of the fusion weights that an ablation speaks for (F10).

    Together the branches start with 1, as much as ``r``, as in the source document, and share it in proportion to the
    gains that were shown. A branch without one, where the other has one, starts at 0.05: training can raise it, and 0
    has no logit. Where no gain was shown, the document's 0.2 and 0.8 stand.

    Args:
        table: from `differences`; the arms ``+ similarity`` and ``+ prompt`` count.

    Returns:
        The weight of each branch, beside 1 for ``r``, and the evidence in lines.
    """
    rows = {row["arm"]: row for row in table.iter_rows(named=True)}
    found = {branch: rows[f"+ {branch}"] for branch in DEFAULTS if f"+ {branch}" in rows}
    gains = {branch: row["difference"] for branch, row in found.items() if row["verdict"] == "shown"}
    shares = gains or DEFAULTS
    start = {branch: TOGETHER * shares.get(branch, 0) / sum(shares.values()) for branch in DEFAULTS}
    start = {branch: round(min(max(weight, LEAST), TOGETHER - LEAST), 3) for branch, weight in start.items()}
    reason = "in proportion to the gains that were shown" if gains else "no gain was shown: the document's start stands"
    if len(gains) == 1:
        (better,), (other,) = gains, set(DEFAULTS) - set(gains)
        reason = f"only {better} showed a gain: {other} starts low, or switch it off with use_{other}_enhancer: false"
    lines = [
        f"+ {branch}: {row['difference']:+.4f} MRR [{row['low']:+.4f}, {row['high']:+.4f}]: {row['verdict']}"
        for branch, row in found.items()
    ]
    parts = ", ".join(f"{branch}_enhancer_weight: {weight}" for branch, weight in start.items())
    fused = ", ".join(f"{weight:.3f}" for weight in start_weights(start))
    lines.append(f"suggested start: {parts} (fusion weights {fused}); {reason}")
    return start, lines


def draw(table: pl.DataFrame) -> Any:
    """The table as a matplotlib figure: each arm's difference with its interval, its MRR and its verdict."""
    from matplotlib.figure import Figure

    rows = table.rows(named=True)
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(rows)), layout="constrained")
    panel = figure.subplots()
    for place, row in enumerate(rows):
        gain, low, high = row["difference"], row["low"], row["high"]
        color = "C0" if low > 0 else "C3" if high < 0 else "0.6"
        reach = np.maximum([[gain - low], [high - gain]], 0)
        panel.errorbar([gain], [place], xerr=reach, fmt="o", capsize=3, color=color)
    panel.axvline(0, color="0.3", linewidth=0.8)
    panel.set_yticks(range(len(rows)), [f"{row['arm']} ({row['MRR']:.3f})" for row in rows])
    panel.invert_yaxis()
    beside = panel.secondary_yaxis("right")
    beside.set_yticks(range(len(rows)), [row["verdict"] for row in rows])
    panel.set_xlabel(f"difference of the MRR from {rows[0]['arm']}, 95 % interval; in brackets the MRR")
    return figure
